"""What a page gets of the routing explorer: JSON values, and bytes of a window of tokens.

Their TypeScript is in labextension/widgets/routing_shapes.ts.
"""

import math
from typing import TYPE_CHECKING, Any, Final

from llama_nb.render.units import size
from llama_nb.session.routing_explorer import LONGEST, RoutingLook

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from llama_nb.interpret.expert_weights import ExpertWeights
    from llama_nb.interpret.routing_cost import RoutingCost
    from llama_nb.interpret.routing_domains import DomainTable
    from llama_nb.interpret.routing_expert import ExpertPage
    from llama_nb.interpret.routing_load import Load
    from llama_nb.interpret.routing_paths import Paths

_SMALL: Final = 256  # experts whose numbers are bytes


def head_record(look: RoutingLook) -> dict[str, Any]:
    """Return what is looked at: it changes with the model's state and while the trace grows."""
    trace = look.trace
    return {
        "model": trace.model,
        "title": trace.title,
        "alive": look.model() is not None,
        "layers": [int(layer) for layer in trace.layers],
        "experts": int(trace.experts),
        "top_k": int(trace.top_k),
        "shared": bool(trace.shared),
        "gate": trace.gate,
        "architecture": trace.architecture,
        "tokens": look.length,
        "prompt": int(trace.prompt),
        "documents": len(trace.starts) - 1,
        "domains": list(trace.domains),
        "growing": look.growing,
        "bytes": size(trace.nbytes),
        "scores_kept": trace.logits is not None,
        "changed": trace.off,
    }


def view_record(look: RoutingLook, changed: int) -> dict[str, Any]:
    """Return where one looks."""
    return {
        "layer": look.layer,
        "pane": look.pane,
        "expert": look.expert,
        "token": look.token,
        "domain": look.domain,
        "shade": look.shade,
        "changes": look.changes.record(),
        "changed": changed,
    }


def routes_record(look: RoutingLook, number: int) -> tuple[dict[str, Any], bytes]:
    """Return the window's choices as bytes, and what they are."""
    import numpy as np

    trace, start, stop = look.trace, look.start, look.stop
    chosen = np.asarray(trace.chosen[start:stop])
    small = trace.experts <= _SMALL
    parts = [chosen.astype("u1" if small else "<u2").tobytes()]
    scales = {}
    figures = {
        "margin": trace.margin[start:stop],
        "entropy": trace.entropy[start:stop],
        "weight": trace.weights[start:stop, :, 0],
    }
    for name, values in figures.items():
        shades, scales[name] = _shades(np.asarray(values))
        parts.append(shades.tobytes())
    info = {
        "start": start,
        "stop": stop,
        "layers": int(chosen.shape[1]),
        "k": int(chosen.shape[2]),
        "bytes_each": 1 if small else 2,
        "scales": scales,
        "number": number,
    }
    return info, b"".join(parts)


def tokens_record(look: RoutingLook) -> dict[str, Any]:
    """Return the texts of the window, and where documents begin in it."""
    import numpy as np

    trace, start, stop = look.trace, look.start, look.stop
    special = np.flatnonzero(np.asarray(trace.special[start:stop], dtype=bool))
    starts = np.asarray(trace.starts)[:-1]
    first, last = np.searchsorted(starts, (start, stop))
    labels = trace.labels
    return {
        "start": start,
        "texts": [text[:LONGEST] for text in trace.texts(start, stop)],
        "special": [start + int(at) for at in special],
        "breaks": [
            [int(starts[number]), labels[number][:LONGEST] if labels else ""]
            for number in range(int(first), int(last))
        ],
    }


def load_record(load: "Load") -> dict[str, Any]:
    """Return the load map, without what the experts tell of the labels."""
    balance = load.balance
    difference = load.shares - 1 / load.experts if load.difference is None else load.difference
    return {
        "domain": load.domain,
        "against": "others" if load.domain else "uniform",
        "shares": _rows(load.shares),
        "difference": _rows(difference),
        "cv": digits(load.cv),
        "max_over_mean": digits(load.max_over_mean),
        "balance": [] if balance is None else digits(balance),
        "dead": [[int(layer), int(expert)] for layer, expert in load.dead],
    }


def paths_record(paths: "Paths", layer: int) -> dict[str, Any]:
    """Return the largest flows around a layer, and its matrix."""
    look, (flows, rest) = paths.look(layer), paths.largest(near=layer)
    index = {number: at for at, number in enumerate(paths.layers)}
    matrix = look.matrix
    return {
        "tokens": paths.tokens,
        "flows": [[index[flow.layer], flow.source, flow.target, digit(flow.share)] for flow in flows],
        "rest": digit(rest),
        "matrix": None
        if matrix is None
        else {
            "layer": layer,
            "next": look.next,
            "kind": look.kind,
            "values": [[round(float(value), 4) for value in row] for row in matrix],
        },
    }


def expert_record(page: "ExpertPage") -> dict[str, Any]:
    """Return what an expert gets."""
    return {
        "layer": page.layer,
        "expert": page.expert,
        "share": digit(page.share),
        "by_domain": [[name, digit(share)] for name, share in page.by_domain],
        "by_position": digits(page.by_position),
        "tokens": [[each.text[:LONGEST], each.count, digit(each.lift)] for each in page.tokens],
        "contexts": [
            [
                *(each.before[-LONGEST:], each.token[:LONGEST], each.after[:LONGEST]),
                *(digit(each.weight), each.position),
            ]
            for each in page.contexts
        ],
        "dead": page.dead,
    }


def weights_record(weights: "ExpertWeights", layer: int, expert: int) -> dict[str, Any]:
    """Return the norms of a layer's experts, and how much alike the others are to one of them."""
    at = weights.layers.index(layer)
    alike = zip(digits(weights.cosine[at, expert]), digits(weights.router_cosine[at, expert]), strict=True)
    return {
        "norm": digit(weights.norms[at, expert]),
        "norms": digits(weights.norms[at]),
        "similar": [[number, *cosines] for number, cosines in enumerate(alike) if number != expert],
    }


def cost_record(cost: "RoutingCost") -> dict[str, Any]:
    """Return what the experts cost."""
    sizes = cost.sizes
    return {
        "total_parameters": sizes.total_parameters,
        "active_parameters": sizes.active_parameters,
        "total_bytes": sizes.total_bytes,
        "token_bytes": sizes.token_bytes,
        "expert_bytes": sizes.expert_bytes,
        "cache": [[each.experts, *digits((each.lru, each.optimum, each.random))] for each in cost.cache],
        "batch": [[count, digit(share)] for count, share in cost.batch],
        "plan": cost.plan,
        "lines": list(cost.lines),
    }


def digits(values: Any, most: int = 4) -> list[float | None]:
    """Return numbers with at most so many digits; null where one is no finite number."""
    return [digit(value, most) for value in values]


def digit(value: Any, most: int = 4) -> float | None:
    """Return one number so."""
    return float(f"{float(value):.{most}g}") if value is not None and math.isfinite(value) else None


def _rows(values: "npt.NDArray[np.float64]") -> list[list[float]]:
    return [[round(float(value), 5) for value in row] for row in values]


def _shades(values: "npt.NDArray[np.float32]") -> "tuple[npt.NDArray[np.uint8], float]":
    """Return values from 0 as bytes, and what 255 is."""
    import numpy as np

    known = np.where(np.isfinite(values), np.maximum(values, 0), 0)
    scale = float(known.max(initial=0.0)) or 1.0
    return np.rint(255 * (known / scale)).astype(np.uint8), float(f"{scale:.6g}")


def information(table: "DomainTable") -> list[dict[str, Any]]:
    """Return what the experts tell of the labels, layer by layer."""
    columns = zip(
        table.layers,
        *(digits(table.information), digits(table.shuffled), digits(table.shuffled95)),
        *(digits(table.chi_square), digits(table.p), digits(table.cramers_v)),
        strict=True,
    )
    names = ("bits", "shuffled", "shuffled95", "chi_square", "p", "v")
    return [{"layer": int(layer), **dict(zip(names, values, strict=True))} for layer, *values in columns]
