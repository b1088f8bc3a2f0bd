"""Where a batch's rows come from: a variable or a file, read into a table; mistakes are named by line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import BatchError, DataError, did_you_mean, nearest

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
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
    """Read a CSV, TSV, JSONL, JSON or Parquet file; texts stay as they are written.

    Raises
    ------
    BatchError
        Naming the file, the line and what was expected there.
    """
    from llama_nb.tuning.records import read_file

    try:
        records = read_file(path)
    except DataError as error:
        raise BatchError(error.message, error.hint) from None
    if path.suffix.lower() in (".csv", ".tsv"):
        # What a table leaves empty is missing, not an empty text.
        rows = [{column: field or None for column, field in record.value.items()} for record in records]
        return _rows_to_table(rows, path.name)
    return _rows_to_table([record.value for record in records], path.name)


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
