"""An anatomy as JSON values, for its twins and for a page: figures of four digits, equal layers folded.

Knows the value and the words for its blocks; knows no page.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from llama_nb.render.anatomy_words import Sizes, layers_text, shape_text, words
from llama_nb.render.clean import clean

if TYPE_CHECKING:
    from llama_nb.interpret.activations import Activations
    from llama_nb.interpret.anatomy import Block, Layers
    from llama_nb.session.anatomy import Anatomy

# Bars that a page draws of one vector; of a longer one each stands for the largest of its neighbours.
BARS: Final = 256
_LARGEST: Final = 6
_PARTS: Final[Mapping[str, str]] = {
    "embedding": "embedding", "attention": "attention", "feed-forward": "feed-forward",
    "experts": "experts", "norm": "norms", "head": "head", "rope": "RoPE", "other": "other",
}  # fmt: skip
# What the formulas call what comes out of, or goes into, a place.
_SYMBOLS: Final[Mapping[str, str]] = {
    "q_proj": "q", "k_proj": "k", "v_proj": "v", "q_norm": "norm(q)", "k_norm": "norm(k)",
    "qk_norm": "norm(q), norm(k)", "o_proj:in": "A v", "self_attn": "W_o (A v)",
    "gate_proj": "g", "up_proj": "u", "act_fn": "silu(g)", "activation_fn": "silu(g)", "down_proj:in": "h",
    "mlp": "W_down h", "feed_forward": "W_down h", "gate": "r", "router": "r",
    "embed_tokens": "x", "logits": "logits", "residual": "x behind the layer",
}  # fmt: skip


def body_record(anatomy: "Anatomy") -> dict[str, Any]:
    """Return what the model is made of."""
    structure, sizes = anatomy.structure, _sizes(anatomy)
    groups = list(enumerate(structure.layers))
    return {
        "model": anatomy.model,
        "architecture": anatomy.architecture,
        "dtype": anatomy.dtype,
        "quant": anatomy.quant or "",
        "parameters": anatomy.parameters,
        "bytes": anatomy.bytes,
        "context": anatomy.context,
        "hidden": anatomy.hidden,
        "vocabulary": anatomy.vocabulary,
        "depth": anatomy.layers,
        "tied": anatomy.tied,
        "parts": _parts(anatomy),
        "groups": [{"layers": list(g.numbers), "text": layers_text(g.numbers)} for _, g in groups],
        "blocks": [
            *(_block(block, None, sizes) for block in structure.first),
            *(_block(block, number, sizes) for number, g in groups for block in g.blocks),
            *(_block(block, None, sizes) for block in structure.last),
        ],
        "heads": [_heads(anatomy, group) for _, group in groups],
        "cache": {
            "token": anatomy.kv_bytes_per_token(),
            "ungrouped": anatomy.kv_bytes_per_token(grouped=False),
        },
        "rope": _rope(anatomy),
    }


def measured_record(anatomy: "Anatomy") -> dict[str, Any] | None:
    """Return what ran through it, None where no text was read; a figure that is no number is null."""
    if anatomy.measured is None:
        return None
    read, found = anatomy.measured, anatomy.measured.activations
    lengths = found.residual
    rest = lengths[:, 1:] if lengths.shape[1] > 1 else lengths
    return {
        "title": read.title,
        "tokens": found.tokens,
        "off": read.off,
        "positions": [[at, clean(read.texts[at]), read.special[at]] for at in found.positions],
        "sites": [_site(place, table) for place, table in found.sites.items()],
        "whole": [_site(place, row[None, :]) for place, row in found.whole.items()],
        "residual": {
            "first": digits(lengths[:, 0]),
            "others": digits(rest.mean(axis=1, dtype=np.float64)),
        },
    }


def detail_record(anatomy: "Anatomy", layer: int, norm: str, token: int) -> dict[str, Any]:
    """Return a layer's gates and one token's way through one norm; empty where no text was read.

    Raises
    ------
    MessageError
        If there is no such layer, norm or token.
    """
    if anatomy.measured is None:
        return {}
    before, weight, behind = anatomy.normed(norm, layer, token)
    return {
        "layer": layer,
        "norm": norm,
        "token": token,
        "rms": digits([math.sqrt(float(np.mean(before.astype(np.float64) ** 2)))])[0],
        **_bars(before, weight, behind),
        "gates": _gates(anatomy.activations, layer),
    }


def digits(values: Iterable[Any]) -> list[float | None]:
    """Return numbers with four significant digits; None for what is none."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in map(float, values)]


def _sizes(anatomy: "Anatomy") -> Sizes:
    rope = anatomy.rope
    if rope is None:
        return Sizes(anatomy.hidden, anatomy.vocabulary)
    return Sizes(
        hidden=anatomy.hidden,
        vocabulary=anatomy.vocabulary,
        pairs=len(rope.frequencies),
        base=rope.base,
        scaled=rope.kind != "default",
        adjacent=rope.adjacent,
    )


def _block(block: "Block", group: int | None, sizes: Sizes) -> dict[str, Any]:
    shapes = {tensor.name: tensor.shape for tensor in block.tensors}
    said = words(block.kind, block.facts, shapes, sizes, block.tied)
    return {
        "id": block.name if group is None else f"{group}/{block.name}",
        "name": block.name,
        "group": group,
        "kind": block.kind,
        "title": said.title,
        "summary": said.summary,
        "about": said.about,
        "formula": [list(line) for line in said.formula],
        "adds": said.adds,
        "parameters": block.parameters,
        "bytes": block.bytes,
        "tied": block.tied,
        "tensors": [
            [
                tensor.name,
                shape_text(tensor.shape),
                tensor.parameters,
                tensor.bytes,
                tensor.dtype,
                tensor.tied,
            ]
            for tensor in block.tensors
        ],
    }


def _parts(anatomy: "Anatomy") -> list[list[Any]]:
    """Parameters and bytes by part of the whole model, in the order of the forward pass."""
    parameters: Counter[str] = Counter(dict.fromkeys(_PARTS.values(), 0))
    sizes: Counter[str] = Counter()
    structure = anatomy.structure
    every = [(block, 1) for block in (*structure.first, *structure.last)]
    every += [(block, len(alike.numbers)) for alike in structure.layers for block in alike.blocks]
    for block, times in every:
        parameters[_PARTS[block.kind]] += times * block.parameters
        sizes[_PARTS[block.kind]] += times * block.bytes
    return [[part, count, sizes[part]] for part, count in parameters.items() if count or sizes[part]]


def _heads(anatomy: "Anatomy", group: "Layers") -> dict[str, Any]:
    facts = anatomy.attention(group.numbers[0]).facts
    return {key: facts.get(key) for key in ("heads", "kv_heads", "head_dim", "reach", "window", "rope")}


def _rope(anatomy: "Anatomy") -> dict[str, Any] | None:
    rope = anatomy.rope
    if rope is None:
        return None
    return {
        "frequencies": [float(f"{value:.7g}") for value in rope.frequencies],
        "unscaled": [float(f"{value:.7g}") for value in rope.unscaled],
        "base": rope.base,
        "kind": rope.kind,
        "scaling": dict(rope.scaling),
        "adjacent": rope.adjacent,
    }


def _site(place: str, table: Any) -> dict[str, Any]:
    last = place.rpartition(".")[2]
    symbol = _SYMBOLS.get(last) or ("x" if last.endswith(":in") else "x̂" if "norm" in last else last)
    shared = " shared" if "shared_expert" in place else ""
    rows = [None if math.isnan(row[0]) and math.isnan(row[4]) else digits(row) for row in table]
    return {"place": place, "symbol": symbol + shared, "rows": rows}


def _bars(before: Any, weight: Any, behind: Any) -> dict[str, Any]:
    """At most `BARS` channels: of each group of neighbours the one that is largest before the norm."""
    size = np.abs(np.where(np.isfinite(before), before, 0.0))
    parts: Sequence[Any] = np.array_split(np.arange(len(before)), min(BARS, len(before)))
    channels = [int(part[size[part].argmax()]) for part in parts]
    largest = [int(channel) for channel in np.argsort(-size, kind="stable")[:_LARGEST]]
    return {
        "channels": channels,
        "before": digits(before[channels]),
        "weight": digits(weight[channels]),
        "behind": digits(behind[channels]),
        "largest": [
            [channel, *digits(each[channel] for each in (before, weight, behind))] for channel in largest
        ],
    }


def _gates(found: "Activations", layer: int) -> dict[str, Any] | None:
    from llama_nb.interpret.activations import GATE_EDGES

    counts = found.gates[layer].tolist()
    below, above = found.gates_outside[layer].tolist()
    if not sum(counts) + below + above:
        return None
    low, high = float(GATE_EDGES[0]), float(GATE_EDGES[-1])
    return {"low": low, "high": high, "counts": counts, "below": below, "above": above}
