"""Runs token ids through a mixture of experts and keeps what its routers say: what is chosen, how surely.

Forward hooks on the routers, gone when a reading is over. Knows modules and token ids; no texts, no sessions.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.engines.interventions import hearing
from llama_nb.engines.places import decoder_of
from llama_nb.engines.routers import Routed, Router, find_routers
from llama_nb.interpret.finite import check_finite
from llama_nb.interpret.pieces import length_bound, piece_of, whole_cache
from llama_nb.interpret.routes import Routes, joined, narrow

Told = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class CapturedRouting:
    """The routes of one sequence, and the sum of its tokens' scores.

    Attributes
    ----------
    mass
        Each token's scores made to sum to 1, summed over the tokens: float64 of shape (L, E).
    """

    routes: Routes
    mass: npt.NDArray[np.float64]


def capture_routing(
    module: Any,
    ids: Sequence[int],
    *,
    top_k: int | None = None,
    keep_logits: bool = True,
    stopped: Callable[[], str | None] = lambda: None,
    told: Told | None = None,
) -> CapturedRouting:
    """Run one sequence through a model and keep what its routers say.

    Parameters
    ----------
    module
        A causal language model of transformers with MoE layers.
    ids
        Token ids, at most the context.
    top_k
        How many experts a token goes through, where that was changed; default the model's number.
    keep_logits
        Keep the logits of all experts too.
    stopped
        Asked in each layer; a reason ends the work.
    told
        Called with how many tokens are read, of how many.

    Raises
    ------
    Stopped
        If `stopped` gave a reason.
    EngineError
        If a router's logits are not numbers.
    UnsupportedError
        If the model's routers are not known.

    Notes
    -----
    No logits of the vocabulary are computed. Scores are read in float32, whatever the model's dtype is.
    """
    (found,) = capture_side_by_side(
        module, [ids], top_k=top_k, keep_logits=keep_logits, stopped=stopped, told=told
    )
    return found


@torch.inference_mode()
def capture_side_by_side(
    module: Any,
    sequences: Sequence[Sequence[int]],
    *,
    top_k: int | None = None,
    keep_logits: bool = True,
    stopped: Callable[[], str | None] = lambda: None,
    told: Told | None = None,
) -> list[CapturedRouting]:
    """Run sequences side by side and keep what the routers say of each; see `capture_routing`.

    Shorter ones are filled up behind their ends, where no token of theirs looks, and nothing of that is kept.
    """
    routers = find_routers(module)
    lengths = [len(sequence) for sequence in sequences]
    ids = torch.zeros((len(sequences), max(lengths)), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : lengths[row]] = torch.as_tensor(sequence)
    parts: list[list[Routes]] = [[] for _ in sequences]
    mass = np.zeros((len(sequences), len(routers), routers[0].experts))
    step, start = piece_of(module, ids.shape[1]), 0
    with listening(routers) as outputs, hearing(module, stopped, "Reading the routing"):
        for start, piece in _passes(module, ids, step):
            routes, sums = settle(routers, outputs, piece, [length - start for length in lengths], top_k)
            outputs.clear()
            mass += sums
            for row, length in enumerate(lengths):
                if length > start:
                    here = routes[row][: length - start]
                    parts[row].append(here if keep_logits else dataclasses.replace(here, logits=None))
            if told is not None:
                told(sum(min(length, start + piece) for length in lengths), sum(lengths))
    return [CapturedRouting(joined(found), sums) for found, sums in zip(parts, mass, strict=True)]


class Outputs(list[list[Any]]):
    """What each of the routers returned, since it was last cleared; a list a router."""

    def clear(self) -> None:
        """Forget what they returned."""
        for each in self:
            each.clear()


@contextlib.contextmanager
def listening(routers: Sequence[Router]) -> Iterator[Outputs]:
    """Collect what routers return inside the block; what hooks made of it that were there before."""
    outputs = Outputs([] for _ in routers)
    with contextlib.ExitStack() as hooks:
        for router, taken in zip(routers, outputs, strict=True):
            hooks.callback(router.module.register_forward_hook(_taking(taken)).remove)
        yield outputs


def settle(
    routers: Sequence[Router],
    outputs: Sequence[Sequence[Any]],
    length: int,
    lengths: Sequence[int],
    top_k: int | None = None,
) -> tuple[list[Routes], npt.NDArray[np.float64]]:
    """Return what routers said in one pass over rows of `length` columns: routes a row, and their mass.

    Parameters
    ----------
    lengths
        How many columns of each row are tokens; the rest counts for nothing in the mass, (rows, L, E).
    """
    columns = torch.arange(length)
    valid = columns < torch.tensor(list(lengths))[:, None]  # (rows, length)
    layers, sums = [], []
    for router, (output,) in zip(routers, outputs, strict=True):
        routed = router.read(output, top_k or router.top_k)
        check_finite(routed.logits, f"What the router of layer {router.layer} says")
        found, shares = _statistics(router, routed)
        layers.append(found)
        shares = shares.view(len(lengths), length, -1).double()
        sums.append((shares * valid[..., None].to(shares.device)).sum(dim=1).cpu())
    chosen, *rest = (torch.stack(values, dim=1).cpu().numpy() for values in zip(*layers, strict=True))
    routes = Routes(chosen.astype(narrow(routers[0].experts)), *rest)
    rows = [routes[row * length : (row + 1) * length] for row in range(len(lengths))]
    return rows, torch.stack(sums, dim=1).numpy()


def _passes(module: Any, ids: torch.Tensor, step: int) -> Iterator[tuple[int, int]]:
    """Read token ids (B, T) in pieces; yields where each began and how long it is, once it was read."""
    length = ids.shape[1]
    cache = whole_cache(module, length) if step < length else None
    decoder = decoder_of(module)
    for start in range(0, length, step):
        piece = ids[:, start : start + step].to(module.device)
        decoder(input_ids=piece, past_key_values=cache, use_cache=cache is not None)
        yield start, piece.shape[1]


def rows_at_once(module: Any, longest: int) -> int:
    """Return how many sequences of at most `longest` tokens are read side by side."""
    if length_bound(module):
        return 1
    return max(1, piece_of(module, 2**31) // max(1, longest))


def _taking(taken: list[Any]) -> Callable[[Any, Any, Any], None]:
    def take(_module: Any, _given: Any, output: Any) -> None:
        taken.append(output)

    return take


def _statistics(router: Router, routed: Routed) -> tuple[tuple[torch.Tensor, ...], torch.Tensor]:
    """Return one layer's (chosen, weights, margin, entropy, logits), and its scores made to sum to 1."""
    scores = router.scores(routed.logits)
    least = torch.finfo(scores.dtype).tiny
    shares = scores / scores.sum(dim=-1, keepdim=True).clamp_min(least)
    entropy = -(shares * shares.clamp_min(least).log()).sum(dim=-1)
    choice = router.choice(routed.logits)
    rest = choice.scatter(-1, routed.chosen, -torch.inf).amax(dim=-1)
    # What cannot be chosen counts as 0, the least that a score is: a forced expert, or when none is left.
    taken = choice.gather(-1, routed.chosen).amin(dim=-1)
    margin = taken.masked_fill(taken == -torch.inf, 0) - rest.masked_fill(rest == -torch.inf, 0)
    return (routed.chosen, routed.weights, margin, entropy, routed.logits), shares
