"""Keeps the queries and keys of sequences that a model reads side by side, piece by piece, with a cache.

Knows tensors as an attention layer sees them; knows no models.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from llama_nb.core.errors import Stopped
from llama_nb.interpret.attention_layer import AttentionLayer, CapturedAttention, Kind
from llama_nb.interpret.attention_mask import Allowed, causal, compact, joined
from llama_nb.interpret.finite import check_finite
from llama_nb.interpret.offload import empty_on_disk

_UNKNOWN: Final = torch.empty(0)

Options = tuple[float, float | None, torch.Tensor | None]


class EnoughError(Exception):
    """The last layer that was asked for has been seen."""


@dataclass(slots=True)
class _Parts:
    """What is there of one layer of one sequence."""

    q: torch.Tensor
    options: Options
    k: torch.Tensor = _UNKNOWN
    masks: list[Allowed] = field(default_factory=list)


class Sequences:
    """A recorder for `capturing`.

    Parameters
    ----------
    layers
        The layers to keep.
    spans
        Where in each row of the batch its tokens are; the rest is padding.
    stopped
        Asked in each layer; a reason ends the pass with `Stopped`.
    told
        Called in each layer with how many columns of the batch are done, as if each layer did a part of them.
    offload
        Keep everything in files.
    """

    def __init__(
        self,
        layers: Sequence[int],
        spans: Sequence[slice],
        stopped: Callable[[], str | None],
        told: Callable[[int], None],
        *,
        offload: bool,
    ) -> None:
        self._layers, self._spans = layers, spans
        self._stopped, self._told, self._offload = stopped, told, offload
        self._kept: list[dict[int, _Parts]] = [{} for _ in spans]
        self._piece = slice(0, 0)
        # Layers of one kind share their mask, so each is looked through once.
        self._masks: dict[int, tuple[torch.Tensor | None, list[Allowed]]] = {}

    def begin(self, piece: slice) -> None:
        """Learn which columns of the batch the pass that begins reads."""
        self._piece = piece
        self._masks.clear()

    def keep(
        self,
        attention: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        mask: torch.Tensor | None,
        options: dict[str, Any],
    ) -> None:
        """Keep the layer's part of this pass, and end the pass behind the last layer that is wanted."""
        if (reason := self._stopped()) is not None:
            raise Stopped(f"Reading the attention was stopped: {reason}.")
        layer = getattr(attention, "layer_idx", None)
        if layer is None:
            return
        if layer in self._layers:
            shared = _options(query, options)
            for row, allowed in enumerate(self._allowed(mask)):
                self._take(row, layer, query[row], key[row], allowed, shared)
        start, stop, layers = self._piece.start, self._piece.stop, self._layers[-1] + 1
        self._told(start + (stop - start) * (layer + 1) // layers)
        if layer == self._layers[-1]:
            raise EnoughError

    def result(self, row: int, kinds: Mapping[int, Kind]) -> CapturedAttention | None:
        """Return what was kept of a sequence; None if no layer showed anything."""
        kept = self._kept[row]
        if not kept:
            return None
        masks: dict[tuple[int, ...], Allowed] = {}
        layers = {}
        for layer, parts in kept.items():
            name = tuple(map(id, parts.masks))
            if name not in masks:
                masks[name] = joined(parts.masks)
            layers[layer] = AttentionLayer(parts.q, parts.k, masks[name], *parts.options)
        heads, length, _ = next(iter(layers.values())).q.shape
        return CapturedAttention(
            layers=layers,
            kinds={layer: kinds[layer] for layer in layers},
            heads=heads,
            kv_heads=next(iter(layers.values())).k.shape[0],
            length=length,
            dtype=str(next(iter(layers.values())).q.dtype).removeprefix("torch."),
        )

    def _take(
        self,
        row: int,
        layer: int,
        query: torch.Tensor,
        key: torch.Tensor,
        allowed: Allowed,
        options: Options,
    ) -> None:
        """Keep queries (H, n, d), and with the last of them all keys (Hkv, m, d), which the cache has."""
        span, piece = self._spans[row], self._piece
        start, stop = max(span.start, piece.start), min(span.stop, piece.stop)
        if start >= stop:
            return
        parts = self._kept[row].get(layer)
        if parts is None:
            shape = (query.shape[0], span.stop - span.start, query.shape[2])
            parts = self._kept[row][layer] = _Parts(self._empty(shape, query), options)
        new = query[:, start - piece.start : stop - piece.start]
        check_finite(new, f"What layer {layer} reads")
        parts.q[:, start - span.start : stop - span.start] = new
        parts.masks.append(allowed)
        if stop == span.stop:
            keys = key[:, span]
            alone = keys.untyped_storage().nbytes() == keys.nbytes and not self._offload
            parts.k = keys if alone else self._empty(tuple(keys.shape), keys).copy_(keys)

    def _allowed(self, mask: torch.Tensor | None) -> list[Allowed]:
        """What the queries of this pass may read, for each row of the batch, counted without its padding."""
        known = self._masks.get(id(mask))
        if known is None:
            found = [self._compact(mask, row) for row in range(len(self._spans))]
            known = self._masks[id(mask)] = (mask, found)  # the mask too: its id must stay its own
        return known[1]

    def _compact(self, mask: torch.Tensor | None, row: int) -> Allowed:
        span, piece = self._spans[row], self._piece
        start, stop = max(span.start, piece.start), max(span.start, min(span.stop, piece.stop))
        if mask is None:
            return causal(stop - span.start, start - span.start)
        rows = slice(max(0, start - piece.start), max(0, stop - piece.start))
        return compact(mask[row, 0, rows, span])

    def _empty(self, shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
        if self._offload:
            return empty_on_disk(shape, like.dtype)
        return torch.empty(shape, dtype=like.dtype, device=like.device)


def _options(query: torch.Tensor, given: Mapping[str, Any]) -> Options:
    """Return a layer's scaling, softcap and sinks, as the model hands them to its attention function."""
    sinks, scaling = given.get("s_aux"), given.get("scaling")
    return (
        float(scaling) if scaling is not None else query.shape[-1] ** -0.5,
        given.get("softcap"),
        sinks.detach().float() if sinks is not None else None,
    )
