"""Activation patching between two texts: the value that `Model.patch` returns, and how a call is read.

The runs are `interpret.patching`; how the map looks is render's business.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from llama_nb.core.errors import MessageError, did_you_mean
from llama_nb.core.events import Progress, publisher
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.render.tokens import visible_text
from llama_nb.session.ablating import active, without
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from llama_nb.interpret.patching import Patched
    from llama_nb.session.model import Model

Site = Literal["layer", "attention", "mlp", "head"]
SITES: Final = ("layer", "attention", "mlp", "head")
_PURPOSE: Final = "activation patching"
_WORK: Final = "Patching"
_MOMENT_S: Final = 1.0  # of work that needs no line
_LEAST: Final = (
    1e-3  # of the logits' difference between the runs: below, rounding would be shown as an effect
)
_SHOWN: Final = 8  # tokens of a text in a message


@dataclass(frozen=True, slots=True)
class Answer:
    """A token whose logit is compared."""

    id: int
    text: str


@dataclass(frozen=True, slots=True)
class PatchRow:
    """One place, and how much of the difference comes back when it is patched there.

    `head` and `position`: one of them, by what was patched.
    """

    layer: int
    position: int | None
    head: int | None
    token: str
    recovered: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PatchMap:
    """How much of the clean answer comes back when one place of the corrupt run is taken from the clean run.

    Attributes
    ----------
    model, fingerprint
        Whose layers these are.
    site
        What was put in: the residual stream behind a "layer", what "attention" or "mlp" add to it, or what
        one "head" mixed.
    clean, corrupt
        The tokens of both texts.
    positions
        The positions that were patched: one a column, or with the site "head" all of them at once.
    answer, wrong
        The tokens whose logits are compared behind the last token.
    clean_difference, corrupt_difference
        logit(answer) - logit(wrong) in either run.
    values
        (patched - corrupt) / (clean - corrupt) of that difference: 0 changes nothing, 1 brings the clean
        answer back. Float32, shape (layers, positions), or (layers, heads).
    off
        What was turned off meanwhile: "L3 H5 off"; empty otherwise.
    """

    model: str
    fingerprint: str
    site: Site
    clean: tuple[str, ...]
    corrupt: tuple[str, ...]
    positions: tuple[int, ...]
    answer: Answer
    wrong: Answer
    clean_difference: float
    corrupt_difference: float
    values: "npt.NDArray[np.float32]"
    off: str = ""

    @property
    def layers(self) -> int:
        """How many layers were patched: all of them."""
        return len(self.values)

    def value(self, layer: int, column: int) -> float:
        """Return what patching a layer at a position (with the site "head": that head) brings back.

        Raises
        ------
        MessageError
            If that was not patched.
        """
        known = range(self.values.shape[1]) if self.site == "head" else self.positions
        if layer not in range(self.layers) or column not in known:
            what = "head" if self.site == "head" else "position"
            raise MessageError(f"Layer {layer}, {what} {column} was not patched.")
        return float(self.values[layer, known.index(column)])

    def top(self, n: int = 10) -> tuple[PatchRow, ...]:
        """Return the `n` places that change most, in whatever direction."""
        import numpy as np

        flat = np.argsort(-np.abs(self.values), axis=None, kind="stable")[: max(0, n)]
        columns = self.values.shape[1]
        return tuple(self._row(*divmod(int(index), columns)) for index in flat)

    def to_frame(self) -> "pd.DataFrame":
        """Return a row a place: layer, position (or head), both tokens there, and what comes back."""
        import pandas as pd

        found = []
        for layer, values in enumerate(self.values):
            for column, value in enumerate(values):
                at = {"head": column} if self.site == "head" else self._where(self.positions[column])
                found.append({"layer": layer, **at, "recovered": float(value)})
        return pd.DataFrame(found)

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "model": self.model,
            "site": self.site,
            "clean": list(self.clean),
            "corrupt": list(self.corrupt),
            "positions": list(self.positions),
            "answer": self.answer.text,
            "wrong": self.wrong.text,
            "clean_difference": self.clean_difference,
            "corrupt_difference": self.corrupt_difference,
            "values": self.values.tolist(),
            "off": self.off,
        }

    def _where(self, position: int) -> dict[str, Any]:
        return {"position": position, "clean": self.clean[position], "corrupt": self.corrupt[position]}

    def _row(self, layer: int, column: int) -> PatchRow:
        value = float(self.values[layer, column])
        if self.site == "head":
            return PatchRow(layer, None, column, "", value)
        position = self.positions[column]
        return PatchRow(layer, position, None, self.clean[position], value)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.patching import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.values.shape))
        against = f"{self.answer.text!r} against {self.wrong.text!r}"
        return f"PatchMap({self.site} of {self.model}: {shape}, {against})"


def patch(
    model: "Model",
    readings: tuple[Reading, Reading],
    answers: tuple[str | int | None, str | int | None],
    *,
    site: Site = "layer",
    positions: Sequence[int] | slice | None = None,
    stop: StopFlag | None = None,
) -> PatchMap:
    """Compute how much of the clean answer each place brings back; see `Changer.patch`.

    `readings` are the clean and the corrupt text, `answers` the right and the wrong token.
    """
    clean, corrupt = readings
    if site not in SITES:
        raise MessageError(
            f"site is {site!r}.", did_you_mean(str(site), SITES) or f"It is one of: {', '.join(SITES)}."
        )
    _check_pair(clean, corrupt)
    chosen = find_positions(positions, len(clean))
    asked = [_token(model, token) for token in answers]
    off, line = active(model), _Line()

    def work(module: Any, stopped: Callable[[], str | None]) -> "tuple[tuple[int, int], Patched]":
        from llama_nb.interpret.patching import patch

        both = _answers(module, (clean.ids, corrupt.ids), asked, model)
        found = patch(
            module,
            clean.ids,
            corrupt.ids,
            *both,
            site=site,
            positions=chosen,
            told=line.advance,
            stopped=stopped,
        )
        return both, found

    flag = stop or StopFlag()
    try:
        with interrupt_stops(flag):
            both, found = measured(model.engine, flag, without(off, clean.ids, work), _PURPOSE)
    finally:
        line.end()
    right, wrong = [Answer(*pair) for pair in zip(both, model.engine.token_texts(both), strict=True)]
    return PatchMap(
        model=model.name,
        fingerprint=model.fingerprint,
        site=site,
        clean=clean.texts,
        corrupt=corrupt.texts,
        positions=chosen,
        answer=right,
        wrong=wrong,
        clean_difference=found.clean,
        corrupt_difference=found.corrupt,
        values=_recovered(found, right, wrong),
        off=names(off),
    )


def find_positions(given: Sequence[int] | slice | None, count: int) -> tuple[int, ...]:
    """Return the positions that a call means, ascending; None is all of them.

    Raises
    ------
    MessageError
        If one of them is none of `count` tokens, or there are none.
    """
    try:
        asked = range(count)[given] if isinstance(given, slice) else range(count) if given is None else given
        found = sorted({range(count)[at] for at in asked})
    except (TypeError, IndexError):
        raise MessageError(
            f"positions is {given!r}, and the texts have {count:,} tokens.",
            "A list of token numbers, a range or a slice; negative ones count from the end.",
        ) from None
    if not found:
        raise MessageError(f"positions is {given!r}: there is none.", f"The texts have {count:,} tokens.")
    return tuple(found)


class _Line:
    """Tells of the progress of work that takes more than a moment."""

    def __init__(self) -> None:
        self._tell = publisher()
        self._began = time.monotonic()
        self._last: tuple[int, int] | None = None

    def advance(self, done: int, every: int) -> None:
        """So many runs are done."""
        if time.monotonic() - self._began > _MOMENT_S:
            self._last = done, every
            self._tell(Progress(_WORK, done, every, "runs"))

    def end(self) -> None:
        """It is over; a line that is there says so."""
        if self._last is not None:
            self._tell(Progress(_WORK, *self._last, "runs", ended=True))


def _check_pair(clean: Reading, corrupt: Reading) -> None:
    if clean.ids == corrupt.ids:
        raise MessageError("Both texts are the same, so there is nothing to put from one into the other.")
    pairs = zip(clean.ids, corrupt.ids, strict=False)
    first = next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(clean), len(corrupt)))
    if len(clean) != len(corrupt):
        raise MessageError(
            f"The clean text has {len(clean):,} tokens and the corrupt one {len(corrupt):,}; patching needs "
            f"equally many. From token {first} on they are {_excerpt(clean, first)} and "
            f"{_excerpt(corrupt, first)}.",
            "Choose a word with as many tokens: %llama tokens shows them.",
        )


def _excerpt(reading: Reading, first: int) -> str:
    shown = "|".join(visible_text(text) for text in reading.texts[first : first + _SHOWN])
    return (shown or "at an end") + ("\u2026" if len(reading) > first + _SHOWN else "")


def _token(model: "Model", given: object) -> int | None:
    """Return the id of a token that a call names, by its id or its text; None: it names none."""
    if given is None:
        return None
    if isinstance(given, str):
        ids = model.engine.tokenize(given)
        if len(ids) != 1:
            pieces = "|".join(map(visible_text, model.engine.token_texts(ids))) or "no token"
            raise MessageError(
                f"{given!r} is not one token but {len(ids)}: {pieces}.",
                'A token mostly begins with its space: answer=" Paris".',
            )
        return int(ids[0])
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise MessageError(f"{given!r} is no token.", 'Give its text, answer=" Paris", or its id.')
    return given


def _answers(
    module: Any, texts: tuple[Sequence[int], Sequence[int]], asked: Sequence[int | None], model: "Model"
) -> tuple[int, int]:
    """Return the tokens whose logits are compared: by default what either run finds likeliest."""
    from llama_nb.interpret.patching import last_logits

    found: list[int] = []
    size = int(module.config.get_text_config().vocab_size)
    for ids, token in zip(texts, asked, strict=True):
        if token is not None and token >= size:
            raise MessageError(f"There is no token {token}: the vocabulary has {size:,}.")
        found.append(int(last_logits(module, ids).argmax()) if token is None else token)
    if found[0] == found[1]:
        (text,) = model.engine.token_texts(found[:1])
        raise MessageError(
            f"Both tokens to compare are {text!r}, so there is no difference to bring back.",
            'Name two: answer=" Paris", wrong=" Rome". By default they are what either text goes on with.',
        )
    return found[0], found[1]


def _recovered(found: "Patched", right: Answer, wrong: Answer) -> "npt.NDArray[np.float32]":
    import numpy as np

    whole = found.clean - found.corrupt
    if abs(whole) < _LEAST:
        raise MessageError(
            f"The logits of {right.text!r} and {wrong.text!r} are as far apart in both runs, so "
            "there is nothing to bring back.",
            "Take texts that the model continues differently, or name other tokens.",
        )
    values: npt.NDArray[np.float32] = ((found.differences - found.corrupt) / whole).numpy()
    return values
