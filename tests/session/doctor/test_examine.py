"""Checks that fail or hang are findings themselves; what was found is a value with text and HTML twins."""

import html
import threading
import time
from collections.abc import Iterator

import pytest

from llama_nb.core import events
from llama_nb.runtime.environment import Environment
from llama_nb.session.doctor import diagnosis, examine
from llama_nb.session.doctor.check import Check, note, ok, problem
from llama_nb.session.doctor.diagnosis import Diagnosis
from llama_nb.session.doctor.scope import Scope
from tests.render.html_reader import read

WATCHED = Environment("lab", watched=True, widgets=True)
UNWATCHED = Environment("batch", watched=False, widgets=False)
SCOPE = Scope(WATCHED)


def fine(scope: Scope) -> Iterator[Check]:
    yield ok("fine", "All is well.", here="/home/ada/x and 3.2 GB")


def test_every_file_of_checks_is_found() -> None:
    assert {"python", "libraries", "compute", "quantisation", "page", "room", "hub", "folders"} == set(
        examine.names()
    )


def test_a_check_that_raises_is_reported_with_what_it_found_before() -> None:
    def broken(scope: Scope) -> Iterator[Check]:
        yield ok("first", "Fine.")
        raise ZeroDivisionError("division by zero")

    found = examine.examine({"broken": broken, "fine": fine}, SCOPE)
    assert [(check.name, check.state) for check in found] == [
        ("broken", "problem"),
        ("first", "ok"),
        ("fine", "ok"),
    ]
    assert "ZeroDivisionError" in found["broken"].says
    assert "--report" in found["broken"].command


def test_a_check_that_hangs_is_reported_in_time() -> None:
    release = threading.Event()

    def hangs(scope: Scope) -> Iterator[Check]:
        release.wait(60)
        yield ok("late", "At last.")

    began = time.monotonic()
    found = examine.examine({"hangs": hangs, "fine": fine}, SCOPE, seconds=0.5)
    assert time.monotonic() - began < 5
    release.set()
    assert "did not end in time" in found["hangs"].says
    assert found["fine"].state == "ok"


def test_checks_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=10)

    def meets(scope: Scope) -> Iterator[Check]:
        both.wait()
        yield ok("met", "Together.")

    assert not examine.examine({"a": meets, "b": meets}, SCOPE).problems


def test_how_far_it_is_can_be_watched() -> None:
    seen: list[events.Progress] = []
    stop = events.subscribe(lambda event: seen.append(event) if isinstance(event, events.Progress) else None)
    examine.examine({"a": fine, "b": fine}, SCOPE)
    stop()
    assert [event.done for event in seen] == [0, 1, 2]
    assert seen[-1].ended


FOUND = Diagnosis(
    (
        ok("fine", "All is well.", here="/home/ada/x and 3.2 GB"),
        note("hm", "Good to know."),
        problem("torch", "It cannot be imported.", "pip install <torch>", here="OSError: \x1b[31m<b>x</b>"),
    )
)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "detect", lambda: WATCHED)


def test_problems_come_first_with_a_word_a_sign_and_a_command(watched: None) -> None:
    lines = repr(FOUND).splitlines()
    assert lines[0] == "1 problem, 1 note; 1 check is fine."
    assert lines[2].startswith("✗ problem  torch  It cannot be imported. (OSError:")
    assert lines[3].strip() == "→ pip install <torch>"
    assert lines[4].startswith("! note     hm ")
    assert lines[5] == "✓ ok       fine   All is well. (/home/ada/x and 3.2 GB)"
    assert "\x1b" not in repr(FOUND)


def test_the_html_twin_says_the_same_and_holds_no_markup_of_others(watched: None) -> None:
    bundle = FOUND._repr_mimebundle_()
    assert bundle["text/plain"] == repr(FOUND)
    page = bundle["text/html"]
    text = html.unescape(page)
    signs = ("✗\N{NO-BREAK SPACE}problem", "!\N{NO-BREAK SPACE}note", "✓\N{NO-BREAK SPACE}ok")
    assert sorted(signs, key=text.index) == list(signs)
    assert "<code" in page
    assert "pip install &lt;torch&gt;" in page
    assert "<b>x" not in page
    assert read(page)


def test_where_nobody_watches_there_is_no_path_and_no_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "detect", lambda: UNWATCHED)
    for text in (*FOUND._repr_mimebundle_().values(), FOUND.report()):
        assert "/home/ada" not in text
        assert "GB" not in text
        assert "All is well." in text


def test_a_finding_by_its_name() -> None:
    assert FOUND["hm"].says == "Good to know."
    assert len(FOUND) == 3
    assert [check.name for check in FOUND.problems] == ["torch"]
    assert Diagnosis(()).summary() == "No problems, 0 notes; 0 checks are fine."
