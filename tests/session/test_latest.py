"""Work of which only the newest matters."""

import threading

import pytest

from llama_nb.core.errors import Stopped, TraceError
from llama_nb.session.latest import Jobs, Latest


def test_the_newest_work_stops_the_one_before_and_waits_for_it():
    latest, log, begun = Latest("test"), [], threading.Event()

    def first(flag):
        begun.set()
        assert flag.wait(10)
        log.append("first ended")

    latest.put(first)
    assert begun.wait(10)
    latest.put(lambda _: log.append("second"))
    latest.join(10)
    assert log == ["first ended", "second"]


def test_what_is_overtaken_is_never_begun():
    latest, log = Latest("test"), []
    latest.put(lambda _: log.append("first"), 5.0)
    latest.put(lambda _: log.append("second"))
    latest.join(10)
    assert log == ["second"]


@pytest.fixture
def jobs():
    seen = []

    def guard(work):
        def guarded(flag):
            try:
                work(flag)
            except Exception as error:  # noqa: BLE001 - that is what is looked at
                seen.append(error)

        return guarded

    made = Jobs("test", ("map", "links"), guard)
    yield made, seen
    made.stop()


def test_kinds_go_side_by_side(jobs):
    made, _ = jobs
    meet = threading.Barrier(2, timeout=10)
    made.put("map", lambda _: meet.wait())
    made.put("links", lambda _: meet.wait())
    made.join(10)
    assert not meet.broken


def test_one_kind_is_stopped_alone(jobs):
    made, _ = jobs
    ended: list[str] = []
    both = threading.Barrier(3, timeout=10)

    def work(kind):
        def run(flag):
            both.wait()
            if flag.wait(0.5):
                ended.append(kind)

        return run

    made.put("map", work("map"))
    made.put("links", work("links"))
    both.wait()
    made.stop("map")
    made.join(10)
    assert ended == ["map"]


def test_that_it_was_stopped_is_not_told_and_what_is_ignored_neither(jobs):
    made, seen = jobs

    def fail(error):
        def work(_):
            raise error

        return work

    made.put("map", fail(Stopped("by hand")))
    made.put("links", fail(TraceError("no token")), ignored=(TraceError,))
    made.join(10)
    assert seen == []
    made.put("links", fail(TraceError("no token")))
    made.join(10)
    assert [str(error) for error in seen] == ["no token"]
