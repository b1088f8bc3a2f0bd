"""What happens while a model works, as frozen values, and the seam through which views watch it.

An engine yields TokenEvents. The session publishes the other events to whoever subscribed; without
subscribers nothing is shown and nothing costs anything.
"""

import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

FinishReason = Literal["end", "stop_string", "length", "context", "stopped", "error"]

_log = logging.getLogger("llama_nb")


@dataclass(frozen=True, slots=True)
class Alternative:
    """A token that could have come.

    `logprob` is its natural-log probability before the sampler, `sampled` after it (None: removed).
    `forbidden` says that the request's grammar ruled it out.
    """

    id: int
    text: str
    logprob: float
    sampled: float | None
    forbidden: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Counts in tokens, times in seconds since the request was taken up by the engine."""

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    first_token_s: float | None
    total_s: float


@dataclass(frozen=True, slots=True)
class Finish:
    """Why a generation ended, and what it used.

    `reason` is "end" (the model's end-of-turn token), "stop_string", "length" (max_tokens), "context"
    (no room left), "stopped" (by the user) or "error". `detail` says more: the stop string, who stopped.
    `complete` says whether the reply is all that its grammar asks for; None without a grammar.
    `adapter` names the adapters that wrote it, "" for the base alone.
    """

    reason: FinishReason
    usage: Usage
    seed: int | None = None
    detail: str = ""
    complete: bool | None = None
    adapter: str = ""


@dataclass(frozen=True, slots=True)
class TokenEvent:
    """One generated token; the last event of a generation has `finish`.

    `text` is what the token adds to the reply: it may be empty (half of a character, a held-back
    beginning of a stop string, an end-of-turn token) and may hold more than the token's own bytes when
    it completes a character. The closing event of a stopped generation has no token: `id` is None.
    `logprob` and `entropy` (nats) are those of the distribution before the sampler; `alternatives` are
    the likeliest tokens of it, best first. `forbidden` is the probability of all the tokens that the
    request's grammar ruled out here, None without one. `sampled` is the natural-log probability after the
    sampler (None: not known). Remote engines may leave all but the text empty.
    """

    text: str
    id: int | None = None
    logprob: float | None = None
    entropy: float | None = None
    alternatives: tuple[Alternative, ...] = ()
    elapsed_s: float = 0.0
    finish: Finish | None = None
    forbidden: float | None = None
    sampled: float | None = None


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """A reply was asked for; `reply` is the session's Reply, still empty."""

    reply: Any


@dataclass(frozen=True, slots=True)
class ReplyAdvanced:
    """`token` was added to `reply`."""

    reply: Any
    token: TokenEvent


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """`reply` is complete, stopped or failed (`reply.finish`, `reply.error`)."""

    reply: Any


@dataclass(frozen=True, slots=True)
class CallChanged:
    """A function call that `reply` asks for is in another state: `call` is the session's ToolRun's."""

    reply: Any
    call: Any


@dataclass(frozen=True, slots=True)
class Waiting:
    """A request waits in a model's queue; `waits_for` says for what ("chat main on cria")."""

    reply: Any
    waits_for: str


@dataclass(frozen=True, slots=True)
class Progress:
    """Long work that is no reply: `done` of `total` (None: unknown) in `unit`; the last one has `ended`.

    `detail` says more about the moment: how fast it goes.
    """

    what: str
    done: float
    total: float | None
    unit: str
    ended: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """One sentence for the user that is not part of a reply: turns dropped, control tokens shown as text."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelsChanged:
    """A model was loaded or unloaded, or another one is the current model."""


@dataclass(frozen=True, slots=True)
class AdaptersChanged:
    """An adapter came into `model`, or went, or others answer now."""

    model: Any


@dataclass(frozen=True, slots=True)
class ChatChanged:
    """A message was added to `chat`, or its conversation ends elsewhere now, or it was cleared or filled."""

    chat: Any


@dataclass(frozen=True, slots=True)
class SamplingChanged:
    """The sampling parameters of the session are others now (`%llama set`, a panel)."""


@dataclass(frozen=True, slots=True)
class ComparisonChanged:
    """A cell of `comparison` began, grew or ended; with `cell` None the comparison itself began or ended."""

    comparison: Any
    cell: Any = None


Event = (
    ReplyStarted
    | ReplyAdvanced
    | ReplyEnded
    | CallChanged
    | Waiting
    | Progress
    | Note
    | ModelsChanged
    | AdaptersChanged
    | ChatChanged
    | SamplingChanged
    | ComparisonChanged
)
Observer = Callable[[Event], None]

_observers: list[Observer] = []
_quiet: contextvars.ContextVar[bool] = contextvars.ContextVar("llama_nb_quiet", default=False)
_captor: contextvars.ContextVar[Observer | None] = contextvars.ContextVar("llama_nb_captor", default=None)


def subscribe(observer: Observer) -> Callable[[], None]:
    """Call `observer` with every event from now on; return the function that ends it."""
    _observers.append(observer)

    def unsubscribe() -> None:
        with contextlib.suppress(ValueError):
            _observers.remove(observer)

    return unsubscribe


def publish(event: Event) -> None:
    """Hand `event` to every observer; one that raises is logged and never harms the work it watches."""
    if _quiet.get():
        return
    captor = _captor.get()
    for observer in (captor,) if captor and isinstance(event, Progress | Note) else tuple(_observers):
        try:
            observer(event)
        except Exception:  # noqa: BLE001 - whatever a view does wrong, the work goes on
            _log.exception("an observer failed on %s", type(event).__name__)


def publisher() -> Observer:
    """Return a `publish` that belongs to this thread or task, for threads that a library starts for it.

    What they publish then reaches the cell or the captor for which the work is done.
    """
    context = contextvars.copy_context()
    # A copy each time: two threads cannot be in one context at once.
    return lambda event: context.copy().run(publish, event)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Publish nothing inside the block (in this thread or task)."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextlib.contextmanager
def captured(observer: Observer) -> Iterator[None]:
    """Hand the Progress and Notes of the block (in this thread or task) to `observer` and to nobody else.

    For work that shows its own progress: a load that a panel started has no line in a cell.
    """
    token = _captor.set(observer)
    try:
        yield
    finally:
        _captor.reset(token)
