"""A run in a process of its own: killed, it goes on exactly; told to end, it keeps a checkpoint."""

import os
import signal
import sys
import threading

import pytest
import torch

from llama_nb.core.errors import TrainingError
from llama_nb.tuning import child
from llama_nb.tuning.process import this_process
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import Base, RunFolder, RunState, create
from llama_nb.tuning.starting import resume, start
from tests.tuning.runs import RECIPE, measured, persona, tiny, until, until_step

LONG = RECIPE.replace(steps=40, save_every=4, evaluate_every=0, sample_every=0)


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    torch.set_num_threads(1)
    made = tiny(tmp_path_factory.mktemp("tiny"))
    yield made
    made.engine.close()


def begun(parts, root, step):
    """A run in a process of its own that has made `step` steps and is not over."""
    for attempt in range(3):
        run = start(parts, persona(), LONG, name=f"persona{attempt}", root=root, process=True)
        until_step(run, step)
        if not run.over:
            return run
    raise AssertionError(f"it was never seen at work: {run.status}, {run.files.log_file.read_text()}")


def test_a_killed_process_costs_some_steps_and_no_digit(parts, tmp_path):
    run = begun(parts, tmp_path / "cut", 6)
    pid = run.files.state().process.pid
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: run.over, "it is seen to be dead")
    status = run.status
    assert (status.state, status.executor) == ("interrupted", "process")
    with pytest.raises(TrainingError, match="the process that executed it is gone"):
        run.check()
    resume(run, parts, process=False).wait(90)
    whole = start(parts, persona(), LONG, name="whole", root=tmp_path / "whole").wait(90)
    assert measured(run) == measured(whole)
    assert "Traceback" not in run.files.log_file.read_text()


def a_folder(tmp_path, base):
    train, held = persona().split(0.05)

    def fill(files):
        train.save(files.train_file)
        held.save(files.validation_file)

    made = create(tmp_path, "persona", LONG, base, fill)
    made.write_state(RunState("waiting", executor="process", process=this_process()))
    return made


@pytest.fixture
def signals():
    """The handlers that the process of a run sets, set back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_a_process_that_is_told_to_end_keeps_a_checkpoint(parts, tmp_path):
    made = a_folder(tmp_path, parts.base)

    def tell():
        until_step(Run(made), 2)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=tell)
    thread.start()
    assert child.main([str(made.path)]) == 0
    thread.join(90)
    state = made.state()
    assert (state.state, state.reason) == ("stopped", "by SIGTERM")
    assert (made.checkpoints / f"step-{state.step:06d}").is_dir()


def test_a_process_that_ends_before_it_began_is_a_failed_run(tmp_path):
    made = a_folder(tmp_path, Base("cria", "cria", "0" * 16))
    ended = child.spawn(made, [sys.executable, "-c", "import sys; sys.exit('no <b>room</b>')"])
    ended.wait(60)
    until(lambda: made.state().state == "failed", "its end is seen")
    assert "ended with code 1 before it began: no <b>room</b>" in made.state().error
    with pytest.raises(TrainingError, match="cannot be started"):
        child.spawn(made, ["/nonexistent/python"])


@pytest.mark.usefixtures("signals")
def test_another_model_of_the_same_name_is_refused(tmp_path):
    made = a_folder(tmp_path, Base("cria", "cria", "0" * 16))
    assert child.main([str(made.path)]) == 1
    state = made.state()
    assert state.state == "failed"
    assert "cria has other weights now" in state.error
    assert "new run" in state.hint


def test_it_says_how_it_is_called(capsys):
    assert child.main([]) == 2
    assert "python -m llama_nb.tuning.child RUN" in capsys.readouterr().err


def test_the_run_is_the_folder(parts, tmp_path):
    made = a_folder(tmp_path, parts.base)
    assert Run(made).base == RunFolder(made.path).base == parts.base


def test_the_end_of_an_old_process_says_nothing_of_a_new_life(tmp_path):
    made = a_folder(tmp_path, Base("cria", "cria", "0" * 16))
    go = tmp_path / "go"
    code = f"import os, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)"
    child.spawn(made, [sys.executable, "-c", code])
    made.write_state(made.state())  # somebody resumes it, in this process
    go.touch()
    for thread in threading.enumerate():
        if thread.name == "llama-nb child of persona":
            thread.join(60)
            assert not thread.is_alive()
    assert made.state().state == "waiting"
