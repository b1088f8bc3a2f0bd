"""The lens in a page without a browser: what it sends, window by window, and what it takes from the page."""

import numpy as np
import pytest

import llama_nb as llama
from llama_nb.magics.live_values import _VIEWS
from llama_nb.widgets import lens_view, live_view
from llama_nb.widgets.lens_view import LensView
from tests.render.html_reader import read
from tests.widgets.conftest import PAGE

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>"
TEXT = f"Once upon a time there was a llama who lived {HOSTILE} and sang."


@pytest.fixture(scope="module")
def trace():
    model = llama.load("cria", name="cria of the lens")
    found = model.lens(TEXT, top=12)
    model.unload(force=True)
    return found


@pytest.fixture
def view(trace, wire, monkeypatch):
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    made = LensView(trace)
    made.fill()
    yield made
    made.close()


def cells(view):
    """The window's cells as the page reads them, (depths, columns, 2 top + 6)."""
    width = view.window["end"] - view.window["start"]
    return np.frombuffer(view.cells, "<f4").reshape(len(view.head["layers"]), width, -1)


def test_the_page_gets_every_figure_of_the_trace(view, trace):
    window, depths = view.window, trace.depths
    assert (window["start"], window["end"]) == (0, len(trace.ids))
    assert window["positions"] == list(trace.positions)
    assert [text for text, _ in window["tokens"]] == list(trace.texts)
    found, top = cells(view), view.head["top"]
    assert top == 10
    np.testing.assert_array_equal(found[:, :, :top], depths.ids[:, :, :top])
    np.testing.assert_array_equal(found[:, :, top : 2 * top], depths.chances[:, :, :top])
    for at, name in enumerate(("final", "final_rank", "next", "next_rank", "entropy", "kl"), 2 * top):
        np.testing.assert_array_equal(found[:, :, at], getattr(depths, name), err_msg=name)
    names = {token: text for token, text, _ in window["names"]}
    assert set(names) >= {*depths.ids[:, :, :top].ravel().tolist(), *trace.ids[1:]}
    assert window["settled"] == trace.settled().tolist()
    assert view.head["ends"]["entropy"] == pytest.approx(float(depths.entropy.max()))
    assert view.place == {"row": 6, "column": len(trace.ids) - 1, "by": "probability"}


def test_window_and_cells_come_in_one_message(view, wire):
    view.received({"kind": "columns", "start": 0})
    updates = [data for data in wire.of(view.model_id) if data.get("method") == "update"]
    assert len([data for data in updates if "cells" in [path[-1] for path in data["buffer_paths"]]]) <= 2
    for data in updates:
        assert ("window" in data["state"]) <= (data["buffer_paths"] == [["cells"]])


def test_a_long_text_comes_in_windows(trace, wire, monkeypatch):
    monkeypatch.setattr(lens_view, "MOST_COLUMNS", 8)
    monkeypatch.setattr(lens_view, "_FEWEST_COLUMNS", 4)
    made = LensView(trace)
    made.fill()
    count = len(trace.ids)
    assert (made.window["start"], made.window["end"]) == (count - 8, count)
    made.received({"kind": "columns", "start": 3})
    assert made.window["positions"] == list(range(3, 11))
    np.testing.assert_array_equal(cells(made)[:, :, -1], trace.depths.kl[:, 3:11])
    for start, first in ((-5, 0), (10**9, count - 8), (True, None), ("3", None), (None, None)):
        made.received({"kind": "columns", "start": 3})
        made.received({"kind": "columns", "start": start})
        assert made.window["start"] == (3 if first is None else first)
    made.close()


def test_a_look_is_remembered_for_the_next_page_and_wrong_ones_are_not(view):
    view.received({"kind": "look", "row": 2, "column": 5, "by": "kl"})
    assert view.place == {"row": 2, "column": 5, "by": "kl"}
    for wrong in (
        {"row": 7, "column": 5},
        {"row": -1, "column": 5},
        {"row": 1.5, "column": 5},
        {"row": 1, "column": 10**6},
        {"row": True, "column": 0},
        {"column": 0},
    ):
        view.received({"kind": "look", **wrong})
        assert view.place["row"] == 2
    view.received({"kind": "look", "row": 1, "column": 1, "by": "<img>"})
    assert view.place == {"row": 1, "column": 1, "by": "probability"}
    view.received({"kind": "nonsense"})
    assert view.error == ""


def test_the_twin_shows_the_columns_around_the_place(view, trace):
    view.received({"kind": "look", "row": 2, "column": 3, "by": "entropy"})
    text, html = view.text_twin(), view.html_twin()
    assert "Logit lens: text of cria of the lens" in text
    assert "Shown are positions 0 to 15" in text
    assert "ground is the entropy" in html
    page = read(html)
    assert not page.faults
    assert "\u00b7lived" in page.text
    bundle = view._repr_mimebundle_()[0]
    assert bundle["text/plain"] == text
    assert bundle["text/html"] == html
    assert repr(view) == "<LensView>"


def test_a_reply_is_looked_at_where_the_model_begins_to_write(wire):
    model = llama.load("cria", name="answering")
    reply = model.chat("What is a llama?", temperature=0, max_tokens=6)
    made = LensView(model.lens(reply))
    made.fill()
    assert made.place["column"] == made.head["prompt"] - 1
    made.close()
    model.unload(force=True)


def test_a_trace_is_shown_as_this_widget(trace, wire):
    made = _VIEWS["llama_nb.session.lens.LensTrace"](trace)
    assert isinstance(made, LensView)
    assert made.head["layers"][0] == "embedding"
    made.close()
