"""The routing of some tokens as a table: a row for each token, MoE layer and chosen expert."""

from typing import TYPE_CHECKING, Final

import numpy as np

from llama_nb.core.errors import TraceError
from llama_nb.interpret.passages import Passages

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.routing import RoutingTrace

_MOST_ROWS: Final = 5_000_000


def frame_of(trace: "RoutingTrace", passages: Passages, start: int, stop: int) -> "pd.DataFrame":
    """Return the table of the tokens from `start` to `stop`; see `RoutingTrace.to_frame`."""
    import pandas as pd

    layers, top_k, tokens = len(trace.layers), trace.top_k, stop - start
    each = layers * top_k  # rows a token
    if tokens * each > _MOST_ROWS:
        raise TraceError(
            f"{tokens:,} tokens on {layers} layers are {tokens * each:,} rows; {_MOST_ROWS:,} at most.",
            f"Take a part: trace.to_frame(0, {_MOST_ROWS // each})",
        )
    routes = trace.rows(start, stop)
    documents = passages.document_of[start:stop]
    labels = np.array(passages.labels or [""] * (len(passages.starts) - 1), dtype=object)
    texts = np.array(passages.texts(start, stop), dtype=object)
    return pd.DataFrame(
        {
            "document": np.repeat(documents, each),
            "label": np.repeat(labels[documents], each),
            "position": np.repeat(np.arange(start, stop), each),
            "token": np.repeat(texts, each),
            "layer": np.tile(np.repeat(trace.layers, top_k), tokens),
            "rank": np.tile(np.arange(1, top_k + 1), tokens * layers),
            "expert": routes.chosen.ravel(),
            "weight": routes.weights.ravel(),
            "margin": np.repeat(routes.margin.ravel(), top_k),
            "entropy": np.repeat(routes.entropy.ravel(), top_k),
        }
    )
