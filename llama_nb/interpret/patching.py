"""Activation patching: what one part of a model knew in one run is put into another run, place by place.

Meng et al. 2022, "Locating and Editing Factual Associations in GPT" (https://arxiv.org/abs/2202.05262), trace
hidden states by layer and position; Wang et al. 2022, "Interpretability in the Wild" (https://arxiv.org/abs/
2211.00593), patch between two prompts and measure the difference of two logits, also by head. Knows torch and
token ids; knows no texts and no sessions.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import torch

from llama_nb.core.intervention import Intervention
from llama_nb.engines.interventions import hearing
from llama_nb.engines.places import Change, OutputPlace, Place, find_place, heads_of, layers_of
from llama_nb.interpret.finite import check_finite

Site = Literal["layer", "attention", "mlp", "head"]
SITES: Final[tuple[str, ...]] = get_args(Site)

_BATCH_S: Final = 0.25  # seconds of work in a batch, so that progress can be seen
_MOST_ROWS: Final = 64
_MOST_TOKENS: Final = 16_384  # of all rows together: their activations stay small where time would allow more


@dataclass(frozen=True, slots=True)
class Patched:
    """What came of patching.

    Attributes
    ----------
    clean, corrupt
        The difference of the two logits behind the last token in either run.
    differences
        That difference with a place patched: float32 on the CPU, shape (layers, columns). A column is a
        position; with the site "head" it is a head.
    """

    clean: float
    corrupt: float
    differences: torch.Tensor


@dataclass(frozen=True, slots=True)
class _Try:
    """One run with something put in: the place's number in its layer, the positions, and where it counts."""

    place: int
    positions: tuple[int, ...]
    column: int


@torch.inference_mode()
def last_logits(module: Any, ids: Sequence[int]) -> torch.Tensor:
    """Return the logits behind the last of `ids`, float32 on the CPU, shape (V,)."""
    inputs = torch.tensor([list(ids)], device=module.device)
    logits = _logits(module, inputs)[0].cpu()
    check_finite(logits, "What the model says")
    return logits


@torch.inference_mode()
def patch(
    module: Any,
    clean: Sequence[int],
    corrupt: Sequence[int],
    answer: int,
    wrong: int,
    *,
    site: Site,
    positions: Sequence[int],
    told: Callable[[int, int], None] = lambda _done, _all: None,
    stopped: Callable[[], str | None] = lambda: None,
) -> Patched:
    """Put what `module` computes on `clean` into its run on `corrupt`, one place at a time.

    Parameters
    ----------
    clean, corrupt
        Token ids, equally many.
    answer, wrong
        The tokens whose logits are compared: the difference is logit(answer) - logit(wrong).
    site
        What is put in: the residual stream behind a "layer", what its "attention" or "mlp" adds to that, or
        what one "head" mixed (at all of `positions` at once).
    positions
        Where. What stands before the first token that differs is equal in both runs, and is not computed.
    told
        Is given how many runs are done, and of how many, on this thread.
    stopped
        Asked before each layer; a reason ends the work with `Stopped`.
    """
    first = next((at for at, (a, b) in enumerate(zip(clean, corrupt, strict=True)) if a != b), len(clean))
    layers = [_places(module, layer, site) for layer in range(len(layers_of(module)))]
    both = (answer, wrong)
    with hearing(module, stopped, "Patching"):
        found, values = _recorded(module, clean, [place for places in layers for place in places])
        clean_difference = float(_difference(found, both)[0])
        corrupt_difference = float(_difference(last_logits(module, corrupt)[None], both)[0])
        tries = _tries(site, positions, first, len(layers[0]))
        columns = len(layers[0]) if site == "head" else len(positions)
        differences = torch.full((len(layers), columns), corrupt_difference)
        pace, done, every = _Pace(len(clean)), 0, len(tries) * len(layers)
        for number, places in enumerate(layers):
            known = values[number * len(places) : (number + 1) * len(places)]
            waiting = tries
            while waiting:
                batch, waiting = waiting[: pace.rows], waiting[pace.rows :]
                with pace.measured(len(batch)):
                    logits = _with_patches(module, corrupt, batch, places, known)
                differences[number, [each.column for each in batch]] = _difference(logits, both)
                done += len(batch)
                told(done, every)
    return Patched(clean_difference, corrupt_difference, differences)


class _Pace:
    """How many rows of so many tokens go side by side: as many as take about a quarter of a second."""

    def __init__(self, tokens: int) -> None:
        self._most = max(1, min(_MOST_ROWS, _MOST_TOKENS // tokens))
        self.rows = 1

    @contextlib.contextmanager
    def measured(self, rows: int) -> Iterator[None]:
        """Take the time of a batch."""
        started = time.perf_counter()
        yield
        took = max(time.perf_counter() - started, 1e-6)
        self.rows = max(1, min(self._most, 4 * self.rows, int(rows * _BATCH_S / took)))


def _places(module: Any, layer: int, site: Site) -> list[Place]:
    if site == "layer":
        return [OutputPlace(layers_of(module)[layer])]
    if site == "head":
        return [find_place(module, Intervention("head", layer, head)) for head in range(heads_of(module))]
    return [find_place(module, Intervention(site, layer))]


def _tries(site: Site, positions: Sequence[int], first: int, places: int) -> list[_Try]:
    """Return the runs of one layer that can make a difference."""
    if site != "head":
        return [_Try(0, (at,), column) for column, at in enumerate(positions) if at >= first]
    after = tuple(at for at in positions if at >= first)
    return [_Try(place, after, place) for place in range(places)] if after else []


def _recorded(
    module: Any, ids: Sequence[int], places: Sequence[Place]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return the last logits, shape (1, V), and what each place hands on, shape (tokens, width)."""
    values: list[torch.Tensor] = [torch.empty(0)] * len(places)

    def keep(number: int) -> Change:
        def change(value: torch.Tensor) -> torch.Tensor:
            values[number] = value.reshape(-1, value.shape[-1]).clone()
            return value

        return change

    with contextlib.ExitStack() as hooks:
        for number, place in enumerate(places):
            hooks.callback(place.edit(keep(number)).remove)
        logits = _logits(module, torch.tensor([list(ids)], device=module.device))
    return logits, values


def _with_patches(
    module: Any, ids: Sequence[int], batch: Sequence[_Try], places: Sequence[Place], known: list[torch.Tensor]
) -> torch.Tensor:
    """Return the last logits of each try, shape (tries, V)."""
    inputs = torch.tensor([list(ids)] * len(batch), device=module.device)

    def put(rows: Sequence[tuple[int, _Try]], value: torch.Tensor) -> Change:
        def change(found: torch.Tensor) -> torch.Tensor:
            # Some MLPs hand on (rows * tokens, width).
            changed = found.reshape(len(batch), len(ids), -1).clone()
            for row, each in rows:
                changed[row, list(each.positions)] = value[list(each.positions)]
            return changed.reshape(found.shape)

        return change

    with contextlib.ExitStack() as hooks:
        for number, place in enumerate(places):
            rows = [(row, each) for row, each in enumerate(batch) if each.place == number]
            if rows:
                hooks.callback(place.edit(put(rows, known[number])).remove)
        return _logits(module, inputs)


def _logits(module: Any, inputs: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = module(input_ids=inputs, use_cache=False, logits_to_keep=1).logits[:, -1]
    return logits.float()


def _difference(logits: torch.Tensor, both: tuple[int, int]) -> torch.Tensor:
    answer, wrong = both
    return (logits[:, answer] - logits[:, wrong]).cpu()
