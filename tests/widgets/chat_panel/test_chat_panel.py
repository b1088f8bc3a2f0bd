"""The chat panel without a browser, over the bundled model: what it sends, and what it does with messages."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

import llama_nb as llama
from llama_nb.runtime import settings
from llama_nb.session.model import Model
from llama_nb.widgets import chat_panel, live_view
from llama_nb.widgets.live import LiveReplies
from llama_nb.widgets.live_view import MIME
from tests.session.fakes import FakeEngine, fake_model
from tests.widgets.chat_panel.page import WAIT_S, Page, until
from tests.widgets.conftest import PAGE, Notebook, Wire

VIEW = "application/vnd.jupyter.widget-view+json"

# --- a conversation -------------------------------------------------------------------------------------


def test_it_is_drawn_before_it_is_filled(model: Model, notebook: Notebook, wire: Wire) -> None:
    panel = chat_panel.show(model, output=notebook)
    assert {VIEW, "text/plain", "text/html"} <= set(notebook.shown[0])
    assert wire.of(panel.model_id)[0]["state"]["head"] == {}
    assert panel.head["model"] == "panel-cria"
    assert panel.head["alive"] is True
    assert panel.sampling["controls"][0]["name"] == "temperature"


def test_a_message_is_answered_in_the_background(page: Page) -> None:
    page.say("send", text="What is a token?", page="a")
    assert page.got("accepted") == [{"kind": "accepted", "page": "a"}]
    page.idle()
    asked, answered = page.steps
    assert (asked["role"], answered["role"], answered["finish"]) == ("user", "assistant", "end")
    assert "token" in page.texts()[1]
    assert page.panel.live == {}
    assert page.panel.head["context"]["used"] > answered["tokens"]


def test_what_was_asked_is_there_before_its_place_in_the_conversation(page: Page) -> None:
    page.wire.messages.clear()
    page.say("send", text="What is a token?")
    told = [data for data in page.wire.of(page.panel.model_id) if data.get("method")]
    kinds = [data["content"]["kind"] if "content" in data else sorted(data["state"]) for data in told]
    assert kinds.index("contents") < next(place for place, kind in enumerate(kinds) if "path" in kind)
    assert page.got("contents")[0]["items"][0]["text"] == "What is a token?"
    page.idle()


def test_while_it_grows_the_page_is_told_what_is_answered(page: Page) -> None:
    settings.set_sampling("max_tokens", 300)
    page.say("send", text="Tell me a long story about a dragon and a king.")
    until(lambda: page.panel.blocks)
    assert page.panel.running
    assert page.panel.live["asked"] == page.steps[-1]["id"]
    assert page.panel.live["kind"] == "chat"
    page.idle()
    assert page.panel.blocks == []
    assert page.got("delta")


def test_stop_keeps_what_is_there(page: Page, model: Model) -> None:
    settings.set_sampling("seed", 1)
    page.say("send", text="Tell me a long story about a dragon and a king.")
    until(lambda: model.active and len(model.active[0].tokens) >= 2)
    page.say("stop")
    page.idle()
    assert page.steps[-1]["finish"] == "stopped"
    assert page.texts()[-1]


def test_a_reply_of_a_panel_is_in_no_cell(page: Page, notebook: Notebook) -> None:
    live = LiveReplies(lambda: PAGE, notebook)
    from llama_nb.core import events

    unsubscribe = events.subscribe(live)
    page.ask("What is a token?")
    assert notebook.log == []
    page.panel.panel.model.chat("And this is from a cell?")
    unsubscribe()
    live.close()
    assert notebook.log != []


def test_a_cell_in_the_same_chat_appears(page: Page, model: Model) -> None:
    model.chat("What is a token?")
    assert [step["role"] for step in page.steps] == ["user", "assistant"]
    model.chat("What is a token?", chat="other")
    assert len(page.steps) == 2


def test_two_panels_on_a_chat_agree(page: Page, model: Model, open_panel: Callable[..., Page]) -> None:
    other = open_panel(model)
    page.say("send", text="Tell me a story.")
    until(lambda: other.panel.blocks)
    assert other.panel.running
    page.idle()
    other.idle()
    assert other.panel.path == page.panel.path
    other.say("system", text="Be brief.")
    assert page.panel.head["system"] == "Be brief."
    page.say("set", name="temperature", value=0.25)
    assert other.panel.sampling == page.panel.sampling


def test_two_panels_that_send_at_the_same_time_do_not_wait_for_each_other(
    page: Page, model: Model, open_panel: Callable[..., Page]
) -> None:
    settings.set_sampling("max_tokens", 5)
    other = open_panel(model)
    threads = [
        threading.Thread(target=each.say, args=("send",), kwargs={"text": f"Question {number} of {count}?"})
        for number, each in enumerate((page, other))
        for count in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
        assert not thread.is_alive()
    page.idle()
    other.idle()
    assert len(page.steps) == 20
    assert page.panel.path == other.panel.path


def test_a_panel_that_is_opened_meanwhile_shows_the_whole_answer(open_panel: Callable[..., Page]) -> None:
    slow = fake_model(FakeEngine(rule=lambda _: ["first", *[" word"] * 80], pace_s=0.01))
    page = open_panel(slow)
    page.say("send", text="Count.")
    until(lambda: len(slow.active[0].tokens) > 3)
    late = open_panel(slow)
    assert late.panel.running
    until(lambda: late.panel.blocks)
    assert late.panel.blocks[0]["c"][0].startswith("first word word")
    late.idle()
    page.idle()
    assert late.panel.path == page.panel.path


# --- versions and branches ---------------------------------------------------------------------------------


def test_another_version_and_the_arrows_between_them(page: Page, model: Model) -> None:
    settings.set_sampling("max_tokens", 60)
    # So long a text is not written twice: one that is word for word as before would be no new version.
    page.ask("Tell me a long story about a dragon and a king.")
    first = page.steps[-1]["id"]
    settings.set_sampling("temperature", 2.0)
    settings.set_sampling("top_p", 1.0)
    page.say("retry", id=first)
    page.idle()
    second = page.steps[-1]
    record = model.chats["main"].path()[-1].reply
    assert record is not None
    assert record["sampling"]["temperature"] == 2.0
    assert (second["version"], second["versions"]) == (2, 2)
    assert second["siblings"] == [first, second["id"]]
    page.say("goto", id=first, tip=True)
    assert page.steps[-1]["id"] == first


def test_a_message_in_another_wording_is_a_branch(page: Page) -> None:
    page.ask("What is a token?")
    before = page.steps[0]["id"]
    page.say("edit", id=before, text="What is attention?")
    page.idle()
    assert page.got("accepted")[1:]
    assert page.texts()[0] == "What is attention?"
    assert page.steps[0]["versions"] == 2
    page.say("goto", id=before, tip=True)
    assert len(page.steps) == 2


def test_a_click_on_an_alternative_goes_on_there(page: Page) -> None:
    page.ask("What is a token?")
    answer = page.steps[-1]
    page.say("tokens", id=answer["id"])
    (told,) = page.got("tokens")
    assert len(told["tokens"]) == answer["tokens"]
    position = 2
    chosen = told["tokens"][position][6][1]
    page.say("branch", id=answer["id"], position=position, token=chosen[0])
    page.idle()
    branch = page.steps[-1]
    assert branch["versions"] == 2
    page.say("tokens", id=branch["id"])
    rows = page.got("tokens")[-1]["tokens"]
    assert [row[0] for row in rows[:position]] == [row[0] for row in told["tokens"][:position]]
    assert rows[position][0] == chosen[0]


def test_an_answer_that_was_cut_goes_on(page: Page) -> None:
    settings.set_sampling("max_tokens", 4)
    page.ask("What is a token?")
    short = page.steps[-1]
    assert short["finish"] == "length"
    before = page.texts()[-1]
    settings.set_sampling("max_tokens", 40)
    page.say("continue", id=short["id"])
    page.idle()
    assert page.texts()[-1].startswith(before)
    assert page.steps[-1]["tokens"] > 4
    assert page.steps[-1]["versions"] == 2


def test_the_tree_has_all_branches(page: Page) -> None:
    page.ask("What is a token?")
    page.say("retry", id=page.steps[-1]["id"])
    page.idle()
    page.say("tree")
    nodes = page.got("tree")[-1]["nodes"]
    assert [node["on_path"] for node in nodes].count(True) == 2


# --- chats, models, sampling, export ---------------------------------------------------------------------


def test_chats_are_made_chosen_and_deleted(page: Page, model: Model) -> None:
    page.ask("What is a token?")
    page.say("new", name="ideas")
    assert (page.panel.head["chat"], page.steps) == ("ideas", [])
    assert model.chats.current == "ideas"
    page.say("new", name="ideas")
    assert "already" in page.panel.error
    page.say("chat", name="main")
    assert page.panel.error == ""
    assert len(page.steps) == 2
    page.say("delete", name="ideas")
    assert page.panel.head["chats"] == ["main"]
    page.say("chat", name="ideas")
    assert "no chat 'ideas'" in page.panel.error


def test_a_chat_that_is_deleted_elsewhere_gives_way_to_the_current_one(page: Page, model: Model) -> None:
    page.say("new", name="ideas")
    model.chats.delete("ideas")
    assert page.panel.head["chat"] == "main"


def test_another_model_takes_the_conversation_over(page: Page, model: Model) -> None:
    page.ask("What is a token?")
    other = llama.load("cria", name="second")
    try:
        assert [each["name"] for each in page.panel.head["models"]][-1] == "second"
        page.say("model", name="second")
        assert page.panel.head["model"] == "second"
        assert llama.current() is other
        assert len(other.chats["main"].path()) == 2
        assert page.steps[-1]["notes"] == ["Carried over from panel-cria: second answers from here on."]
        page.ask("And attention?")
        assert len(page.steps) == 4
        page.say("model", name="panel-cria")
        assert len(page.steps) == 2
    finally:
        other.unload(force=True)


def test_a_panel_of_an_unloaded_model_says_so_and_goes_on_when_it_is_back(
    open_panel: Callable[..., Page],
) -> None:
    gone = llama.load("cria", name="short-lived")
    page = open_panel(gone)
    page.ask("What is a token?")
    gone.unload()
    assert page.panel.head["alive"] is False
    assert "Load it again: %llama load cria" in page.panel.error
    assert len(page.steps) == 2
    page.say("send", text="Are you there?")
    assert "was unloaded" in page.panel.error
    assert len(page.got("accepted")) == 1
    back = llama.load("cria", name="short-lived")
    try:
        assert page.panel.head["alive"] is True
        assert page.panel.error == ""
        assert "the model that was unloaded" in page.steps[-1]["notes"][0]
        page.ask("And attention?")
        assert len(back.chats["main"].path()) == 4
    finally:
        back.unload(force=True)


def test_another_model_can_take_the_place_of_one_that_is_gone(
    model: Model, open_panel: Callable[..., Page]
) -> None:
    gone = llama.load("cria", name="short-lived")
    page = open_panel(gone)
    gone.unload()
    assert page.panel.error != ""
    page.say("model", name="panel-cria")
    assert page.panel.error == ""
    assert page.panel.head["model"] == "panel-cria"
    assert page.panel.head["alive"] is True


def test_the_sampling_is_the_sessions(page: Page) -> None:
    page.say("set", name="temperature", value=0.25)
    assert settings.get_sampling_overrides() == {"temperature": 0.25}
    assert page.panel.sampling["line"] == "%llama set --temperature 0.25"
    page.say("set", name="temperature", value=None)
    assert settings.get_sampling_overrides() == {}
    page.say("preset", name="creative")
    assert settings.get_sampling_overrides()["temperature"] > 0.6
    page.say("set", name="temperature", value=-1)
    assert "outside its range" in page.panel.error


@pytest.mark.parametrize(("form", "suffix"), [("markdown", ".md"), ("messages", ".json"), ("rows", ".jsonl")])
def test_the_conversation_is_exported(page: Page, form: str, suffix: str) -> None:
    page.ask("What is a token?")
    page.say("export", format=form)
    (told,) = page.got("exported")
    assert told["name"] == f"main{suffix}"
    assert "What is a token?" in told["text"]


# --- the saved output ---------------------------------------------------------------------------------------


def test_the_twin_is_the_conversation(page: Page, model: Model) -> None:
    model.chats["main"].system = "You are brief."
    page.ask("What is a token?")
    text = page.panel.text_twin()
    assert "Chat main with panel-cria · 1 turn" in text
    assert "System prompt: You are brief." in text
    assert "You:\nWhat is a token?" in text
    until(lambda: "panel-cria:" in page.panel.twin.get("text/plain", ""))
    assert "<strong>token</strong>" in page.panel.twin["text/html"]


def test_the_output_asks_for_the_plugin(model: Model, notebook: Notebook, monkeypatch: Any) -> None:
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    panel = chat_panel.show(model, output=notebook)
    assert notebook.shown[0][MIME]["model_id"] == panel.model_id


def test_a_closed_panel_follows_nothing(page: Page, model: Model, wire: Wire) -> None:
    page.panel.close()
    wire.messages.clear()
    model.chat("What is a token?", max_tokens=3)
    assert wire.messages == []


def test_the_oldest_of_many_panels_are_closed(model: Model, notebook: Notebook, wire: Wire) -> None:
    panels = [chat_panel.show(model, output=notebook) for _ in range(live_view.MOST_SHOWN + 1)]
    assert panels[0].comm is None
    assert panels[1].comm is not None
