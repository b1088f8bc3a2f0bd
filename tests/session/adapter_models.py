"""Adapters with random numbers in a loaded model, for tests of what a user does with them."""

from typing import Any

import torch

from llama_nb.tuning.recipe import Recipe


def add_adapter(model: Any, name: str, *, seed: int = 0, scale: float = 0.3, **recipe: Any) -> None:
    """Put an adapter into `model`, switched off, that changes what it says."""

    def work(adapters: Any) -> None:
        adapters.create(name, Recipe.of(**{"rank": 4, **recipe}))
        generator = torch.Generator().manual_seed(seed)
        values = {
            path: value + scale * torch.randn(value.shape, generator=generator)
            for path, value in adapters.weights(name).items()
        }
        adapters.put_weights(name, values)

    model.adapters.do(work, f"making {name}")


def drop_adapters(model: Any) -> None:
    """Take all adapters out of a model."""
    for name in model.adapters.names:
        model.adapters.delete(name)
