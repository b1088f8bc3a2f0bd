"""Observers see events, cannot harm the work, and are silent when asked."""

import threading

import pytest

from llama_nb.core import events
from llama_nb.core.stop import StopFlag


def test_an_observer_sees_events_until_it_unsubscribes() -> None:
    seen: list[events.Event] = []
    unsubscribe = events.subscribe(seen.append)
    events.publish(events.Note("one"))
    with events.quiet():
        events.publish(events.Note("hidden"))
    unsubscribe()
    unsubscribe()
    events.publish(events.Note("late"))
    assert seen == [events.Note("one")]


def test_an_observer_that_raises_is_logged_and_the_next_one_still_sees(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[events.Event] = []

    def broken(_: events.Event) -> None:
        raise RuntimeError("view is gone")

    undo = [events.subscribe(broken), events.subscribe(seen.append)]
    try:
        events.publish(events.Note("x"))
    finally:
        for one in undo:
            one()
    assert seen == [events.Note("x")]
    assert "view is gone" in caplog.text


def test_captured_progress_and_notes_reach_their_observer_only() -> None:
    seen: list[events.Event] = []
    own: list[events.Event] = []
    progress = events.Progress("reading", 1, 2, "B")
    undo = events.subscribe(seen.append)
    try:
        with events.captured(own.append):
            events.publish(progress)
            events.publish(events.Note("mine"))
            events.publish(events.ModelsChanged())
            elsewhere = threading.Thread(target=events.publish, args=(events.Note("from another thread"),))
            elsewhere.start()
            elsewhere.join()
        events.publish(events.Note("after"))
    finally:
        undo()
    assert own == [progress, events.Note("mine")]
    assert seen == [events.ModelsChanged(), events.Note("from another thread"), events.Note("after")]


def test_a_thread_that_a_library_starts_can_publish_for_who_asked() -> None:
    seen: list[events.Event] = []
    own: list[events.Event] = []
    undo = events.subscribe(seen.append)
    try:
        with events.captured(own.append):
            publish = events.publisher()
        threads = [threading.Thread(target=publish, args=(events.Note("mine"),)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        undo()
    assert own == [events.Note("mine")] * 8
    assert seen == []


def test_a_stop_flag_keeps_its_first_reason() -> None:
    flag = StopFlag()
    assert not flag.is_set()
    assert not flag.wait(0)
    flag.set("interrupted")
    flag.set("button")
    assert flag.is_set()
    assert flag.reason == "interrupted"
