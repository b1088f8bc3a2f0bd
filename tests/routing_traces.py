"""Traces of a routing that no model did: drawn experts, for tests of what is computed and shown of them."""

from collections.abc import Sequence

import numpy as np

from llama_nb.interpret.expert_sizes import ExpertSizes
from llama_nb.interpret.mixture import Mixture
from llama_nb.interpret.passages import Passages, number_labels
from llama_nb.interpret.routes import Routes, narrow
from llama_nb.interpret.routing import Routing, RoutingTrace

SIZES = ExpertSizes(
    layers=3,
    experts=8,
    top_k=1,
    expert_parameters=1_000,
    expert_bytes=4_000,
    other_parameters=50_000,
    other_bytes=180_000,
    embedding_bytes=20_000,
)


def drawn_trace(
    length: int,
    *,
    layers: Sequence[int] = (1, 3, 5),
    experts: int = 8,
    k: int = 1,
    gate: str = "sigmoid",
    shared: bool = True,
    logits: bool = True,
    labels: Sequence[str] = (),
    texts: Sequence[str] | None = None,
    prompt: int | None = None,
    seed: int = 0,
    fingerprint: str = "f" * 8,
) -> RoutingTrace:
    """Return the trace of `length` tokens; with labels of as many texts of about the same length."""
    generator = np.random.default_rng(seed)
    said = generator.normal(size=(length, len(layers), experts)).astype(np.float32) * 2
    scores = 1 / (1 + np.exp(-said))
    order = np.argsort(-scores, axis=-1)
    chosen = order[..., :k]
    sorted_scores = np.take_along_axis(scores, order, axis=-1)
    shares = scores / scores.sum(axis=-1, keepdims=True)
    routes = Routes(
        chosen=chosen.astype(narrow(experts)),
        weights=sorted_scores[..., :k].copy(),
        margin=sorted_scores[..., k - 1] - sorted_scores[..., k],
        entropy=-(shares * np.log(shares)).sum(axis=-1),
        logits=said if logits else None,
    )
    documents = max(1, len(labels))
    starts = np.linspace(0, length, documents + 1).astype(np.int64)
    domains, about = number_labels(labels)
    ids = np.arange(length, dtype=np.int32) % 50
    passages = Passages(
        ids=ids,
        words=[f" w{each}" for each in ids] if texts is None else list(texts),
        special_ids=frozenset({0}),
        starts=starts,
        domains=domains,
        about=about if labels else None,
    )
    groups = passages.domain_of.astype(np.int64) % (len(domains) + 1)
    mass = np.zeros((len(domains) + 1, len(layers), experts))
    np.add.at(mass, groups, shares)
    return RoutingTrace(
        Routing(routes, passages, mass),
        mixture=Mixture("TinyForCausalLM", tuple(layers), experts, k, gate, shared, SIZES),  # type: ignore[arg-type]
        model="tiny",
        fingerprint=fingerprint,
        title=f"{documents} texts" if documents > 1 else "text",
        prompt=length if prompt is None else prompt,
    )
