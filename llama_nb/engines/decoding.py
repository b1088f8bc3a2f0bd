"""The decode loop: prefill in chunks, then one token after another, until something ends it.

Runs on the worker thread. Knows torch and the model's forward; knows nothing of queues, chats or threads.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import LlamaForCausalLM

from llama_nb.core.events import Alternative, Finish, FinishReason, TokenEvent, Usage
from llama_nb.core.sampling import Sampling
from llama_nb.engines.begun import begun_texts
from llama_nb.engines.detokenize import StopStrings, TextStream
from llama_nb.engines.grammar import GrammarState
from llama_nb.engines.head import Floats
from llama_nb.engines.kv_cache import CacheEntry
from llama_nb.engines.places import decoder_of
from llama_nb.engines.sampler import Sampler, draws
from llama_nb.engines.token_words import TokenWords

_CHUNK_S: Final = 0.25  # seconds of work in a prefill chunk: half of what a stop may take
_SLOW_FLOPS: Final = 2e10  # what a slow laptop reaches; sizes the first chunk of a model only
_DRAWS: Final = 64


class Forward:
    """A model's forward over a cache, in chunks whose size follows from how long the last ones took."""

    def __init__(self, module: Any, parameters: int) -> None:
        self._module = module
        self._device = module.device
        self._chunk = _clamp(int(0.1 * _SLOW_FLOPS / (2 * max(1, parameters))))
        # One token needs no mask, so a plain Llama's layers can be called one by one: the same modules
        # without the wrappers around them, which take 0.65 of the 2.9 ms of a token of stories260K.
        self._layers_alone = type(module) is LlamaForCausalLM

    @torch.inference_mode()
    def __call__(self, ids: Sequence[int], entry: CacheEntry) -> Floats:
        """Append `ids` to the cache and return the logits behind the last one, shape (V,)."""
        inputs = torch.tensor([ids], device=self._device)
        if len(ids) == 1 and self._layers_alone and not self._watched():
            logits = self._one(inputs, entry)
        else:
            output = self._module(
                input_ids=inputs, past_key_values=entry.cache, use_cache=True, logits_to_keep=1
            )
            logits = output.logits
        entry.ids.extend(ids)
        found: Floats = logits[0, -1].float().cpu().numpy()
        return found

    def _one(self, inputs: torch.Tensor, entry: CacheEntry) -> torch.Tensor:
        core = self._module.model
        hidden = core.embed_tokens(inputs)
        place = torch.tensor([[len(entry.ids)]], device=self._device)
        turned = core.rotary_emb(hidden, position_ids=place)
        for layer in core.layers:
            hidden = layer(
                hidden,
                attention_mask=None,
                position_embeddings=turned,
                position_ids=place,
                past_key_values=entry.cache,
                use_cache=True,
            )
        logits: torch.Tensor = self._module.lm_head(core.norm(hidden))
        return logits

    def _watched(self) -> bool:
        """Whether somebody hooked into the modules that `_one` does not call."""
        both = (self._module, self._module.model)
        return any(module._forward_hooks or module._forward_pre_hooks for module in both)

    def chunks(self, ids: Sequence[int], rows: int = 1) -> Iterator[Sequence[int]]:
        """Cut `ids` into pieces of about a quarter of a second each, when `rows` as long go side by side."""
        place = 0
        while place < len(ids):
            chunk = ids[place : place + max(1, self._chunk // rows)]
            started = time.perf_counter()
            yield chunk
            took = time.perf_counter() - started
            place += len(chunk)
            computed = len(chunk) * rows
            if took > 0 and (computed > self._chunk - rows or took > _CHUNK_S):
                self._chunk = _clamp(min(4 * self._chunk, int(computed * _CHUNK_S / took)))


def _clamp(size: int) -> int:
    return max(8, min(4096, size))


@dataclass(slots=True)
class Generation:
    """Everything that one generation needs, gathered by the engine.

    `before` are the tokens of the reply that stand in the prompt already, `before_text` their text, and
    `surprise` what mirostat had come to: this reply goes on where they end, and `grammar`
    stands there. With `begun` they count as this reply's, and what was held back of their text comes still.
    """

    prompt: tuple[int, ...]
    before: tuple[int, ...]
    before_text: str
    sampling: Sampling
    words: TokenWords
    alternatives: int
    entry: CacheEntry
    surprise: float | None
    context: int
    ends: frozenset[int]
    text: TextStream
    show: Callable[[int], str]
    started: float
    grammar: GrammarState | None = None
    begun: bool = False

    def run(self, forward: Forward, stopped: Callable[[], str | None]) -> Iterator[TokenEvent]:
        """Yield the reply's tokens; `stopped` says why to stop, None to go on."""
        writer = Writer(self)
        if (finish := writer.over()) is not None:
            yield writer.last(*finish)
            return
        logits: Floats | None = None
        for chunk in forward.chunks(self.ids[len(self.entry.ids) :]):
            if (reason := stopped()) is not None:
                yield writer.closing(reason)
                return
            logits = forward(chunk, self.entry)
        assert logits is not None
        event: TokenEvent | None = None
        while (reason := stopped()) is None:
            if event is not None and event.id is not None:
                logits = forward((event.id,), self.entry)
            event = writer.step(logits)
            yield event
            if event.finish is not None:
                return
        yield writer.closing(reason)

    def closing(self, reason: str) -> TokenEvent:
        """Return the one event of a generation that is stopped before its first step."""
        return Writer(self).closing(reason)

    @property
    def ids(self) -> tuple[int, ...]:
        """All token ids that stand before the first one to write."""
        return (*self.prompt, *self.before)


class Draws:
    """The uniform random numbers of one request, from its own generator; equally many for each token."""

    def __init__(self, seed: int, skip: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._ready: list[float] = []
        for _ in range(skip):  # a continued reply goes on in the sequence where it was stopped
            self()

    def __call__(self) -> float:
        """Return the next number, at least 0 and below 1."""
        if not self._ready:
            self._ready = torch.rand(_DRAWS, generator=self._generator, dtype=torch.float64).tolist()[::-1]
        return self._ready.pop()


class Writer:
    """One reply that grows: chooses each token from logits that somebody else computes."""

    def __init__(self, job: Generation) -> None:
        self._job = job
        self._stops = StopStrings(job.sampling.stop)
        self._cached = len(job.entry.ids)
        self._tokens: list[int] = []
        self._first: float | None = None
        self._surprise = job.surprise
        # Greedy draws nothing; `skip` keeps a seeded reply the same when it is stopped, then continued.
        skip = len(job.before) * draws(job.sampling)
        self._draw = Draws(job.sampling.seed or 0, skip) if not job.sampling.greedy else _no_draw
        self._sampler = Sampler(job.sampling, job.prompt, job.before, job.words, job.surprise)
        self._text = job.before_text
        if job.begun:
            self._text = "".join(begun_texts(job.text, self._stops, job.before))
        else:
            for token in job.before:
                job.text.feed(token)

    def step(self, logits: Floats) -> TokenEvent:
        """Choose the next token from `logits`, shape (V,); the event has `finish` when it is the last one.

        Raises
        ------
        NonFiniteLogitsError
            If the logits are not numbers.
        """
        job = self._job
        allowed = job.grammar.allowed() if job.grammar is not None else None
        choice = self._sampler.choose(logits, self._draw, job.alternatives, allowed)
        self._surprise = self._sampler.surprise
        elapsed = time.perf_counter() - job.started
        if self._first is None:
            self._first = elapsed
        token = choice.id
        if job.grammar is not None:
            job.grammar.feed(token)
        self._tokens.append(token)
        finish: tuple[FinishReason, str] | None = None
        if token in job.ends:
            text, finish = self._rest(), ("end", "")
        else:
            text = self._stops.feed(job.text.feed(token))
            finish = self._ended()
            if finish is not None:
                text += self._rest()
        if finish is not None and self._stops.found is not None:
            finish = ("stop_string", self._stops.found)
        self._text += text
        return TokenEvent(
            text,
            token,
            choice.logprob,
            choice.entropy,
            tuple(
                Alternative(c.id, job.show(c.id), c.logprob, c.sampled, c.forbidden)
                for c in choice.candidates
            ),
            elapsed,
            self._finish(*finish) if finish is not None else None,
            choice.forbidden,
            choice.sampled,
        )

    def over(self) -> tuple[FinishReason, str] | None:
        """Return why there is nothing to write, with what the reply begins with; None if there is."""
        job = self._job
        return ("end", "") if job.before and job.before[-1] in job.ends else self._ended()

    def _ended(self) -> tuple[FinishReason, str] | None:
        job = self._job
        if self._stops.found is not None:
            return "stop_string", self._stops.found
        if job.grammar is not None and job.grammar.ended:
            return "end", ""
        count = len(self._tokens) + len(job.before) * job.begun
        if job.sampling.max_tokens is not None and count >= job.sampling.max_tokens:
            return "length", ""
        total = len(job.prompt) + len(job.before) + len(self._tokens)
        if total >= job.context:
            return "context", f"the context of {job.context:,} tokens is full"
        return None

    def _rest(self) -> str:
        return self._stops.feed(self._job.text.flush()) + self._stops.flush()

    def closing(self, reason: str) -> TokenEvent:
        """Return the last event of a reply that is stopped."""
        return self.last("stopped", reason)

    def failed(self, message: str) -> TokenEvent:
        """Return the last event of a reply whose next token cannot be computed."""
        return self.last("error", message)

    def last(self, reason: FinishReason, detail: str) -> TokenEvent:
        """Return the last event of a reply that ends without another token."""
        text = self._rest()
        self._text += text
        elapsed = time.perf_counter() - self._job.started
        return TokenEvent(text, elapsed_s=elapsed, finish=self._finish(reason, detail))

    def _finish(self, reason: FinishReason, detail: str) -> Finish:
        job = self._job
        elapsed = time.perf_counter() - job.started
        prompt = len(job.prompt) + len(job.before)
        usage = Usage(prompt, self._cached, len(self._tokens), self._first, elapsed)
        if self._stops.found is None:  # else the tokens say more than the text
            reply = tuple(token for token in (*job.before, *self._tokens) if token not in job.ends)
            job.entry.remember(job.prompt, reply, self._text, self._surprise)
        complete = None
        if job.grammar is not None:
            complete = self._stops.found is None and job.grammar.fulfilled
        return Finish(reason, usage, job.sampling.seed, detail, complete)


def _no_draw() -> float:
    return 0.0


@torch.inference_mode()
def first_bad_layer(module: Any, ids: Sequence[int]) -> str:
    """Return where values stop being numbers when `ids` go through the model: "layer 3 of 16"."""
    bad: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def look(_module: Any, _inputs: Any, output: Any) -> None:
            values = output[0] if isinstance(output, tuple) else output
            if not bad and isinstance(values, torch.Tensor) and not bool(torch.isfinite(values).all()):
                bad.append(name)

        return look

    core = decoder_of(module)
    layers = list(core.layers)
    hooks = [core.get_input_embeddings().register_forward_hook(watch("the embedding"))]
    for number, layer in enumerate(layers):
        hooks.append(layer.register_forward_hook(watch(f"layer {number} of {len(layers)}")))
    hooks.append(core.norm.register_forward_hook(watch("the last normalisation")))
    try:
        module(input_ids=torch.tensor([list(ids)], device=module.device), use_cache=False, logits_to_keep=1)
    finally:
        for hook in hooks:
            hook.remove()
    return bad[0] if bad else "the output layer"
