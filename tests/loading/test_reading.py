"""Reading under observation: bytes as they come, a stop between two tensors, and nothing left behind."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers.utils import logging

from llama_nb.core import events
from llama_nb.core.errors import LoadCancelled
from llama_nb.core.stop import StopFlag
from llama_nb.loading import reading
from llama_nb.loading.check import check
from llama_nb.loading.open import load_checked
from llama_nb.loading.weights import read
from tests.models import write_random_llama


@pytest.fixture
def progress() -> Iterator[list[events.Progress]]:
    seen: list[events.Progress] = []
    stop = events.subscribe(lambda e: seen.append(e) if isinstance(e, events.Progress) else None)
    yield seen
    stop()


class StopAfter(StopFlag):
    """Set by itself after it was looked at so many times."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self.left = looks

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0 or super().is_set()


@pytest.mark.parametrize("quant", [None, "nf4"])
def test_every_byte_is_told(
    quant: str | None, stories260k: Path, progress: list[events.Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_REPORT_EVERY", 0.0)
    loaded = read(check(stories260k), quant=quant)
    assert {event.what for event in progress} == {f"Reading the weights of {stories260k.name}"}
    assert [event.ended for event in progress] == [False] * (len(progress) - 1) + [True]
    done = [event.done for event in progress]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == progress[-1].total == loaded.checked.stored_bytes
    assert len(progress) == len(loaded.checked.tensors) + 1


@pytest.mark.parametrize("quant", [None, "nf4", "int8"])
def test_a_stop_between_two_tensors(quant: str | None, stories260k: Path) -> None:
    stop = StopAfter(7)
    with pytest.raises(LoadCancelled, match="was stopped"):
        read(check(stories260k), quant=quant, stop=stop)
    assert stop.left == -1
    assert read(check(stories260k), quant=quant, stop=StopFlag()).bytes


def test_a_stop_before_anything_is_read(stories260k: Path, progress: list[events.Progress]) -> None:
    stop = StopFlag()
    stop.set()
    with pytest.raises(LoadCancelled):
        load_checked(stories260k, stop=stop)
    assert progress == []


def test_the_hook_of_others_serves_others_and_stays(stories260k: Path) -> None:
    asked: list[str] = []

    def theirs(factory, arguments, options):
        asked.append(options.get("desc", ""))
        return factory(*arguments, **options)

    before = logging.set_tqdm_hook(theirs)
    try:
        with reading.watched("m", {}):
            other = threading.Thread(target=lambda: list(logging.tqdm([1, 2], desc="Loading weights")))
            other.start()
            other.join()
            list(logging.tqdm([1, 2], desc="something else"))
        assert asked == ["Loading weights", "something else"]
        read(check(stories260k))
        assert asked == ["Loading weights", "something else"]
    finally:
        assert logging.set_tqdm_hook(before) is theirs


def test_two_threads_read_at_once(stories260k: Path) -> None:
    checked = check(stories260k)
    stops, ended = [StopFlag(), StopAfter(3)], ["", ""]

    def work(number: int) -> None:
        try:
            ended[number] = str(read(checked, stop=stops[number]).bytes)
        except LoadCancelled:
            ended[number] = "cancelled"

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(ended[0]) > 1_000_000
    assert ended[1] == "cancelled"
    assert logging.set_tqdm_hook(None) is None


def test_a_kept_traceback_holds_no_half_read_model(
    stories260k: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForCausalLM

    made = []
    begin = LlamaForCausalLM.__init__
    monkeypatch.setattr(
        LlamaForCausalLM,
        "__init__",
        lambda self, *rest, **more: (begin(self, *rest, **more), made.append(weakref.ref(self)))[0],
    )
    checked = check(stories260k)
    made.clear()
    with pytest.raises(LoadCancelled) as kept:
        read(checked, stop=StopAfter(9))
    gc.collect()
    assert kept.value.__traceback__ is not None
    assert [reference() for reference in made] == [None]


# What a notebook does: the interrupt comes in the middle, and the traceback stays in sys.last_traceback.
INTERRUPTED = """
import gc, signal, sys
import psutil
import llama_nb as llama
from llama_nb.loading import reading

small, large = sys.argv[1:]
llama.load(small, name="m")
llama.load(large, name="warm", dtype="float32").complete("a", max_tokens=1)
llama.unload("warm")
looks = []
def interrupt(stop, name):
    looks.append(name)
    if len(looks) == 60:
        signal.raise_signal(signal.SIGINT)
reading.check_stop = interrupt
before = psutil.Process().memory_info().rss
try:
    llama.load(large, name="m", dtype="float32", quant=None)
except KeyboardInterrupt as error:
    sys.last_traceback = error.__traceback__
after = psutil.Process().memory_info().rss
print(len(looks), after - before, list(llama.loaded()), llama.current().complete("Once", max_tokens=1).text)
"""


def test_an_interrupt_gives_the_memory_back_and_leaves_the_old_model(
    tmp_path: Path, stories260k: Path
) -> None:
    large = write_random_llama(
        tmp_path / "large", tokenizer_from=stories260k, layers=8, hidden=512, heads=8, kv_heads=8
    )
    command = [sys.executable, "-c", INTERRUPTED, str(stories260k), str(large)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200, cwd=tmp_path)
    looks, grown, *names = answer.stdout.split(" ", 3)
    assert int(looks) == 60
    assert int(grown) < 10_000_000
    assert names[0] == "['m']"
