"""Where a batch's rows come from: a variable or a file, read into a table; mistakes are named by line."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import BatchError, did_you_mean, nearest

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".json")
_TEXT_COLUMN: Final = "text"  # what the one column of a list of texts is called


def find_table(word: str, variables: Mapping[str, Any]) -> "pd.DataFrame":
    """Return the table that `word` names: a variable (DataFrame, Series, list), else a file.

    Raises
    ------
    BatchError
        If there is neither, it cannot be read, or it has no rows.
    """
    if not word:
        raise BatchError(
            "There is no data.",
            "Name a file or a variable: %%llama batch data.csv --column question",
        )
    table = as_table(variables[word], word) if word in variables else read_table(_path(word, variables))
    if not len(table):
        raise BatchError(f"{word} has no rows.")
    return table


def as_table(value: Any, name: str) -> "pd.DataFrame":
    """Return a DataFrame, Series or list as a table.

    Raises
    ------
    BatchError
        If it is something else.
    """
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value
    if isinstance(value, pd.Series):
        return value.to_frame(str(value.name) if value.name is not None else _TEXT_COLUMN)
    if isinstance(value, list | tuple):
        return _rows_to_table(value, name)
    raise BatchError(f"{name} is a {type(value).__name__}.", "A table is a DataFrame, a Series or a list.")


def read_table(path: Path) -> "pd.DataFrame":
    """Read a CSV, TSV, JSONL or JSON file; texts stay as they are written.

    Raises
    ------
    BatchError
        Naming the file, the line and what was expected there.
    """
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise BatchError(
            f"{path.name} ends in {kind or 'nothing'}: tables are read from {', '.join(SUFFIXES)}.",
            "Read it into a DataFrame and name the variable.",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BatchError(f"{path.name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise BatchError(
            f"{path.name} is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}.",
            "Save it as UTF-8, or read it with pandas (encoding=...) and name the variable.",
        ) from None
    if not text.strip():
        raise BatchError(f"{path.name} is empty.")
    if kind in (".csv", ".tsv"):
        return _read_csv(text, path.name, "\t" if kind == ".tsv" else ",")
    if kind == ".json":
        return _rows_to_table(_read_json(text, path.name), path.name)
    return _rows_to_table(_read_lines(text, path.name), path.name)


def pick_column(table: "pd.DataFrame", asked: str | None, name: str) -> "pd.Series":
    """Return the column `asked`; without one the only column there is.

    Raises
    ------
    BatchError
        Naming the columns there are, the nearest first.
    """
    columns = [str(column) for column in table.columns]
    if asked is None:
        if len(columns) == 1:
            return table.iloc[:, 0]
        raise BatchError(
            f"{name} has {len(columns)} columns: {_listed(columns)}.",
            "Choose one with --column, or write a template into the cell: {{ column }}.",
        )
    if asked not in columns:
        near = did_you_mean(asked, columns)
        raise BatchError(
            f"{name} has no column {asked!r}.", f"{near} Its columns: {_listed(columns)}.".strip()
        )
    return table.iloc[:, columns.index(asked)]


def _path(word: str, variables: Mapping[str, Any]) -> Path:
    path = Path(word).expanduser()
    if path.is_file():
        return path
    folder = path.parent
    files = [each.name for each in folder.iterdir() if each.suffix in SUFFIXES] if folder.is_dir() else []
    tables = [name for name, value in variables.items() if not name.startswith("_") and _is_data(value)]
    near = nearest(path.name, [*files, *tables])
    if path.suffix or "/" in word:
        message = f"There is no file {word!r}." if folder.is_dir() else f"There is no folder {str(folder)!r}."
    else:
        message = f"There is neither a variable nor a file {word!r}."
    raise BatchError(message, f"Did you mean {' or '.join(near)}?" if near else "")


def _is_data(value: Any) -> bool:
    return isinstance(value, list) or type(value).__name__ in ("DataFrame", "Series")


def _read_csv(text: str, name: str, separator: str) -> "pd.DataFrame":
    import pandas as pd

    # The csv module and not pandas: it counts lines through quoted line ends, and knows a missing field.
    reader = csv.reader(text.splitlines(keepends=True), delimiter=separator, strict=True)
    rows: list[list[str | None]] = []
    try:
        columns = next(reader)
        if len(set(columns)) < len(columns):
            twice = next(column for column in columns if columns.count(column) > 1)
            raise BatchError(f"{name}, line 1: there are two columns {twice!r}.", "Give each its own name.")
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                raise BatchError(
                    f"{name}, line {reader.line_num}: {len(row)} fields, expected {len(columns)} "
                    f"({_listed(columns)}).",
                    "A text with a comma stands in double quotes.",
                )
            rows.append([field or None for field in row])
    except csv.Error as error:
        raise BatchError(
            f"{name}, line {reader.line_num}: {error}.", "Quotes inside a quoted text are written twice."
        ) from None
    return pd.DataFrame(rows, columns=columns, dtype=object)


def _read_lines(text: str, name: str) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            place = getattr(error, "colno", 1)
            raise BatchError(
                f"{name}, line {number}, column {place}: {getattr(error, 'msg', error)}; "
                f"there is {line[max(0, place - 1) :][:40]!r}.",
                'Each line is one JSON value: {"question": "..."}',
            ) from None
    return rows


def _read_json(text: str, name: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        where = f"line {getattr(error, 'lineno', 1)}, column {getattr(error, 'colno', 1)}"
        raise BatchError(
            f"{name}, {where}: {getattr(error, 'msg', error)}.", "A JSON list was expected."
        ) from None
    if not isinstance(value, list):
        raise BatchError(
            f"{name} holds a JSON {type(value).__name__}.", "A list of texts or objects was expected."
        )
    return value


def _rows_to_table(rows: Sequence[Any], name: str) -> "pd.DataFrame":
    import pandas as pd

    objects = [isinstance(row, Mapping) for row in rows]
    if rows and all(objects):
        return pd.DataFrame(list(rows), dtype=object)
    if any(objects):
        place = objects.index(not objects[0])
        raise BatchError(
            f"{name}: entry {place} is a {type(rows[place]).__name__}, the ones before are "
            f"{'objects' if objects[0] else 'not objects'}.",
            "All are texts, or all are objects with the same keys.",
        )
    column = pd.Series(list(rows), dtype=object)
    return column.to_frame(_TEXT_COLUMN)


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:12])
    return f"{shown}, and {len(columns) - 12} more" if len(columns) > 12 else shown
