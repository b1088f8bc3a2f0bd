"""Changes a model for as long as a block runs, and leaves it as it found it: parts off, routers rerouted.

Runs on the worker thread. Knows modules and hooks; what a request or a chat is, others know.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from transformers import DynamicCache

from llama_nb.core.errors import InterventionError, Stopped
from llama_nb.core.events import TokenEvent
from llama_nb.core.intervention import Intervention, check_parts
from llama_nb.core.request import Request
from llama_nb.engines.places import Change, Place, decoder_of, find_place, heads_of, layers_of
from llama_nb.engines.rerouting import check_mixture, rerouted

_CHUNK: Final = 256  # tokens of a text whose mean is taken that go through the layers at once


@contextlib.contextmanager
def changed(
    module: Any, request: Request, prompt: Sequence[int], stopped: Callable[[], str | None]
) -> Iterator[None]:
    """Turn off what a request says, then let it be watched."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(applied(module, request.interventions, prompt=prompt, stopped=stopped))
        if request.watch is not None:
            stack.enter_context(request.watch(module))
        yield


def changed_until_the_end(
    module: Any,
    request: Request,
    prompt: Sequence[int],
    stopped: Callable[[], str | None],
    events: Iterator[TokenEvent],
) -> Iterator[TokenEvent]:
    """Yield `events`, computed as `changed` says; before the last one is out the module is as it was."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(changed(module, request, prompt, stopped))
        for event in events:
            if event.finish is not None:
                stack.close()
            yield event


@contextlib.contextmanager
def applied(
    module: Any,
    interventions: Sequence[Intervention],
    *,
    prompt: Sequence[int] = (),
    stopped: Callable[[], str | None] = lambda: None,
) -> Iterator[None]:
    """Turn parts of `module` off, and change what its routers choose, inside the block.

    Afterwards it is as before, whatever happens.

    Parameters
    ----------
    prompt
        What is read in the block, for means over it; they are those of the whole model.
    stopped
        Ends the reading of a text for its mean.

    Raises
    ------
    InterventionError
        If the model has no such part or expert, a token would be left without experts, or a mean has no text
        to be taken over.
    UnsupportedError
        If a layer of this kind of model cannot be taken apart, or the model has no experts.
    Stopped
        If it was stopped before the block began.
    """
    if not interventions:
        yield
        return
    check_mixture(module, interventions, type(module).__name__)
    check_parts(interventions, len(layers_of(module)), heads_of(module), type(module).__name__)
    places = [(each, find_place(module, each)) for each in interventions if not each.reroutes]
    instead = _means(module, places, tuple(prompt), stopped)
    with contextlib.ExitStack() as hooks:
        for each, place in places:
            mean = instead.get(each)
            hooks.callback(place.edit(place.off if mean is None else _constant(mean)).remove)
        hooks.enter_context(rerouted(module, interventions))
        yield


@contextlib.contextmanager
def hearing(module: Any, stopped: Callable[[], str | None], what: str) -> Iterator[None]:
    """Raise Stopped before the next layer when `stopped` says why: a whole pass may take its time.

    `what` is what was stopped, for the message.
    """

    def look(_module: Any, _given: Any) -> None:
        if (reason := stopped()) is not None:
            raise Stopped(f"{what} was stopped: {reason}.")

    with contextlib.ExitStack() as hooks:
        for layer in layers_of(module):
            hooks.callback(layer.register_forward_pre_hook(look).remove)
        yield


def _constant(value: torch.Tensor) -> Change:
    # A copy: Llama 4 adds to what its shared expert returns, in place.
    return lambda found: value.to(found.dtype).expand_as(found).clone()


def _means(
    module: Any,
    places: Sequence[tuple[Intervention, Place]],
    prompt: tuple[int, ...],
    stopped: Callable[[], str | None],
) -> dict[Intervention, torch.Tensor]:
    """Return the mean over positions of what each part with mode "mean" hands on, shape (width,)."""
    texts: dict[tuple[int, ...], list[tuple[Intervention, Place]]] = {}
    for each, place in places:
        if each.mode == "mean":
            texts.setdefault(each.over or prompt, []).append((each, place))
    found: dict[Intervention, torch.Tensor] = {}
    for ids, parts in texts.items():
        if not ids:
            raise InterventionError(
                f"{parts[0][0].name}: there is no text over which the mean could be taken.",
                'Name one, over="Once upon a time", or turn it off with mode="zero".',
            )
        found |= _mean_over(module, ids, parts, stopped)
    return found


@torch.inference_mode()
def _mean_over(
    module: Any,
    ids: tuple[int, ...],
    parts: Sequence[tuple[Intervention, Place]],
    stopped: Callable[[], str | None],
) -> dict[Intervention, torch.Tensor]:
    sums: dict[Intervention, torch.Tensor] = {}
    with contextlib.ExitStack() as hooks:
        for each, place in parts:
            hooks.callback(place.edit(_adding_to(sums, each)).remove)
        cache = DynamicCache(config=module.config)
        hooks.enter_context(hearing(module, stopped, f"The mean of {parts[0][0].name}"))
        for start in range(0, len(ids), _CHUNK):
            chunk = torch.tensor([ids[start : start + _CHUNK]], device=module.device)
            decoder_of(module)(input_ids=chunk, past_key_values=cache, use_cache=True)
    return {each: total / len(ids) for each, total in sums.items()}


def _adding_to(sums: dict[Intervention, torch.Tensor], each: Intervention) -> Change:
    def add(value: torch.Tensor) -> torch.Tensor:
        total = value.float().reshape(-1, value.shape[-1]).sum(dim=0)
        sums[each] = sums[each] + total if each in sums else total
        return value

    return add
