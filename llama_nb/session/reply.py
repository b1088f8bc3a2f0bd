"""One answer of a model: its tokens, how it ended, and what is saved of it in a notebook.

A Reply is filled by `session/generation.py`; it knows neither engines nor models. How it looks is
`render/reply.py`'s business, and showing it while it grows is the widgets'.
"""

import hashlib
import json
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final, Literal

from llama_nb.core.errors import ModelGone
from llama_nb.core.events import Finish, TokenEvent, Usage
from llama_nb.core.grammar import Grammar
from llama_nb.core.intervention import Intervention
from llama_nb.core.messages import Message, ToolCall
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import cell, presets
from llama_nb.session.form import Form
from llama_nb.session.reply_json import mask_notes, partial, read_reply
from llama_nb.session.why import WhyView, view_why

SCHEMA: Final = 1
MIME: Final = "application/vnd.llama-nb.reply+json"


def content_id(*parts: str | None) -> str:
    """Return the id of a message: 12 hexadecimal digits that depend on `parts` and nothing else."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


class Reply:
    """One answer, complete or still growing.

    Made by `Model.chat`, `Model.complete` and their relatives, never by hand. Every property can be read
    at any time from any thread; until `done` is true they describe the part that is there.

    Attributes
    ----------
    user, system
        What was asked (for a completion: the text that was continued), and the system prompt in force.
    chat
        Name of the chat that the reply belongs to; None for a one-off.
    parent
        Id of the reply before it in the chat; None for the first one.
    sampling
        The parameters as they were used. `seed` is the one that was drawn when none was given.
    model_name, fingerprint
        Which weights answered.
    notes
        Sentences for the reader: turns that were left out, control tokens shown as text.
    pulled
        Whether the caller takes the tokens one by one (`Model.stream`) and so shows them itself.
    error
        The error that ended the reply; its tokens up to there are kept.
    form
        The schema, pattern or choice that it is held to; None when it is free.
    calls
        The functions that it asks to have called, where tools were offered (`Model.tools`).
    results
        What calls gave that this reply answers: names of functions, and the texts that the model was told.
    asked
        Id of the chat's message that it answers; None before it is sent, and outside of a chat.
    begun
        The tokens that it began with, taken from another version of it; `tokens` has them, too.
    reader
        Takes apart what it says when it is done, where that is more than text; versions of it share this.
    special
        Which of its tokens and of their alternatives are control tokens; known when it is done.
    interventions
        What was turned off in the model while it wrote this.
    adapter
        The adapters that write it: "persona", "a:0.7 b:0.3"; "" for the base alone.
    asked_adapter
        The adapter that was asked for; None: whatever is on.
    """

    def __init__(
        self,
        *,
        kind: Literal["chat", "complete"],
        model_name: str,
        fingerprint: str,
        sampling: Sampling,
        user: str | None,
        system: str | None = None,
        chat: str | None = None,
    ) -> None:
        self.kind = kind
        self.model_name = model_name
        self.fingerprint = fingerprint
        self.sampling = sampling
        self.user = user
        self.system = system
        self.chat = chat
        self.parent: str | None = None
        self.notes: list[str] = []
        self.pulled = False
        self.finish: Finish | None = None
        self.error: BaseException | None = None
        self.request: Request | None = None
        self.prompt_tokens = 0
        self.form: Form | None = None
        self._read: Any = None
        self.calls: tuple[ToolCall, ...] = ()
        self.results: tuple[tuple[str, str], ...] = ()
        self.asked: str | None = None
        self.begun: tuple[TokenEvent, ...] = ()
        self.reader: Callable[[Reply], object] | None = None
        self.special: frozenset[int] = frozenset()
        self.interventions: tuple[Intervention, ...] = ()
        self.adapter = ""
        self.asked_adapter: str | None = None
        self.stop_flag = StopFlag()
        self.rerunner: Callable[[Reply, Sampling, bool], Reply] | None = None
        self._tokens: list[TokenEvent] = []
        self._pieces: list[str] = []
        self._released = threading.Event()
        self._callbacks: list[Callable[[Reply], None]] = []
        self._lock = threading.Lock()
        self._shown_in: int | None = None
        self._stream: weakref.WeakMethod[Callable[[], None]] | None = None
        self._thread = threading.get_ident()

    # --- what it is -------------------------------------------------------------------------------

    @property
    def text(self) -> str:
        """The reply's text so far."""
        if len(self._pieces) > 1:  # joined once, so that reading it while it grows stays linear
            with self._lock:
                self._pieces[:] = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""

    @property
    def tokens(self) -> tuple[TokenEvent, ...]:
        """The generated tokens, the end-of-turn token included."""
        return tuple(self._tokens)

    @property
    def logprobs(self) -> list[float | None]:
        """Natural-log probability of each token before the sampler; None where the engine gives none."""
        return [token.logprob for token in self._tokens]

    @property
    def usage(self) -> Usage | None:
        """Tokens and seconds used; None while the reply grows."""
        return self.finish.usage if self.finish else None

    @property
    def seed(self) -> int | None:
        """The seed of this reply's random generator; None when none was needed, or not known yet."""
        drawn = self.finish.seed if self.finish else None
        return self.sampling.seed if drawn is None else drawn

    @property
    def done(self) -> bool:
        """Whether the reply is complete, stopped or failed."""
        return self.finish is not None

    @property
    def id(self) -> str:
        """Content-addressed: parent, system prompt, message, text and weights decide it."""
        return content_id(self.parent, self.kind, self.system, self.user, self.text, self.fingerprint)

    @property
    def grammar(self) -> Grammar | None:
        """What the tokens are held to; None when they are free."""
        return self.form.grammar if self.form else None

    @property
    def message(self) -> Message:
        """The reply as a message of a conversation; of several calls it holds the first one."""
        return Message("assistant", "" if self.calls else self.text, self.calls[:1])

    @property
    def json(self) -> Any:
        """The object that was asked for: an instance of the pydantic model, or plain JSON values.

        With a pattern or a choice it is the text; without any, what the text is as JSON.

        Raises
        ------
        SchemaError
            If the reply is not whole (it names what is missing), or breaks a rule that no schema expresses.
        """
        if self._read is None:
            self._read = read_reply(self)
        return self._read

    @property
    def partial(self) -> Any:
        """What can be read of JSON that is not whole: dicts and lists, unchecked; None if nothing can."""
        return partial(self)

    # --- what one does with it --------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> "Reply":
        """Wait until the reply is done, at most `timeout` seconds, and return it.

        An interrupt ends the waiting, not the reply (`stop` does that).

        Raises
        ------
        LlamaError
            If the reply failed: the error that ended it.
        """
        self.join(timeout)
        if self.error is not None:
            raise self.error
        return self

    def join(self, timeout: float | None = None) -> bool:
        """Wait as `wait` does, without raising the reply's error; return whether it is done."""
        return self._released.wait(timeout)

    def stop(self, reason: str = "stopped") -> None:
        """Ask the model to stop; what is there is kept. Harmless when the reply is done."""
        self.stop_flag.set(reason)

    def rerun(self, *, background: bool = False, **sampling: Any) -> "Reply":
        """Answer the same prompt again, with other sampling parameters.

        The same seed is used unless `seed` is given (None draws another); `preset` names a preset. In a chat
        the new reply becomes another version beside this one; the conversation itself stays as it is.
        """
        changed = self.sampling.replace(**{"seed": self.seed, **presets.expand(sampling)})
        if self.rerunner is None:
            raise ModelGone("This reply has no model behind it.", "Ask the model again: m.chat(...).")
        return self.rerunner(self, changed, background)

    def why(self, by: Literal["probability", "entropy"] = "probability") -> WhyView:
        """Return a view of how sure the model was of each token, and of what it could have said instead.

        It is made of what was recorded with the tokens; the model is not needed.
        """
        return view_why(self, by)

    def add_done_callback(self, callback: "Callable[[Reply], None]") -> None:
        """Call `callback(reply)` when the reply is done, at once when it already is."""
        with self._lock:
            if not self._released.is_set():
                self._callbacks.append(callback)
                return
        callback(self)

    def set_stream(self, close: "weakref.WeakMethod[Callable[[], None]]") -> None:
        """Say how to end the stream that fills this reply; weakly, since one that is let go ends itself."""
        self._stream = close

    def close_own_stream(self) -> None:
        """End the stream that fills this reply if this thread has left one open."""
        close = self._stream() if self._stream is not None and self._thread == threading.get_ident() else None
        if close is not None and not self.done:
            close()

    # --- how it grows (called by session/generation.py) ---------------------------------------------

    def append(self, event: TokenEvent) -> None:
        """Add what a generation yielded."""
        with self._lock:
            if event.id is not None or event.text:
                self._tokens.append(event)
            if event.text:
                self._pieces.append(event.text)

    def end(self, finish: Finish, error: BaseException | None = None) -> None:
        """Say how the reply ended; only the first call counts."""
        with self._lock:
            if self.finish is None:
                self.finish, self.error = finish, error
                if self.form is not None:
                    self.notes += mask_notes(self._tokens, self.form.grammar)

    def release(self) -> None:
        """Let those who wait go on: the chat has the reply, and the views were told."""
        with self._lock:
            self._released.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    # --- how it is saved and shown ------------------------------------------------------------------

    def to_record(self) -> dict[str, Any]:
        """Return the reply as JSON values: what a saved notebook and a stored chat keep of it."""
        usage = self.usage
        held: dict[str, Any] = (
            {} if self.form is None else {"grammar": self._grammar_record(self.form.grammar)}
        )
        if self.calls:
            held["calls"] = [{"name": call.name, "arguments": dict(call.arguments)} for call in self.calls]
        if self.results:
            held["results"] = [{"name": name, "text": text} for name, text in self.results]
        return {
            "schema": SCHEMA,
            "id": self.id,
            "parent": self.parent,
            "chat": self.chat,
            "kind": self.kind,
            "system": self.system,
            "user": self.user,
            "text": self.text,
            "tokens": [[token.id, token.text, token.logprob, token.entropy] for token in self._tokens],
            "sampling": self.sampling.to_record(),
            "seed": self.seed,
            "model": {
                "name": self.model_name,
                "fingerprint": self.fingerprint,
                **({"adapter": self.adapter} if self.adapter else {}),
            },
            "usage": {
                "prompt": usage.prompt_tokens if usage else self.prompt_tokens,
                "cached": usage.cached_tokens if usage else 0,
                "completion": usage.completion_tokens if usage else len(self._tokens),
                "first_token_s": usage.first_token_s if usage else None,
                "total_s": usage.total_s if usage else None,
            },
            "finish": self.finish.reason if self.finish else "running",
            "detail": self.finish.detail if self.finish else "",
            "notes": list(self.notes),
            **({"begun": len(self.begun)} if self.begun else {}),
            **held,
        }

    def _grammar_record(self, grammar: Grammar) -> dict[str, Any]:
        complete = bool(self.finish and self.finish.complete)
        return {"kind": grammar.kind, "name": grammar.name, "complete": complete}

    @property
    def displayed(self) -> bool:
        """Whether a live view showed this reply in the cell that runs now; set by that view.

        While it is true the reply shows nothing as a cell's last expression, since it is there already.
        """
        return self._shown_in is not None and self._shown_in == cell.number()

    @displayed.setter
    def displayed(self, value: bool) -> None:
        self._shown_in = cell.number() if value else None

    @property
    def _ipython_display_(self) -> Callable[[], None] | None:
        # IPython prints a value's text even when its mime bundle is empty; only this hook shows nothing.
        return self._show_nothing if self.displayed else None

    def _show_nothing(self) -> None:
        self._shown_in = None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.reply import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:59]}…"
        state = self.finish.reason if self.finish else "running"
        return f"Reply({shown!r}, finish={state!r}, tokens={len(self._tokens)})"
