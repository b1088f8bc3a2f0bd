"""Training: data, recipe, loop and run folders; adapters on a base that stays what it is."""
