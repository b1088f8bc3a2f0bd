"""What is known about Llama, as data, each figure with its source."""
