"""Looking inside a model: what a forward pass computed, and how far two models differ."""
