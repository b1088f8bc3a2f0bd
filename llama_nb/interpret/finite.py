"""What is looked at must be numbers: damaged weights are named where they are first seen."""

import torch

from llama_nb.core.errors import EngineError


def check_finite(values: torch.Tensor, what: str) -> None:
    """Raise EngineError unless all of `values` are finite; `what` begins the sentence, "What layer 3 leaves".

    A sum is not finite if one of its terms is not, and costs no mask as large as the values.
    """
    if not values.sum(dtype=torch.float32).isfinite() and not values.isfinite().all():
        raise EngineError(
            f"{what} is NaN or infinite: the weights are damaged, or overflow in this dtype.",
            "Load the model again with `--dtype float32`.",
        )
