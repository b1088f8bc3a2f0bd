"""Preferences to token ids: a prompt as the engine gives it, and two answers to it, each with its end."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import DataError, TrainingError
from llama_nb.core.messages import Message
from llama_nb.tuning.data import TrainingData
from llama_nb.tuning.encoding import Overlong, Row, encode
from llama_nb.tuning.example import Example


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """Token ids, int32 each: a prompt, the better answer and the worse one; `cut` of them are missing."""

    prompt: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.int32]
    rejected: npt.NDArray[np.int32]
    where: str = ""
    cut: int = 0

    def __len__(self) -> int:
        """Return the length of the longer line."""
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


@dataclass(frozen=True, slots=True)
class EncodedPreferences:
    """Preferences as rows, with notes and counts as `Encoded` has them."""

    rows: tuple[PreferenceRow, ...]
    notes: tuple[str, ...]
    counts: Mapping[str, int]


def encode_preferences(
    data: TrainingData,
    tokenizer: Any,
    chat_template: str | None,
    *,
    max_tokens: int,
    overlong: Overlong = "cut",
    name: str = "the model",
    date: str | None = None,
    trusted: bool = False,
    between: Callable[[], object] | None = None,
) -> EncodedPreferences:
    """Return the preferences as rows, and what became of those that are not among them.

    Parameters are those of `encode`; an example of which either answer is left out is left out.

    Raises
    ------
    DataError
        If the data hold no preferences, or one is too long with `overlong="error"`.
    TrainingError
        If no preference is left.
    """
    odd = next((example for example in data.examples if example.kind != "preference"), None)
    if odd is not None:
        raise DataError(
            f"{odd.where}: this is no preference, and DPO learns from preferences alone.",
            'Give records like {"prompt": "...", "chosen": "...", "rejected": "..."}, or take objective sft.',
        )
    sides = []
    for side in ("chosen", "rejected"):
        examples = tuple(_answered(example, getattr(example, side)) for example in data.examples)
        sides.append(
            encode(
                dataclasses.replace(data, examples=examples),
                tokenizer,
                chat_template,
                mask="last",
                max_tokens=max_tokens,
                overlong=overlong,
                name=name,
                date=date,
                trusted=trusted,
                between=between,
            )
        )
    worse = {row.where: row for row in sides[1].rows}
    rows = tuple(_joined(row, worse[row.where]) for row in sides[0].rows if row.where in worse)
    if not rows:
        raise TrainingError(
            "There is no token to train on: of every preference one answer is empty or too long.",
            "Look at them with --preview.",
        )
    return EncodedPreferences(
        rows, tuple(dict.fromkeys((*sides[0].notes, *sides[1].notes))), _counts(rows, len(data.examples))
    )


def with_chosen(example: Example) -> Example:
    """Return a preference as an example of what is to be answered."""
    return _answered(example, example.chosen)


def _answered(example: Example, answer: str) -> Example:
    if not example.messages:
        return Example("pair", prompt=example.prompt, completion=answer, where=example.where)
    messages = (*example.messages, Message("assistant", answer))
    return Example("chat", messages, where=example.where)


def _counts(rows: Sequence[PreferenceRow], examples: int) -> dict[str, int]:
    trained = sum(len(row.chosen) + len(row.rejected) for row in rows)
    return {
        "examples": examples,
        "rows": len(rows),
        "cut": sum(row.cut > 0 for row in rows),
        "skipped": examples - len(rows),
        "tokens": trained + sum(2 * len(row.prompt) for row in rows),
        "trained": trained,
    }


def _joined(chosen: Row, rejected: Row) -> PreferenceRow:
    first = int(np.flatnonzero(chosen.trained)[0])
    cut = max(chosen.cut, rejected.cut)
    return PreferenceRow(chosen.ids[:first], chosen.ids[first:], rejected.ids[first:], chosen.where, cut)
