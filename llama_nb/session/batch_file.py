"""The results of a batch on disk: one JSON line a row, appended as they come, so that a stop costs nothing.

Each line says which prompt, model and sampling it belongs to: a file of another batch is never continued.
"""

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import BatchError, nearest
from llama_nb.core.intervention import Intervention
from llama_nb.core.messages import Message
from llama_nb.core.sampling import Sampling
from llama_nb.session.batch_result import BatchRow
from llama_nb.session.store import append_line

SCHEMA: Final = 1
_EVERY_ROWS: Final = 16
_EVERY_S: Final = 2.0
_OVERWRITE: Final = "Take another file, or replace it with overwrite=True (--overwrite)."


def prompt_key(asked: Sequence[Message] | str) -> str:
    """Return what tells this prompt from others: 16 hexadecimal digits."""
    if isinstance(asked, str):
        return _digest(asked)
    return _digest([[message.role, message.content] for message in asked])


def sampling_key(sampling: Sampling, interventions: Sequence[Intervention] = (), adapter: str = "") -> str:
    """Return what tells these sampling parameters from others: 16 hexadecimal digits.

    So does what is changed in the model, and which adapters are on.
    """
    off = {"interventions": [each.record() for each in interventions]} if interventions else {}
    on = {"adapter": adapter} if adapter else {}
    return _digest(sampling.to_dict() | off | on)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")).hexdigest()[:16]


class BatchFile:
    """One file of results.

    Parameters
    ----------
    path
        The file, which may not exist; its folder does.
    model, sampling
        The keys of what makes the results now.
    prompts
        The keys of the prompts in order; None where a row has no prompt.
    """

    def __init__(self, path: Path, model: str, sampling: str, prompts: Sequence[str | None]) -> None:
        self.path = path
        self._facts = {"model": model, "sampling": sampling}
        self._prompts = prompts
        self._pending: list[bytes] = []
        self._written = time.monotonic()

    def restore(self, *, overwrite: bool) -> dict[int, BatchRow]:
        """Return the answers that are there already; with `overwrite`, remove the file instead.

        Raises
        ------
        BatchError
            If the folder is missing, or the file holds something else or belongs to another batch.
        """
        if not self.path.parent.is_dir():
            near = nearest(self.path.parent.name, (each.name for each in _folders(self.path.parent.parent)))
            hint = f"Did you mean {near[0]!r}?" if near else "Make it first, or name another file."
            raise BatchError(f"The folder of {str(self.path)!r} does not exist.", hint)
        if self.path.is_dir() or self.path.is_symlink():
            raise BatchError(f"{str(self.path)!r} is a folder or a link, not a file of results.")
        if overwrite:
            self.path.unlink(missing_ok=True)
        found: dict[int, BatchRow] = {}
        if not self.path.exists():
            return found
        for record in self._records():
            self._check(record)
            if not record["error"] and record["row"] < len(self._prompts):
                found[record["row"]] = BatchRow(
                    **{name: record[name] for name in ("row", "prompt", "reply", "finish", "tokens", "seed")}
                )
        return found

    def add(self, row: BatchRow) -> None:
        """Append an answer; the disk has it within two seconds or 16 rows."""
        record = {
            "schema": SCHEMA,
            "row": row.row,
            "prompt": row.prompt,
            "reply": row.reply,
            "finish": row.finish,
            "tokens": row.tokens,
            "seed": row.seed,
            "error": row.error,
            "key": self._prompts[row.row],
            **self._facts,
        }
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        self._pending.append(line)
        if len(self._pending) >= _EVERY_ROWS or time.monotonic() - self._written >= _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits and wait for the disk.

        Raises
        ------
        BatchError
            If the file cannot be written.
        """
        lines, self._pending = b"".join(self._pending), []
        self._written = time.monotonic()
        if not lines:
            return
        try:
            append_line(self.path, lines)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise BatchError(
                f"{str(self.path)!r} cannot be written: {reason}.",
                "What was written stays; run it again to go on.",
            ) from error

    def _records(self) -> list[Mapping[str, Any]]:
        try:
            lines = self.path.read_bytes().split(b"\n")
        except OSError as error:
            raise BatchError(f"{str(self.path)!r} cannot be read: {error.strerror}.") from error
        records = []
        strange = 0
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                strange = strange or number  # a power cut leaves half a line
                continue
            if not _is_record(record):
                raise self._not_ours(number)
            records.append(record)
        if strange and not records:
            raise self._not_ours(strange)
        return records

    def _not_ours(self, line: int) -> BatchError:
        return BatchError(
            f"{str(self.path)!r} is no file of a batch's results: line {line} is something else.", _OVERWRITE
        )

    def _check(self, record: Mapping[str, Any]) -> None:
        reason = ""
        if record["model"] != self._facts["model"]:
            reason = "another model made them"
        elif record["sampling"] != self._facts["sampling"]:
            reason = "they were made with other sampling parameters"
        elif record["row"] < len(self._prompts) and record["key"] != self._prompts[record["row"]]:
            reason = f"row {record['row']} asks something else"
        if reason:
            raise BatchError(
                f"The results in {str(self.path)!r} are not of this batch: {reason}.", _OVERWRITE
            )


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "row": (int,),
    "prompt": (str,),
    "reply": (str, type(None)),
    "finish": (str,),
    "tokens": (int,),
    "seed": (int, type(None)),
    "error": (str,),
    "key": (str, type(None)),
    "model": (str,),
    "sampling": (str,),
}


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and record.get("schema") == SCHEMA
        and all(name in record and isinstance(record[name], kinds) for name, kinds in _KINDS.items())
        and record["row"] >= 0
    )


def _folders(parent: Path) -> list[Path]:
    with contextlib.suppress(OSError):
        return [each for each in parent.iterdir() if each.is_dir()]
    return []
