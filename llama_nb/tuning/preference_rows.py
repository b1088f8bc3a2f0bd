"""Preferences to token ids: a prompt as the engine gives it, and two answers to it, each with its end."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message
from llama_nb.tuning.data import TrainingData
from llama_nb.tuning.encoding import Overlong, Row, encode
from llama_nb.tuning.example import Example


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """Token ids, int32 each: a prompt, the better answer and the worse one."""

    prompt: npt.NDArray[np.int32]
    chosen: npt.NDArray[np.int32]
    rejected: npt.NDArray[np.int32]
    where: str = ""


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
) -> tuple[tuple[PreferenceRow, ...], tuple[str, ...]]:
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
    return rows, tuple(dict.fromkeys((*sides[0].notes, *sides[1].notes)))


def with_chosen(example: Example) -> Example:
    """Return a preference as an example of what is to be answered."""
    return _answered(example, example.chosen)


def _answered(example: Example, answer: str) -> Example:
    if not example.messages:
        return Example("pair", prompt=example.prompt, completion=answer, where=example.where)
    messages = (*example.messages, Message("assistant", answer))
    return Example("chat", messages, where=example.where)


def _joined(chosen: Row, rejected: Row) -> PreferenceRow:
    first = int(np.flatnonzero(chosen.trained)[0])
    return PreferenceRow(chosen.ids[:first], chosen.ids[first:], rejected.ids[first:], chosen.where)
