"""What a loaded model is made of, and what ran through it on a text, as a value that outlives the model.

Reading tensors and measuring are `interpret`'s business, looks that of render.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, UnsupportedError, did_you_mean
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.session.ablating import active
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured as run_measured
from llama_nb.session.reading import Reading

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from llama_nb.interpret.activations import Activations, Doubles, Floats
    from llama_nb.interpret.anatomy import Block, Structure
    from llama_nb.interpret.rope import Rope
    from llama_nb.session.model import Model

# A sentence for who has none of his own.
EXAMPLE: Final = "Once upon a time there was a llama who lived on a hill."
_PURPOSE: Final = "measuring activations"


@dataclass(frozen=True, slots=True, eq=False)
class MeasuredText:
    """What ran through the model on one text.

    Attributes
    ----------
    title, texts, special
        What was read, and its tokens.
    activations
        The figures.
    off
        What was turned off meanwhile, in words; empty where nothing was.
    """

    title: str
    texts: tuple[str, ...]
    special: tuple[bool, ...]
    activations: "Activations"
    off: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Anatomy:
    """A model block by block. Made by `Model.anatomy`; it keeps no weights but those of the norms.

    Attributes
    ----------
    model, fingerprint, architecture
        Its name, what tells its weights from others, and the class that runs it.
    dtype, quant
        The number format of its weights, and their quantisation if any.
    context, hidden, vocabulary
        Tokens that it can read, width of its residual stream (d), tokens that it knows.
    structure
        Its blocks and their tensors.
    rope
        The angles of its position embeddings; None where it has none.
    norms
        The weights of its norms, float32: by their names in a layer, shape (layers, hidden), and "norm" for
        the last one, shape (1, hidden).
    cache_bytes
        Bytes of one number in its KV cache.
    measured
        What ran through it on a text; None where none was read.
    """

    model: str
    fingerprint: str
    architecture: str
    dtype: str
    quant: str | None
    context: int
    hidden: int
    vocabulary: int
    structure: "Structure"
    rope: "Rope | None"
    norms: "Mapping[str, Floats]"
    cache_bytes: int
    measured: MeasuredText | None = None

    # --- what it is made of ---------------------------------------------------------------------------

    @property
    def parameters(self) -> int:
        """Distinct parameters."""
        return self.structure.parameters

    @property
    def bytes(self) -> int:
        """Bytes of all tensors in memory, scales of quantised ones included."""
        return self.structure.bytes

    @property
    def layers(self) -> int:
        """How many layers it has."""
        return self.structure.depth

    @property
    def tied(self) -> bool:
        """Whether the head uses the embedding's matrix."""
        return any(block.kind == "head" and block.tied for block in self.structure.last)

    def attention(self, layer: int = 0) -> "Block":
        """Return the attention block of a layer, with its `facts`: heads, kv_heads, head_dim, reach ..."""
        return next(block for block in self._blocks(layer) if block.kind == "attention")

    def kv_head(self, head: int, layer: int = 0) -> int:
        """Return which key/value head a query head of a layer uses (grouped-query attention)."""
        facts = self.attention(layer).facts
        heads, kv_heads = int(facts["heads"]), int(facts["kv_heads"])
        if not 0 <= head < heads:
            raise MessageError(f"There is no head {head}: {self.model} has heads 0 to {heads - 1}.")
        return head * kv_heads // heads

    def kv_bytes_per_token(self, *, grouped: bool = True) -> int:
        """Return the bytes that the KV cache grows by with each token.

        2 x layers x key/value heads x head_dim x bytes of a number; with `grouped=False` what it would be if
        each query head had keys and values of its own (multi-head attention).
        """
        which = "kv_heads" if grouped else "heads"
        facts = [self.attention(layer).facts for layer in range(self.layers)]
        return sum(2 * int(fact[which]) * int(fact["head_dim"]) * self.cache_bytes for fact in facts)

    def angles(self, positions: Sequence[int] | int) -> "Doubles":
        """Return by how many radians RoPE turns each pair of dimensions, shape (positions, pairs).

        Raises
        ------
        UnsupportedError
            If the model has no such angles.
        """
        import numpy as np

        if self.rope is None:
            raise UnsupportedError(f"{self.model} has no rotary position embeddings.")
        places = np.atleast_1d(np.asarray(positions, dtype=np.float64))
        return np.asarray(places[:, None] * np.asarray(self.rope.frequencies)[None, :])

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a tensor of every layer.

        Columns: layer (missing outside of the layers), block, tensor, shape, parameters, bytes, dtype, tied.
        The sums of `parameters` and `bytes` are the model's.
        """
        import pandas as pd

        columns = ["layer", "block", "tensor", "shape", "parameters", "bytes", "dtype", "tied"]
        frame = pd.DataFrame(list(self._tensors()), columns=columns)
        return frame.astype({"layer": "Int64"})

    # --- what ran through it --------------------------------------------------------------------------

    def statistics(self) -> "pd.DataFrame":
        """Return the statistics of every activation on the text that was read, one row a layer and place.

        Columns: layer (missing outside of the layers), place ("self_attn.q_proj": what comes out there,
        "mlp.down_proj:in": what goes in), mean, std, rms, max_abs, zeros and negative (shares, 0 to 1).

        Raises
        ------
        MessageError
            If no text was read.
        """
        import pandas as pd

        from llama_nb.interpret.activations import STATISTICS

        found = self.activations
        rows: list[list[Any]] = [[None, place, *row.tolist()] for place, row in found.whole.items()]
        rows += [
            [layer, place, *row.tolist()]
            for place, table in found.sites.items()
            for layer, row in enumerate(table)
            if row[0] == row[0]
        ]
        frame = pd.DataFrame(rows, columns=["layer", "place", *STATISTICS])
        return frame.astype({"layer": "Int64"})

    @property
    def activations(self) -> "Activations":
        """The figures of the text that was read; MessageError where none was."""
        if self.measured is None:
            raise MessageError(
                "No text was read: there are no activations.",
                f'm.anatomy("{EXAMPLE}") reads one.',
            )
        return self.measured.activations

    def normed(self, norm: str, layer: int = 0, token: int = -1) -> "tuple[Floats, Floats, Floats]":
        """Return what a norm made of a token: the vector before, the norm's weight, the vector behind.

        behind = weight * before / sqrt(mean(before ** 2) + eps) (RMSNorm, Zhang and Sennrich 2019,
        https://arxiv.org/abs/1910.07467); computed here in float32.

        Parameters
        ----------
        norm
            Its name in a layer ("input_layernorm", "post_attention_layernorm"), or "norm" for the last one.
        token
            One of `activations.positions`; negative ones count from the end of the text.

        Raises
        ------
        MessageError
            If there is no such norm or layer, no text was read, or the token was not kept.
        """
        import numpy as np

        vectors = self.activations.vectors
        if norm not in vectors or norm not in self.norms:
            known = ", ".join(vectors)
            raise MessageError(
                f"There is no norm {norm!r}.", did_you_mean(norm, vectors) or f"There are {known}."
            )
        row = 0 if norm == "norm" else self._layer(layer)
        before = vectors[norm][row, self._kept(token)]
        weight = self.norms[norm][row]
        scale = np.sqrt(np.mean(before.astype(np.float64) ** 2) + self._eps(norm, row))
        return before, weight, np.asarray(weight * (before / np.float32(scale)), np.float32)

    # --- how it is shown ------------------------------------------------------------------------------

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values, layers that are alike folded."""
        from llama_nb.session.anatomy_view import body_record, measured_record

        return {**body_record(self), "measured": measured_record(self)}

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.anatomy import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __repr__(self) -> str:
        read = f", {self.activations.tokens:,} tokens read" if self.measured else ""
        return f"Anatomy({self.model}: {self.layers} layers, {self.parameters:,} parameters{read})"

    # --- finding things in it -------------------------------------------------------------------------

    def _layer(self, layer: int) -> int:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer < self.layers:
            raise MessageError(
                f"There is no layer {layer!r}: {self.model} has layers 0 to {self.layers - 1}."
            )
        return layer

    def _kept(self, token: int) -> int:
        """Which of the kept vectors is that of a token."""
        positions, count = self.activations.positions, self.activations.tokens
        at = token + count if isinstance(token, int) and token < 0 else token
        if at not in positions:
            raise MessageError(
                f"The vectors of token {token!r} were not kept: those of the first token and of the last "
                f"{len(positions) - 1} were."
            )
        return positions.index(at)

    def _blocks(self, layer: int) -> "tuple[Block, ...]":
        at = self._layer(layer)
        return next(alike.blocks for alike in self.structure.layers if at in alike.numbers)

    def _eps(self, norm: str, layer: int) -> float:
        blocks = self.structure.last if norm == "norm" else self._blocks(layer)
        facts = [block.facts for block in blocks if block.name.rpartition(".")[2] == norm]
        return float(facts[0].get("eps", 0.0)) if facts else 0.0

    def _tensors(self) -> Iterator[list[Any]]:
        yield from _rows(None, self.structure.first)
        for layer in range(self.layers):
            yield from _rows(layer, self._blocks(layer))
        yield from _rows(None, self.structure.last)


def _rows(layer: int | None, blocks: "Sequence[Block]") -> Iterator[list[Any]]:
    for block in blocks:
        for tensor in block.tensors:
            figures = (tensor.shape, tensor.parameters, tensor.bytes, tensor.dtype, tensor.tied)
            yield [layer, block.name, tensor.name, *figures]


def take_apart(model: "Model") -> Anatomy:
    """Return what a model is made of, without a text.

    Raises
    ------
    UnsupportedError
        If its weights are not in this kernel.
    """
    from llama_nb.interpret.anatomy import dissect, norm_weights
    from llama_nb.interpret.rope import rope

    engine = model.engine
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"anatomy needs the weights of {engine.name} in this kernel.",
            "Load a model into it: %llama load cria",
        )
    module = model.loaded.module
    return Anatomy(
        model=model.name,
        fingerprint=model.fingerprint,
        architecture=type(module).__name__,
        dtype=model.dtype,
        quant=model.quant,
        context=model.context,
        hidden=int(module.config.hidden_size),
        vocabulary=int(module.config.vocab_size),
        structure=dissect(module, model.quant),
        rope=rope(module),
        norms=norm_weights(module),
        cache_bytes=int(module.dtype.itemsize),
    )


def measure_text(
    model: "Model",
    anatomy: Anatomy,
    reading: Reading,
    *,
    stop: StopFlag | None = None,
    told: "Callable[[int, int], None]" = lambda _done, _of: None,
) -> Anatomy:
    """Return the anatomy with what runs through the model on a text; see `Looker.anatomy`."""
    off = active(model)

    def work(module: Any, stopped: Any) -> "Activations":
        from llama_nb.interpret.activations import measure
        from llama_nb.interpret.interventions import applied

        with applied(module, off, prompt=reading.ids[: reading.prompt], stopped=stopped):
            found: Activations = measure(module, reading.ids, stopped, told)
        return found

    flag = stop or StopFlag()
    with interrupt_stops(flag):
        found = run_measured(model.engine, flag, work, _PURPOSE)
    read = MeasuredText(reading.title, reading.texts, reading.special, found, names(off))
    return replace(anatomy, measured=read)
