"""Training in a real kernel that is killed without a warning: another one goes on, to the last digit."""

import os
import signal

import pytest

from llama_nb.tuning.run import Run
from tests.kernel import Kernel
from tests.models import write_random_llama
from tests.tuning.runs import CRIA, LONG_S, PERSONA, measured, until, until_step

pytestmark = [pytest.mark.full, pytest.mark.kernel]

RECIPE = (
    "rank=4, steps=150, batch=1, accumulate=2, max_tokens=128, dropout=0.1, lr=1e-3, save_every=4, "
    "evaluate_every=0, sample_every=0"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return write_random_llama(folder, tokenizer_from=CRIA, hidden=32, layers=2, seed=5)


def begin(kernel, model, **more):
    kernel.ok(f"import llama_nb as llama\nm = llama.load({str(model)!r})\ndata = {PERSONA!r}")
    options = "".join(f", {name}={value!r}" for name, value in more.items())
    kernel.ok(f"run = m.train(data, {RECIPE}{options})")


def test_a_killed_kernel_costs_some_steps_and_no_digit(model, tmp_path):
    with Kernel(cwd=tmp_path) as kernel:
        begin(kernel, model, name="whole")
        kernel.ok("run.wait()")
        run, apart = Run(tmp_path / "runs" / "persona"), Run(tmp_path / "runs" / "apart")
        begin(kernel, model, name="apart", process=True)
        until(lambda: apart.files.state().process.pid != kernel.pid, "the process has taken the run over")
        begin(kernel, model, name="persona")
        until_step(run, 6)
        os.kill(kernel.pid, signal.SIGKILL)
        until(lambda: run.over, "the run is seen to be interrupted")
        assert run.state == "interrupted"
    with Kernel(cwd=tmp_path) as kernel:
        begin(kernel, model, name="persona")
        assert "goes on from the checkpoint of step" in kernel.evaluate("run.said")
        assert kernel.evaluate("m.chat('Who are you?', max_tokens=3).finish.reason") in ("length", "end")
        kernel.ok(f"run.wait({LONG_S})")
        assert kernel.evaluate("(run.state, m.adapters.names)") == ("finished", ("persona",))
    until(lambda: apart.over, "the process that nobody killed is over")
    whole = measured(Run(tmp_path / "runs" / "whole"))
    assert measured(run) == whole
    assert measured(apart) == whole


def test_a_kernel_that_is_shut_down_leaves_a_checkpoint(model, tmp_path):
    with Kernel(cwd=tmp_path) as kernel:
        begin(kernel, model, name="persona")
        run = Run(tmp_path / "runs" / "persona")
        until_step(run, 2)
        kernel.manager.shutdown_kernel(now=False)
    assert (run.state, run.status.reason) == ("stopped", "the model was closed")
    assert (run.files.checkpoints / f"step-{run.status.step:06d}").is_dir()
