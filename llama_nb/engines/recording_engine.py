"""An engine whose answers are also told to a recorder: every call goes on to the engine behind it, unchanged.

What is written where is the recorder's business; it never raises, so that nothing that is recorded fails.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from llama_nb.core.errors import LlamaError
from llama_nb.core.events import Finish, TokenEvent
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Capabilities, Engine, NextToken, Pooling, Prompt, RowEvent
from llama_nb.engines.recording import (
    ModelFacts,
    RecordedReply,
    digest,
    prompt_question,
    prompt_record,
    request_record,
)

T = TypeVar("T")


class Recorder(Protocol):
    """Is told what an engine answered; any thread may do it."""

    def reply(self, facts: ModelFacts, request: Request, reply: RecordedReply) -> None:
        """A reply has ended."""

    def answer(
        self, facts: ModelFacts, call: str, asked: Any, value: Any, error: LlamaError | None, *, once: bool
    ) -> None:
        """Something else was answered, or refused; with `once` it is always answered alike."""

    def names(self, facts: ModelFacts, names: Sequence[tuple[int, str, bool]]) -> None:
        """These tokens show as these texts, and are control tokens or not."""


class RecordingEngine:
    """Hands each call on to `engine` and tells `recorder` what came of it.

    Parameters
    ----------
    engine
        Does the work.
    facts
        What a recording says of its model.
    recorder
        Returns who is told just now; None: nobody.
    """

    def __init__(self, engine: Engine, facts: ModelFacts, recorder: Callable[[], Recorder | None]) -> None:
        self._engine, self._facts, self._recorder = engine, facts, recorder

    # --- replies ------------------------------------------------------------------------------------

    def stream(self, request: Request, stop: StopFlag) -> Iterator[TokenEvent]:
        """Generate, and tell the reply when it has ended; see Engine.stream."""
        told = _Told(self, request)
        try:
            for event in self._engine.stream(request, stop):
                told.add(event)
                yield event
        except LlamaError as error:
            told.end(error)
            raise
        finally:
            told.end()

    def stream_many(
        self, requests: Sequence[Request], stop: StopFlag, *, batch_size: int | None = None
    ) -> Iterator[RowEvent]:
        """Generate for all requests, and tell each reply when it has ended; see Engine.stream_many."""
        rows: dict[int, _Told] = {}
        for event in self._engine.stream_many(requests, stop, batch_size=batch_size):
            row = rows.setdefault(event.row, _Told(self, requests[event.row]))
            row.add(event.event, event.error)
            yield event

    def tell_reply(self, request: Request, tokens: Sequence[TokenEvent], error: LlamaError | None) -> None:
        """Tell the recorder, if there is one."""
        recorder = self._recorder()
        if recorder is None:
            return
        finish: Finish | None = tokens[-1].finish if tokens else None
        ids = {token.id for token in tokens if token.id is not None}
        ids |= {other.id for token in tokens for other in token.alternatives}
        special = frozenset(filter(self._engine.is_special, ids))
        recorder.reply(self._facts, request, RecordedReply(tuple(tokens), finish, error, special))

    # --- what else is asked -------------------------------------------------------------------------

    def prompt(self, request: Request) -> Prompt:
        """Return what the model would see for `request`."""
        work = lambda: self._engine.prompt(request)  # noqa: E731
        return self._answered("prompt", prompt_question(request), work, prompt_record)

    def count_tokens(self, text: str | Sequence[Message]) -> int:
        """Count tokens; see Engine.count_tokens."""
        asked = prompt_question(Request(text if isinstance(text, str) else tuple(text)))
        return self._answered("count_tokens", asked, lambda: self._engine.count_tokens(text))

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`; see Engine.tokenize."""
        return self._answered("tokenize", text, lambda: self._engine.tokenize(text), list)

    def begun_texts(self, request: Request) -> list[str]:
        """Return the texts of what a reply begins with; see Engine.begun_texts."""
        return self._answered(
            "begun_texts", request_record(request), lambda: self._engine.begun_texts(request)
        )

    def cached_tokens(self, cache_key: str, ids: Sequence[int]) -> int:
        """Count the leading `ids` that a cache holds; see Engine.cached_tokens."""
        work = lambda: self._engine.cached_tokens(cache_key, ids)  # noqa: E731
        return self._answered("cached_tokens", digest(list(ids)), work, once=False)

    def check_grammar(self, grammar: Grammar) -> None:
        """Raise SchemaError if a reply cannot be held to `grammar`."""
        asked = [grammar.kind, grammar.text]
        self._answered("check_grammar", asked, lambda: self._engine.check_grammar(grammar))

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return what each token shows as."""
        texts = self._engine.token_texts(ids)
        recorder = self._recorder()
        if recorder is not None:
            special = map(self._engine.is_special, ids)
            recorder.names(self._facts, list(zip(ids, texts, special, strict=True)))
        return texts

    def close(self) -> int:
        """Close the engine and return the bytes given back."""
        return self._answered("close", None, self._engine.close, once=False)

    def tell(self, call: str, asked: Any, value: Any) -> None:
        """Tell what was measured on the model: JSON values, for the n-th time that `asked` is asked."""
        self._answered(call, asked, lambda: value, once=False)

    def _answered(
        self,
        call: str,
        asked: Any,
        work: Callable[[], T],
        record: Callable[[T], Any] = lambda value: value,
        *,
        once: bool = True,
    ) -> T:
        recorder = self._recorder()
        if recorder is None:
            return work()
        try:
            value = work()
        except LlamaError as error:
            recorder.answer(self._facts, call, asked, None, error, once=once)
            raise
        recorder.answer(self._facts, call, asked, record(value), None, once=once)
        return value

    # --- handed on ----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The model's name."""
        return self._engine.name

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""
        return self._engine.context

    @property
    def capabilities(self) -> Capabilities:
        """What the engine can do."""
        return self._engine.capabilities

    @property
    def has_chat_template(self) -> bool:
        """Whether messages can be rendered."""
        return self._engine.has_chat_template

    def embed(
        self,
        texts: Sequence[str],
        stop: StopFlag,
        *,
        pooling: Pooling = "mean",
        truncate: bool = False,
        batch_size: int | None = None,
    ) -> Any:
        """Embed, without telling anybody."""
        return self._engine.embed(texts, stop, pooling=pooling, truncate=truncate, batch_size=batch_size)

    def examine(
        self, work: Callable[[Any, Callable[[], str | None]], T], purpose: str, stop: StopFlag
    ) -> T | None:
        """Run `work` where the model runs, without telling anybody."""
        return self._engine.examine(work, purpose, stop)

    def next_token(self, request: Request, after: Sequence[int], stop: StopFlag) -> NextToken | None:
        """Look at the next token, without telling anybody."""
        return self._engine.next_token(request, after, stop)

    def is_special(self, token: int) -> bool:
        """Whether `token` is a control token."""
        return self._engine.is_special(token)

    def forget(self, cache_key: str | None = None) -> None:
        """Drop one cache, or all."""
        self._engine.forget(cache_key)

    def busy(self) -> str | None:
        """Return the purpose of the request that runs now, if any."""
        return self._engine.busy()

    def __getattr__(self, name: str) -> Any:
        # What only this kind of engine has.
        return getattr(self._engine, name)


class _Told:
    """A reply on its way to the recorder."""

    def __init__(self, engine: RecordingEngine, request: Request) -> None:
        self._engine, self._request = engine, request
        self._tokens: list[TokenEvent] = []
        self._over = False

    def add(self, event: TokenEvent, error: LlamaError | None = None) -> None:
        """Take an event; the last one ends the reply before anybody is given it."""
        self._tokens.append(event)
        if event.finish is not None:
            self.end(error)

    def end(self, error: LlamaError | None = None) -> None:
        """Tell the reply; only the first call counts."""
        if not self._over:
            self._over = True
            self._engine.tell_reply(self._request, self._tokens, error)
