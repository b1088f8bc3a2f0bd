"""The stop flag, set from other threads and from a signal handler at any instant."""

import sys
import threading
import time

import pytest

from llama_nb.core import stop
from llama_nb.core.stop import StopFlag


def test_the_first_reason_is_kept():
    flag = StopFlag()
    assert (flag.is_set(), flag.reason) == (False, "")
    flag.set("the button")
    flag.set("interrupted")
    assert (flag.is_set(), flag.reason) == (True, "the button")


def test_waiting_ends_with_the_stop_for_everyone():
    flag = StopFlag()
    assert flag.wait(0.01) is False
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(flag.wait(10))) for _ in range(3)]
    for thread in threads:
        thread.start()
    started = time.perf_counter()
    flag.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * 3
    assert time.perf_counter() - started < 9
    assert flag.wait(0) is True


@pytest.mark.parametrize("instant", range(25))
def test_a_signal_handler_may_set_it_whatever_it_interrupts(instant):
    # A flag with a lock hangs here: the lock is held by the very code that the handler interrupts.
    flag = StopFlag()
    lines = 0

    def strike(frame, event, _arg):
        nonlocal lines
        if frame.f_code.co_filename not in (stop.__file__, threading.__file__):
            return strike
        lines += event == "line"
        if lines == instant:
            flag.set("handler")
        return strike

    def use():
        sys.settrace(strike)
        flag.wait(0.01)
        flag.set("main")
        sys.settrace(None)

    thread = threading.Thread(target=use, daemon=True)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    assert flag.is_set()
