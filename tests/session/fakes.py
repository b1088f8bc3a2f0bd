"""An engine without a model: it tokenises by words, answers by a rule, and does as it is told in time.

Follows the contract of engines/base.py, the queue of one worker included, so that sessions can be tested
without torch.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from llama_nb.core.errors import ContextOverflow, UnsupportedError
from llama_nb.core.events import Finish, TokenEvent, Usage
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Capabilities, Prompt, PromptSpan
from llama_nb.session.chat import Journal
from llama_nb.session.model import Model

Rule = Callable[[Request], Sequence[str]]
CONTROL = re.compile(r"<\|\w+\|>")


def echo(request: Request) -> list[str]:
    """Answer with the last message's words and how many messages there were."""
    if isinstance(request.input, str):
        return [" and", " so", " on"]
    last = request.input[-1]
    assert isinstance(last, Message)
    return ["You", " said:", *(f" {word}" for word in last.content.split()), f" ({len(request.input)})"]


@dataclass
class FakeEngine:
    """Yields the tokens of `rule`, one each `pace_s`; raises `failure` before token `fail_at`."""

    name: str = "fake"
    context: int = 1000
    rule: Rule = echo
    pace_s: float = 0.0
    failure: Exception | None = None
    fail_at: int = 0
    has_chat_template: bool = True
    capabilities: Capabilities = Capabilities()
    gate: threading.Semaphore | None = None
    requests: list[Request] = field(default_factory=list)
    forgotten: list[str | None] = field(default_factory=list)
    closed: bool = False

    def __post_init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._running: str | None = None

    def prompt(self, request: Request) -> Prompt:
        """Count a message as a header of one token and its words; the answer's header as one."""
        if isinstance(request.input, str):
            return Prompt(tuple(range(1 + len(request.input.split()))), request.input)
        if not self.has_chat_template:
            raise UnsupportedError(f"{self.name} is a base model.", "%%llama complete")
        spans, at, text, literal = [], 1, "", []
        for message in request.input:
            assert isinstance(message, Message)
            size = 1 + len(message.content.split())
            spans.append(PromptSpan(message.role, at, at + size))
            at += size
            text += f"[{message.role}] {message.content}\n"
            literal += CONTROL.findall(message.content)
        return Prompt(tuple(range(at + 1)), text + "[assistant]", tuple(spans), tuple(dict.fromkeys(literal)))

    def stream(self, request: Request, stop: StopFlag) -> Iterator[TokenEvent]:
        """Generate as the engine contract says."""
        started = time.monotonic()
        while not self._one_at_a_time.acquire(timeout=0.01):
            if stop.is_set():
                yield self._end("stopped", 0, 0, started, stop.reason)
                return
        try:
            self._running = request.purpose
            self.requests.append(request)
            yield from self._tokens(request, stop, started)
        finally:
            self._running = None
            self._one_at_a_time.release()

    def _tokens(self, request: Request, stop: StopFlag, started: float) -> Iterator[TokenEvent]:
        prompt = len(self.prompt(request).ids)
        if prompt >= self.context:
            raise ContextOverflow(f"{prompt} tokens, context {self.context}")
        words = list(self.rule(request))
        limit = request.sampling.max_tokens
        count = 0
        for count, word in enumerate(words):
            if self.failure is not None and count == self.fail_at:
                raise self.failure
            while self.gate is not None and not self.gate.acquire(timeout=0.01):
                if stop.is_set():
                    break
            if stop.is_set() or (self.pace_s and stop.wait(self.pace_s)):
                yield self._end("stopped", prompt, count, started, stop.reason)
                return
            if limit is not None and count == limit:
                yield self._end("length", prompt, count, started)
                return
            yield TokenEvent(word, count, -0.5, 0.25, elapsed_s=time.monotonic() - started)
        yield self._end("end", prompt, len(words), started, seed=request.sampling.seed or 7)

    def _end(
        self, reason: Any, prompt: int, count: int, started: float, detail: str = "", seed: int | None = None
    ) -> TokenEvent:
        usage = Usage(prompt, 0, count, 0.01 if count else None, time.monotonic() - started)
        return TokenEvent("", finish=Finish(reason, usage, seed, detail))

    def count_tokens(self, text: str | Sequence[Message]) -> int:
        """Count as `prompt` does."""
        return len(self.prompt(Request(text if isinstance(text, str) else tuple(text))).ids)

    def tokenize(self, text: str) -> tuple[int, ...]:
        """One token a word."""
        return tuple(range(len(text.split())))

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Name tokens by their ids."""
        return [f"t{token}" for token in ids]

    def is_special(self, token: int) -> bool:
        """Take the first token as a control token."""
        return token == 0

    def cached_tokens(self, cache_key: str, ids: Sequence[int]) -> int:
        """Hold nothing."""
        del cache_key, ids
        return 0

    def forget(self, cache_key: str | None = None) -> None:
        """Remember what was forgotten."""
        self.forgotten.append(cache_key)

    def busy(self) -> str | None:
        """Return what runs."""
        return self._running

    def close(self) -> int:
        """Close; frees 100 bytes."""
        self.closed = True
        return 100


class Memory:
    """A journal in memory."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str | None]] = []

    def message(self, chat: Any, node: Any) -> None:
        """Keep the text."""
        del chat
        self.lines.append((node.message.role, node.message.content))

    def head(self, chat: Any) -> None:
        """Keep the head."""
        self.lines.append(("head", chat.head))

    def file(self, chat: Any) -> Path:
        """Name no file that exists."""
        return Path(f"/nowhere/{chat.name}.jsonl")

    def delete(self, chat: Any) -> None:
        """Keep that it was deleted."""
        self.lines.append(("delete", chat.name))


def fake_model(
    engine: FakeEngine | None = None,
    *,
    name: str = "fake",
    journal: Journal | None = None,
    generation: dict[str, Any] | None = None,
) -> Model:
    """Return a Model over a FakeEngine."""
    engine = engine or FakeEngine(name=name)
    checked = SimpleNamespace(
        name=name, parameters=1000, fingerprint="f" * 16, context=engine.context, model_type="llama"
    )
    loaded: Any = SimpleNamespace(
        checked=checked,
        dtype="float32",
        device="cpu",
        quant=None,
        quant_notes=(),
        bytes=4000,
        generation=generation or {},
    )
    return Model(name, engine, loaded, journal=journal)
