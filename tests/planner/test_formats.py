"""Bits per weight against published figures, and bytes of matrices as the libraries keep them."""

import pytest

from llama_nb.core.errors import LoadError
from llama_nb.planner.formats import FORMATS, LOADABLE, QUANTS, find_format
from llama_nb.planner.memory import group_bytes, quantised_bytes
from llama_nb.planner.shape import Shape
from tests.planner.configs import EIGHT, SCOUT, SMALL

_EIGHT = Shape.from_config(EIGHT)


@pytest.mark.parametrize(
    ("name", "bits", "within"),
    [("bf16", 16, 0), ("nf4", 4.5, 0), ("fp4", 4.5, 0), ("nf4-double", 4.127, 0.001), ("int8", 8, 0.01),
     ("q8_0", 8.5, 0), ("q6_k", 6.56, 0.01), ("q5_k_m", 5.7, 0.01), ("q4_k_m", 4.85, 0.05),
     ("q4_k_s", 4.6, 0.1), ("q3_k_m", 3.9, 0.05), ("q2_k", 3.2, 0.2)],
)  # fmt: skip
def test_true_bits_per_weight(name: str, bits: float, within: float) -> None:
    assert FORMATS[name].bits == pytest.approx(bits, abs=within or 1e-9)


# rows, columns, bytes of the tensors that the library keeps for one such matrix
@pytest.mark.parametrize(
    ("name", "rows", "columns", "expected"),
    [("nf4", 1024, 512, 262_144 + 8192 * 4 + 64),
     ("nf4-double", 1024, 512, 262_144 + 8192 + 64 + 32 * 4 + 1024 + 4),
     ("int8", 1024, 512, 524_288 + 1024 * 4),
     ("int4-quanto", 1024, 512, 262_144 + 16_384 + 4),
     ("int4-quanto", 1024, 192, 98_304 + 8192 + 4),
     ("int4-quanto", 1024, 176, 90_112 + 4096 + 4),
     ("int8-quanto", 1024, 192, 196_608 + 2048 + 4),
     ("int8-torchao", 1024, 512, 524_288 + 4096 + 1024)],
)  # fmt: skip
def test_bytes_of_a_matrix(name: str, rows: int, columns: int, expected: int) -> None:
    assert FORMATS[name].matrix_bytes(rows, columns) == expected


def test_without_quantisation_the_weights_are_parameters_times_bytes() -> None:
    assert quantised_bytes(_EIGHT, "none") == 2 * 8_030_261_248
    assert quantised_bytes(_EIGHT, "none", "float32") == 4 * 8_030_261_248


def test_embedding_head_and_norms_stay_in_half_precision() -> None:
    linear = sum(group.parameters for group in _EIGHT.groups() if group.part in ("attention", "feed-forward"))
    rest = _EIGHT.parameters - linear
    assert quantised_bytes(_EIGHT, "nf4") == pytest.approx(linear * 4.5 / 8 + rest * 2, rel=1e-5)
    assert quantised_bytes(_EIGHT, "nf4", "float32") == pytest.approx(linear * 4.5 / 8 + rest * 4, rel=1e-5)


def test_a_gguf_quantises_its_embedding_too() -> None:
    # 4.58 GiB is the size of this file in llama.cpp's own table.
    assert quantised_bytes(_EIGHT, "q4_k_m") / 2**30 == pytest.approx(4.58, abs=0.01)
    assert quantised_bytes(_EIGHT, "q8_0") / 2**30 == pytest.approx(7.95, abs=0.01)


def test_what_the_method_cannot_take_stays_as_it_is() -> None:
    shape = Shape.from_config({**SMALL, "hidden_size": 80, "head_dim": 16})
    plain = {group.name: group_bytes(group, FORMATS["bf16"], "bfloat16") for group in shape.groups()}
    four = {group.name: group_bytes(group, FORMATS["nf4"], "bfloat16") for group in shape.groups()}
    assert four["q_proj"] == plain["q_proj"]  # 80 inputs: not a multiple of 64
    assert four["o_proj"] < plain["o_proj"] / 3  # 64 inputs


def test_experts_in_one_tensor_are_no_linear_layers() -> None:
    scout = Shape.from_config(SCOUT)
    experts = sum(group.parameters for group in scout.groups() if group.name.startswith("experts."))
    assert quantised_bytes(scout, "nf4") > 2 * experts
    assert quantised_bytes(scout, "q4_k_m") < 0.7 * experts


def test_names() -> None:
    assert set(LOADABLE) <= set(QUANTS)
    assert find_format("none", "float16").bits == 16
    assert find_format("Q4_K_M").name == "q4_k_m"
    with pytest.raises(LoadError, match="nf5") as caught:
        find_format("nf5")
    assert "nf4" in caught.value.hint
