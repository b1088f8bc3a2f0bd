"""Sizes and counts in the answers of verbs, as everything that is shown writes them."""

from llama_nb.render.units import number, size

__all__ = ["number", "size"]
