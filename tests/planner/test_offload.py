"""Experts in main memory: bytes on either side and between, against sums of the shape; bad input."""

import math

import pytest

from llama_nb.core.errors import LoadError, UnsupportedError
from llama_nb.planner.job import Target
from llama_nb.planner.offload import PCIE_4
from llama_nb.planner.plan import Plan, estimate
from llama_nb.planner.shape import Shape
from tests.planner.configs import EIGHT, MAVERICK, SCOUT

GB = 10**9
SHAPES = {"scout": Shape.from_config(SCOUT), "maverick": Shape.from_config(MAVERICK)}
EXPERT = 3 * 5120 * 8192  # of either: gate, up and down


def plan(name: str = "scout", memory: int = 24 * GB, **asked: object) -> Plan:
    count = asked.pop("count", 1)
    target = Target("a GPU", memory, count, unified=bool(asked.pop("unified", False)))
    return estimate(SHAPES[name], name=name, device=target, **asked)


def test_pcie_4_with_16_lanes() -> None:
    assert pytest.approx(31.5e9, rel=0.001) == PCIE_4


@pytest.mark.parametrize(("name", "experts", "layers"), [("scout", 16, 48), ("maverick", 128, 24)])
def test_bytes_on_either_side_and_between(name: str, experts: int, layers: int) -> None:
    found = plan(name).offload()
    assert found.host_bytes == layers * experts * EXPERT * 2
    assert found.moved_bytes == layers * EXPERT * 2
    assert found.gpu_bytes == plan(name).weights_bytes - found.host_bytes
    assert found.tokens_per_s == pytest.approx(PCIE_4 / found.moved_bytes)


def test_experts_that_stay_on_the_gpu() -> None:
    none, some, every = (plan().offload(count) for count in (0, 4, 16))
    assert some.hit_rate == 4 / 16
    assert some.assumed
    assert some.moved_bytes == pytest.approx(none.moved_bytes * 3 / 4)
    assert some.gpu_bytes == none.gpu_bytes + none.host_bytes / 4
    assert every.moved_bytes == 0
    assert every.tokens_per_s is None
    assert every.gpu_bytes == plan().weights_bytes
    measured = plan().offload(4, 0.75)
    assert measured.moved_bytes == pytest.approx(none.moved_bytes / 4)
    assert not measured.assumed


def test_quantised_experts_are_moved_as_they_are_kept() -> None:
    whole, small = plan().offload(), plan(quant="q4_k_m").offload()
    assert small.moved_bytes / whole.moved_bytes == pytest.approx(small.host_bytes / whole.host_bytes)
    assert small.moved_bytes < 0.35 * whole.moved_bytes


def test_each_gpu_has_its_own_way() -> None:
    one, four = plan().offload(), plan(count=4).offload()
    assert four.moved_bytes == one.moved_bytes
    assert four.bandwidth == 4 * one.bandwidth


def test_the_words_say_what_is_assumed() -> None:
    assert "since no expert stays there" in plan().offload().sentence
    assert "(PCIe 4.0 x16)" in plan().offload().sentence
    assert "25 % of the experts that it needs are there, as without any pattern" in plan().offload(4).sentence
    said = plan().offload(4, 0.6, 25e9).sentence
    assert "60 % of the experts that it needs are there, as you say" in said
    assert "at 25 GB/s. An estimate" in said
    assert "tokens/s" not in plan().offload(16).sentence


def test_a_mixture_that_would_fit_without_its_experts_says_so() -> None:
    def hinted(found: Plan) -> bool:
        return any("`--offload 0`" in note for note in found.notes)

    assert hinted(plan(quant="q4_k_m"))
    assert not hinted(plan(quant="q4_k_m", memory=200 * GB))  # fits whole
    assert not hinted(plan(memory=8 * GB))  # does not fit without them either
    assert not hinted(plan(quant="q4_k_m", unified=True))
    assert not hinted(plan(train="lora", memory=100 * GB))
    dense = estimate(Shape.from_config(EIGHT), name="dense", device=Target("a GPU", 12 * GB))
    assert not hinted(dense)


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ((17,), "0 to 16"),
        ((-1,), "offload is -1"),
        ((True,), "offload is True"),
        ((2.5,), "offload is 2.5"),
        ((4, 1.5), "hit_rate is 1.5"),
        ((4, math.nan), "hit_rate is nan"),
        ((4, "0.5"), "hit_rate is '0.5'"),
        ((0, 0.5), "no expert stays"),
        ((4, 0.5, 0), "bandwidth is 0"),
        ((4, 0.5, math.inf), "bandwidth is inf"),
    ],
)
def test_bad_input_is_named(asked: tuple[object, ...], named: str) -> None:
    with pytest.raises(LoadError) as caught:
        plan().offload(*asked)
    assert named in str(caught.value)


def test_a_dense_model_has_nothing_to_offload() -> None:
    dense = estimate(Shape.from_config(EIGHT), name="dense", device=Target("a GPU", 12 * GB))
    with pytest.raises(UnsupportedError, match="without experts"):
        dense.offload()
