"""Data to train on: read from a file, a table, a list or chats, recognised, checked, split and kept.

A format is a file in `formats/`. Knows no tokenizer: what becomes of an example is the encoding's business.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message
from llama_nb.tuning.example import Example, Kind, counted
from llama_nb.tuning.formats import Format, find_format, recognise
from llama_nb.tuning.json_lines import line, replace_bytes
from llama_nb.tuning.records import Record, read_file, read_frame, read_rows

__all__ = ["Example", "Kind", "TrainingData", "load_data", "read_data"]

_FEW: Final = 10  # of fewer examples none is taken for validation unless a number is asked for


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Examples and what is known about them.

    Parameters
    ----------
    examples
        All of one kind, in the order of their source.
    format
        The name of the format they were read in.
    source
        What they were read from: a file's name, "a DataFrame".
    notes
        Sentences for the user: how fields were understood, what is odd.
    """

    examples: tuple[Example, ...]
    format: str
    source: str
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what the examples say, in their order; where they stand does not count."""
        digest = hashlib.sha256()
        for example in self.examples:
            digest.update(f"{example.kind}\n{example.content}\n".encode("utf-8", "replace"))
        return digest.hexdigest()

    @property
    def kind(self) -> Kind:
        """What its examples are."""
        return self.examples[0].kind if self.examples else "chat"

    def __len__(self) -> int:
        return len(self.examples)

    def __repr__(self) -> str:
        return f"TrainingData({counted(len(self), self.kind)} from {self.source}, format {self.format})"

    def split(self, validation: float, seed: int = 0) -> tuple["TrainingData", "TrainingData"]:
        """Return the examples to train on and those to validate with.

        Equal examples stay on one side, so that none is validated that was trained on.

        Parameters
        ----------
        validation
            A share below 1, or a number of examples. Of fewer than 10 examples a share takes none.
        seed
            Which ones are taken.

        Raises
        ------
        DataError
            If it is negative, or nothing would be left to train on.
        """
        count = len(self.examples)
        if validation < 0:
            raise DataError(
                f"validation is {validation}.", "A share such as 0.05, a number of examples, or 0."
            )
        if validation >= 1:
            wanted = int(validation)
        else:
            wanted = max(1, round(count * validation)) if validation and count >= _FEW else 0
        taken = self._held(wanted, seed)
        if len(taken) == count and validation < 1:
            taken = set()  # all are alike: nobody asked for so many
        elif wanted and len(taken) == count:
            raise DataError(
                f"validation={validation:g} takes all of {count:,} examples.",
                "Take fewer, or 0; equal examples are never parted.",
            )
        parts = ([e for i, e in enumerate(self.examples) if (i in taken) is side] for side in (False, True))
        train, held = (TrainingData(tuple(part), self.format, self.source, self.notes) for part in parts)
        return train, held

    def _held(self, wanted: int, seed: int) -> set[int]:
        """Return the indices of about so many examples, equal ones together."""
        alike: dict[str, list[int]] = {}
        for index, example in enumerate(self.examples):
            alike.setdefault(example.content, []).append(index)
        groups = list(alike.values())
        random.Random(f"validation {seed}").shuffle(groups)
        taken: set[int] = set()
        for group in groups:
            if len(taken) + len(group) <= wanted:
                taken.update(group)
        return taken if taken or not wanted else set(min(groups, key=len, default=()))

    def save(self, path: Path) -> None:
        """Write the examples as JSON lines, whole or not at all; `load_data` reads them.

        Raises
        ------
        OSError
            If they cannot be written; what was there stays.
        """
        replace_bytes(path, b"".join(line(example.to_record()) for example in self.examples), synced=True)


def load_data(path: Path, *, format: str = "", source: str = "") -> TrainingData:  # noqa: A002 - as users say it
    """Return what `TrainingData.save` wrote; an empty file is no examples.

    Raises
    ------
    DataError
        Naming the line that is damaged.
    """
    try:
        empty = not path.read_bytes().strip()
    except OSError as error:
        raise DataError(f"{path.name} cannot be read: {error.strerror}.") from error
    records = [] if empty else read_file(path)
    odd = next((record for record in records if not isinstance(record.value, Mapping)), None)
    if odd is not None:
        raise DataError(f"{odd.where}: there is no example.", "The file was changed by hand.")
    examples = tuple(Example.from_record(record.value, record.where) for record in records)
    return TrainingData(examples, format, source or path.name)


def read_data(source: Any, format: str | None = None, *, name: str = "data") -> TrainingData:  # noqa: A002
    """Return the examples in `source`.

    Parameters
    ----------
    source
        The path of a JSONL, JSON, CSV, TSV or Parquet file; a DataFrame; a list of dicts, of texts, of lists
        of messages or of chats; a `datasets.Dataset`; a chat; or TrainingData, which is returned.
    format
        The name of its format; None: it is recognised.
    name
        What a variable is called in messages.

    Raises
    ------
    DataError
        Naming the file, the line, the field and what was expected.
    """
    if isinstance(source, TrainingData):
        return source
    records, origin = _records(source, name)
    if not records:
        raise DataError(f"{origin} has no examples.", "Give at least one record.")
    records = [Record(record.where, _mapping(record)) for record in records]
    form = find_format(format) if format else recognise(records)
    examples = tuple(form.read(record.value, record.where) for record in records)
    kinds = Counter(example.kind for example in examples)
    if len(kinds) > 1:
        examples = tuple(_as_chat(example) for example in examples)
    return TrainingData(examples, form.NAME, origin, tuple(_notes(form, records[0].value, examples)))


def _records(source: Any, name: str) -> tuple[list[Record], str]:
    """Return the records, and what they were read from."""
    if isinstance(source, str | Path):
        path = Path(source).expanduser()
        return read_file(path), path.name
    if hasattr(source, "to_rows"):
        return list(read_rows(source.to_rows(), name)), f"the chat {getattr(source, 'name', name)}"
    kind = type(source).__name__
    if hasattr(source, "itertuples"):
        return read_frame(source, name), "a DataFrame"
    rows = next((m for m in ("to_dicts", "to_pylist") if hasattr(source, m)), None)  # of Polars, of Arrow
    if rows is not None:
        return list(read_rows(getattr(source, rows)(), name)), f"a {kind}"
    if kind == "Series":
        return list(read_rows(source.tolist(), name)), "a Series"
    if isinstance(source, Mapping):
        splits = ", ".join(map(str, source))
        raise DataError(
            f"{name} is a {kind} with {splits or 'nothing'} in it.",
            f"Choose one split: {name}[{next(iter(source), 'train')!r}]"
            if source
            else "Give a list of records.",
        )
    if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray):
        what = {"list": "a list", "tuple": "a list", "Dataset": "a Dataset"}.get(kind, f"a {kind}")
        return list(read_rows(source, name)), what
    raise DataError(
        f"{name} is a {kind}.",
        "Data is a path, a DataFrame, a list of records, a datasets.Dataset or a chat.",
    )


def _mapping(record: Record) -> dict[str, Any]:
    value = record.value
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    if isinstance(value, str):
        return {"text": value}
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(item, Mapping | Message) for item in value)
    ):
        return {"messages": list(value)}
    raise DataError(
        f"{record.where}: the record is {_called(value)}.",
        'A record is an object such as {"prompt": "...", "completion": "..."}, a text or a list of messages.',
    )


def _called(value: Any) -> str:
    names = {"list": "a list", "tuple": "a list", "int": "a number", "float": "a number", "NoneType": "null"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def _as_chat(example: Example) -> Example:
    """Return a pair as the conversation that it is, where others have more turns than it."""
    if example.kind != "pair":
        return example
    messages = (Message("user", example.prompt), Message("assistant", example.completion))
    return Example("chat", messages, where=example.where)


def _notes(form: Format, first: Mapping[str, Any], examples: Sequence[Example]) -> Iterable[str]:
    count = len(examples)
    how = form.note(first)
    yield f"Read as {form.NAME}: {form.DESCRIPTION}{f'; {how}' if how else ''}."
    seen = Counter(example.content for example in examples)
    twice = count - len(seen)
    if twice:
        text, times = seen.most_common(1)[0]
        where = next(example.where for example in examples if example.content == text)
        yield f"Repeated: {twice:,} of {count:,} examples; {where} is there {times} times."
    empty = [example.where for example in examples if example.has_empty_answer]
    if empty:
        yield f"Empty answers, which teach nothing: {len(empty):,} of {count:,} examples, first {empty[0]}."
