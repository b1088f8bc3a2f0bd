"""What `Model.tools` returns and asks: a run of rounds with its replies, and each call with what came of it.

Values to be looked at from any thread while the loop (`session/tool_loop.py`) fills them.
"""

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from llama_nb.core.events import Usage
from llama_nb.core.stop import StopFlag
from llama_nb.session.reply import Reply
from llama_nb.session.why import WhyView

CallState = Literal["waiting", "asking", "running", "ran", "refused", "failed", "invalid"]
# What is shown of one call's arguments: more is cut, and says so.
LONGEST_SENTENCE: Final = 4_000


@dataclass
class FunctionCall:
    """One call that the model asked for.

    Attributes
    ----------
    id
        Tells it from the other calls of the run: "1", "2".
    round
        Which of the run's replies asked for it: 0, 1, 2.
    name, arguments
        As the model wrote them, arguments as JSON values. `name` is empty for a call that cannot be read.
    state
        "waiting", "asking" (somebody is asked), "running"; in the end "ran", "refused" (not allowed),
        "failed" (the function raised) or "invalid" (no such function, wrong arguments).
    result
        What the function returned.
    error
        Why there is no result, in one line.
    told
        The text that the model got: the result as JSON, or the error.
    """

    id: str
    round: int
    name: str
    arguments: Mapping[str, Any]
    state: CallState = "waiting"
    result: Any = None
    error: str = ""
    told: str = ""

    @property
    def done(self) -> bool:
        """Whether it is decided what came of it."""
        return self.state in ("ran", "refused", "failed", "invalid")

    @property
    def sentence(self) -> str:
        """The call as it would be written in Python: weather(city='Oslo')."""
        return call_sentence(self.name, self.arguments)

    def to_record(self) -> dict[str, Any]:
        """Return the call as JSON values; of the result what the model was told."""
        return {
            "id": self.id,
            "name": self.name,
            "arguments": dict(self.arguments),
            "state": self.state,
            "error": self.error,
            "told": self.told,
        }

    def __repr__(self) -> str:
        return f"{self.sentence}: {self.state}{f' ({self.error})' if self.error else ''}"


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A call that somebody has to allow; what `approve` gets.

    Attributes
    ----------
    id, name
        Of the call: `id` is unique in its run.
    arguments
        Checked, as JSON values.
    function
        The function that would run.
    sentence
        The whole call in a line: weather(city='Oslo'). It is a model's text: show it as text.
    stop
        Set when the run is stopped: whoever waits for an answer should give up then (the answer is no).
    """

    id: str
    name: str
    arguments: dict[str, Any]
    function: Callable[..., Any]
    sentence: str
    stop: StopFlag = field(default_factory=StopFlag)


Approve = Callable[[PendingCall], bool]


class ToolRun:
    """A question, the calls that the model asked for, and its answer.

    Made by `Model.tools`. Everything can be read at any time from any thread.

    Attributes
    ----------
    replies
        The model's replies in order: those that ask for calls, and in the end its answer.
    calls
        Every call of the run with what came of it.
    pending
        The call that somebody is asked for now; None when nobody is.
    stop_flag
        Stops the run, whichever of its replies or functions is at work.
    error
        What ended the run before its end, if anything did.
    """

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.calls: list[FunctionCall] = []
        self.pending: PendingCall | None = None
        self.stop_flag = StopFlag()
        self.error: BaseException | None = None
        self._numbers = itertools.count(1)
        self._done = threading.Event()

    @property
    def reply(self) -> Reply:
        """The last reply: the answer when the run is done."""
        return self.replies[-1]

    @property
    def text(self) -> str:
        """The answer; empty while the model asks for calls, or if it was left with one that was not run."""
        return "" if not self.replies or self.reply.calls else self.reply.text

    @property
    def done(self) -> bool:
        """Whether the run is at its end."""
        return self._done.is_set()

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it."""
        return self.stop_flag.is_set()

    @property
    def tokens(self) -> tuple[Any, ...]:
        """The tokens of all replies."""
        return tuple(token for reply in self.replies for token in reply.tokens)

    @property
    def usage(self) -> Usage | None:
        """Tokens and seconds of all replies together; None while the first one grows."""
        each = [reply.usage for reply in self.replies if reply.usage is not None]
        if not each:
            return None
        return Usage(
            prompt_tokens=sum(usage.prompt_tokens for usage in each),
            cached_tokens=sum(usage.cached_tokens for usage in each),
            completion_tokens=sum(usage.completion_tokens for usage in each),
            first_token_s=each[0].first_token_s,
            total_s=sum(usage.total_s for usage in each),
        )

    def wait(self, timeout: float | None = None) -> "ToolRun":
        """Wait until the run is done, at most `timeout` seconds, and return it.

        Raises
        ------
        LlamaError
            If the run failed: the error that ended it.
        """
        self._done.wait(timeout)
        if self.error is not None:
            raise self.error
        return self

    def stop(self, reason: str = "stopped") -> None:
        """Stop the model or the function that is at work; what is there is kept. Harmless when it is done."""
        self.stop_flag.set(reason)

    def why(self, by: Literal["probability", "entropy"] = "probability") -> WhyView:
        """Return a view of how sure the model was of each token of its answer."""
        return self.reply.why(by)

    # --- told by the loop -----------------------------------------------------------------------------

    def add_call(self, name: str, arguments: Mapping[str, Any]) -> FunctionCall:
        """Add a call that the model asked for."""
        call = FunctionCall(str(next(self._numbers)), len(self.replies) - 1, name, arguments)
        self.calls.append(call)
        return call

    def end(self, error: BaseException | None = None) -> None:
        """Say that the run is at its end."""
        self.error = self.error or error
        self.pending = None
        self._done.set()

    # --- how it is shown --------------------------------------------------------------------------------

    def to_record(self) -> dict[str, Any]:
        """Return the run as JSON values: its rounds, each a reply and the calls that it asked for."""
        return {
            "rounds": [
                {
                    "reply": reply.to_record(),
                    "calls": [call.to_record() for call in self.calls if call.round == number],
                }
                for number, reply in enumerate(self.replies)
            ]
        }

    @property
    def _ipython_display_(self) -> Callable[[], None] | None:
        # Its replies and calls were shown in the cell already (see Reply.displayed).
        return (lambda: None) if self.replies and self.reply.displayed else None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.tools import run_bundle
        from llama_nb.runtime.environment import detect

        return run_bundle(self.to_record(), watched=detect().watched)

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 60 else f"{self.text[:59]}\u2026"
        count = len(self.calls)
        state = "stopped" if self.stopped else "done" if self.done else "running"
        return f"ToolRun({shown!r}, {count} call{'' if count == 1 else 's'}, {state})"


def call_sentence(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as it would be written in Python, cut where it is endless."""
    if not name:
        return "a call that cannot be read"
    text = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    if len(text) <= LONGEST_SENTENCE:
        return text
    return f"{text[:LONGEST_SENTENCE]}\u2026 ({len(text):,} characters in all)"
