"""What a model would say behind each of its layers at each place of a text: the value of `Model.lens`.

How it is asked for is `lens_look`, how it is computed `interpret.logit_lens`; render and the widget show it.
"""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from llama_nb.interpret.logit_lens import Depths

EMBEDDING: Final = "embedding"
MOST_IN_RECORD: Final = 16  # columns


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
        return self._said(self.depth(layer), self.column(position))

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
        found: npt.NDArray[np.float32] = np.where(among, depths.chances, 0).sum(2, dtype=np.float32)
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
        number = whole_number(layer, "layer")
        if not -count <= number < count:
            raise MessageError(
                f"{self.model} has no layer {number}: it has {count:,}, from 0 to {count - 1}.",
                f'What enters the first one is the layer "{EMBEDDING}".',
            )
        return number % count + 1

    def column(self, position: int) -> int:
        """Return where a position stands among those that were looked at."""
        number = whole_number(position, "position")
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

    def to_record(self, around: int | None = None, *, most: int = MOST_IN_RECORD) -> dict[str, Any]:
        """Return it as JSON values: at most `most` columns, those around one (default the last ones)."""
        count = len(self.positions)
        middle = count - 1 if around is None else around
        start = min(max(0, middle - most // 2), max(0, count - most))
        return {
            "model": self.model,
            "title": self.title,
            "tuned": self.tuned,
            "off": self.off,
            "notes": list(self.notes),
            "layers": list(self.layers),
            "tokens": len(self.ids),
            "prompt": self.prompt,
            "positions": count,
            "columns": [self._column(column) for column in range(start, min(start + most, count))],
        }

    def _column(self, column: int) -> dict[str, Any]:
        at, depths = self.positions[column], self.depths
        ahead = self.following(at)
        figures = ("final", "final_rank", "next", "next_rank", "entropy", "kl")
        cells = [
            {
                "top": [[token.text, token.special, token.probability] for token in self._said(row, column)],
                **{name: getattr(depths, name)[row, column].item() for name in figures},
            }
            for row in range(len(depths.ids))
        ]
        return {
            "position": at,
            "token": self.texts[at],
            "special": self.special[at],
            "final": self.names[int(depths.ids[-1, column, 0])][0],
            "next": None if ahead is None else self.names[ahead][0],
            "cells": cells,
        }

    def _said(self, row: int, column: int) -> tuple[SaidToken, ...]:
        ids, chances = self.depths.ids[row, column].tolist(), self.depths.chances[row, column].tolist()
        found = zip(ids, chances, strict=True)
        return tuple(SaidToken(token, *self.names[token], chance) for token, chance in found)

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

        return bundle(self.to_record(), watched=detect().watched)

    def __repr__(self) -> str:
        layers, count = len(self.layers) - 1, len(self.positions)
        kind = "" if self.tuned is None else f" by the tuned lens {self.tuned}"
        return f"LensTrace({self.title} of {self.model}: {layers} layers at {count:,} positions{kind})"


def whole_number(value: object, name: str) -> int:
    """Return a whole number; MessageError names what is none."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise MessageError(f"{name} is {value!r}; it must be a whole number.")
    return operator.index(value)


def _ranges(positions: Sequence[int]) -> str:
    """Say which positions there are: "it looked at 12 to 40", "it looked at 3 of them, from 2 to 9"."""
    first, last, count = positions[0], positions[-1], len(positions)
    if last - first + 1 == count:
        return f"it looked at {first:,} to {last:,}"
    return f"it looked at {count:,} of them, from {first:,} to {last:,}"
