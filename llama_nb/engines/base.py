"""What every engine offers and what it is built from: protocols and values only.

Knows no torch and no transformers, so that the layers above can be typed and tested with fakes.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from llama_nb.core.errors import LlamaError
from llama_nb.core.events import TokenEvent
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag

T = TypeVar("T")
Pooling = Literal["mean", "last"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do beyond text in, text out."""

    introspect: bool = False
    train: bool = False
    logprobs: bool = False
    schema: bool = False
    images: bool = False
    embeddings: bool = False


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """The tokens `start` to `end` (exclusive) of a prompt that one message takes, its header included."""

    role: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model sees.

    Parameters
    ----------
    ids
        The token ids, as they enter the model.
    text
        The rendered text, special tokens written out.
    spans
        One span a message, in order. What follows the last one is the header that asks for the answer.
    literal
        Control tokens that stood in the messages and are encoded as plain text, each once.
    """

    ids: tuple[int, ...]
    text: str
    spans: tuple[PromptSpan, ...] = ()
    literal: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NextToken:
    """What a token is chosen from.

    Parameters
    ----------
    logits
        An array of float32, shape (V,).
    prompt, reply
        The token ids before it, as the penalties see them.
    surprise
        Where mirostat goes on, in bits; None where it begins.
    allowed
        Which tokens the request's grammar allows here, shape (V,); None where any may come.
    """

    logits: Any
    prompt: tuple[int, ...]
    reply: tuple[int, ...] = ()
    surprise: float | None = None
    allowed: Any = None


@dataclass(frozen=True, slots=True)
class RowEvent:
    """One token of one row of a batch.

    Parameters
    ----------
    row
        The index of its request.
    event
        The token; the last one of each row has `finish`.
    error
        Why this row failed (its `finish.reason` is "error"); the other rows go on.
    """

    row: int
    event: TokenEvent
    error: LlamaError | None = None

    @property
    def finish(self) -> None:
        """None: a batch is over when its iterator is."""


class CheckedModel(Protocol):
    """What an engine reads from a checked model folder."""

    @property
    def folder(self) -> Path:
        """Where the files are."""

    @property
    def name(self) -> str:
        """What it is called in messages."""

    @property
    def context(self) -> int:
        """The longest sequence, in tokens."""

    @property
    def parameters(self) -> int:
        """How many parameters it has."""


class LoadedModel(Protocol):
    """What the loading layer hands over: weights in memory and their tokenizer."""

    @property
    def module(self) -> Any:
        """A transformers model, in eval mode, without gradients."""

    @property
    def tokenizer(self) -> Any:
        """Its tokenizer, with a `tokenizers` backend."""

    @property
    def checked(self) -> CheckedModel:
        """What the checks of its files found."""

    @property
    def device(self) -> str:
        """Where the weights are: "cpu", "cuda" or "mps"."""

    @property
    def generation(self) -> Mapping[str, Any]:
        """The content of generation_config.json."""

    @property
    def chat_template(self) -> str | None:
        """The source of the chat template; None for a base model."""


class Adapters(Protocol):
    """The adapters in an engine's module, as requests need them; used on the worker's thread."""

    def asked(self, adapter: str | None) -> AbstractContextManager[None]:
        """Have the module answer with `adapter` in the block; see Request.adapter."""

    def label(self, adapter: str | None) -> str:
        """Return what answers a request with `adapter`, as one writes it; "" for the base alone."""


@runtime_checkable
class Adaptable(Protocol):
    """An engine whose module can have adapters; None as long as there are none."""

    adapters: Adapters | None

    def raise_state(self) -> None:
        """Make all caches invalid: the weights or the adapters changed."""


class LongWork(Protocol):
    """Work that goes on while others are served: a training."""

    @property
    def purpose(self) -> str:
        """What it is: "the training of persona"."""

    def detail(self) -> str:
        """How far it is: "step 40 of 200"."""

    def stop(self, reason: str = "stopped") -> None:
        """Ask it to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is over, at most `timeout` seconds; return whether it is."""


@runtime_checkable
class Trainable(Protocol):
    """An engine on whose worker long work may go on."""

    def background(self) -> LongWork | None:
        """Return the long work that runs or waits, if any."""


@runtime_checkable
class Engine(Protocol):
    """A model that can be asked.

    `stream` raises TemplateError, ContextOverflow, UnsupportedError or EngineError on the first `next()`.
    Once tokens came, an error is raised only after all of them were delivered. The last event has `finish`.
    """

    @property
    def name(self) -> str:
        """The model's name, for messages."""

    @property
    def context(self) -> int:
        """How many tokens prompt and reply may have together."""

    @property
    def capabilities(self) -> Capabilities:
        """What this engine can do."""

    @property
    def has_chat_template(self) -> bool:
        """Whether messages can be rendered (a base model has no template)."""

    def stream(self, request: Request, stop: StopFlag) -> Iterator[TokenEvent]:
        """Generate; `stop` ends it within one token or one prefill chunk."""

    def stream_many(
        self, requests: Sequence[Request], stop: StopFlag, *, batch_size: int | None = None
    ) -> Iterator[RowEvent]:
        """Generate for all requests together; the rows' events come as they are made, each row's in order.

        What goes wrong in one row ends that row. Requests with a seed run one at a time, as `stream` runs
        them. `batch_size` bounds how many rows run at once, and so does the memory. When it is stopped, rows
        that have begun get their last event, the others none.
        """

    def embed(
        self,
        texts: Sequence[str],
        stop: StopFlag,
        *,
        pooling: Pooling = "mean",
        truncate: bool = False,
        batch_size: int | None = None,
    ) -> Any:
        """Return the last layer's hidden states, pooled: float32 of shape (len(texts), hidden).

        For engines with `embeddings`; others raise UnsupportedError. A text longer than the context raises
        ContextOverflow, or is cut with `truncate`. None is returned when it was stopped.
        """

    def examine(
        self, work: Callable[[Any, Callable[[], str | None]], T], purpose: str, stop: StopFlag
    ) -> T | None:
        """Run `work(module, stopped)` where the model runs, between generations, and return its result.

        For engines that can `introspect`; others raise UnsupportedError. `stopped` says why to stop, None to
        go on. None is returned when the work was stopped before it began.
        """

    def next_token(self, request: Request, after: Sequence[int], stop: StopFlag) -> NextToken | None:
        """Return what the token that follows `request` and the tokens `after` is chosen from.

        For engines that can `introspect`. The cache of `request.cache_key` is used and stays as it is. None
        is returned when it was stopped.
        """

    def begun_texts(self, request: Request) -> list[str]:
        """Return what each token of `request.begun` added to the reply's text when it was streamed.

        What is missing of the tokens' own text comes with the first event of `stream`: the rest of a
        character, what may have become a stop string.
        """

    def check_grammar(self, grammar: Grammar) -> None:
        """Raise SchemaError if a reply cannot be held to `grammar`.

        For engines that can hold it to a `schema`; others raise UnsupportedError.
        """

    def prompt(self, request: Request) -> Prompt:
        """Return what the model would see for `request`."""

    def count_tokens(self, text: str | Sequence[Message]) -> int:
        """Count the tokens of a text, or of messages as they are rendered."""

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return what each token shows as; the bytes of an incomplete character as `<0xF0>`."""

    def is_special(self, token: int) -> bool:
        """Whether `token` is a control token, which never appears in a reply's text."""

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`: nothing added, control tokens in it taken as plain text."""

    def cached_tokens(self, cache_key: str, ids: Sequence[int]) -> int:
        """Count the leading `ids` that the cache of `cache_key` holds."""

    def forget(self, cache_key: str | None = None) -> None:
        """Drop one cache, or all."""

    def busy(self) -> str | None:
        """Return the purpose of the request that runs now, if any."""

    def close(self) -> int:
        """Stop the work, drop the caches and return the bytes given back."""
