"""What a corpus is made of: texts out of a list or a table, with their labels, as token ids.

Knows tables and engines; knows nothing of routers.
"""

import array
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import ContextOverflow, MessageError, did_you_mean
from llama_nb.core.request import Request
from llama_nb.session.asking import check_text

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.engines.base import Engine
    from llama_nb.interpret.passages import Passages

_TEXT: Final = ("text",)
_LABELS: Final = ("label", "domain", "category")
_LONGEST_LABEL: Final = 200


def read_table(
    table: "pd.DataFrame", column: str | None, label: str | None
) -> tuple[list[Any], list[Any] | None]:
    """Return the texts of a table and their labels.

    Parameters
    ----------
    column
        The texts' column; default "text", or the only one there is.
    label
        The labels' column; default "label", "domain" or "category", where there is one.

    Raises
    ------
    MessageError
        If there is no such column, or no row.
    """
    names = [str(each) for each in table.columns]
    if not len(table):
        raise MessageError("The table has no rows.", "Its texts are read one after the other: one a row.")
    place = _find(names, column, _TEXT, "column")
    if place is None and len(names) == 1:
        place = 0
    if place is None:
        raise MessageError(
            f"The table has no column 'text'. Its columns: {_listed(names)}.",
            f"Say where the texts are: column={names[0]!r}" if names else "",
        )
    labelled = _find(names, label, [each for each in _LABELS if each != names[place]], "label")
    return table.iloc[:, place].tolist(), None if labelled is None else table.iloc[:, labelled].tolist()


def read_corpus(engine: "Engine", texts: Sequence[Any], labels: Sequence[Any] | None) -> "Passages":
    """Return texts as token ids, one after the other.

    Raises
    ------
    MessageError
        If one of them is no text or empty, or a label is none; its row is named, counted from 0.
    ContextOverflow
        If one has more tokens than the context.
    """
    import numpy as np

    from llama_nb.interpret.passages import Passages, number_labels

    if not texts:
        raise MessageError("There are no texts to look at.", 'm.routing(["Once upon a time", "2 + 2 = 4"])')
    domains, about = number_labels(_labels(labels)) if labels is not None else ((), None)
    ids = array.array("i")
    starts = np.zeros(len(texts) + 1, np.int64)
    for row, text in enumerate(texts):
        ids.extend(_ids(engine, text, row))
        starts[row + 1] = len(ids)
    tokens = np.array(ids, np.int32)
    used = np.unique(tokens).tolist()
    words = {token: engine.token_texts([token])[0] for token in used}
    special = frozenset(token for token in used if engine.is_special(token))
    return Passages(tokens, words, special, starts, domains, about)


def _ids(engine: "Engine", text: Any, row: int) -> tuple[int, ...]:
    if not isinstance(text, str):
        kind = "missing" if text is None or text != text else f"a {type(text).__name__}, not text"
        raise MessageError(f"Text {row} is {kind}.", "Rows count from 0; leave such rows out.")
    if not text.strip():
        raise MessageError(f"Text {row} is empty.", "Rows count from 0; leave such rows out.")
    check_text(text, f"Text {row}")
    ids = engine.prompt(Request(text)).ids
    if len(ids) > engine.context:
        raise ContextOverflow(
            f"Text {row} has {len(ids):,} tokens; the context of {engine.name} is {engine.context:,}.",
            "Cut it into shorter ones, or load a model with a longer context. Rows count from 0.",
        )
    return ids


def _labels(labels: Sequence[Any]) -> list[str]:
    from llama_nb.interpret.passages import MOST_DOMAINS

    found = [_label(each, row) for row, each in enumerate(labels)]
    distinct = len(set(found) - {""})
    if not distinct:
        raise MessageError("No text has a label: the column is empty.", "Name another one with label=...")
    if distinct > MOST_DOMAINS:
        raise MessageError(
            f"There are {distinct:,} different labels; {MOST_DOMAINS} at most.",
            "A label says what a text is about, as many others are: label=...",
        )
    return found


def _label(value: Any, row: int) -> str:
    """Return a label as text; one that is missing is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ == "NAType":
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers with a gap between them
    if isinstance(value, list | dict | set | tuple):
        raise MessageError(f"The label of text {row} is a {type(value).__name__}.", "A label is one word.")
    label = str(value).strip()
    check_text(label, f"The label of text {row}")
    if len(label) > _LONGEST_LABEL:
        raise MessageError(
            f"The label of text {row} has {len(label):,} characters: {label[:40]!r}...",
            "Name the column of labels with label=...",
        )
    return label


def _find(names: list[str], asked: str | None, usual: Sequence[str], what: str) -> int | None:
    """Return the place of the column that is asked for; without one the first of the usual ones."""
    if asked is None:
        return next((names.index(each) for each in usual if each in names), None)
    if asked not in names:
        near = did_you_mean(str(asked), names)
        raise MessageError(
            f"{what}={asked!r}: the table has no such column.",
            f"{near} Its columns: {_listed(names)}.".strip(),
        )
    return names.index(asked)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:12])
    return f"{shown}, and {len(names) - 12} more" if len(names) > 12 else shown
