"""What is turned off while a model is looked at, for those who look: the same that requests carry."""

from llama_nb.engines.interventions import applied

__all__ = ["applied"]
