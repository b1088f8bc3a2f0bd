"""Files and variables as records, each with the place where it stands; mistakes are named by line.

What a record means is the business of formats, and of who asks a model about it.
"""

import csv
import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from llama_nb.core.errors import DataError, nearest

_HUB_ID: Final = re.compile(r"[\w-][\w.-]*/[\w-]+")  # as far as it cannot be a file with an ending


class Record(NamedTuple):
    """One record: a mapping, a text or a list of messages, and where it stands."""

    where: str
    value: Any


def read_file(path: Path) -> list[Record]:
    """Return the records of a JSONL, JSON, CSV, TSV or Parquet file.

    Raises
    ------
    DataError
        Naming the file, the line and what was expected there.
    """
    kind = path.suffix.lower()
    if path.is_dir() or (not kind and not path.exists()):
        raise _missing(path)
    if kind not in READERS:
        near = nearest(kind, READERS, 1)
        raise DataError(
            f"{path.name} ends in {kind or 'nothing'}: data is read from {', '.join(READERS)}.",
            f"Did you mean {path.stem}{near[0]}?" if near else "Read it in Python and name the variable.",
        )
    if not path.is_file():
        raise _missing(path)
    try:
        return READERS[kind](path)
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror or error}.") from error


def read_rows(values: Any, name: str) -> Iterator[Record]:
    """Yield the records of a list or of anything else to iterate; a chat in it gives its conversations."""
    for index, value in enumerate(values):
        if hasattr(value, "to_rows"):
            rows = enumerate(value.to_rows(), start=1)
            yield from (Record(f"{name}[{index}], conversation {number}", row) for number, row in rows)
        else:
            yield Record(f"{name}[{index}]", value)


def read_frame(frame: Any, name: str) -> list[Record]:
    """Return the rows of a DataFrame; what is missing in it is None."""
    columns = [str(column) for column in frame.columns]
    twice = next((column for column in columns if columns.count(column) > 1), None)
    if twice is not None:
        raise DataError(f"{name} has two columns {twice!r}.", "Give each its own name.")
    rows = frame.itertuples(index=True, name=None)
    return [
        Record(f"{name}, row {row[0]}", {c: plain(v) for c, v in zip(columns, row[1:], strict=True)})
        for row in rows
    ]


def plain(value: Any) -> Any:
    """Return a value of a table as JSON has it: lists for arrays, None for what is missing."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    # pandas' NA has no truth value; NaN and NaT are not equal to themselves.
    return None if type(value).__name__ == "NAType" or value != value else value


def _missing(path: Path) -> DataError:
    folder = path.parent
    if _HUB_ID.fullmatch(str(path)) and not folder.is_dir():
        return DataError(
            f"There is no folder {str(folder)!r}.",
            f'A data set of the hub: datasets.load_dataset("{path}", split="train"), and name the variable.',
        )
    if not folder.is_dir():
        return DataError(
            f"There is no folder {str(folder)!r}.", "Check the path; it is relative to the notebook."
        )
    files = sorted(each.name for each in folder.iterdir() if each.suffix.lower() in READERS)
    near = difflib.get_close_matches(path.name, files, n=3, cutoff=0.5)
    if path.is_dir():
        return DataError(
            f"{path.name or path} is a folder.", f"Name one file in it: {', '.join(files[:5]) or 'none'}."
        )
    hint = f"Did you mean {' or '.join(near)}?" if near else "Check the path; it is relative to the notebook."
    return DataError(f"There is no file {str(path)!r}.", hint)


def _text(path: Path) -> str:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name} is not UTF-8: byte {error.start:,} is {error.object[error.start]:#04x}.",
            "Save it as UTF-8, or read it with pandas (encoding=...) and name the variable.",
        ) from None
    if not text.strip():
        raise DataError(f"{path.name} is empty.", "Write one record a line.")
    return text


def _read_lines(path: Path) -> list[Record]:
    records = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            place = getattr(error, "colno", 1)
            raise DataError(
                f"{path.name}, line {number}, column {place}: {getattr(error, 'msg', error)}; there is "
                f"{line[max(0, place - 1) :][:40]!r}.",
                'Each line is one JSON value: {"question": "...", "answer": "..."}',
            ) from None
        records.append(Record(f"{path.name}, line {number}", value))
    return records


def _read_json(path: Path) -> list[Record]:
    try:
        value = json.loads(_text(path))
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise DataError(
            f"{path.name}, line {line}, column {column}: {getattr(error, 'msg', error)}.",
            "A JSON list was expected; a file with one record a line is called .jsonl.",
        ) from None
    if not isinstance(value, list):
        raise DataError(
            f"{path.name} holds a JSON {'object' if isinstance(value, dict) else type(value).__name__}.",
            "A list of records was expected: [{...}, {...}].",
        )
    return [Record(f"{path.name}, entry {number}", item) for number, item in enumerate(value, start=1)]


def _read_csv(path: Path) -> list[Record]:
    text = _text(path)
    # The csv module and not pandas: it counts lines through quoted line ends, and knows a missing field.
    reader = csv.reader(text.splitlines(keepends=True), delimiter=_separator(path, text), strict=True)
    records: list[Record] = []
    try:
        columns = next(reader)
        twice = next((column for column in columns if columns.count(column) > 1), None)
        if twice is not None:
            raise DataError(
                f"{path.name}, line 1: there are two columns {twice!r}.", "Give each its own name."
            )
        for row in reader:
            if row and len(row) != len(columns):
                raise DataError(
                    f"{path.name}, line {reader.line_num}: {len(row)} fields, expected {len(columns)} "
                    f"({', '.join(columns[:12])}).",
                    "A text with a separator or a line end in it stands in double quotes.",
                )
            if row:
                records.append(
                    Record(f"{path.name}, line {reader.line_num}", dict(zip(columns, row, strict=True)))
                )
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {reader.line_num}: {error}.", "Quotes inside a quoted text are written twice."
        ) from None
    return records


def _separator(path: Path, text: str) -> str:
    """Return what separates fields: where numbers have commas, spreadsheets write semicolons into a .csv."""
    first = text.split("\n", 1)[0]
    separators = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    return next((separator for separator in separators if separator in first), separators[0])


def _read_parquet(path: Path) -> list[Record]:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise DataError(
            f"{path.name} is a Parquet file, and pyarrow, which reads them, is not installed.",
            "pip install pyarrow",
        ) from None
    try:
        rows = parquet.read_table(path).to_pylist()
    except pa.ArrowException as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path.name} is no whole Parquet file: {reason}", "Write or download it again."
        ) from None
    return [Record(f"{path.name}, row {index}", plain(row)) for index, row in enumerate(rows)]


READERS: Final[Mapping[str, Callable[[Path], list[Record]]]] = {
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
}
