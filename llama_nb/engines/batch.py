"""Many generations at once: prompts are read side by side, then every row gets a token at each step.

A row that ends gives its slot to one that waits. Runs on the worker thread; how a row chooses its tokens and
when it ends is the Writer's business.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from llama_nb.core.errors import LlamaError
from llama_nb.core.events import TokenEvent
from llama_nb.engines.base import RowEvent
from llama_nb.engines.decoding import Forward, Generation, Writer
from llama_nb.engines.head import Floats
from llama_nb.engines.kv_cache import sees_all
from llama_nb.engines.sampler import NonFiniteLogitsError
from llama_nb.engines.slot_cache import SlotCache

MOST_ROWS: Final = 32
# A refill reads prompts while all other rows wait, so it waits until one slot of so many is free.
_REFILL: Final = 4
# Decoders of which a test shows that a row comes out of a batch as it does alone.
_ARCHITECTURES: Final = (
    "LlamaForCausalLM", "Llama4ForCausalLM", "MistralForCausalLM", "MixtralForCausalLM", "Qwen2ForCausalLM",
    "Qwen3ForCausalLM", "Qwen3MoeForCausalLM", "OlmoeForCausalLM", "GptOssForCausalLM",
)  # fmt: skip
# Rotary embeddings that depend on the longest sequence of the batch would make rows depend on each other.
_LENGTH_BOUND_ROPE: Final = ("dynamic", "longrope")


def batchable(module: Any, context: int) -> bool:
    """Whether rows of this model can go side by side and come out as they would alone.

    Not where a layer sees less than `context` tokens (windows, Llama 4's chunks) or is tuned by the length
    (Llama 4's layers without positions): transformers takes a row's place from the longest row there.
    """
    config = module.config
    rope = getattr(config, "rope_parameters", None) or {}
    tuned = getattr(config, "attn_temperature_tuning", False) and config.floor_scale <= context
    return (
        type(module).__name__ in _ARCHITECTURES
        and rope.get("rope_type") not in _LENGTH_BOUND_ROPE
        and not tuned
        and sees_all(config, context)
    )


def bytes_per_token(module: Any) -> int:
    """Return the bytes of keys and values that one token of one row takes."""
    config = module.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * head * module.dtype.itemsize)


class SideBySide:
    """A model's forward over the rows of a batch.

    Parameters
    ----------
    module
        A plain Llama.
    forward
        Says how much work a chunk may be.
    """

    def __init__(self, module: Any, forward: Forward) -> None:
        self._core, self._head = module.model, module.lm_head
        self._forward = forward
        self._device = module.device
        self.slots = SlotCache(module.config, module.device)

    def read(
        self, prompts: Sequence[Sequence[int]], stopped: Callable[[], str | None]
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """Put prompts, the longest first, into new slots.

        Yields for each chunk its first column and its hidden states (rows, n, hidden), of the leading rows
        that reach that far. When `stopped` says so it ends early: the caller asks, too.
        """
        longest = len(prompts[0])
        ids = np.zeros((len(prompts), longest), dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        first = self.slots.enter(len(prompts), longest)
        for chunk in self._forward.chunks(range(longest), len(prompts)):
            if stopped() is not None:
                return
            start, end = chunk[0], chunk[-1] + 1
            rows = sum(len(prompt) > start for prompt in prompts)
            self.slots.read(first, start, end - start)
            yield start, self._hidden(ids[:rows, start:end])
        self.slots.begin(first, [len(prompt) for prompt in prompts])

    def first_logits(
        self, prompts: Sequence[Sequence[int]], stopped: Callable[[], str | None]
    ) -> Floats | None:
        """Read prompts and return the logits behind the last token of each, (rows, V); None when stopped."""
        ends = [len(prompt) - 1 for prompt in prompts]
        last: list[torch.Tensor | None] = [None] * len(prompts)
        for start, hidden in self.read(prompts, stopped):
            for row, end in enumerate(ends):
                if start <= end < start + hidden.shape[1]:
                    last[row] = hidden[row, end - start]
        found = [state for state in last if state is not None]
        return self._logits(torch.stack(found)) if len(found) == len(prompts) else None

    @torch.inference_mode()
    def next_logits(self, tokens: Sequence[int]) -> Floats:
        """Append one token to each row and return the logits behind it, shape (rows, V)."""
        mask, positions = self.slots.step()
        hidden = self._hidden(np.array(tokens, dtype=np.int64)[:, None], mask, positions)
        self.slots.stepped()
        return self._logits(hidden[:, 0])

    @torch.inference_mode()
    def _hidden(
        self, ids: Any, mask: torch.Tensor | None = None, positions: torch.Tensor | None = None
    ) -> torch.Tensor:
        output = self._core(
            input_ids=torch.from_numpy(np.ascontiguousarray(ids)).to(self._device),
            attention_mask=mask,
            position_ids=positions,
            past_key_values=self.slots.cache,
            use_cache=True,
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    @torch.inference_mode()
    def _logits(self, hidden: torch.Tensor) -> Floats:
        logits: Floats = self._head(hidden).float().cpu().numpy()
        return logits


@dataclass(slots=True)
class Waiting:
    """A row that has not begun: which one it is, what it needs, and how many tokens it may come to."""

    row: int
    job: Generation
    need: int


@dataclass(slots=True)
class _Row:
    row: int
    job: Generation
    need: int
    writer: Writer
    tokens: list[int]


class Batch:
    """The rows of one call of `stream_many`.

    Parameters
    ----------
    side_by_side
        The forward, its slots empty.
    waiting
        What is to be generated. The longest goes first, so that rows of like length meet and the padding is
        small.
    budget
        How many tokens the slots may hold, at most (slots times the longest row's need).
    most
        How many rows at once.
    damaged
        Makes the error for a row whose logits, behind these token ids, are not numbers.
    """

    def __init__(
        self,
        side_by_side: SideBySide,
        waiting: Iterable[Waiting],
        *,
        budget: int,
        most: int,
        damaged: Callable[[Sequence[int]], LlamaError],
    ) -> None:
        self._model = side_by_side
        self._waiting = sorted(waiting, key=lambda row: (len(row.job.ids), -row.row))  # taken from the end
        self._budget, self._most = budget, most
        self._damaged = damaged
        self._rows: list[_Row] = []

    def run(self, stopped: Callable[[], str | None]) -> Iterator[RowEvent]:
        """Yield the rows' tokens as they come; once stopped, the last event of every row that runs."""
        while (self._rows or self._waiting) and stopped() is None:
            room = self._room()
            if room and (room == len(self._waiting) or room * _REFILL >= len(self._rows) + room):
                yield from self._refill(room, stopped)
            if self._rows and stopped() is None:
                logits = self._model.next_logits([row.tokens[-1] for row in self._rows])
                yield from self._step(self._rows, logits)
        for row in self._rows:
            yield RowEvent(row.row, row.writer.closing(stopped() or ""))

    def _room(self) -> int:
        """Count the rows that can enter now; 0 if none waits."""
        if not self._waiting:
            return 0
        need = max([row.need for row in self._rows], default=0)
        entering = 0
        for waiting in reversed(self._waiting):
            need = max(need, waiting.need)
            rows = len(self._rows) + entering + 1
            if rows > self._most or (rows > 1 and rows * need > self._budget):
                break
            entering += 1
        return entering

    def _refill(self, count: int, stopped: Callable[[], str | None]) -> Iterator[RowEvent]:
        entering = [
            _Row(waiting.row, waiting.job, waiting.need, Writer(waiting.job), [])
            for waiting in reversed(self._waiting[-count:])
        ]
        for row in entering:
            row.job.started = time.perf_counter()
        logits = self._model.first_logits([row.job.ids for row in entering], stopped)
        if logits is None:
            return  # stopped: the rows are still among those that wait
        del self._waiting[-count:]
        self._rows.extend(entering)
        yield from self._step(entering, logits)

    def _step(self, rows: Sequence[_Row], logits: Floats) -> Iterator[RowEvent]:
        """Choose a token for each of `rows`; those that end give their slots back."""
        over = []
        for row, scores in zip(tuple(rows), logits, strict=True):
            event = self._choose(row, scores)
            if event.event.finish is not None:
                over.append(row)
            yield event
        for row in over:
            place = next(index for index, other in enumerate(self._rows) if other is row)
            self._model.slots.leave(place)
            last = self._rows.pop()
            if last is not row:
                self._rows[place] = last

    def _choose(self, row: _Row, scores: Floats) -> RowEvent:
        try:
            event: TokenEvent = row.writer.step(scores)
        except NonFiniteLogitsError:
            error = self._damaged((*row.job.ids, *row.tokens))
            return RowEvent(row.row, row.writer.failed(error.message), error)
        if event.id is not None:
            row.tokens.append(event.id)
        return RowEvent(row.row, event)
