"""How far quantised matrices are from the ones they were made of, and what made them hard to quantise.

Compares layer by layer, so that only one matrix stands in memory twice.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch

# Beyond this many standard deviations a weight counts as an outlier: of normal ones 1 in 16,000 is.
OUTLIER_SIGMAS: Final = 4.0
_LAYER: Final = re.compile(r"(?:^|\.)layers\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class MatrixError:
    """One weight matrix after quantisation.

    Attributes
    ----------
    layer
        The decoder layer, None outside of them.
    name
        What it is called in its layer: "self_attn.q_proj".
    shape
        (out features, in features).
    error
        Relative Frobenius error ||W' - W|| / ||W||.
    largest
        The largest |w - mean| of the original, in standard deviations.
    outliers
        Share of the original's weights beyond `OUTLIER_SIGMAS` standard deviations.
    """

    layer: int | None
    name: str
    shape: tuple[int, int]
    error: float
    largest: float
    outliers: float


@torch.inference_mode()
def compare(
    module: Any,
    reference: Any,
    dequantised: Callable[[Any], torch.Tensor | None],
    stopped: Callable[[], str | None] = lambda: None,
) -> tuple[MatrixError, ...]:
    """Return one entry for each quantised matrix of `module`, in the order of its layers.

    Parameters
    ----------
    module, reference
        The quantised model and the one that it was made of.
    dequantised
        Gives a quantised layer's weights as floats, None for a layer that is not quantised.
    stopped
        Asked between matrices; a reason ends the comparison with what is there.
    """
    originals = dict(reference.named_modules())
    found = []
    for path, layer in module.named_modules():
        original = getattr(originals.get(path), "weight", None)
        if original is None or original.ndim != 2:
            continue
        weight = dequantised(layer)
        if weight is None:
            continue
        if stopped() is not None:
            break
        found.append(_entry(path, weight, original))
    return tuple(found)


def _entry(path: str, weight: torch.Tensor, original: torch.Tensor) -> MatrixError:
    exact = original.float().cpu()
    error = (weight.float().cpu() - exact).norm() / exact.norm().clamp(min=1e-30)
    sigmas = (exact - exact.mean()).abs_() / exact.std().clamp(min=1e-30)
    place = _LAYER.search(path)
    rows, columns = exact.shape
    return MatrixError(
        layer=int(place.group(1)) if place else None,
        name=place.group(2) if place else path,
        shape=(rows, columns),
        error=float(error),
        largest=float(sigmas.max()),
        outliers=float((sigmas > OUTLIER_SIGMAS).float().mean()),
    )
