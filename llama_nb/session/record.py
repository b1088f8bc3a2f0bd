"""Recording: every reply is appended to a file as it ends, so that it can be played back without the model.

Knows when and where lines are written; what stands in them is `engines/recording.py`'s business, and how they
are found again is `session/replay.py`'s. Nothing of ours is raised into a reply: what cannot be written, or
looks like a key, is left out, and a note says so.
"""

import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from llama_nb.core.errors import LlamaError, RecordingError
from llama_nb.core.events import Note, publish
from llama_nb.core.request import Request
from llama_nb.engines.recording import (
    SCHEMA,
    ModelFacts,
    RecordedReply,
    digest,
    error_record,
    request_record,
    sampling_record,
)
from llama_nb.engines.recording_engine import RecordingEngine
from llama_nb.engines.replay_engine import ReplayEngine
from llama_nb.runtime.environment import notebook_path
from llama_nb.runtime.secrets import redact
from llama_nb.session.store import append_line

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.session.handle import Handle

SUFFIX: Final = ".replies.jsonl"
_BEGINNING: Final = b'{"recording":'  # of every line

_lock = threading.Lock()
_running: "ReplyRecorder | None" = None


class ReplyRecorder:
    """A recording that runs until `stop`, or until its `with` block ends. Made by `record`.

    Attributes
    ----------
    file
        Where the lines go: JSON, one reply a line, appended and synced, mode 0600.
    replies
        How many replies were recorded since it began.
    left_out
        How many were not: what looks like a key stands in them, or the file could not be written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.replies = 0
        self.left_out = 0
        self._take = secrets.token_hex(4)
        self._told: set[str] = set()
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether replies are still recorded."""
        return _running is self

    def stop(self) -> None:
        """Record no more; harmless when it has stopped."""
        global _running
        with _lock:
            if _running is self:
                _running = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def __repr__(self) -> str:
        count = f"{self.replies:,} {'reply' if self.replies == 1 else 'replies'}"
        return f"{'Recording into' if self.running else 'Recorded into'} {self.file.name}: {count}"

    # --- told by engines ----------------------------------------------------------------------------

    def reply(self, facts: ModelFacts, request: Request, reply: RecordedReply) -> None:
        """Append a reply; one without a token that no error ended is none."""
        if not reply.tokens and reply.error is None:
            return
        asked = {"request": request_record(request), "sampling": sampling_record(request.sampling)}
        # A token alone is no key; what they spell together may be.
        spoken = _json(asked) + "".join(token.text for token in reply.tokens)
        if self._write(facts, "reply", {**asked, **reply.to_record()}, spoken):
            self.replies += 1
        else:
            self.left_out += 1

    def answer(
        self, facts: ModelFacts, call: str, asked: Any, value: Any, error: LlamaError | None, *, once: bool
    ) -> None:
        """Append what an engine answered, `once` if it always answers alike."""
        if not once or self._is_new(f"{facts.id} {call} {digest(asked)}"):
            refused = None if error is None else error_record(error)
            line = {"call": call, "asked": asked, "value": value, "error": refused}
            self._write(facts, "answer", line, _json(line))

    def names(self, facts: ModelFacts, names: Sequence[tuple[int, str, bool]]) -> None:
        """Append what tokens show as, those that are new."""
        model = facts.id
        new = [list(row) for row in names if self._is_new(f"{model} name {row[0]}")]
        if new:
            self._write(facts, "names", {"names": new}, "")

    def _is_new(self, key: str) -> bool:
        with self._lock:
            known = key in self._told
            self._told.add(key)
        return not known

    def _write(self, facts: ModelFacts, kind: str, content: Mapping[str, Any], spoken: str) -> bool:
        """Append a line, unless a key stands in `spoken`, and the model's before its first; say whether."""
        if redact(spoken) != spoken:
            if kind == "reply":
                publish(Note("Not recorded: what looks like a key stands in the message or in the reply."))
            return False
        line = self._line(facts, kind, content)
        with self._lock:
            first = facts.id not in self._told
            lines = [self._line(facts, "model", {"facts": facts.to_record()}), line] if first else [line]
            try:
                # Half a character, which UTF-8 cannot hold, becomes an escape that JSON reads.
                append_line(self.file, "".join(lines).encode("utf-8", "backslashreplace"))
            except OSError as error:
                reason = error.strerror or type(error).__name__
                if "failed" not in self._told:
                    publish(Note(f"Replies cannot be recorded into {self.file.name}: {reason}."))
                self._told.add("failed")
                return False
            self._told.add(facts.id)
        return True

    def _line(self, facts: ModelFacts, kind: str, content: Mapping[str, Any]) -> str:
        head = {"recording": SCHEMA, "take": self._take, "type": kind, "model": facts.id}
        return _json({**head, **content}) + "\n"


def record(path: str | Path | None = None) -> ReplyRecorder:
    """Record every reply of every model from now on, so that `load(..., replay=path)` can play it back.

    A model that is loaded now or later need not be told. What is recorded: the messages (or the text), the
    sampling parameters, the tokens with their alternatives, how each reply ended, and facts of the model.

    Parameters
    ----------
    path
        A file that is appended to; default `<notebook>.replies.jsonl` beside the notebook.

    Returns
    -------
    ReplyRecorder
        Records until its `stop()`, or to the end of a `with` block. When the file is recorded into already,
        that recording.

    Raises
    ------
    RecordingError
        If another file is recorded into, or there is something else at the path.
    """
    global _running
    file = default_file() if path is None else Path(path).expanduser()
    # The folder may be a link, the file may not: see `append_line`.
    file = file.parent.resolve() / file.name
    with _lock:
        if _running is not None:
            if _running.file == file:
                return _running
            raise RecordingError(
                f"Replies are recorded into {_running.file.name} already.",
                "Stop that first: %llama record --stop",
            )
        _check(file)
        _running = ReplyRecorder(file)
        return _running


def recorder() -> ReplyRecorder | None:
    """Return the recording that runs, if any."""
    return _running


def default_file() -> Path:
    """Return where a recording goes when no file is named."""
    notebook = notebook_path()
    return notebook.with_suffix(SUFFIX) if notebook is not None else Path.cwd() / f"session{SUFFIX}"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def remembered(engine: "Engine", call: str, asked: Any, work: Callable[[], Any]) -> Any:
    """Return what `work` measures on a model, as JSON values; where that is played back, what was recorded.

    Raises
    ------
    UnsupportedError
        If the model is played back, and this was not recorded.
    """
    if isinstance(engine, ReplayEngine):
        return engine.recall(call, asked)
    value = work()
    if isinstance(engine, RecordingEngine):
        engine.tell(call, asked, value)
    return value


def tap(handle: "Handle", engine: "Engine") -> "Engine":
    """Return an engine that does as `engine` does and tells the recording that runs."""
    facts = _facts(handle, engine)
    tapped: Engine = RecordingEngine(engine, facts, recorder)
    return tapped


def _facts(handle: "Handle", engine: "Engine") -> ModelFacts:
    template = getattr(handle.loaded, "chat_template", None)
    able = engine.capabilities
    generation = {
        name: value
        for name, value in dict(handle.loaded.generation).items()
        if isinstance(value, bool | int | float)
    }
    return ModelFacts(
        source=redact(handle.source),
        name=handle.name,
        fingerprint=handle.fingerprint,
        model_type=handle.checked.model_type,
        parameters=handle.parameters,
        context=handle.context,
        dtype=handle.dtype,
        device=handle.device,
        bytes=handle.bytes,
        quant=handle.quant,
        quant_notes=tuple(handle.quant_notes),
        template=digest(template or "") if engine.has_chat_template else None,
        config=dict(getattr(handle.checked, "config", {})),
        schema=able.schema,
        logprobs=able.logprobs,
        generation=generation,
    )


def _check(file: Path) -> None:
    """Raise RecordingError unless a recording can go into `file`: no other file of the user's is touched."""
    if not file.parent.is_dir():
        raise RecordingError(f"There is no folder {file.parent.name!r} for {file.name}.", "Make it first.")
    if file.is_symlink() or (file.exists() and not file.is_file()):
        raise RecordingError(f"{file.name} is no plain file.", "Name another one: %llama record FILE")
    if not file.exists():
        return
    try:
        with file.open("rb") as opened:
            first = opened.read(len(_BEGINNING))
    except OSError as error:
        raise RecordingError(f"{file.name} cannot be read: {error.strerror}.", "Name another file.") from None
    if first.strip() and not first.startswith(_BEGINNING):
        raise RecordingError(
            f"{file.name} is there already and holds something else than recorded replies.",
            "Nothing is written into it. Name another file: %llama record FILE",
        )
