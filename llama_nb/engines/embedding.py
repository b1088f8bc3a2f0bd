"""Texts to vectors: the last layer's hidden states, pooled over each text's own tokens.

Runs on the worker thread. Knows token ids and the model's forward; normalising is the session's business.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache

from llama_nb.engines.base import Pooling
from llama_nb.engines.batch import SideBySide
from llama_nb.engines.decoding import Forward
from llama_nb.engines.head import Floats
from llama_nb.engines.places import decoder_of

Chunks = Iterator[tuple[int, torch.Tensor]]


def embed(
    module: Any,
    forward: Forward,
    texts: Sequence[Sequence[int]],
    pooling: Pooling,
    rows: int,
    stopped: Callable[[], str | None],
) -> Floats | None:
    """Return one vector a text, shape (len(texts), hidden); None when stopped.

    Parameters
    ----------
    module, forward
        The model, and what says how much work a chunk may be.
    texts
        Token ids, each at least one.
    pooling
        "mean" of all tokens, or the "last" one.
    rows
        How many texts go side by side; 1 where the model does not allow more.
    stopped
        Says why to stop, None to go on.
    """
    found = np.zeros((len(texts), int(module.config.get_text_config().hidden_size)), dtype=np.float32)
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    for start in range(0, len(order), rows):
        group = order[start : start + rows]
        ids = [texts[index] for index in group]
        if rows > 1:
            chunks = SideBySide(module, forward).read(ids, stopped)
        else:
            chunks = _alone(module, forward, ids[0], stopped)
        pooled = _pool(chunks, [len(each) for each in ids], found.shape[1], pooling)
        if stopped() is not None:
            return None
        found[group] = pooled
    return found


def _pool(chunks: Chunks, lengths: Sequence[int], width: int, pooling: Pooling) -> Floats:
    pooled = np.zeros((len(lengths), width), dtype=np.float32)
    for start, hidden in chunks:
        values = hidden.float().cpu().numpy()
        end = start + values.shape[1]
        for row, length in enumerate(lengths[: values.shape[0]]):
            if pooling == "mean":
                pooled[row] += values[row, : max(0, length - start)].sum(axis=0) / length
            elif start < length <= end:
                pooled[row] = values[row, length - 1 - start]
    return pooled


@torch.inference_mode()
def _compute(module: Any, ids: Sequence[int], cache: DynamicCache) -> torch.Tensor:
    inputs = torch.tensor([list(ids)], device=module.device)
    hidden: torch.Tensor = decoder_of(module)(
        input_ids=inputs, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return hidden


def _alone(module: Any, forward: Forward, ids: Sequence[int], stopped: Callable[[], str | None]) -> Chunks:
    """Read one text with transformers' own cache, for models whose rows cannot go side by side."""
    cache, start = DynamicCache(config=module.config), 0
    for chunk in forward.chunks(ids):
        if stopped() is not None:
            return
        yield start, _compute(module, chunk, cache)
        start += len(chunk)
