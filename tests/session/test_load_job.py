"""Loads in the background: progress for their watcher alone, cancelling, errors, two at once."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core import events
from llama_nb.loading.turn import turn
from llama_nb.runtime import usage
from llama_nb.session import load_job, registry
from llama_nb.session.load_job import Choice, JobState, LoadJob
from tests.loading.fake_hub import serve
from tests.models import edit_json, write_random_llama

WAIT_S = 120


@pytest.fixture(autouse=True)
def _nothing_loaded() -> Iterator[None]:
    yield
    for name in llama.loaded():
        llama.unload(name, force=True)


@pytest.fixture
def heard() -> Iterator[list[events.Event]]:
    """What everybody else hears."""
    seen: list[events.Event] = []
    unsubscribe = events.subscribe(seen.append)
    yield seen
    unsubscribe()


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory, llama3_tokenizer: Path) -> Path:
    """A random Llama of 44 million parameters in four shards."""
    folder = tmp_path_factory.mktemp("larger")
    return write_random_llama(
        folder, tokenizer_from=llama3_tokenizer, layers=24, hidden=256, tie=True, shard_bytes=64 * 2**20
    )


def run(choice: Choice) -> tuple[LoadJob, list[JobState]]:
    states: list[JobState] = []
    job = LoadJob(choice, lambda job: states.append(job.state)).start()
    assert job.join(WAIT_S)
    return job, states


def test_a_load_ends_with_the_model_in_the_registry(heard: list[events.Event]) -> None:
    job, states = run(Choice("cria"))
    assert job.state.state == "done", job.state
    assert job.state.model == "cria"
    assert llama.current().name == "cria"
    assert job.state.bytes == llama.current().bytes
    assert job.state.chats
    assert states[0].state == "running"
    assert states[-1] == job.state
    assert [state.ended for state in states[:-1]] == [False] * (len(states) - 1)
    # Its progress is its watcher's; that there is a model now is everybody's.
    assert any(isinstance(event, events.ModelsChanged) for event in heard)
    assert not [event for event in heard if isinstance(event, events.Progress | events.Note)]


def test_reading_is_told_in_bytes(larger: Path) -> None:
    job, states = run(Choice(str(larger)))
    assert job.state.state == "done", job.state
    reading = [state for state in states if state.what.startswith("Reading the weights")]
    assert reading
    assert {state.total for state in reading if state.state == "running"} == {llama.current().parameters * 4}
    assert [state.done for state in reading] == sorted(state.done for state in reading)
    assert all(state.unit == "B" for state in reading)


def test_the_choice_reaches_the_model() -> None:
    job, _ = run(Choice("cria", quant="none", device="cpu", context=512))
    assert job.state.state == "done", job.state
    assert llama.current().context == 512


def test_a_base_model_is_said_to_have_no_chat(stories260k: Path) -> None:
    job, _ = run(Choice(str(stories260k)))
    assert job.state.state == "done"
    assert not job.state.chats


def test_cancelling_in_the_middle_gives_everything_back(larger: Path) -> None:
    before = usage.usage().process_rss
    states: list[JobState] = []

    def watch(job: LoadJob) -> None:
        states.append(job.state)
        if job.state.what.startswith("Reading the weights") and not job.state.cancelling:
            job.cancel()

    job = LoadJob(Choice(str(larger)), watch).start()
    assert job.join(WAIT_S)
    assert job.state.state == "cancelled", job.state
    assert any(state.cancelling for state in states)
    assert not job.state.cancelling
    assert llama.loaded() == {}
    assert usage.usage().process_rss - before < 400e6
    again, _ = run(Choice("cria"))
    assert again.state.state == "done"


def test_cancelling_before_the_start_loads_nothing() -> None:
    job = LoadJob(Choice("cria"))
    job.cancel()
    job.start()
    assert job.join(WAIT_S)
    assert job.state.state == "cancelled", job.state
    assert llama.loaded() == {}


def test_cancelling_a_download_keeps_the_rest_of_the_session(
    stories260k: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, heard: list[events.Event]
) -> None:
    folder = shutil.copytree(stories260k, tmp_path / "repo")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)

    def watch(job: LoadJob) -> None:
        if job.state.what == "downloading someone/stories" and not job.state.cancelling:
            job.cancel()

    with serve({"someone/stories": folder}) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        job = LoadJob(Choice("someone/stories"), watch).start()
        assert job.join(WAIT_S)
        assert job.state.state == "cancelled", job.state
        done, states = run(Choice("someone/stories"))
        assert done.state.state == "done", done.state
    totals = {state.total for state in states if state.what == "downloading someone/stories"}
    assert totals == {(folder / "model.safetensors").stat().st_size}
    assert not [event for event in heard if isinstance(event, events.Progress | events.Note)]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda folder: edit_json(folder / "config.json", num_hidden_layers=7), "layers"),
        (lambda folder: (folder / "config.json").unlink(), "config.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"<html>log in</html>"), "web page"),
    ],
)
def test_an_error_is_said_with_what_to_do(stories260k: Path, tmp_path: Path, damage, says: str) -> None:
    folder = shutil.copytree(stories260k, tmp_path / "model")
    damage(folder)
    job, _ = run(Choice(str(folder)))
    assert job.state.state == "failed"
    assert says in job.state.message
    assert job.state.hint
    assert llama.loaded() == {}


def test_a_fault_is_named_and_the_next_load_works(monkeypatch: pytest.MonkeyPatch, caplog) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(registry, "load", lambda *_, **__: 1 / 0)
        job, _ = run(Choice("cria"))
    assert job.state.message == "ZeroDivisionError: division by zero"
    assert "--debug" in job.state.hint
    assert "loading cria failed" in caplog.text
    assert run(Choice("cria"))[0].state.state == "done"


def test_a_model_in_use_is_not_replaced(stories260k: Path) -> None:
    old = llama.load(stories260k)
    reply = old.complete("Once upon a time", max_tokens=400, temperature=1, background=True)
    job, _ = run(Choice(str(stories260k)))
    reply.stop()
    assert job.state.state == "failed"
    assert "in use" in job.state.message
    assert "%llama stop" in job.state.hint
    assert old.alive


def test_two_at_once_are_loaded_one_after_the_other(stories260k: Path) -> None:
    jobs = [LoadJob(Choice(source)).start() for source in ("cria", str(stories260k))]
    assert all(job.join(WAIT_S) for job in jobs)
    assert [job.state.state for job in jobs] == ["done", "done"]
    assert set(llama.loaded()) == {"cria", stories260k.name}


def test_one_that_waits_can_be_cancelled() -> None:
    with turn(None, "another"):
        job = LoadJob(Choice("cria")).start()
        assert not job.join(0.5)
        job.cancel()
        assert job.join(10)
    assert job.state.state == "cancelled", job.state


def test_everything_that_loads_can_be_cancelled() -> None:
    with turn(None, "another"):
        jobs = [LoadJob(Choice("cria")).start() for _ in range(2)]
        assert load_job.cancel_all() == 2
        assert all(job.join(10) for job in jobs)
    assert load_job.cancel_all() == 0


def test_a_watcher_that_raises_harms_nothing(caplog) -> None:
    def broken(_: LoadJob) -> None:
        raise RuntimeError("the page is gone")

    job = LoadJob(Choice("cria"), broken).start()
    assert job.join(WAIT_S)
    assert job.state.state == "done"
    assert "the page is gone" in caplog.text


def test_the_time_left_follows_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(load_job.time, "monotonic", lambda: now[0])
    job = LoadJob(Choice("cria"))
    for seconds, done in ((0, 0), (0.5, 10), (2, 40), (2.1, 41), (4, 80)):
        now[0] = 100 + seconds
        job._observe(events.Progress("reading", done, 120, "B"))
    assert job.state.done == 80
    assert job.state.left_s == pytest.approx(2)
    job._observe(events.Progress("downloading", 5, None, "B"))
    assert (job.state.total, job.state.left_s) == (None, None)


def test_the_thread_is_a_daemon_and_ends() -> None:
    run(Choice("cria"))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("llama-nb load")]
