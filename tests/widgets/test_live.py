"""Replies shown as they are written: in a page, in a terminal, to nobody; several at once; with errors."""

import json
import subprocess
import sys
import threading
import time

import pytest

from llama_nb.core.errors import EngineError
from llama_nb.core.events import Note, Progress, ReplyAdvanced, ReplyEnded, TokenEvent, Waiting, publish
from llama_nb.render.reply import MIME
from llama_nb.widgets import live as live_module
from llama_nb.widgets.growing import Pulse
from llama_nb.widgets.live import LiveReplies
from tests.widgets.conftest import BATCH, PAGE, TERMINAL, Notebook, Told, make_reply

VIEW = "application/vnd.jupyter.widget-view+json"


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def page_text(wire):
    """The text that the deltas and checkpoints of the last widget say."""
    return json.dumps(wire.messages[-1], ensure_ascii=False)


def test_a_reply_whose_tokens_the_caller_pulls_is_the_callers_to_show(live, notebook):
    reply = make_reply()
    reply.pulled = True
    Told(live, reply).start().say("A ", "piece").end()
    assert notebook.log == []
    assert not reply.displayed


# --- in a page ------------------------------------------------------------------------------------


def test_the_widget_is_there_before_the_first_token(live, notebook, wire):
    told = Told(live, make_reply(system="Be brief.")).start()
    kind, display_id, data = notebook.log[-1]
    assert (kind, display_id) == ("display", "display-1")
    assert {VIEW, "text/plain", "text/html"} <= set(data)
    opened = wire.of(data[VIEW]["model_id"])[0]["state"]
    assert opened["running"] is False  # set by start(), right after the widget is made
    states = [data["state"] for data in wire.of(data[VIEW]["model_id"]) if data.get("method") == "update"]
    assert {"running": True} in states
    header = next(state["header"] for state in states if "header" in state)
    assert header["system"] == "Be brief."
    assert header["model"] == "cria"
    assert header["user_nodes"] == [{"t": "p", "c": ["What is a token?"]}]
    told.end()


def test_the_end_replaces_the_output_by_a_bundle_without_a_widget(live, notebook):
    Told(live, make_reply()).start().say("A ", "piece ", "of text.").end()
    assert len(notebook.shown) == 1
    data = notebook.shown[0]
    assert set(data) == {"text/plain", "text/html", MIME}
    assert data["text/plain"].startswith("A piece of text.")
    assert data[MIME]["nodes"] == [{"t": "p", "c": ["A piece of text."]}]


def test_tokens_travel_as_blocks(live, notebook, wire):
    told = Told(live, make_reply()).start().say("Some ", "**bold** ", "words")
    until(
        lambda: any(
            message["change"] and "bold" in json.dumps(message["change"]) for message in wire.customs()
        )
    )
    told.end()


def test_the_widget_is_closed_when_the_next_one_is_open(live, notebook, wire):
    """Else a page has no widget for a moment, deletes their subshell, and loses what the new one says."""
    Told(live, make_reply()).start().say("one").end()
    assert "comm_close" not in [kind for _, kind, _ in wire.messages]
    second = Told(live, make_reply()).start()
    closed = [comm for comm, kind, _ in wire.messages if kind == "comm_close"]
    opened = [comm for comm, kind, _ in wire.messages if kind == "comm_open"]
    assert sorted(closed) == sorted(opened[:2])
    kinds = [kind for _, kind, _ in wire.messages if kind in ("comm_open", "comm_close")]
    assert kinds == ["comm_open"] * len(opened) + ["comm_close"] * len(closed)
    second.end()


def test_a_page_loaded_again_keeps_its_widget(live, notebook, wire):
    told = Told(live, make_reply()).start()
    model_id = notebook.shown[0][VIEW]["model_id"]
    for page in ("a", "b"):
        wire.send(model_id, {"kind": "hello", "page": page})
    told.say("text").end()
    assert any("final" in state for state in wire.updates())
    live.close()
    assert "comm_close" not in [kind for _, kind, _ in wire.messages]


def test_stop_in_the_page_stops_the_reply(live, notebook, wire):
    told = Told(live, make_reply()).start().say("one")
    wire.send(notebook.shown[0][VIEW]["model_id"], {"kind": "stop"})
    assert told.reply.stop_flag.is_set()
    told.end("stopped", detail="stopped")
    assert "stopped" in notebook.shown[0]["text/plain"]


def test_an_error_keeps_the_text_so_far_and_is_marked(live, notebook):
    error = EngineError("The logits are NaN, first in layer 3.")
    Told(live, make_reply()).start().say("Half an ans").end("error", error, error.message)
    data = notebook.shown[0]
    assert "Half an ans" in data["text/plain"]
    assert data[MIME]["finish"] == "error"
    assert "layer 3" in data["text/html"]


def test_two_replies_at_once_do_not_mix(live, notebook):
    told = [Told(live, make_reply(user=f"question {name}")).start() for name in "ab"]
    threads = [
        threading.Thread(target=lambda one=one, word=word: one.say(*[f"{word} "] * 50).end())
        for one, word in zip(told, ("left", "right"), strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left, right = (data["text/plain"] for data in notebook.shown)
    assert left.count("left") == right.count("right") == 50
    assert "right" not in left
    assert "left" not in right


def test_what_a_reply_waits_for_is_said_until_its_first_token(live, wire):
    reply = make_reply()
    told = Told(live, reply).start()
    live(Waiting(reply, "chat main on cria"))
    until(lambda: "cria · waiting for chat main on cria" in page_text(wire))
    told.say("now")
    until(lambda: "cria · 1 token" in page_text(wire))
    told.end()


def test_an_engine_that_does_not_know_the_reply_waits_for_the_current_one(live, wire):
    told = Told(live, make_reply()).start()
    live(Waiting(None, "complete on cria"))
    until(lambda: "waiting for complete on cria" in page_text(wire))
    told.end()


def test_notes_of_the_reply_are_shown(live, notebook, wire):
    reply = make_reply()
    reply.notes.append("1 turn was left out.")
    told = Told(live, reply).start()
    assert wire.of(notebook.shown[0][VIEW]["model_id"])[0]["state"]["notes"] == ["1 turn was left out."]
    told.end()
    assert notebook.shown[0][MIME]["notes"] == ["1 turn was left out."]


def test_a_reply_shown_live_is_not_shown_again_as_a_value(live, monkeypatch):
    monkeypatch.setattr("llama_nb.runtime.cell.number", lambda: 5)
    told = Told(live, make_reply()).start()
    assert told.reply.displayed
    told.end()


def test_without_a_working_widget_the_whole_reply_is_shown(live, notebook, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no widgets here")

    monkeypatch.setattr("llama_nb.widgets.page_reply.PageReply.__init__", broken)
    Told(live, make_reply()).start().say("text").end()
    assert [kind for kind, *_ in notebook.log] == ["display"]
    assert notebook.shown[0]["text/plain"].startswith("text")
    assert "could not be made" in caplog.text


def test_a_renderer_that_fails_shows_the_error_in_the_page_and_the_rest_goes_on(
    live, notebook, wire, monkeypatch
):
    told = Told(live, make_reply()).start()
    view = live._shown[id(told.reply)]._view
    monkeypatch.setattr(view, "push", lambda *_: 1 / 0)
    told.say("x")
    until(
        lambda: any(state.get("error") == "ZeroDivisionError: division by zero" for state in wire.updates())
    )
    told.say("y").end()
    assert notebook.shown[0]["text/plain"].startswith("xy")


def test_events_of_an_unknown_reply_are_ignored(live, notebook):
    live(ReplyEnded(make_reply()))
    live(Waiting(make_reply(), "x"))
    assert notebook.log == []


# --- to nobody ------------------------------------------------------------------------------------


def test_where_nobody_watches_there_is_one_display(notebook):
    live = LiveReplies(lambda: BATCH, notebook)
    told = Told(live, make_reply()).start().say("one ", "two")
    live(Waiting(told.reply, "chat main on cria"))
    live(Progress("Downloading", 1, 2, "B"))
    live(Note("A note."))
    assert notebook.log == []
    told.end()
    assert [(kind, display_id) for kind, display_id, _ in notebook.log] == [("display", None)]
    assert notebook.shown[0]["text/plain"] == "one two"


def test_the_same_reply_gives_the_same_output_where_nobody_watches():
    outputs = []
    for pause in (0.0, 0.02):
        notebook = Notebook()
        told = Told(LiveReplies(lambda: BATCH, notebook), make_reply()).start()
        time.sleep(pause)
        told.say("one ", "two").end()
        outputs.append(json.dumps(notebook.shown))
    assert outputs[0] == outputs[1]


def test_text_only_prints_once_where_nobody_watches(notebook):
    live = LiveReplies(lambda: BATCH, notebook)
    with live_module.text_only():
        told = Told(live, make_reply()).start()
    told.say("one ", "two").end()
    assert notebook.log == [("write", None, "one two\n")]


# --- in a terminal --------------------------------------------------------------------------------


def test_a_terminal_gets_plain_growing_text(notebook):
    live = LiveReplies(lambda: TERMINAL, notebook)
    told = Told(live, make_reply()).start().say("one ")
    until(lambda: notebook.printed == "one ")
    told.say("two").end()
    assert notebook.printed.startswith("one two\n[cria · 7 → 2 tokens")
    assert {kind for kind, *_ in notebook.log} == {"write"}


@pytest.mark.parametrize("cut", range(1, 12))
def test_terminal_sequences_never_reach_the_terminal_wherever_tokens_end(notebook, cut):
    text = "a\x1b[31mred\x1b[0m\x07b\x1b]0;title\x07c"
    live = LiveReplies(lambda: TERMINAL, notebook)
    Told(live, make_reply()).start().say(*[text[at : at + cut] for at in range(0, len(text), cut)]).end()
    assert notebook.printed.splitlines()[0] == "aredbc"


def test_a_terminal_is_told_what_a_reply_waits_for(notebook):
    live = LiveReplies(lambda: TERMINAL, notebook)
    told = Told(live, make_reply()).start()
    live(Waiting(told.reply, "chat main on cria"))
    told.say("x").end()
    assert notebook.printed.startswith("[waiting for chat main on cria; interrupt to give up]\nx\n")


def test_text_only_prints_in_a_page_too(live, notebook):
    with live_module.text_only():
        told = Told(live, make_reply()).start()
    told.say("words").end()
    assert {kind for kind, *_ in notebook.log} == {"write"}


# --- progress and notes ---------------------------------------------------------------------------


def test_progress_is_one_line_that_counts(live, notebook, monkeypatch):
    now = [0.0]
    live._lines._clock = lambda: now[0]
    for done in range(101):
        now[0] += 0.1
        live(Progress("Downloading cria", done * 1e6, 100e6, "B"))
    live(Progress("Downloading cria", 100e6, 100e6, "B", ended=True))
    assert len(notebook.shown) == 1
    assert 30 <= len(notebook.log) <= 40
    texts = [data["text/plain"] for _, _, data in notebook.log]
    assert any(text.startswith("Downloading cria: 51 MB of 100 MB (51%), ") for text in texts)
    assert texts[-1] == "Downloading cria: 100 MB in 10 s"


def test_progress_of_unknown_length_counts_up(live, notebook):
    live(Progress("Reading <b>", 3, None, "files"))
    assert notebook.shown[0]["text/plain"] == "Reading <b>: 3 files"
    assert "<b>" not in notebook.shown[0]["text/html"].replace("&lt;b&gt;", "")


def test_a_terminal_rewrites_the_line(notebook):
    live = LiveReplies(lambda: TERMINAL, notebook)
    live(Progress("Loading", 1, 4, "files"))
    live(Progress("Loading", 4, 4, "files", ended=True))
    assert notebook.printed.startswith("\r\x1b[2KLoading: 1 of 4 files (25%)\r\x1b[2KLoading: 4 files in ")
    assert notebook.printed.endswith("\n")


def test_a_note_is_a_line_of_its_own(live, notebook):
    live(Note("cria was replaced, 13.2 MB given back."))
    assert notebook.shown[0]["text/plain"] == "cria was replaced, 13.2 MB given back."


# --- installed ------------------------------------------------------------------------------------


def test_install_watches_the_session_until_it_is_undone(notebook, monkeypatch):
    monkeypatch.setattr(live_module, "Output", lambda: notebook)
    uninstall = live_module.install(lambda: PAGE)
    publish(Note("seen"))
    uninstall()
    publish(Note("unseen"))
    assert [data["text/plain"] for data in notebook.shown] == ["seen"]


@pytest.mark.parametrize(("environment", "imported"), [(PAGE, True), (BATCH, False), (TERMINAL, False)])
def test_what_a_page_needs_is_imported_ahead_only_for_a_page(monkeypatch, environment, imported):
    monkeypatch.delitem(sys.modules, "llama_nb.widgets.page_reply", raising=False)
    LiveReplies(lambda: environment).warm()
    assert ("llama_nb.widgets.page_reply" in sys.modules) is imported


def test_loading_the_extension_pays_for_no_widget(root):
    code = (
        "import sys, llama_nb.widgets.live as live; live.install(lambda: None);"
        "print([name for name in ('anywidget', 'ipywidgets', 'markdown_it', 'torch') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_the_rate_counts_no_tokens_that_were_kept():
    pulse = Pulse("cria")
    for elapsed in (0.0, 0.0, 0.0, 1.0, 1.5, 2.0):
        pulse.take(ReplyAdvanced(None, TokenEvent("a", 1, elapsed_s=elapsed)))
    assert pulse.line() == "cria · 6 tokens · 2 tokens/s"
