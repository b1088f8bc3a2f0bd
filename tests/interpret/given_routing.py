"""Traces whose experts a test gives itself, so that what comes of them can be counted by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from llama_nb.interpret.mixture import Mixture
from llama_nb.interpret.passages import Passages, number_labels
from llama_nb.interpret.routes import Routes, narrow
from llama_nb.interpret.routing import Routing, RoutingTrace
from tests.routing_traces import SIZES


def given_trace(
    chosen: Any,
    *,
    experts: int = 4,
    layers: Sequence[int] | None = None,
    weights: Any = None,
    words: Sequence[str] | None = None,
    starts: Sequence[int] | None = None,
    labels: Sequence[str] = (),
    mass: Any = None,
    model: str = "tiny",
) -> RoutingTrace:
    """Return a trace of experts given as (N, L) or (N, L, k); tokens with the same word have the same id.

    Parameters
    ----------
    layers
        The MoE layers; default every second one from 1 on.
    starts
        Where texts begin, and where the last one ends; default one text.
    labels
        Of each text; "" for none.
    """
    found = np.asarray(chosen, dtype=narrow(experts))
    found = found[..., None] if found.ndim == 2 else found
    tokens, depth, k = found.shape
    words = [f" w{at}" for at in range(tokens)] if words is None else words
    ids = {word: number for number, word in enumerate(dict.fromkeys(words))}
    domains, about = number_labels(labels)
    groups = len(domains) + 1 if domains else 1
    given = np.ones((tokens, depth, k)) / k if weights is None else np.asarray(weights).reshape(found.shape)
    flat = np.ones((tokens, depth), dtype=np.float32)
    return RoutingTrace(
        Routing(
            Routes(found, given.astype(np.float32), flat, flat, None),
            Passages(
                np.array([ids[word] for word in words], np.int32),
                list(words),
                frozenset(),
                np.array([0, tokens] if starts is None else starts, np.int64),
                domains,
                about if labels else None,
            ),
            np.ones((groups, depth, experts)) if mass is None else np.asarray(mass, dtype=np.float64),
        ),
        mixture=Mixture(
            "TinyForCausalLM",
            tuple(range(1, 2 * depth, 2)) if layers is None else tuple(layers),
            experts,
            k,
            "softmax",
            False,
            SIZES,
        ),
        model=model,
        fingerprint="f" * 8,
        title="text",
        prompt=tokens,
    )
