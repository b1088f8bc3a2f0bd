"""Running a function of the user's: in the main thread, beside it, stopped, interrupted."""

import asyncio
import signal
import threading
import time

import pytest

from llama_nb.core.stop import StopFlag
from llama_nb.session.tool_work import Ended, interruptible, run_function


def interrupt_after(seconds):
    threading.Timer(
        seconds, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    ).start()


def in_thread(work):
    values = []
    thread = threading.Thread(target=lambda: values.append(work()))
    thread.start()
    thread.join(20)
    return values[0]


def test_a_function_runs_where_it_is_called_from():
    assert run_function(threading.current_thread, {}, StopFlag()) is threading.main_thread()
    beside = in_thread(lambda: run_function(threading.current_thread, {}, StopFlag()))
    assert beside.name == "llama-nb tool"


def test_what_a_function_raises_is_raised():
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_function(fail, {}, StopFlag())
    with pytest.raises(ZeroDivisionError):
        in_thread_error(lambda: run_function(fail, {}, StopFlag()))


def in_thread_error(work):
    errors = []

    def target():
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised again by the test
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join(20)
    raise errors[0]


def test_an_interrupt_is_raised_inside_of_the_function(late):
    raised_in = []

    def sleep():
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            raised_in.append("the function")
            raise

    stop = StopFlag()
    interrupt_after(0.2)
    began = time.monotonic()
    with pytest.raises(Ended):
        run_function(sleep, {}, stop)
    assert time.monotonic() - began < 5
    assert raised_in == ["the function"]
    assert stop.reason == "interrupted"
    assert late == []


def test_a_stop_from_elsewhere_wakes_the_main_thread(late):
    stop = StopFlag()
    threading.Timer(0.2, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Ended):
        run_function(lambda: time.sleep(20), {}, stop)
    assert time.monotonic() - began < 5
    assert stop.reason == "stopped"
    time.sleep(0.2)
    assert late == []


def test_the_handler_comes_back(late):
    before = signal.getsignal(signal.SIGINT)
    run_function(lambda: 1, {}, StopFlag())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_function_may_swallow_the_interrupt(late):
    def stubborn():
        try:
            time.sleep(20)
        except KeyboardInterrupt:
            return "partial"

    stop = StopFlag()
    interrupt_after(0.2)
    assert run_function(stubborn, {}, stop) == "partial"
    assert stop.is_set()


def test_a_stop_ends_the_wait_for_a_thread_that_goes_on():
    stop, go_on = StopFlag(), threading.Event()
    threading.Timer(0.1, stop.set).start()
    with pytest.raises(Ended) as caught:
        in_thread_error(lambda: run_function(lambda: go_on.wait(20), {}, stop))
    assert caught.value.left_running
    go_on.set()


def test_coroutines_run_in_a_loop_of_their_own(late):
    async def name(word):
        await asyncio.sleep(0)
        return word

    assert run_function(name, {"word": "a"}, StopFlag()) == "a"
    assert run_function(name, {"word": "b"}, StopFlag()) == "b"
    stop = StopFlag()
    interrupt_after(0.2)
    with pytest.raises(Ended) as caught:
        run_function(asyncio.sleep, {"delay": 20}, stop)
    assert not caught.value.left_running
    assert late == []


def test_many_quick_calls_leave_no_interrupt_behind(late):
    stop = StopFlag()
    for _ in range(200):
        assert interruptible(lambda: 1, stop) == 1
    stops = []
    for _ in range(50):
        stop = StopFlag()
        threading.Thread(target=stop.set).start()
        try:
            interruptible(lambda: None, stop)
        except Ended:
            stops.append(1)
    time.sleep(0.1)
    assert late == []
