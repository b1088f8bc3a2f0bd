"""What was measured of a model's quantisations, as values: a row a method, with its matrices.

Measuring is the business of `quantisations`, showing that of render.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from llama_nb.interpret.quality import TextQuality
    from llama_nb.interpret.weight_error import MatrixError


@dataclass(frozen=True, slots=True)
class Difference:
    """Where greedy decoding leaves the reference's path.

    Attributes
    ----------
    place
        How many tokens are equal before it.
    text, reference
        What the model and its reference write from there on.
    """

    place: int
    text: str
    reference: str


@dataclass(frozen=True, slots=True)
class Measured:
    """One way to load the model, measured.

    Attributes
    ----------
    method
        The value of `quant`, or the dtype of weights that are not quantised.
    bytes
        Bytes of the weights in memory.
    tokens_per_s
        Speed of greedy decoding on this machine after the first token.
    quality
        Perplexity, divergence and agreement on the text.
    difference
        None where greedy decoding wrote the same tokens.
    matrices
        The quantised matrices with their errors.
    notes
        Which layers stayed as they were, and why.
    """

    method: str
    bytes: int
    tokens_per_s: float | None
    quality: "TextQuality"
    difference: Difference | None
    matrices: "tuple[MatrixError, ...]" = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class QuantisationReport:
    """What `compare_quantisations` found; the first row is the reference.

    Attributes
    ----------
    model, reference
        The model's name, and the dtype of the reference.
    tokens
        How many tokens of the text were read.
    start, continuation
        From how many tokens of the text greedy decoding went on, and for how many at most.
    refused
        Methods that were not measured, each with the reason.
    stopped
        Whether somebody stopped it before the end.
    """

    model: str
    reference: str
    tokens: int
    start: int
    continuation: int
    rows: tuple[Measured, ...]
    refused: tuple[tuple[str, str], ...] = ()
    stopped: bool = False

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a method.

        Columns: bytes, tokens_per_s, perplexity, mean_kl (nats), agreement (0 to 1), same_tokens (how many
        tokens greedy decoding wrote before it left the reference's path).
        """
        import pandas as pd

        rows = [
            {
                "method": row.method,
                "bytes": row.bytes,
                "tokens_per_s": row.tokens_per_s,
                "perplexity": row.quality.perplexity,
                "mean_kl": row.quality.mean_kl,
                "agreement": row.quality.agreement,
                "same_tokens": self.continuation if row.difference is None else row.difference.place,
            }
            for row in self.rows
        ]
        return pd.DataFrame(rows).set_index("method")

    def layers(self) -> "pd.DataFrame":
        """Return one row a quantised matrix.

        Columns: method, layer, name, shape, error (relative, Frobenius), largest (standard deviations),
        outliers (share).
        """
        import pandas as pd

        columns = ("layer", "name", "shape", "error", "largest", "outliers")
        rows = [
            {"method": row.method, **{column: getattr(matrix, column) for column in columns}}
            for row in self.rows
            for matrix in row.matrices
        ]
        return pd.DataFrame(rows, columns=["method", *columns])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.quantisations import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self, watched=detect().watched)

    def __repr__(self) -> str:
        return f"QuantisationReport({self.model}: {', '.join(row.method for row in self.rows)})"
