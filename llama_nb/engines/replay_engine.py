"""Plays recorded replies back: what is asked is looked up, and the same events come again, at once.

Needs no weights, no tokenizer and no torch. What was not recorded is refused by a sentence that says what
differs; what needs weights is refused by name.
"""

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Never, TypeVar

from llama_nb.core.errors import LlamaError, RecordingError, UnsupportedError
from llama_nb.core.events import Finish, TokenEvent, Usage
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Capabilities, NextToken, Pooling, Prompt, RowEvent
from llama_nb.engines.mismatch import mismatch
from llama_nb.engines.recorded import RecordedModel
from llama_nb.engines.recording import (
    Damaged,
    RecordedReply,
    digest,
    prompt_question,
    read_error,
    read_ids,
    read_prompt,
    read_texts,
    request_record,
    sampling_record,
    whole,
)

T = TypeVar("T")
_NO_USAGE: Final = Usage(0, 0, 0, None, 0.0)
_LOOK: Final = Request("").purpose  # of a request that is looked at and not sent


class ReplayEngine:
    """Answers what was recorded.

    The n-th time something is asked the n-th recorded answer comes, then the last one again.

    Parameters
    ----------
    model
        What was recorded of one model.
    name
        What messages call it.
    file
        The name of the recording, for messages.
    """

    def __init__(self, model: RecordedModel, name: str, file: str) -> None:
        facts = model.facts
        self.name = name
        self.context = facts.context
        self.has_chat_template = facts.template is not None
        self.capabilities = Capabilities(logprobs=facts.logprobs, schema=facts.schema)
        self._model = model
        self._file = file
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._special: set[int] = {token for token, (_, special) in model.names.items() if special}

    # --- replies ------------------------------------------------------------------------------------

    def stream(self, request: Request, stop: StopFlag) -> Iterator[TokenEvent]:
        """Yield the recorded tokens; see Engine.stream."""
        reply = self._reply(request)
        yield from self._play(reply, request.alternatives, stop)
        if reply.error is not None:
            raise reply.error

    def stream_many(
        self, requests: Sequence[Request], stop: StopFlag, *, batch_size: int | None = None
    ) -> Iterator[RowEvent]:
        """Yield the recorded rows, one after another; see Engine.stream_many."""
        del batch_size
        for row, request in enumerate(requests):
            if stop.is_set():
                return
            try:
                reply = self._reply(request)
            except RecordingError as error:
                yield RowEvent(row, _failed(error), error)
                continue
            for event in self._play(reply, request.alternatives, stop):
                failed = event.finish is not None and event.finish.reason == "error"
                yield RowEvent(row, event, reply.error if failed else None)
            if reply.error is not None and reply.finish is None:
                yield RowEvent(row, _failed(reply.error), reply.error)

    def _reply(self, request: Request) -> RecordedReply:
        asked, sampling = request_record(request), sampling_record(request.sampling)
        key = digest([asked, sampling])
        question = self._model.questions.get(key)
        if question is None:
            raise mismatch(asked, sampling, self._model, self._file)
        try:
            reply = question.reply(self._next(key))
        except Damaged as error:
            raise self._damaged(error) from None
        self._special |= reply.special
        return reply

    def _play(self, reply: RecordedReply, alternatives: int, stop: StopFlag) -> Iterator[TokenEvent]:
        for count, token in enumerate(reply.tokens):
            if stop.is_set() and token.finish is None:
                yield _closing(reply, count, stop.reason)
                return
            yield _cut(token, alternatives)
        if reply.finish is None and reply.error is None:  # its reader went away at this place
            yield _closing(reply, len(reply.tokens), stop.reason or "closed")

    def _next(self, key: str) -> int:
        with self._lock:
            number = self._asked[key]
            self._asked[key] += 1
        return number

    # --- what else was asked ------------------------------------------------------------------------

    def prompt(self, request: Request) -> Prompt:
        """Return the recorded prompt; what was recorded with other sampling is refused here already."""
        asked = request_record(request)
        if request.purpose != _LOOK:
            known = [each.sampling for each in self._model.questions.values() if each.request == asked]
            sampling = sampling_record(request.sampling)
            if known and sampling not in known:
                raise mismatch(asked, sampling, self._model, self._file)
        found = self._answer("prompt", prompt_question(request), read_prompt)
        if found is None:
            raise mismatch(asked, None, self._model, self._file)
        return found

    def count_tokens(self, text: str | Sequence[Message]) -> int:
        """Return the recorded count."""
        request = Request(text if isinstance(text, str) else tuple(text))
        found = self._answer("count_tokens", prompt_question(request), lambda value: whole(value, "a count"))
        if found is None:
            raise mismatch(request_record(request), None, self._model, self._file)
        return found

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Return the recorded tokens of a text."""
        found = self._answer("tokenize", text, read_ids)
        if found is None:
            raise RecordingError(
                f"The tokens of this text were not recorded with {self.name}.",
                f"Look at a text that was, or record it too: %llama record {self._file}",
            )
        return found

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return what tokens showed as; "#5" for one whose text was not recorded."""
        return [self._model.names.get(token, (f"#{token}", False))[0] for token in ids]

    def is_special(self, token: int) -> bool:
        """Whether `token` is a control token."""
        return token in self._special

    def cached_tokens(self, cache_key: str, ids: Sequence[int]) -> int:
        """Return how many tokens were cached when that was asked; 0 where it was not."""
        del cache_key
        found = self._answer("cached_tokens", digest(list(ids)), lambda value: whole(value, "cached_tokens"))
        return found or 0

    def begun_texts(self, request: Request) -> list[str]:
        """Return the recorded texts; see Engine.begun_texts."""
        found = self._answer("begun_texts", request_record(request), read_texts)
        if found is None:
            raise mismatch(request_record(request), None, self._model, self._file)
        return found

    def check_grammar(self, grammar: Grammar) -> None:
        """Raise the recorded SchemaError, if there was one."""
        self._answer("check_grammar", [grammar.kind, grammar.text], lambda value: value)

    def recall(self, call: str, asked: Any) -> Any:
        """Return what was measured on the model when that was recorded; see RecordingEngine.tell."""
        found = self._answer(call, asked, lambda value: [value])
        if found is None:
            raise self._refused(f"the {call}")
        return found[0]

    def _answer(self, call: str, asked: Any, read: Callable[[Any], T]) -> T | None:
        """Return what was answered, or raise the error that was; None if it was not recorded."""
        answer = self._model.answer(call, asked, self._next(f"{call} {digest(asked)}"))
        if answer is None:
            return None
        try:
            if answer.get("error") is not None:
                raise read_error(answer["error"])
            return read(answer.get("value"))
        except Damaged as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Damaged) -> RecordingError:
        return RecordingError(
            f"{self._file} is damaged: {error}.", f"Record it again: %llama record {self._file}"
        )

    # --- what needs weights -------------------------------------------------------------------------

    def embed(
        self,
        texts: Sequence[str],
        stop: StopFlag,
        *,
        pooling: Pooling = "mean",
        truncate: bool = False,
        batch_size: int | None = None,
    ) -> Never:
        """Refuse."""
        del texts, stop, pooling, truncate, batch_size
        raise self._refused("an embedding")

    def examine(
        self, work: Callable[[Any, Callable[[], str | None]], T], purpose: str, stop: StopFlag
    ) -> Never:
        """Refuse."""
        del work, stop
        raise self._refused(purpose)

    def next_token(self, request: Request, after: Sequence[int], stop: StopFlag) -> NextToken | None:
        """Refuse."""
        del request, after, stop
        raise self._refused("the distribution of a token")

    def _refused(self, what: str, needed: str = "weights are") -> UnsupportedError:
        return UnsupportedError(
            f"{self.name} is played back from {self._file}: its {needed} not here, and {what} needs them.",
            f"Load the model itself: %llama load {self._model.facts.source}",
        )

    # --- no caches, no worker -----------------------------------------------------------------------

    def forget(self, cache_key: str | None = None) -> None:
        """Forget nothing: there are no caches."""

    def busy(self) -> str | None:
        """Return None: nothing is computed."""
        return None

    def close(self) -> int:
        """Return the bytes that the caches had when the model was unloaded."""
        return self._answer("close", None, lambda value: whole(value, "close", 2**53)) or 0


def _cut(token: TokenEvent, alternatives: int) -> TokenEvent:
    if len(token.alternatives) <= alternatives:
        return token
    return dataclasses.replace(token, alternatives=token.alternatives[:alternatives])


def _closing(reply: RecordedReply, count: int, reason: str) -> TokenEvent:
    """Return the last event of a reply that is stopped while it is played back."""
    whole_usage = reply.finish.usage if reply.finish is not None else _NO_USAGE
    elapsed = reply.tokens[count - 1].elapsed_s if count else 0.0
    first = whole_usage.first_token_s if count else None
    usage = Usage(whole_usage.prompt_tokens, whole_usage.cached_tokens, count, first, elapsed)
    seed = reply.finish.seed if reply.finish is not None else None
    return TokenEvent("", elapsed_s=elapsed, finish=Finish("stopped", usage, seed, reason))


def _failed(error: LlamaError) -> TokenEvent:
    return TokenEvent("", finish=Finish("error", _NO_USAGE, None, error.message))


def open_engine(loaded: Any) -> ReplayEngine:
    """Return the engine over what was recorded of a model."""
    return ReplayEngine(loaded.recorded, loaded.checked.name, loaded.checked.folder.name)
