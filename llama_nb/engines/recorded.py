"""A recording that is read: which models are in its file, and what each answered to what.

A file is only ever appended to, by any number of kernels; one that recorded from one start to one stop made
a *take*. Of several takes the newest one that holds a question answers it. Lines that cannot be read are left
out and counted. The tokens of a reply are read when they are asked for: a file takes its own size of memory.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import RecordingError
from llama_nb.engines.recording import (
    SCHEMA,
    Damaged,
    ModelFacts,
    RecordedReply,
    digest,
    mapping,
    read_facts,
    read_reply,
    text,
    whole,
)

LARGEST_FILE: Final = 500_000_000
LONGEST_LINE: Final = 100_000_000
_HINT: Final = "Name the file: %llama load cria --replay FILE"


@dataclass(slots=True)
class Question:
    """One thing that was asked, and its replies by take, in the order in which they came.

    Attributes
    ----------
    request, sampling
        As `recording.request_record` and `sampling_record` make them.
    """

    request: Mapping[str, Any]
    sampling: Mapping[str, Any]
    lines: dict[str, list[bytes]] = field(default_factory=dict)

    def reply(self, number: int) -> RecordedReply:
        """Return reply `number` of the newest take, or its last one; Damaged if that is none."""
        lines = self.lines[next(reversed(self.lines))]
        return read_reply(json.loads(lines[min(number, len(lines) - 1)]))


@dataclass(slots=True)
class RecordedModel:
    """What one model answered.

    Attributes
    ----------
    questions
        By `digest` of the request and the sampling.
    answers
        What else was asked of its engine, by name and `digest` of what was asked, and what came of it.
    names
        What tokens show as, and whether they are control tokens.
    """

    facts: ModelFacts
    questions: dict[str, Question] = field(default_factory=dict)
    answers: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = field(default_factory=dict)
    names: dict[int, tuple[str, bool]] = field(default_factory=dict)

    def answer(self, call: str, asked: Any, number: int) -> Mapping[str, Any] | None:
        """Return answer `number` of the newest take, or its last one; None if nothing was answered."""
        takes = self.answers.get((call, digest(asked)))
        if not takes:
            return None
        given = takes[next(reversed(takes))]
        return given[min(number, len(given) - 1)]


@dataclass(slots=True)
class Recording:
    """A file of recorded replies.

    Attributes
    ----------
    models
        By id, in the order in which they were recorded.
    skipped
        The lines that could not be read, with the reason.
    """

    path: Path
    models: dict[str, RecordedModel] = field(default_factory=dict)
    skipped: list[tuple[int, str]] = field(default_factory=list)

    @property
    def replies(self) -> int:
        """How many replies there are."""
        return sum(
            len(lines)
            for model in self.models.values()
            for question in model.questions.values()
            for lines in question.lines.values()
        )


def read_recording(path: Path) -> Recording:
    """Read a file of recorded replies.

    Raises
    ------
    RecordingError
        If there is none, it is too large, or written in a format of a later version.
    """
    recording = Recording(path)
    try:
        if not path.is_file():
            raise RecordingError(f"There is no file {path.name} with recorded replies.", _HINT)
        if path.stat().st_size > LARGEST_FILE:
            raise RecordingError(
                f"{path.name} has {path.stat().st_size / 1e9:,.1f} GB, more than {LARGEST_FILE / 1e9:.1f}.",
                "Record each notebook into a file of its own.",
            )
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    _read_line(recording, number, line)
    except OSError as error:
        raise RecordingError(f"{path.name} cannot be read: {error.strerror or error}.", _HINT) from None
    return recording


def _read_line(recording: Recording, number: int, line: bytes) -> None:
    try:
        if len(line) > LONGEST_LINE:
            raise Damaged("longer than a line can be")
        record = mapping(json.loads(line), "the line")
        schema = whole(record.get("recording"), "its format")
        if schema > SCHEMA:
            raise RecordingError(
                f"{recording.path.name} was recorded by a later version of llama-nb "
                f"(format {schema}, not {SCHEMA}).",
                "Update it: pip install --upgrade llama-nb",
            )
        _take(recording, record, line)
    except Damaged as error:
        recording.skipped.append((number, str(error)))
    except (ValueError, RecursionError):
        cut = "" if line.endswith(b"\n") else ": it is cut off"
        recording.skipped.append((number, f"no JSON{cut}"))


def _take(recording: Recording, record: Mapping[str, Any], line: bytes) -> None:
    """Put one line where it is looked for."""
    take, kind = text(record.get("take"), "take", 64), record.get("type")
    key = text(record.get("model"), "model", 64)
    if kind == "model":
        recording.models.setdefault(key, RecordedModel(read_facts(record.get("facts"))))
        return
    model = recording.models.get(key)
    if model is None:
        raise Damaged("its model is not described before it")
    if kind == "reply":
        request = mapping(record.get("request"), "request")
        sampling = mapping(record.get("sampling"), "sampling")
        # Its tokens are checked when they are asked for: that takes three times as long as all the rest.
        question = model.questions.setdefault(digest([request, sampling]), Question(request, sampling))
        _newest(question.lines, take).append(line)
    elif kind == "answer":
        asked = text(record.get("call"), "call", 64), digest(record.get("asked"))
        _newest(model.answers.setdefault(asked, {}), take).append(record)
    elif kind == "names":
        for row in _rows(record.get("names")):
            model.names[whole(row[0], "a token id")] = (text(row[1], "a token"), row[2] is True)
    else:
        raise Damaged("a kind of line that is not known")


def _newest(takes: dict[str, list[Any]], take: str) -> list[Any]:
    return takes.setdefault(take, [])


def _rows(value: Any) -> Sequence[Sequence[Any]]:
    if not isinstance(value, list) or not all(isinstance(row, list) and len(row) == 3 for row in value):
        raise Damaged("names are no list of rows")
    return value
