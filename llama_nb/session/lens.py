"""What a model would say behind each of its layers at each place of a text: the value of `Model.lens`.

How it is computed is `interpret.logit_lens`; how it is shown is render's and the widget's business.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import FitError, MessageError, did_you_mean
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import size
from llama_nb.runtime.devices import available_memory
from llama_nb.session.ablating import active
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from llama_nb.engines.base import Engine
    from llama_nb.interpret.logit_lens import Depths
    from llama_nb.session.model import Model

MOST_POSITIONS: Final = 512
MOST_TOP: Final = 50
EMBEDDING: Final = "embedding"
_PURPOSE: Final = "the logit lens"
_SHARE: Final = 0.5  # of the free memory that it may take

Positions = int | slice | Sequence[int] | None


@dataclass(frozen=True, slots=True)
class SaidToken:
    """A token that a layer would say, and how likely it finds it."""

    id: int
    text: str
    special: bool
    probability: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LensTrace:
    """What a model would say behind each layer, at each position. It needs the model no more.

    Attributes
    ----------
    model, fingerprint
        Whose layers these are.
    title
        What was read: "text", "reply in chat main".
    ids, texts, special
        All its tokens; the first `prompt` of them were given, the model wrote the others.
    positions
        Which of them were looked at. What is said at a position is about the token that follows it.
    depths
        Arrays of shape (depths, positions) and (depths, positions, n). Depth 0 is the embedding, before any
        layer; depth k is what layer k - 1 leaves; the last one is what the model itself says.
    names
        What tokens show as and which are control tokens, by id.
    tracked
        Tokens whose probability is known everywhere, as they stand in `depths.tracked`.
    tuned
        The name of the tuned lens; None for the logit lens.
    off
        What was turned off meanwhile: "L3 H5 off"; empty otherwise.
    notes
        Sentences for the reader.
    """

    model: str
    fingerprint: str
    title: str
    ids: tuple[int, ...]
    texts: tuple[str, ...]
    special: tuple[bool, ...]
    prompt: int
    positions: tuple[int, ...]
    depths: "Depths"
    names: Mapping[int, tuple[str, bool]]
    tracked: tuple[int, ...] = ()
    tuned: str | None = None
    off: str = ""
    notes: tuple[str, ...] = ()

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the depths: "embedding", "L0", "L1" and so on."""
        return (EMBEDDING, *(f"L{layer}" for layer in range(len(self.depths.ids) - 1)))

    def top(self, layer: int | str, position: int) -> tuple[SaidToken, ...]:
        """Return what the model would say behind a layer, most likely first.

        Parameters
        ----------
        layer
            From 0, negative ones from the end; or "embedding".
        position
            Which token of the text; negative ones from the end. What is said is about the one after it.

        Raises
        ------
        MessageError
            If there is no such layer, or it was not looked at that position.
        """
        row, column = self.depth(layer), self.column(position)
        found = zip(
            self.depths.ids[row, column].tolist(), self.depths.chances[row, column].tolist(), strict=True
        )
        return tuple(SaidToken(token, *self.names[token], chance) for token, chance in found)

    def probability(self, token: int | str) -> "npt.NDArray[np.float32]":
        """Return how likely a token is at every depth and position, float32 (depths, positions).

        Known are those of tracked tokens, and of others where they are among the likeliest, come next or are
        what the last layer says; NaN elsewhere.

        Parameters
        ----------
        token
            An id, or what a token shows as.

        Raises
        ------
        MessageError
            If nothing is known of it.
        """
        import numpy as np

        wanted = self._find(token)
        depths = self.depths
        if wanted in self.tracked:
            return depths.tracked[:, :, self.tracked.index(wanted)].copy()
        among = depths.ids == wanted
        found = np.where(among, depths.chances, 0).sum(2, dtype=np.float32)
        found[~among.any(2)] = np.nan
        final = depths.ids[-1, :, 0] == wanted
        found[:, final] = depths.final[:, final]
        ahead = np.array([self.following(at) == wanted for at in self.positions])
        found[:, ahead] = depths.next[:, ahead]
        return found

    def settled(self) -> "npt.NDArray[np.int32]":
        """Return, for each position, the depth from which on the last layer's token is the likeliest."""
        import numpy as np

        other = self.depths.final_rank != 1
        count = len(other)
        last_other = np.where(other.any(0), count - 1 - other[::-1].argmax(0), -1)
        return (last_other + 1).astype(np.int32)

    def following(self, position: int) -> int | None:
        """Return the token that follows a position in the text; None at its end."""
        return self.ids[position + 1] if position + 1 < len(self.ids) else None

    def depth(self, layer: int | str) -> int:
        """Return the depth that a layer's number or name means; see `top`."""
        count = len(self.depths.ids) - 1
        if isinstance(layer, str):
            if layer in self.layers:
                return self.layers.index(layer)
            raise MessageError(f"There is no layer {layer!r}.", did_you_mean(layer, self.layers))
        number = _whole(layer, "layer")
        if not -count <= number < count:
            raise MessageError(
                f"{self.model} has no layer {number}: it has {count:,}, from 0 to {count - 1}.",
                f'What enters the first one is the layer "{EMBEDDING}".',
            )
        return number % count + 1

    def column(self, position: int) -> int:
        """Return where a position stands among those that were looked at."""
        number = _whole(position, "position")
        at = number + len(self.ids) if number < 0 else number
        if at not in self.positions:
            raise MessageError(
                f"The lens did not look at position {number}: {_ranges(self.positions)}.",
                f"Look there: m.lens(..., positions=[{number}])",
            )
        return self.positions.index(at)

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a depth and position: what is said, how likely, and how far it is from the end."""
        import pandas as pd

        depths, layers = self.depths, self.layers
        rows = [
            {
                "layer": layers[row],
                "position": at,
                "token": self.texts[at],
                "says": self.names[int(depths.ids[row, column, 0])][0],
                "probability": float(depths.chances[row, column, 0]),
                "final": float(depths.final[row, column]),
                "final_rank": int(depths.final_rank[row, column]),
                "next": float(depths.next[row, column]),
                "next_rank": int(depths.next_rank[row, column]),
                "entropy": float(depths.entropy[row, column]),
                "kl": float(depths.kl[row, column]),
            }
            for row in range(len(layers))
            for column, at in enumerate(self.positions)
        ]
        return pd.DataFrame(rows)

    def _find(self, token: int | str) -> int:
        if isinstance(token, str):
            same = [number for number, (text, _) in self.names.items() if text == token]
            if same:
                return same[0]
        elif token in self.names:
            return token
        raise MessageError(
            f"The lens kept nothing of the token {token!r}.",
            f"Have it tracked: m.lens(..., track=[{token!r}])",
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.lens import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self, watched=detect().watched)

    def __repr__(self) -> str:
        layers, count = len(self.layers) - 1, len(self.positions)
        kind = "" if self.tuned is None else f" by the tuned lens {self.tuned}"
        return f"LensTrace({self.title} of {self.model}: {layers} layers at {count:,} positions{kind})"


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
    asked = _whole(top, "top")
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


def find_positions(given: Positions, count: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
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
    elif isinstance(given, int | Sequence) and not isinstance(given, str):
        asked = [given] if isinstance(given, int) else list(given)
        found = {_position(position, count) for position in asked}
    else:
        raise MessageError(f"positions is {given!r}.", "A list of token numbers, a range or a slice.")
    if not found:
        raise MessageError(f"positions is {given!r}, which is none of the {count:,} tokens.")
    return tuple(sorted(found)), ()


def _position(position: object, count: int) -> int:
    number = _whole(position, "position")
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
    number = _whole(token, "a tracked token")
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


def _whole(value: object, name: str) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise MessageError(f"{name} is {value!r}; it must be a whole number.")
    return operator.index(value)  # type: ignore[arg-type]


def _ranges(positions: Sequence[int]) -> str:
    """Say which positions there are: "it looked at 12 to 40", "it looked at 3 of them, from 2 to 9"."""
    first, last, count = positions[0], positions[-1], len(positions)
    if last - first + 1 == count:
        return f"it looked at {first:,} to {last:,}"
    return f"it looked at {count:,} of them, from {first:,} to {last:,}"
