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

from llama_nb.core.errors import Stopped, TraceError, UnsupportedError
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention, Kind
from llama_nb.interpret.attention_mask import Allowed, causal, compact
from llama_nb.interpret.finite import check_finite

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
        Which layers to keep, counted from 0; the pass ends behind the last of them.
    stopped
        Asked in each layer; a reason ends the work.
    told
        Called with how many layers are done, of how many.
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
    inputs = torch.tensor([list(ids)], device=module.device)
    recorder = _Sequences(module, layers, [slice(0, len(ids))], stopped, told, offload=offload)
    _run(module, recorder, input_ids=inputs)
    return recorder.result(0)


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
    recorder = _Sequences(module, layers, spans, stopped, told, offload=offload)
    _run(
        module,
        recorder,
        input_ids=ids.to(module.device),
        attention_mask=attention_mask.to(module.device),
        position_ids=positions.to(module.device),
    )
    return [recorder.result(row) for row in range(len(spans))]


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


class _EnoughError(Exception):
    """The last layer that was asked for is there."""


class _Sequences:
    """Keeps whole sequences; `spans` says where in each row of the batch its tokens are."""

    def __init__(
        self,
        module: Any,
        layers: Layers,
        spans: Sequence[slice],
        stopped: Callable[[], str | None],
        told: Told | None,
        *,
        offload: bool,
    ) -> None:
        self._module = module
        self._chosen = find_layers(module, layers)
        self._spans = spans
        self._stopped, self._told = stopped, told
        self._offload = offload
        self._kept: list[dict[int, AttentionLayer]] = [{} for _ in spans]
        # Layers of one kind share their mask, so each is looked through once.
        self._masks: dict[int, tuple[torch.Tensor | None, list[Allowed]]] = {}

    def keep(
        self,
        attention: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        options: dict[str, Any],
    ) -> None:
        """Keep the layer's queries and keys if it is one of those asked for."""
        if (reason := self._stopped()) is not None:
            raise Stopped(f"Reading the attention was stopped: {reason}.")
        layer = getattr(attention, "layer_idx", None)
        if layer is None:
            return
        if layer in self._chosen:
            shared = _shared(query, options)
            for row, (span, allowed) in enumerate(zip(self._spans, self._allowed(mask), strict=True)):
                check_finite(query[row, :, span], f"What layer {layer} reads")
                q, k = self._own(query[row, :, span]), self._own(key[row, :, span])
                self._kept[row][layer] = AttentionLayer(q, k, allowed, *shared)
        if self._told is not None:
            self._told(layer + 1, self._chosen[-1] + 1)
        if layer == self._chosen[-1]:
            raise _EnoughError

    def result(self, row: int) -> CapturedAttention:
        """Return what was kept of one sequence."""
        kept = self._kept[row]
        if not kept:
            raise UnsupportedError(
                f"{type(self._module).__name__} computes its attention where it cannot be seen.",
                "Models that use transformers' AttentionInterface can be looked into: Llama, Mistral, Qwen.",
            )
        first = next(iter(kept.values()))
        return CapturedAttention(
            layers=kept,
            kinds={layer: kind_of(self._module, layer) for layer in kept},
            heads=first.q.shape[0],
            kv_heads=first.k.shape[0],
            length=first.q.shape[1],
            dtype=str(first.q.dtype).removeprefix("torch."),
        )

    def _allowed(self, mask: torch.Tensor | None) -> list[Allowed]:
        known = self._masks.get(id(mask))
        if known is None:
            found = [
                causal(span.stop - span.start) if mask is None else compact(mask[row, 0, span, span])
                for row, span in enumerate(self._spans)
            ]
            known = self._masks[id(mask)] = (mask, found)  # the mask too: its id must stay its own
        return known[1]

    def _own(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor that holds no more memory than it needs."""
        if self._offload:
            from llama_nb.interpret.offload import on_disk

            return on_disk(tensor)
        shares = tensor.untyped_storage().nbytes() > tensor.nbytes
        return tensor.clone(memory_format=torch.contiguous_format) if shares else tensor


def _shared(query: torch.Tensor, options: dict[str, Any]) -> tuple[float, float | None, torch.Tensor | None]:
    """Return a layer's scaling, softcap and sinks, as the model hands them to its attention function."""
    sinks, scaling = options.get("s_aux"), options.get("scaling")
    return (
        float(scaling) if scaling is not None else query.shape[-1] ** -0.5,
        options.get("softcap"),
        sinks.detach().float() if sinks is not None else None,
    )


@torch.inference_mode()
def _run(module: Any, recorder: Recorder, **inputs: torch.Tensor) -> None:
    with capturing(module, recorder), contextlib.suppress(_EnoughError):
        module.base_model(**inputs, use_cache=False)


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
