"""How four ways to train become rows; and that all of them learn the same, on tiny models."""

import pytest
import torch

from benchmarks import training, training_child
from benchmarks.training import Case

LARGE = Case("56 M", 128_256, "nf4 in bfloat16", tokens=256)
CASE = {"size": "tiny", "vocabulary": 1000, "dtype": "bfloat16", "share": 0.25, "steps": 4, "batch": 2,
        "tokens": 32, "device": "cpu", "threads": 1}  # fmt: skip


def one(seconds, memory=100_000_000, losses=(11.8, 11.7)):
    times = [9.0, 9.0, seconds, seconds * 1.5, seconds]  # the first two are of warming up
    return {"seconds": times, "worked_s": times, "memory": memory, "losses": list(losses)}


def found(**changes):
    measured = {"ours": [one(0.25), one(0.2)], "plain": [one(0.4), one(0.5)], "trainer": [one(0.26)],
                "trl": [one(0.8, 200_000_000)]}  # fmt: skip
    return {**measured, **changes}


def test_steps_are_compared_with_the_budget_of_the_case():
    rows = {row.what + row.peer[-18:]: row for row in training.rows(LARGE, found())}
    steps = [row for name, row in rows.items() if ": a step" in name]
    assert [row.ratio for row in steps] == [
        pytest.approx(0.5),
        pytest.approx(0.2 / 0.26),
        pytest.approx(0.25),
    ]
    assert [row.budget for row in steps] == ["<= 0.75x", "<= 0.75x", "<= 0.4x"]
    assert [row.met for row in steps] == [True, False, True]
    assert steps[0].ours == "200 ms, 2,560 tokens/s, 0.20 s of the processor"
    memory = [row for name, row in rows.items() if "memory" in name]
    assert [row.ratio for row in memory] == [1, 1, 0.5]


@pytest.mark.parametrize("case", [Case("56 M", 8_000, "bfloat16"), Case("110 M", 128_256, "bfloat16", 1.0)])
def test_elsewhere_ours_is_never_slower(case):
    steps = [row for row in training.rows(case, found()) if ": a step" in row.what]
    assert {row.budget for row in steps} == {"<= 1x"}


def test_a_processor_without_bfloat16_is_measured_in_float32():
    half, wide = ({case.dtype for case in training.cases(half=half)} for half in (True, False))
    assert half == {"bfloat16", "nf4 in bfloat16"}
    assert {"float32", "nf4 in float32"} < wide


def test_losses_must_be_the_same():
    other = found(trl=[one(0.8, losses=(11.8, 11.4))])
    equal = [row.met for row in training.rows(LARGE, other) if "loss" in row.what]
    assert equal == [True, True, False]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_ours_learns_what_a_plain_loop_does(tmp_path, threads):
    ways = {way: training_child.measure({**CASE, "way": way, "folder": str(tmp_path)})
            for way in ("ours", "plain")}  # fmt: skip
    for way, measured in ways.items():
        assert len(measured["seconds"]) == len(measured["losses"]) == 4, way
        assert (measured["trained"], measured["parameters"]) == (16, 8192)
        assert training.worst_loss(ways["ours"], measured) < training.SAME_LOSS
    assert len(set(ways["ours"]["losses"])) == 4


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["bfloat16", "nf4 in bfloat16", "nf4 in float32"])
def test_each_way_runs_in_a_process_of_its_own(dtype):
    case = Case("tiny", 1000, dtype, steps=3, tokens=32)
    ways = {way: [training.train(case, way)] for way in ("ours", *training.PEERS)}
    assert all(row.met for row in training.rows(case, ways) if "loss" in row.what)
