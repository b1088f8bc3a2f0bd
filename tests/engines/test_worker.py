"""The worker and the waiting side: queueing, errors, dead threads, and interrupts at any instant."""

import _thread
import contextlib
import gc
import random
import signal
import threading
import time

import pytest

from llama_nb.core import events
from llama_nb.core.errors import EngineError
from llama_nb.core.events import Finish, TokenEvent, Usage, Waiting
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines import interrupts
from llama_nb.engines.job import Job
from llama_nb.engines.worker import Background, Worker
from tests.engines.opening import LILY, ids, run, text

DONE = Finish("end", Usage(1, 0, 1, None, 0.0))


def counting(count, pause=0.0):
    def work(stopped):
        for number in range(count):
            if reason := stopped():
                yield TokenEvent("", finish=Finish("stopped", Usage(1, 0, number, None, 0.0), None, reason))
                return
            time.sleep(pause)
            yield TokenEvent(f"{number} ", id=number)
        yield TokenEvent("", finish=DONE)

    return work


@pytest.fixture
def worker():
    worker = Worker("cria")
    yield worker
    worker.close()


def test_events_come_in_order_and_the_iterator_ends(worker):
    stream = worker.stream(counting(50), "chat main", StopFlag())
    got = list(stream)
    assert [event.id for event in got[:-1]] == list(range(50))
    assert list(stream) == []


def test_a_reply_that_is_read_to_its_end_was_not_stopped(worker):
    tidy = threading.Event()

    def work(_stopped):
        yield TokenEvent("", finish=DONE)
        tidy.wait(5)

    stop = StopFlag()
    assert len(list(worker.stream(work, "chat main", stop))) == 1
    assert not stop.is_set()
    tidy.set()


def test_an_exception_in_the_worker_arrives_after_its_events(worker):
    def work(_stopped):
        yield TokenEvent("a", id=1)
        raise RuntimeError("boom")

    started = time.perf_counter()
    got = []
    with pytest.raises(EngineError, match="RuntimeError: boom") as caught:
        got.extend(worker.stream(work, "chat main", StopFlag()))
    assert time.perf_counter() - started < 10
    assert [event.id for event in got] == [1]
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert len(list(worker.stream(counting(3), "again", StopFlag()))) == 4


def test_a_dead_worker_is_said_and_replaced(worker, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    monkeypatch.setattr("llama_nb.engines.worker.Job.run", lambda _job: _thread.exit())
    started = time.perf_counter()
    with pytest.raises(EngineError, match="worker thread of the model ended"):
        list(worker.stream(counting(3), "chat main", StopFlag()))
    assert time.perf_counter() - started < 10
    monkeypatch.undo()
    assert len(list(worker.stream(counting(3), "chat main", StopFlag()))) == 4


def test_the_second_request_says_what_it_waits_for_and_can_be_stopped(worker):
    seen = []
    unsubscribe = events.subscribe(seen.append)
    first_flag, second_flag = StopFlag(), StopFlag()
    first = worker.stream(counting(1000, 0.01), "chat main", first_flag)
    next(first)
    assert worker.busy() == "chat main"
    timer = threading.Timer(0.3, second_flag.set, ["the button"])
    timer.start()
    got = list(worker.stream(counting(5), "complete", second_flag))
    unsubscribe()
    assert [event.waits_for for event in seen if isinstance(event, Waiting)] == ["chat main on cria"]
    assert [(event.id, event.finish.reason, event.finish.detail) for event in got] == [
        (None, "stopped", "the button")
    ]
    assert worker.busy() == "chat main"
    first_flag.set()
    assert list(first)[-1].finish.reason == "stopped"


def test_a_job_that_only_tidies_up_is_not_busy(worker):
    def work(stopped):
        yield TokenEvent("", finish=DONE)
        time.sleep(0.3)

    list(worker.stream(work, "chat main", StopFlag()))
    assert worker.busy() is None


def test_a_queued_request_runs_when_the_first_is_over(worker):
    first = worker.stream(counting(20, 0.01), "chat main", StopFlag())
    next(first)
    assert len(list(worker.stream(counting(5), "complete", StopFlag()))) == 6
    assert len(list(first)) == 20


def test_an_abandoned_iterator_stops_its_job(worker):
    flag = StopFlag()
    stream = worker.stream(counting(10_000, 0.001), "chat main", flag)
    next(stream)
    del stream
    gc.collect()
    assert flag.wait(1)
    assert len(list(worker.stream(counting(2), "next", StopFlag()))) == 3


def test_closing_stops_the_running_job_and_refuses_what_waits():
    worker = Worker("cria")
    running = worker.stream(counting(10_000, 0.001), "chat main", StopFlag())
    next(running)
    errors = []

    def wait():
        try:
            list(worker.stream(counting(1), "complete", StopFlag()))
        except EngineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.1)
    worker.close()
    thread.join(2)
    assert "closed while complete waited" in errors[0]
    assert list(running)[-1].finish.detail == "the model was closed"
    assert not worker.alive()
    with pytest.raises(EngineError, match="is closed"):
        next(worker.stream(counting(1), "late", StopFlag()))


def test_a_forgotten_worker_ends_its_thread():
    worker = Worker("cria")
    list(worker.stream(counting(1), "x", StopFlag()))
    thread = worker._thread
    del worker
    gc.collect()
    thread.join(2)
    assert not thread.is_alive()


@contextlib.contextmanager
def stopping(flag):
    """What the session does: between two tokens, too, an interrupt stops the reply and is not raised."""
    previous = signal.signal(signal.SIGINT, lambda *_: flag.set("interrupted"))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


def interrupt_later(seconds, how, again=0.0):
    def strike():
        time.sleep(seconds)
        how()
        if again:
            time.sleep(again)
            how()

    thread = threading.Thread(target=strike)
    thread.start()
    return thread


def raise_in_main():
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


@pytest.mark.parametrize("how", [_thread.interrupt_main, raise_in_main])
def test_interrupts_at_random_instants_lose_and_tear_nothing(stories, how):
    never = run(stories, LILY, temperature=0, max_tokens=40)
    then = LILY + " The end. Then"
    expected = ids(run(stories, then, key="calm", temperature=0, max_tokens=4))
    chance = random.Random(5)
    before = signal.getsignal(signal.SIGINT)
    request = Request(LILY, Sampling(temperature=0, max_tokens=40), cache_key="struck")
    stopped = 0
    for _ in range(40):
        # Every fourth time the user is impatient and interrupts twice.
        again = 0.001 * chance.random() if chance.random() < 0.25 else 0.0
        flag = StopFlag()
        with stopping(flag):
            thread = interrupt_later(0.15 * chance.random(), how, again)
            got = list(stories.stream(request, flag))
            thread.join()
            for _ in range(100):  # the last interrupt is handled here at the latest
                pass
        stopped += got[-1].finish.reason == "stopped"
        assert ids(got) == ids(never)[: len(ids(got))]
        assert text(never).startswith(text(got))
        assert signal.getsignal(signal.SIGINT) is before
        entry = stories._caches.peek("struck")
        assert {layer.get_seq_length() for layer in entry.cache.layers} == {len(entry.ids)}
    assert stopped > 10
    assert ids(run(stories, then, key="struck", temperature=0, max_tokens=4)) == expected


def test_an_interrupt_stops_with_the_reason_interrupted(worker):
    flag = StopFlag()
    stream = worker.stream(counting(10_000, 0.001), "chat main", flag)
    next(stream)
    thread = interrupt_later(0.05, _thread.interrupt_main)
    got = list(stream)
    thread.join()
    assert got[-1].finish.detail == flag.reason == "interrupted"


def test_an_interrupt_while_queued_gives_up_the_place(worker):
    flag = StopFlag()
    first = worker.stream(counting(10_000, 0.001), "chat main", flag)
    next(first)
    thread = interrupt_later(0.2, _thread.interrupt_main)
    got = list(worker.stream(counting(5), "complete", StopFlag()))
    thread.join()
    assert [event.finish.detail for event in got] == ["interrupted"]
    assert not flag.is_set()
    flag.set()


def test_user_code_between_two_tokens_is_interrupted_by_python(worker):
    stream = worker.stream(counting(10_000, 0.001), "stream", StopFlag())
    user: dict = {"stream": stream, "time": time, "__name__": "__main__"}
    thread = interrupt_later(0.2, raise_in_main)
    with pytest.raises(KeyboardInterrupt):
        exec("for event in stream:\n    time.sleep(5)", user)
    thread.join()
    stream.close()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_hanging_wait_gives_way_to_the_third_interrupt(worker, monkeypatch):
    monkeypatch.setattr(interrupts, "_PATIENCE_S", 0.2)
    release = threading.Event()

    def work(_stopped):
        release.wait(10)
        yield TokenEvent("", finish=DONE)

    def strikes():
        for _ in range(3):
            time.sleep(0.15)
            _thread.interrupt_main()
        time.sleep(0.2)
        release.set()

    thread = threading.Thread(target=strikes)
    thread.start()
    flag = StopFlag()
    got = list(worker.stream(work, "chat main", flag))
    thread.join()
    assert got[-1].finish is DONE
    assert flag.reason == "interrupted"


def test_a_stream_in_another_thread_leaves_interrupts_alone(worker):
    before = signal.getsignal(signal.SIGINT)
    got = []
    thread = threading.Thread(target=lambda: got.extend(worker.stream(counting(20, 0.005), "bg", StopFlag())))
    thread.start()
    time.sleep(0.03)
    assert signal.getsignal(signal.SIGINT) is before
    thread.join()
    assert len(got) == 21


def beginning(worker, micro_batch=0.02, given_up=lambda: None):
    """An exclusive job that serves others after each micro-batch, until it is stopped."""
    done = []

    def work(stopped):
        while (reason := stopped()) is None:
            time.sleep(micro_batch)
            done.append(worker.serve(contextlib.nullcontext))
        return reason

    return worker.begin(Background(worker, work, "the training of persona", given_up=given_up)), done


def test_long_work_serves_others_in_between(worker):
    training, done = beginning(worker)
    assert len(list(worker.stream(counting(5), "chat main", StopFlag()))) == 6
    assert len(list(worker.stream(counting(5), "chat main", StopFlag()))) == 6
    assert not training.done
    assert sum(done) >= 1
    assert worker.busy() is None
    assert worker.background() is training
    training.stop("enough")
    assert training.wait(60)
    assert (training.result, training.error) == ("enough", None)
    assert sum(done) == 2
    assert worker.background() is None


def test_what_is_served_is_what_others_wait_for(worker):
    training, _ = beginning(worker)
    flag = StopFlag()
    first = worker.stream(counting(10_000, 0.001), "chat main", flag)
    next(first)
    assert worker.busy() == "chat main"
    seen = []
    unsubscribe = events.subscribe(seen.append)
    threading.Timer(0.3, flag.set).start()
    assert len(list(worker.stream(counting(2), "complete", StopFlag()))) == 3
    unsubscribe()
    assert [event.waits_for for event in seen if isinstance(event, Waiting)] == ["chat main on cria"]
    training.stop()
    assert training.wait(60)


def test_a_failure_of_what_is_served_does_not_touch_the_long_work(worker):
    training, _ = beginning(worker)

    def broken(_stopped):
        raise RuntimeError("boom")
        yield

    with pytest.raises(EngineError, match="boom"):
        list(worker.stream(broken, "chat main", StopFlag()))
    assert len(list(worker.stream(counting(2), "again", StopFlag()))) == 3
    training.stop()
    assert training.wait(60)
    assert training.error is None


def test_a_second_long_work_waits_for_the_first_and_can_be_given_up(worker):
    first, _ = beginning(worker)
    told = []
    second, steps = beginning(worker, given_up=lambda: told.append("given up"))
    assert len(list(worker.stream(counting(2), "chat main", StopFlag()))) == 3
    assert (second.job.started, steps) == (False, [])
    second.stop()
    assert second.done
    assert told == ["given up"]
    first.stop()
    assert first.wait(60)
    assert (second.job.started, worker.background()) == (False, None)


def test_closing_stops_long_work_and_what_it_serves(worker):
    training, _ = beginning(worker)
    reply = worker.stream(counting(10_000, 0.001), "chat main", StopFlag())
    next(reply)
    worker.close()
    assert list(reply)[-1].finish.detail == "the model was closed"
    assert training.wait(60)
    assert training.result == "the model was closed"


def test_who_waits_a_moment_only_is_not_told_of_long_work(worker):
    training, _ = beginning(worker, micro_batch=0.05)
    seen = []
    unsubscribe = events.subscribe(seen.append)
    list(worker.stream(counting(2), "chat main", StopFlag()))
    unsubscribe()
    assert [event for event in seen if isinstance(event, Waiting)] == []
    patient = Job(counting(1), "chat main", StopFlag())
    assert worker.ahead(patient) == "the training of persona on cria"
    training.stop()
    assert training.wait(60)
