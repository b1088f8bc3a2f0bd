"""In which formats weights can lie in memory, and how many bytes a matrix takes in each, scales included.

Knows sizes only: which method can run here is loading's, what a matrix is for is shape's.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from llama_nb.core.errors import LoadError, did_you_mean

Kind = Literal["float", "bitsandbytes", "quanto", "torchao", "gptq", "awq", "gguf"]

# The width that `bits` is stated for, that of the 7B and 8B Llamas: scales by row cost less on wider rows.
_USUAL_WIDTH: Final = 4096
_BNB: Final = "bitsandbytes: one fp32 scale per block of 64 weights; QLoRA, arXiv:2305.14314, section 3"
_LLAMA_CPP: Final = "llama.cpp, tools/quantize/README.md: bits per weight of Llama 3.1 8B"
_BLOCKS: Final = "block sizes of ggml: "


@dataclass(frozen=True, slots=True)
class Format:
    """One way to keep weights.

    Attributes
    ----------
    name
        What `quant` is called everywhere: "nf4", "int8", "q4_k_m"; "bf16", "fp16", "float32" for none.
    weight_bits
        Bits of one weight without scales; for a GGUF type that mixes several, the average of a whole file.
    library
        The package that loads it; None where torch alone does.
    source
        Where the figures come from.
    quantises_embeddings
        Whether the embedding and the head are kept in this format too; otherwise they stay in half precision.
    quantises_experts
        Whether experts that lie in one tensor for all are; transformers' methods replace linear layers only.
    group, group_bytes
        So many weights share scales of so many bytes; 0 when there are no groups.
    row_bytes, extra_bytes
        Bytes beside the weights for each output row, and for each matrix.
    multiple, rows_multiple
        Input width and output height must be multiples of these; other matrices stay in half precision.
    """

    name: str
    label: str
    kind: Kind
    weight_bits: float
    library: str | None
    source: str
    quantises_embeddings: bool = False
    quantises_experts: bool = False
    group: int = 0
    group_bytes: float = 0
    row_bytes: float = 0
    extra_bytes: int = 0
    multiple: int = 1
    rows_multiple: int = 1

    @property
    def bits(self) -> float:
        """True bits per weight, scales included, of a matrix that is 4,096 wide."""
        scales = self.group_bytes / self.group if self.group else 0
        return self.weight_bits + 8 * (scales + self.row_bytes / _USUAL_WIDTH)

    def takes(self, rows: int, columns: int) -> bool:
        """Whether a matrix of `rows` outputs and `columns` inputs can be kept in this format."""
        return rows > 0 and columns % self.multiple == 0 and rows % self.rows_multiple == 0

    def matrix_bytes(self, rows: int, columns: int) -> float:
        """Return the bytes of one matrix of `rows` outputs and `columns` inputs, scales included."""
        scales = self._groups(rows, columns) * self.group_bytes + rows * self.row_bytes + self.extra_bytes
        return rows * columns * self.weight_bits / 8 + scales

    def _groups(self, rows: int, columns: int) -> int:
        if not self.group:
            return 0
        if self.kind == "bitsandbytes":  # blocks run over the flattened matrix
            return math.ceil(rows * columns / self.group)
        # quanto looks for a group size that divides the row, in steps of 32; else a row is one group.
        sizes = range(self.group, 31, -32)
        size = next((size for size in sizes if columns > self.group and columns % size == 0), columns)
        return rows * columns // size


def _gguf(name: str, bits: float, source: str) -> Format:
    return Format(
        name, f"GGUF {name.upper()}", "gguf", bits, "llama.cpp", source,
        quantises_embeddings=True, quantises_experts=True,
    )  # fmt: skip


_ALL: Final = (
    Format("float32", "float32", "float", 32, None, "IEEE 754"),
    Format("bf16", "bfloat16", "float", 16, None, "8 bits of exponent, 7 of mantissa"),
    Format("fp16", "float16", "float", 16, None, "IEEE 754"),
    Format(
        "int8", "int8 (bitsandbytes)", "bitsandbytes", 8, "bitsandbytes",
        "LLM.int8(), arXiv:2208.07339: one fp32 scale per output row", row_bytes=4,
    ),
    # The 16 values of the code book lie beside every matrix, in double quantisation 256 more and an offset.
    Format(
        "nf4", "nf4 (bitsandbytes)", "bitsandbytes", 4, "bitsandbytes", _BNB,
        group=64, group_bytes=4, extra_bytes=64, multiple=64,
    ),
    Format(
        "fp4", "fp4 (bitsandbytes)", "bitsandbytes", 4, "bitsandbytes", _BNB,
        group=64, group_bytes=4, extra_bytes=64, multiple=64,
    ),
    Format(
        "nf4-double", "nf4, scales quantised too (bitsandbytes)", "bitsandbytes", 4, "bitsandbytes",
        f"{_BNB}: 8 bits per block, one fp32 scale per 256 blocks",
        group=64, group_bytes=1 + 4 / 256, extra_bytes=64 + 1028, multiple=64,
    ),
    Format(
        "int8-quanto", "int8 (quanto)", "quanto", 8, "optimum-quanto",
        "optimum-quanto 0.2.7: one bf16 scale per output row", row_bytes=2, extra_bytes=4, multiple=32,
    ),
    Format(
        "int4-quanto", "int4 (quanto)", "quanto", 4, "optimum-quanto",
        "optimum-quanto 0.2.7: bf16 scale and shift per group of 128, or the nearest size that divides a row",
        group=128, group_bytes=4, extra_bytes=4, multiple=32, rows_multiple=16,
    ),
    Format(
        "int8-torchao", "int8 (torchao)", "torchao", 8, "torchao",
        "torchao 0.18: fp32 scale and int8 zero point per output row", row_bytes=5,
    ),
    Format(
        "int4-torchao", "int4 (torchao)", "torchao", 4, "torchao",
        "torchao 0.18: bf16 scale and zero point per group of 128", group=128, group_bytes=4, multiple=128,
    ),
    # g_idx, the group of each input, is 4 bytes a column: 0.01 bits on a matrix of 4,096 outputs.
    Format(
        "gptq-4bit", "GPTQ, 4 bits", "gptq", 4, "gptqmodel",
        "arXiv:2210.17323; groups of 128 with an fp16 scale and a 4-bit zero point",
        quantises_experts=True, group=128, group_bytes=2.5, multiple=32,
    ),
    Format(
        "awq-4bit", "AWQ, 4 bits", "awq", 4, "gptqmodel",
        "arXiv:2306.00978; groups of 128 with an fp16 scale and a 4-bit zero point",
        quantises_experts=True, group=128, group_bytes=2.5, multiple=32,
    ),
    _gguf("q8_0", 8.5, _BLOCKS + "32 weights in 34 bytes"),
    _gguf("q6_k", 6.5625, _BLOCKS + "256 weights in 210 bytes"),
    _gguf("q5_k_m", 5.7036, _LLAMA_CPP),
    _gguf("q5_k_s", 5.5704, _LLAMA_CPP),
    _gguf("q5_1", 6.0, _BLOCKS + "32 weights in 24 bytes"),
    _gguf("q5_0", 5.5, _BLOCKS + "32 weights in 22 bytes"),
    _gguf("q4_k_m", 4.8944, _LLAMA_CPP),
    _gguf("q4_k_s", 4.6672, _LLAMA_CPP),
    _gguf("q4_1", 5.0, _BLOCKS + "32 weights in 20 bytes"),
    _gguf("q4_0", 4.5, _BLOCKS + "32 weights in 18 bytes"),
    _gguf("q3_k_l", 4.2979, _LLAMA_CPP),
    _gguf("q3_k_m", 3.91, "llama.cpp, README of quantize in 2024: bits per weight of Llama 2 7B"),
    _gguf("q3_k_s", 3.6429, _LLAMA_CPP),
    _gguf("q2_k", 3.1593, _LLAMA_CPP),
)  # fmt: skip

FORMATS: Final[Mapping[str, Format]] = MappingProxyType({made.name: made for made in _ALL})
# What `%llama load --quant` knows, and what a plan tells about besides.
LOADABLE: Final = (
    "none", "int8", "nf4", "fp4", "nf4-double",
    "int4-quanto", "int8-quanto", "int8-torchao", "int4-torchao",
)  # fmt: skip
QUANTS: Final = ("none", *(made.name for made in _ALL if made.kind != "float"))
_FLOATS: Final[Mapping[str, str]] = {"float32": "float32", "bfloat16": "bf16", "float16": "fp16"}


def find_format(quant: str, dtype: str = "bfloat16") -> Format:
    """Return the format that `quant` names; for "none" that of the dtype.

    Raises
    ------
    LoadError
        If there is no such format; the hint has the nearest name.
    """
    name = quant.lower() if isinstance(quant, str) else str(quant)
    if name == "none":
        name = _FLOATS.get(dtype, dtype)
    if name not in FORMATS and quant == "none":
        raise LoadError(f"dtype is {dtype!r}; it must be one of {', '.join(_FLOATS)}.")
    if name not in FORMATS:
        known = [*QUANTS, "bf16", "fp16", "float32"]
        near = did_you_mean(name, known) or "`none` keeps the weights as they are."
        raise LoadError(f"quant is {quant!r}; a plan knows {', '.join(QUANTS)}.", near)
    return FORMATS[name]
