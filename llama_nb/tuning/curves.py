"""The curves of a run, as its metrics.jsonl grows: by step, smoothed, and thinned for a picture or a page.

Takes records as they stand in the file, of whatever origin: what is no number is unknown. Knows no folder
and nothing of how a curve is drawn.
"""

import bisect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MOST_POINTS: Final = 600
_SPAN: Final = 12  # over one more step is smoothed every so many: little in a short run, which falls fast
_WIDEST: Final = 50
_LARGEST: Final = 2**53  # of a step's number, so that every reader of JSON counts the same

Figure = float | None


@dataclass(slots=True)
class Points:
    """Points of curves, one list a column, all of one length.

    A point stands for `stride` steps and bears the number of the last: `loss` and `tokens_per_s` are means,
    `gradient_norm` and `memory` the largest, `smoothed` and `lr` the last. None is unknown or not finite.
    """

    stride: int = 1
    steps: list[int] = field(default_factory=list)
    loss: list[Figure] = field(default_factory=list)
    smoothed: list[Figure] = field(default_factory=list)
    lr: list[Figure] = field(default_factory=list)
    gradient_norm: list[Figure] = field(default_factory=list)
    tokens_per_s: list[Figure] = field(default_factory=list)
    memory: list[Figure] = field(default_factory=list)
    validation: list[tuple[int, Figure]] = field(default_factory=list)

    def behind(self, keep: int, keep_validation: int) -> "Points":
        """Return the points from number `keep` on."""
        columns = {name: getattr(self, name)[keep:] for name in COLUMNS}
        return Points(self.stride, **columns, validation=self.validation[keep_validation:])

    def to_record(self) -> dict[str, Any]:
        """Return the columns as JSON."""
        columns = {name: getattr(self, name) for name in COLUMNS}
        return {"stride": self.stride, **columns, "validation": [list(pair) for pair in self.validation]}


COLUMNS: Final = ("steps", "loss", "smoothed", "lr", "gradient_norm", "tokens_per_s", "memory")


class Curves:
    """Everything that was measured, step by step; grows by `add`.

    A run that goes on from a checkpoint does some steps again: then what was measured of them before is
    dropped, so that a curve never runs back.
    """

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.loss: list[Figure] = []
        self.smoothed: list[Figure] = []
        self.lr: list[Figure] = []
        self.gradient_norm: list[Figure] = []
        self.tokens_per_s: list[Figure] = []
        self.memory: list[Figure] = []
        self.seconds: list[float] = []
        self.validation: list[tuple[int, Figure]] = []
        self._made = Points()
        self._whole = 0  # how many of its points stand for all their steps

    def __len__(self) -> int:
        return len(self.steps)

    def add(self, records: Iterable[Mapping[str, Any]]) -> bool:
        """Add lines of metrics.jsonl; return whether there was anything in them."""
        changed = False
        for record in records:
            step = record.get("step")
            if type(step) is not int or not 0 <= step < _LARGEST:
                continue
            if "validation_loss" in record:
                self._validated(step, figure(record["validation_loss"]))
                changed = True
            if "loss" in record:
                self._stepped(step, record)
                changed = True
        return changed

    def best(self) -> tuple[int, float] | None:
        """Return the step with the lowest validation loss, and that loss."""
        known = [(loss, step) for step, loss in self.validation if loss is not None]
        return min(known)[::-1] if known else None

    def points(self, most: int = MOST_POINTS) -> Points:
        """Return at most `most` points, each for as many steps as that needs (a power of two)."""
        count = len(self.steps)
        stride = 1
        while count > most * stride:
            stride *= 2
        if self._made.stride != stride:
            self._made, self._whole = Points(stride), 0
        made = self._made
        for name in COLUMNS:  # a point is made once, when its last step is there; the one at the end again
            del getattr(made, name)[self._whole :]
        for start in range(self._whole * stride, count, stride):
            part = slice(start, start + stride)
            made.steps.append(self.steps[part][-1])
            made.loss.append(_mean(self.loss[part]))
            made.smoothed.append(self.smoothed[part][-1])
            made.lr.append(self.lr[part][-1])
            made.gradient_norm.append(_largest(self.gradient_norm[part]))
            made.tokens_per_s.append(_mean(self.tokens_per_s[part]))
            made.memory.append(_largest(self.memory[part]))
        self._whole = count // stride
        made.validation = _thinned(self.validation, most)
        return made.behind(0, 0)

    def rate(self, over: int = 10) -> float | None:
        """Return the tokens per second of the last steps, or None before the first."""
        return _mean(self.tokens_per_s[-over:])

    def seconds_per_step(self, over: int = 20) -> float | None:
        """Return how long a step took lately."""
        lately = self.seconds[-over:]
        return sum(lately) / len(lately) if lately else None

    def _stepped(self, step: int, record: Mapping[str, Any]) -> None:
        self._back_to(step)
        loss = figure(record.get("loss"))
        seconds, tokens = figure(record.get("seconds")), figure(record.get("tokens"))
        self.steps.append(step)
        self.loss.append(loss)
        self.smoothed.append(self._smooth(loss))
        self.lr.append(figure(record.get("lr")))
        self.gradient_norm.append(figure(record.get("gradient_norm")))
        self.tokens_per_s.append(tokens / seconds if tokens is not None and seconds else None)
        self.memory.append(figure(record.get("memory")))
        self.seconds.append(seconds or 0.0)

    def _smooth(self, loss: Figure) -> Figure:
        """Return the moving average that a loss leads to; one that is unknown leaves it where it was."""
        before = self.smoothed[-1] if self.smoothed else None
        if loss is None or before is None:
            return before if loss is None else loss
        share = 1 / min(_WIDEST, 1 + len(self.smoothed) / _SPAN)
        return before + share * (loss - before)

    def _validated(self, step: int, loss: Figure) -> None:
        while self.validation and self.validation[-1][0] >= step:
            self.validation.pop()
        self.validation.append((step, loss))

    def _back_to(self, step: int) -> None:
        """Drop what was measured of `step` and behind it."""
        keep = bisect.bisect_left(self.steps, step)
        if keep == len(self.steps):
            return
        self._made, self._whole = Points(), 0
        for column in (*(getattr(self, name) for name in COLUMNS), self.seconds):
            del column[keep:]
        while self.validation and self.validation[-1][0] >= step:
            self.validation.pop()


def figure(value: object) -> Figure:
    """Return a finite number, or None for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def common(old: Points, new: Points) -> tuple[int, int] | None:
    """Return how many points, and validation losses, of `new` are those of `old`; None if none can be.

    The points of another stride are all others.
    """
    if old.stride != new.stride:
        return None
    columns = [_equal(getattr(old, name), getattr(new, name)) for name in COLUMNS]
    return min(columns), _equal(old.validation, new.validation)


def _equal(old: Sequence[Any], new: Sequence[Any]) -> int:
    """Return the length of the part that both begin with; looked for from the end, where they differ."""
    shortest = min(len(old), len(new))
    if old[:shortest] == new[:shortest]:
        return shortest
    return next(index for index in range(shortest) if old[index] != new[index])


def _thinned(pairs: Sequence[tuple[int, Figure]], most: int) -> list[tuple[int, Figure]]:
    """Return every so many of the pairs, the last among them."""
    stride = -(-len(pairs) // most) or 1
    return list(pairs[::-stride][::-1])


def _mean(values: Sequence[Figure]) -> Figure:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _largest(values: Sequence[Figure]) -> Figure:
    return max((value for value in values if value is not None), default=None)
