"""Commands of the repository: set-up, gate, notebooks, pictures, and how the bundled models are trained."""
