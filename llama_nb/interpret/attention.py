"""What a model attended to in one sequence: an AttentionTrace computes each weight when it is asked for.

Knows tokens, queries and keys; the model itself is not kept and not needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llama_nb.core.errors import TraceError
from llama_nb.interpret import attention_summary as summary
from llama_nb.interpret.attention_layer import CapturedAttention, Floats
from llama_nb.interpret.attention_weights import AttentionWeights, number_ranges

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.attention_twin import AttentionView


@dataclass(frozen=True, slots=True)
class Link:
    """One weight: what a token reads, or who reads it.

    `key` is the position of the other token, `text` what that shows as.
    """

    key: int
    text: str
    weight: float
    layer: int
    head: int


class AttentionTrace(AttentionWeights):
    """The attention of one sequence, on every captured layer and head.

    Made by `Model.attention`. It holds the queries and keys of the layers and the texts of the tokens, so it
    works when the model is unloaded. Layers and heads count from 0. A row belongs to a query, the token that
    reads; a column to a key, the token that is read. Weights are softmax rows in float32: where the model
    runs in float32 they are what it computes, to 1e-5.

    Attributes
    ----------
    model, fingerprint
        Which weights it was.
    title
        What was read: "text", "reply in chat main".
    ids, texts, special
        Each token's id, what it shows as, and whether it is a control token.
    prompt
        How many leading tokens the model was given; it wrote the rest itself.
    off
        What was turned off in the model meanwhile, in words; "" if nothing.
    growing
        Whether rows are added to it by a reply on its way.
    """

    growing = False

    def __init__(
        self,
        captured: CapturedAttention,
        *,
        model: str,
        fingerprint: str,
        title: str,
        ids: Sequence[int],
        texts: Sequence[str],
        special: Sequence[bool],
        prompt: int,
        off: str = "",
    ) -> None:
        super().__init__(captured)
        self.model, self.fingerprint, self.title = model, fingerprint, title
        self.ids, self.texts, self.special = tuple(ids), tuple(texts), tuple(special)
        self.prompt, self.off = prompt, off

    def now(self) -> "AttentionTrace":
        """Return the trace as it stands: itself, or of one that grows what is there."""
        return self

    # --- what it comes to -------------------------------------------------------------------------------

    def mean(self, layer: int | None = None) -> Floats:
        """Return the mean map of all heads of a layer, or of all layers: float32 of shape (T, T).

        Raises
        ------
        TraceError
            If that is more than 2 GB.
        """
        return summary.mean(self.now(), self._chosen_layers(layer))

    def entropy(self, layer: int, head: int) -> Floats:
        """Return the entropy of each token's weights in nats, shape (T,).

        It is 0 where a token reads one other, and ln n where it reads n of them alike.
        """
        return summary.entropy(self.now(), layer, head)

    def rollout(self, query: int | None = None) -> Floats:
        """Return how much of each token reaches each other through all layers, (T, T), or one token, (T,).

        This is the attention rollout of Abnar & Zuidema (2020): the product over the layers of (A + I) / 2,
        where A is the mean of a layer's heads and I stands for the residual stream.

        Raises
        ------
        TraceError
            If not every layer from 0 on was captured, or all tokens are asked for of more than 4,096.
        """
        return summary.rollout(self.now(), None if query is None else self._place(query))

    def to_frame(
        self, layer: int | None = None, head: int | None = None, threshold: float = 0.01
    ) -> "pd.DataFrame":
        """Return the weights that reach a threshold, one a row.

        Its columns are layer, head, query, query_text, key, key_text, weight.

        Raises
        ------
        TraceError
            If there are more than two million; a layer, a head or a higher threshold makes them fewer.
        """
        import pandas as pd

        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise TraceError(f"threshold is {threshold!r}; it must be from 0 to 1.")
        texts = np.array(self.texts, dtype=object)
        found = summary.links(self.now(), self._chosen_layers(layer), self._chosen_heads(head), threshold)
        frames = [
            pd.DataFrame(
                {
                    "layer": at_layer,
                    "head": at_head,
                    "query": queries,
                    "query_text": texts[queries],
                    "key": keys,
                    "key_text": texts[keys],
                    "weight": weights,
                }
            )
            for at_layer, at_head, queries, keys, weights in found
        ]
        return pd.concat(frames, ignore_index=True)

    def top(
        self,
        token: int | str,
        n: int = 10,
        *,
        layer: int | None = None,
        head: int | None = None,
        read_by: bool = False,
    ) -> list[Link]:
        """Return the links of a token that weigh most, the strongest first.

        Parameters
        ----------
        token
            Its position, negative ones from the end; or its text, which must occur once.
        layer, head
            Where to look; default everywhere.
        read_by
            Who reads it, instead of what it reads; needs a pass over all rows.
        """
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise TraceError(f"n is {n!r}; it must be a whole number, 1 or more.")
        at = self._find(token)
        layers, heads = self._chosen_layers(layer), self._chosen_heads(head)
        pairs = summary.strongest(self.now(), at, layers, heads, n, read_by=read_by)
        return [
            Link(pair.other, self.texts[pair.other], pair.weight, pair.layer, pair.head) for pair in pairs
        ]

    # --- how it is kept ---------------------------------------------------------------------------------

    def save(self, path: str | Path, overwrite: bool = False) -> Path:
        """Write the trace into a file (safetensors) and return its path; `AttentionTrace.load` reads it.

        The file holds the tokens' texts, the whole prompt included: who gets it can read what was read. It is
        written whole or not at all, with mode 0600.

        Raises
        ------
        TraceError
            If there is such a file already (`overwrite=True` replaces it), or it cannot be written.
        """
        from llama_nb.interpret.attention_file import save_trace

        return save_trace(self, path, overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> "AttentionTrace":
        """Read a trace that `save` wrote; the model is not needed.

        Raises
        ------
        TraceError
            If there is no such file, or it is damaged or something else.
        """
        from llama_nb.interpret.attention_file import load_trace

        return load_trace(path)

    # --- how it is shown --------------------------------------------------------------------------------

    def view(self, layer: int | None = None, head: int | None = None) -> "AttentionView":
        """Return one head to be shown; default a head of the middle layer that tells something.

        Raises
        ------
        TraceError
            If there is no such layer or head.
        """
        from llama_nb.interpret.attention_twin import AttentionView

        if layer is not None:
            self.kind(layer)
        if head is not None:
            self.group(head)
        return AttentionView(self, layer, head)

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        return self.view()._repr_mimebundle_()

    def __repr__(self) -> str:
        layers = f"layers {number_ranges(self.layers)}" if len(self.layers) > 1 else f"layer {self.layers[0]}"
        what = f"{self.title} in {self.model}"
        return f"AttentionTrace({what}: {self.length:,} tokens, {layers}, {self.heads} heads)"

    # --- what is meant ----------------------------------------------------------------------------------

    def _chosen_layers(self, layer: int | None) -> list[int]:
        if layer is None:
            return list(self.layers)
        self._layer(layer)
        return [layer]

    def _chosen_heads(self, head: int | None) -> list[int]:
        if head is None:
            return list(range(self.heads))
        self._check_heads((head,))
        return [head]

    def _find(self, token: int | str) -> int:
        if not isinstance(token, str):
            return self._place(token)
        texts = self.texts[: self.length]
        found = [at for at, text in enumerate(texts) if text == token]
        found = found or [at for at, text in enumerate(texts) if text.strip() == token.strip()]
        if len(found) == 1:
            return found[0]
        if found:
            places = ", ".join(map(str, found[:8])) + (" ..." if len(found) > 8 else "")
            raise TraceError(f"The token {token!r} stands at {places}.", f"Name the place: {found[0]}.")
        raise TraceError(f"No token is {token!r}.", "trace.texts has them all.")
