"""Runs a transformers model in this process: its prompt, its caches and the decode loop on its worker.

The chat, the reply and their storage are the session's business.
"""

import dataclasses
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch

from llama_nb.core.errors import ContextOverflow, EngineError, LlamaError, MessageError, Stopped
from llama_nb.core.events import Finish, TokenEvent, Usage
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.adapted import adapted, signed
from llama_nb.engines.base import Adapters, Capabilities, LoadedModel, NextToken, Pooling, Prompt, RowEvent
from llama_nb.engines.batch import MOST_ROWS, Batch, SideBySide, Waiting, batchable, bytes_per_token
from llama_nb.engines.begun import begun_texts, check_begun
from llama_nb.engines.decoding import Forward, Generation, first_bad_layer
from llama_nb.engines.detokenize import StopStrings, TextStream
from llama_nb.engines.embedding import embed
from llama_nb.engines.end_tokens import end_tokens
from llama_nb.engines.grammar import Grammars
from llama_nb.engines.head import Floats
from llama_nb.engines.interventions import changed, changed_until_the_end
from llama_nb.engines.kv_cache import DEFAULT_LIMIT, CacheEntry, CacheStore
from llama_nb.engines.prompt import PromptBuilder
from llama_nb.engines.sampler import NonFiniteLogitsError
from llama_nb.engines.token_text import TokenTexts
from llama_nb.engines.token_words import TokenWords, find_words
from llama_nb.engines.worker import Around, Background, Serve, Worker
from llama_nb.runtime.devices import available_memory, thread_count

_BUNDLED: Final = Path(__file__).resolve().parent.parent / "bundled"

T = TypeVar("T")


class TransformersEngine:
    """A Llama run by transformers, with our own decode loop.

    Parameters
    ----------
    loaded
        The weights and their tokenizer.
    cache_limit
        Bytes that the KV caches of all chats may hold together.
    """

    capabilities = Capabilities(introspect=True, train=True, logprobs=True, schema=True, embeddings=True)

    def __init__(self, loaded: LoadedModel, *, cache_limit: int = DEFAULT_LIMIT) -> None:
        self.name = loaded.checked.name
        self.context = loaded.checked.context
        self._module = loaded.module
        self._tokenizer = loaded.tokenizer
        self._backend = loaded.tokenizer.backend_tokenizer
        self._on_cpu = loaded.device == "cpu"
        self._threads = thread_count(loaded.checked.parameters)
        # A bundled template is rendered in this process, others in one that can be ended.
        self.trusted = Path(loaded.checked.folder).resolve().is_relative_to(_BUNDLED)
        self._prompts = PromptBuilder(self._tokenizer, loaded.chat_template, self.name, trusted=self.trusted)
        self._texts = TokenTexts(self._backend)
        self._ends = end_tokens(loaded, self._prompts.special)
        self._size = int(self._module.config.vocab_size)
        self._grammars = Grammars(self._backend, self._size, self._ends, self.name)
        self._forward = Forward(self._module, loaded.checked.parameters)
        self._caches = CacheStore(self._module.config, cache_limit, self.context)
        self._worker = Worker(self.name)
        self.adapters: Adapters | None = None

    @property
    def has_chat_template(self) -> bool:
        """Whether messages can be rendered."""
        return self._prompts.has_chat_template

    def stream(self, request: Request, stop: StopFlag) -> Iterator[TokenEvent]:
        """Generate on the worker; see Engine.stream."""

        def work(stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
            return self._generate(request, stopped)

        return self._worker.stream(work, request.purpose, stop)

    def stream_many(
        self, requests: Sequence[Request], stop: StopFlag, *, batch_size: int | None = None
    ) -> Iterator[RowEvent]:
        """Generate for all requests on the worker; see Engine.stream_many."""

        def work(stopped: Callable[[], str | None]) -> Iterator[RowEvent]:
            return self._generate_many(requests, batch_size or MOST_ROWS, stopped)

        return self._worker.rows(work, requests[0].purpose if requests else "a batch", stop)

    def embed(
        self,
        texts: Sequence[str],
        stop: StopFlag,
        *,
        pooling: Pooling = "mean",
        truncate: bool = False,
        batch_size: int | None = None,
    ) -> Floats | None:
        """Return the pooled hidden states of `texts`; see Engine.embed."""
        ids = [self._embedded_ids(index, text, truncate=truncate) for index, text in enumerate(texts)]

        def work(module: Any, stopped: Callable[[], str | None]) -> Floats | None:
            longest = max(map(len, ids))
            rows = max(1, min(batch_size or MOST_ROWS, self._cache_tokens() // longest))
            rows = rows if batchable(module, longest) else 1
            return embed(module, self._forward, ids, pooling, rows, stopped)

        return self.examine(work, "embedding texts", stop) if ids else None

    def examine(
        self, work: Callable[[Any, Callable[[], str | None]], T], purpose: str, stop: StopFlag
    ) -> T | None:
        """Run `work(module, stopped)` on the worker, between generations; see Engine.examine."""
        results: list[T] = []

        def once(stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
            self._use_threads()
            results.append(work(self._module, stopped))
            return iter(())

        for _ in self._worker.stream(once, purpose, stop):
            pass
        return results[0] if results else None

    def begin(
        self,
        work: Callable[[Any, Callable[[], str | None], Serve], T],
        purpose: str,
        *,
        detail: Callable[[], str] = lambda: "",
        given_up: Callable[[], None] = lambda: None,
    ) -> Background[T]:
        """Queue `work(module, stopped, serve)`, long work such as a training, and return at once.

        It calls `serve` often: then those who wait have the model, inside the context that it gives. See
        Background for `detail` and `given_up`.
        """

        def serve(around: Around, timeout: float = 0.0) -> int:
            served = self._worker.serve(around, timeout)
            self._use_threads()
            return served

        def once(stopped: Callable[[], str | None]) -> T:
            self._use_threads()
            return work(self._module, stopped, serve)

        background = Background(self._worker, once, purpose, detail=detail, given_up=given_up)
        return self._worker.begin(background)

    def background(self) -> Background[Any] | None:
        """Return the long work that is on its way, if any."""
        return self._worker.background()

    def answer_here(self, request: Request, stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
        """Generate on the thread that calls, which must be the worker's: for long work that asks itself."""
        return self._generate(request, stopped)

    def next_token(self, request: Request, after: Sequence[int], stop: StopFlag) -> NextToken | None:
        """Return what the next token is chosen from; see Engine.next_token."""
        prompt, before, _, surprise = self._input(request)
        ids = (*prompt, *before, *after)
        self._check_length(ids)

        def work(_module: Any, stopped: Callable[[], str | None]) -> Floats | None:
            entry = self._caches.borrow(request.kept_in, ids)
            logits: Floats | None = None
            with (
                adapted(self.adapters, request, self.name),
                changed(self._module, request, prompt, stopped),
            ):
                for chunk in self._forward.chunks(ids[len(entry.ids) :]):
                    if stopped() is not None:
                        return None
                    logits = self._forward(chunk, entry)
            if logits is not None and not math.isfinite(logits.max()):
                raise self._not_numbers(entry)
            return logits

        logits = self.examine(work, "a look at the next token", stop)
        if logits is None:
            return None
        reply = (*before, *after)
        allowed = self._grammars.allowed(request.grammar, reply) if request.grammar is not None else None
        return NextToken(logits, prompt, reply, surprise if not after else None, allowed)

    def begun_texts(self, request: Request) -> list[str]:
        """Return what each token of `request.begun` adds to the reply's text; see Engine.begun_texts."""
        check_begun(request, self._size, self.name)
        return begun_texts(self._text_stream(), StopStrings(request.sampling.stop), request.begun)

    def check_grammar(self, grammar: Grammar) -> None:
        """Compile `grammar` for the vocabulary; see Engine.check_grammar."""
        self._grammars.check(grammar)

    def prompt(self, request: Request) -> Prompt:
        """Return what the model would see for `request`."""
        return self._prompts.build(request)

    def count_tokens(self, text: str | Sequence[Message]) -> int:
        """Count the tokens of a text as it would be continued, or of messages with the answer's header."""
        given = text if isinstance(text, str) else tuple(text)
        return len(self._prompts.build(Request(given), spans=False).ids)

    def token_texts(self, ids: Sequence[int]) -> list[str]:
        """Return what each token shows as."""
        return self._texts.many(ids)

    def is_special(self, token: int) -> bool:
        """Whether `token` is a control token."""
        return token in self._prompts.special

    def tokenize(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`: nothing added, control tokens in it taken as plain text."""
        return self._prompts.tokenize(text)

    def cached_tokens(self, cache_key: str, ids: Sequence[int]) -> int:
        """Count the leading `ids` that need no computation, all but the last at most."""
        entry = self._caches.peek(cache_key)
        return entry.shared(ids) if entry is not None else 0

    def forget(self, cache_key: str | None = None) -> None:
        """Drop one cache, or all."""
        self._caches.forget(cache_key)

    def raise_state(self) -> None:
        """Make all caches invalid: the weights or the adapters changed."""
        self._caches.raise_state()

    def busy(self) -> str | None:
        """Return the purpose of the request that runs now, if any."""
        return self._worker.busy()

    def close(self) -> int:
        """Stop the work, drop the caches and return the bytes given back."""
        self._worker.close()
        self._prompts.close()
        return self._caches.forget()

    def _generate(self, request: Request, stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
        self._use_threads()
        generation = self._prepare(request)
        entry = generation.entry
        try:
            with adapted(self.adapters, request, self.name) as adapter:
                events = generation.run(self._forward, stopped)
                events = changed_until_the_end(self._module, request, generation.prompt, stopped, events)
                for event in events:
                    yield signed(event, adapter)
        except Stopped:
            yield generation.closing(stopped() or "stopped")
        except NonFiniteLogitsError:
            raise self._not_numbers(entry) from None
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{self.name} ran out of memory after {len(entry.ids):,} tokens: "
                f"{str(error).splitlines()[0]}",
                "Shorten the prompt, or unload another model (`%llama models`).",
            ) from error
        finally:
            entry.keep(len(entry.ids))
            self._caches.shrink()

    def _generate_many(
        self, requests: Sequence[Request], most: int, stopped: Callable[[], str | None]
    ) -> Iterator[RowEvent]:
        self._use_threads()
        together: list[Waiting] = []
        alone: list[tuple[int, Request]] = []
        for row, request in enumerate(requests):
            # A seed promises the same reply whatever else runs; sums over a batch round otherwise.
            unlike = request.sampling.seed is not None or request.begun or request.alone
            if unlike or not batchable(self._module, self.context):
                alone.append((row, request))
                continue
            if stopped() is not None:
                return
            try:
                job = self._prepare(dataclasses.replace(request, cache_key=None))
            except LlamaError as error:
                yield RowEvent(row, _failed(error), error)
                continue
            longest = len(job.ids) + (job.sampling.max_tokens or self.context)
            together.append(Waiting(row, job, min(self.context, longest)))
        if together:
            yield from self._together(together, most, stopped)
        for row, request in alone:
            if stopped() is not None:
                return
            try:
                for event in self._generate(request, stopped):
                    yield RowEvent(row, event)
            except LlamaError as error:
                yield RowEvent(row, _failed(error), error)

    def _together(
        self, waiting: Sequence[Waiting], most: int, stopped: Callable[[], str | None]
    ) -> Iterator[RowEvent]:
        batch = Batch(
            SideBySide(self._module, self._forward),
            waiting,
            budget=self._cache_tokens(),
            most=most,
            damaged=self._damaged,
        )
        adapter = self.adapters.label(None) if self.adapters is not None else ""
        try:
            for row in batch.run(stopped):
                yield dataclasses.replace(row, event=signed(row.event, adapter))
        except torch.OutOfMemoryError as error:
            raise EngineError(
                f"{self.name} ran out of memory with {most} rows side by side: {str(error).splitlines()[0]}",
                "Give a smaller batch_size, or unload another model (`%llama models`).",
            ) from error

    def _cache_tokens(self) -> int:
        """Return how many tokens' keys and values fit into half of the free memory."""
        free = available_memory(str(self._module.device))
        return max(1, free // (2 * bytes_per_token(self._module)))

    def _embedded_ids(self, index: int, text: str, *, truncate: bool) -> tuple[int, ...]:
        ids = self._prompts.build(Request(text), spans=False).ids
        if len(ids) > self.context and not truncate:
            raise ContextOverflow(
                f"texts[{index}] has {len(ids):,} tokens; the context of {self.name} is {self.context:,}.",
                "Shorten it, or cut it at the context with truncate=True.",
            )
        return ids[: self.context]

    def _prepare(self, request: Request) -> Generation:
        """Gather what the generation needs, its cache trimmed to what it shares with the prompt."""
        started = time.perf_counter()
        prompt, before, before_text, surprise = self._input(request)
        ids = (*prompt, *before)
        # A reply that begins with all that the context holds ends at once, as it would have.
        self._check_length(prompt if request.begun else ids)
        sampling = request.sampling
        if sampling.seed is None and not sampling.greedy:
            sampling = sampling.replace(seed=secrets.randbits(32))
        grammar = self._grammars.begin(request.grammar, before) if request.grammar is not None else None
        entry = self._caches.take(request.kept_in, ids)
        return Generation(
            prompt,
            before,
            before_text,
            sampling,
            self._words(sampling),
            request.alternatives,
            entry,
            surprise,
            self.context,
            self._ends,
            self._text_stream(),
            self._texts.one,
            started,
            grammar,
            bool(request.begun),
        )

    def _check_length(self, ids: Sequence[int]) -> None:
        if not ids:
            raise MessageError("The prompt is empty: nothing to send.")
        if len(ids) >= self.context:
            raise ContextOverflow(
                f"The prompt has {len(ids):,} tokens, and the context of {self.name} holds {self.context:,} "
                "with the reply.",
                "Shorten it, start a new chat, or choose a model with a longer context.",
            )

    def _use_threads(self) -> None:
        if self._on_cpu and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)

    def _words(self, sampling: Sampling) -> TokenWords:
        return find_words(sampling, self._prompts.tokenize, self._texts.one, self._size)

    def _input(self, request: Request) -> tuple[tuple[int, ...], tuple[int, ...], str, float | None]:
        """Return the prompt, and of the reply that it goes on with the tokens, the text and the surprise."""
        if request.begun:
            check_begun(request, self._size, self.name)
        full = self._prompts.build(request, spans=False).ids
        if request.begun:
            return full[: -len(request.begun)], request.begun, "", request.surprise
        if not request.continue_last or not isinstance(request.input[-1], Message):
            return full, (), "", None
        text = request.input[-1].content
        asked = Request(request.input[:-1], tools=request.tools)
        prompt = self._prompts.build(asked, spans=False).ids
        entry = self._caches.peek(request.kept_in or request.cache_key)
        if entry is not None and entry.reply_text == text and entry.prompt == prompt:
            # The very tokens, which tokenising the text again might not give.
            return prompt, entry.reply, text, entry.surprise
        return prompt, full[len(prompt) :], text, None

    def _text_stream(self) -> TextStream:
        return TextStream(self._decode, self._backend.id_to_token, self._prompts.special)

    def _decode(self, ids: list[int]) -> str:
        text: str = self._backend.decode(ids, skip_special_tokens=True)
        return text

    def _not_numbers(self, entry: CacheEntry) -> EngineError:
        ids = tuple(entry.ids)
        entry.keep(0)
        return self._damaged(ids)

    def _damaged(self, ids: Sequence[int]) -> EngineError:
        where = first_bad_layer(self._module, ids)
        return EngineError(
            f"The logits of {self.name} are NaN or infinite, first in {where}: its weights are damaged, "
            "or overflow in this dtype.",
            "Load it again with `--dtype float32`; if it persists, the files are damaged.",
        )


def _failed(error: LlamaError) -> TokenEvent:
    return TokenEvent("", finish=Finish("error", Usage(0, 0, 0, None, 0.0), None, error.message))


def open_engine(loaded: Any) -> TransformersEngine:
    """Return the engine for weights that transformers runs."""
    return TransformersEngine(loaded)
