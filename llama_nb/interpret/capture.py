"""Keeps the queries and keys of a forward pass, from which every attention weight can be computed later.

One function in transformers' table of attention functions, with its twin in the table of masks, sees them
behind the rotary embedding, the key/value heads not repeated. The layer's output is computed as it always is.
Knows modules and token ids; knows no texts and no sessions.
"""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from llama_nb.core.errors import TraceError, UnsupportedError
from llama_nb.interpret.attention_layer import CapturedAttention, Kind
from llama_nb.interpret.pieces import piece_of, whole_cache
from llama_nb.interpret.sequences import EnoughError, Sequences

NAME: Final = "llama_nb_capture"
_KINDS: Final[dict[str, Kind]] = {"sliding_attention": "sliding", "chunked_attention": "chunked"}

Layers = Sequence[int] | str
Told = Callable[[int, int], None]


class Recorder(Protocol):
    """Gets what each attention layer computes with, while `capturing`."""

    def keep(
        self,
        attention: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        options: dict[str, Any],
    ) -> None:
        """Take queries (B, H, n, d) and keys (B, Hkv, m, d), and what is allowed, (B, 1, n, m) or None.

        `options` are the other arguments of the attention function: scaling, softcap, position_ids.
        """


class _Here(threading.local):
    recorder: Recorder | None = None


_here = _Here()
_usual: dict[int, str | None] = {}  # by id of a configuration that is captured: its own implementation


@contextlib.contextmanager
def capturing(module: Any, recorder: Recorder) -> Iterator[None]:
    """Hand what the attention layers of `module` compute with to `recorder`, in this thread.

    The model computes what it always does. Its attention implementation is restored however the block is
    left; blocks may be nested, and then the innermost recorder gets everything.
    """
    before = [(config, config._attn_implementation) for config in _configs(module)]
    outer = _here.recorder
    for config, implementation in before:
        if implementation != NAME:
            _usual[id(config)] = implementation
    try:
        for config, _ in before:
            config._attn_implementation = NAME
        _here.recorder = recorder
        yield
    finally:
        _here.recorder = outer
        for config, implementation in before:  # a configuration before those that are parts of it
            config._attn_implementation = implementation
            if implementation != NAME:
                _usual.pop(id(config), None)


def capture_attention(
    module: Any,
    ids: Sequence[int],
    *,
    layers: Layers = "all",
    stopped: Callable[[], str | None] = lambda: None,
    told: Told | None = None,
    offload: bool = False,
) -> CapturedAttention:
    """Run one sequence through a model and keep the queries and keys of its layers.

    Parameters
    ----------
    module
        A causal language model of transformers whose attention goes through `AttentionInterface`.
    ids
        Token ids, at most the context.
    layers
        Which layers to keep, counted from 0; those behind the last of them are not computed.
    stopped
        Asked in each layer; a reason ends the work.
    told
        Called in each layer with how many tokens are read, of how many.
    offload
        Keep them in files that go with what is returned, rather than in memory.

    Raises
    ------
    Stopped
        If `stopped` gave a reason.
    TraceError
        If there is no such layer.
    UnsupportedError
        If the model computes its attention elsewhere.

    Notes
    -----
    Logits are not computed. What is kept is that which the model computes with: equal to what
    `output_attentions` of the eager implementation gives, to 1e-5 in float32.
    """
    inputs = torch.tensor([list(ids)])
    whole = slice(0, len(ids))
    sequences = Sequences(find_layers(module, layers), [whole], stopped, _of(told, len(ids)), offload=offload)
    _read(module, sequences, inputs)
    return _found(module, sequences, 0)


def capture_batch(
    module: Any,
    ids: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    layers: Layers = "all",
    stopped: Callable[[], str | None] = lambda: None,
    told: Told | None = None,
    offload: bool = False,
) -> list[CapturedAttention]:
    """Run padded sequences side by side and keep each one's queries and keys, the padding left out.

    Parameters
    ----------
    ids, attention_mask
        Integers of shape (B, T); the mask is 1 where a token is, in one stretch of each row.
    """
    spans = [_stretch(row) for row in attention_mask.cpu()]
    positions = (attention_mask.long().cumsum(1) - 1).clamp(min=0)
    sequences = Sequences(
        find_layers(module, layers), spans, stopped, _of(told, ids.shape[1]), offload=offload
    )
    _read(module, sequences, ids, attention_mask, positions)
    return [_found(module, sequences, row) for row in range(len(spans))]


def padded(sequences: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids (B, T), shorter sequences filled up behind their ends, and the mask that says so."""
    ids = torch.zeros((len(sequences), max(map(len, sequences))), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(list(sequence))
        mask[row, : len(sequence)] = 1
    return ids, mask


def attention_cost(model: Any, tokens: int, layers: Layers = "all") -> int:
    """Return the bytes of the queries and keys of `tokens` tokens; `model` is a module or a configuration."""
    config = getattr(model, "config", model).get_text_config()
    dtype = getattr(model, "dtype", None) or getattr(config, "dtype", None) or torch.float32
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = config.num_attention_heads + config.num_key_value_heads
    return len(find_layers(model, layers)) * tokens * heads * int(width) * int(dtype.itemsize)


def find_layers(model: Any, layers: Layers) -> tuple[int, ...]:
    """Return the numbers of the layers that are meant, in order.

    Raises
    ------
    TraceError
        If there is none, or no such one.
    """
    count = int(getattr(model, "config", model).get_text_config().num_hidden_layers)
    if layers == "all":
        return tuple(range(count))
    chosen = () if isinstance(layers, str) or not isinstance(layers, Iterable) else tuple(layers)
    if not chosen:
        raise TraceError(
            f'layers is {layers!r}, not "all" or a list of numbers.', "An example: layers=[0, 3]"
        )
    for layer in chosen:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < count:
            raise TraceError(f"There is no layer {layer!r}: the model has {count}, from 0 to {count - 1}.")
    return tuple(sorted(set(chosen)))


def kind_of(model: Any, layer: int) -> Kind:
    """Return what a layer reads: all before it, a sliding window or chunks."""
    config = getattr(model, "config", model).get_text_config()
    types = getattr(config, "layer_types", None)
    if types:
        return _KINDS.get(types[layer], "full")
    return "sliding" if getattr(config, "sliding_window", None) else "full"


def _of(told: Told | None, total: int) -> Callable[[int], None]:
    return (lambda done: told(done, total)) if told is not None else (lambda _: None)


def _found(module: Any, sequences: Sequences, row: int) -> CapturedAttention:
    kinds = {layer: kind_of(module, layer) for layer in find_layers(module, "all")}
    found = sequences.result(row, kinds)
    if found is None:
        raise UnsupportedError(
            f"{type(module).__name__} computes its attention where it cannot be seen.",
            "Models that use transformers' AttentionInterface can be looked into: Llama, Mistral, Qwen.",
        )
    return found


@torch.inference_mode()
def _read(
    module: Any,
    sequences: Sequences,
    ids: torch.Tensor,
    mask: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
) -> None:
    """Read token ids (B, T) in pieces, so that the activations of a piece alone stand in memory."""
    length = ids.shape[1]
    step = piece_of(module, length)
    cache = whole_cache(module, length) if step < length else None
    ids = ids.to(module.device)
    with capturing(module, sequences):
        for start in range(0, length, step):
            stop = min(start + step, length)
            sequences.begin(slice(start, stop))
            with contextlib.suppress(EnoughError):
                module.base_model(
                    input_ids=ids[:, start:stop],
                    attention_mask=None if mask is None else mask[:, :stop].to(module.device),
                    position_ids=None if positions is None else positions[:, start:stop].to(module.device),
                    past_key_values=cache,
                    use_cache=cache is not None,
                )


def _configs(module: Any) -> list[Any]:
    """The configurations that the module's parts read, each once, the module's own first."""
    found: dict[int, Any] = {}
    for part in module.modules():
        config = getattr(part, "config", None)
        if hasattr(config, "_attn_implementation"):
            found.setdefault(id(config), config)
    return list(found.values())


def _stretch(mask: torch.Tensor) -> slice:
    places = mask.nonzero()[:, 0]
    if not len(places) or int(places[-1]) - int(places[0]) + 1 != len(places):
        raise TraceError("A row of the attention mask is no single stretch of ones.")
    return slice(int(places[0]), int(places[-1]) + 1)


def _attend(
    attention: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Show a recorder what comes in, and compute the output as the model's own implementation does."""
    if _here.recorder is not None:
        _here.recorder.keep(attention, query, key, attention_mask, {**options, "scaling": scaling})
    if _usual.get(id(attention.config)) != "eager":
        output: tuple[torch.Tensor, torch.Tensor | None] = sdpa_attention_forward(
            attention, query, key, value, attention_mask, scaling=scaling, **options
        )
        return output
    # Models that sdpa cannot compute (a softcap, sinks) have this function beside their attention.
    eager = sys.modules[type(attention).__module__].eager_attention_forward
    if attention_mask is None and query.shape[2] > 1:
        reads = torch.ones((query.shape[2], key.shape[2]), dtype=torch.bool, device=query.device)
        attention_mask = reads.tril(key.shape[2] - query.shape[2])[None, None]
    if attention_mask is not None:
        least = torch.finfo(query.dtype).min
        zero = torch.zeros((), dtype=query.dtype, device=query.device)
        attention_mask = torch.where(attention_mask, zero, least)
    output = eager(attention, query, key, value, attention_mask, scaling=scaling, **options)
    return output[0], None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
