"""How a look through the lens is asked for: which positions, which tokens, by which lens, and is there room.

Everything is checked before the model begins. What is computed is `interpret.logit_lens`.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import FitError, MessageError
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import size
from llama_nb.runtime.devices import available_memory
from llama_nb.session.ablating import active
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.lens import LensTrace, whole_number
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.interpret.logit_lens import Depths
    from llama_nb.session.model import Model

MOST_POSITIONS: Final = 512
MOST_TOP: Final = 50
_PURPOSE: Final = "the logit lens"
_SHARE: Final = 0.5  # of the free memory that it may take

Positions = int | slice | Iterable[int] | None


def look(
    model: "Model",
    reading: Reading,
    *,
    top: int = 5,
    positions: Positions = None,
    tuned: str | Path | None = None,
    track: Sequence[int | str] = (),
    stop: StopFlag | None = None,
) -> LensTrace:
    """Compute what a model would say behind each layer; see `Looker.lens`."""
    engine = model.engine
    asked = whole_number(top, "top")
    if not 1 <= asked <= MOST_TOP:
        raise MessageError(f"top is {asked}; it must be from 1 to {MOST_TOP}.")
    chosen, notes = find_positions(positions, len(reading))
    tracked = tuple(_token(engine, token) for token in track)
    fingerprint, off = model.fingerprint, active(model)

    def work(module: Any, stopped: Any) -> "tuple[Depths, str | None]":
        from llama_nb.interpret.interventions import applied
        from llama_nb.interpret.logit_lens import lens_cost, read_depths
        from llama_nb.interpret.tuned_lens import load_tuned_lens

        _check_tokens(tracked, int(module.config.get_text_config().vocab_size))
        _check_room(lens_cost(module, chosen[-1] + 1, len(chosen)), str(module.device), chosen)
        translators = None if tuned is None else load_tuned_lens(tuned, module, fingerprint)
        with applied(module, off, prompt=reading.ids[: reading.prompt], stopped=stopped):
            depths = read_depths(
                module,
                reading.ids,
                chosen,
                top=asked,
                tracked=tracked,
                translators=translators,
                stopped=stopped,
            )
        return depths, None if translators is None else translators.name

    flag = stop or StopFlag()
    with interrupt_stops(flag):
        depths, lens = measured(engine, flag, work, _PURPOSE)
    return LensTrace(
        model=model.name,
        fingerprint=fingerprint,
        title=reading.title,
        ids=reading.ids,
        texts=reading.texts,
        special=reading.special,
        prompt=reading.prompt,
        positions=chosen,
        depths=depths,
        names=_names(engine, {*reading.ids, *tracked, *depths.ids.ravel().tolist()}),
        tracked=tracked,
        tuned=lens,
        off=names(off),
        notes=notes,
    )


def find_positions(given: object, count: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the positions that a call means, ascending, and what there is to say of them.

    Raises
    ------
    MessageError
        If one of them is none of `count` tokens, or there are none.
    """
    if given is None:
        first = max(0, count - MOST_POSITIONS)
        note = (f"Of {count:,} positions the last {MOST_POSITIONS} were looked at.",) if first else ()
        return tuple(range(first, count)), note
    if isinstance(given, slice):
        found = set(range(count)[given])
    elif isinstance(given, Iterable) and not isinstance(given, str):
        found = {_position(position, count) for position in given}
    elif hasattr(given, "__index__"):
        found = {_position(given, count)}
    else:
        raise MessageError(f"positions is {given!r}.", "A list of token numbers, a range or a slice.")
    if not found:
        raise MessageError(f"positions is {given!r}, which is none of the {count:,} tokens.")
    return tuple(sorted(found)), ()


def _position(position: object, count: int) -> int:
    number = whole_number(position, "position")
    if not -count <= number < count:
        raise MessageError(
            f"There is no position {number}: the text has {count:,} tokens, from 0 to {count - 1:,}."
        )
    return number % count


def _token(engine: "Engine", token: object) -> int:
    """The id of a token that is to be tracked."""
    if isinstance(token, str):
        ids = engine.tokenize(token)
        if len(ids) != 1:
            pieces = ", ".join(map(repr, engine.token_texts(ids))) or "no token"
            raise MessageError(
                f"{token!r} is not one token but {len(ids)}: {pieces}.",
                "A token mostly begins with its space: track=[' Paris'].",
            )
        return ids[0]
    number = whole_number(token, "a tracked token")
    if number < 0:
        raise MessageError(f"There is no token {number}.")
    return number


def _check_tokens(tokens: Sequence[int], vocabulary: int) -> None:
    for token in tokens:
        if token >= vocabulary:
            raise MessageError(f"There is no token {token}: the vocabulary has {vocabulary:,}.")


def _names(engine: "Engine", ids: set[int]) -> dict[int, tuple[str, bool]]:
    ordered = sorted(ids)
    texts = engine.token_texts(ordered)
    return {token: (text, engine.is_special(token)) for token, text in zip(ordered, texts, strict=True)}


def _check_room(needed: int, device: str, positions: Sequence[int]) -> None:
    free = available_memory(device)
    if needed > _SHARE * free:
        raise FitError(
            f"The lens at {len(positions):,} positions takes about {size(needed)}; {size(free)} are free.",
            "Look at fewer: positions=range(-64, 0)",
        )
