"""Branches of a conversation with the bundled model: what a version has in common, and what nothing loses."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import llama_nb as llama
from llama_nb.core import events
from llama_nb.core.errors import LlamaError, MessageError, SamplingError, SchemaError
from llama_nb.session.chat_book import ChatBook
from llama_nb.session.model import Model
from llama_nb.session.reply import Reply
from llama_nb.session.store import ChatFiles

STORY = "Tell me a story about a dog."
DRAWN: dict[str, Any] = {"temperature": 0.9, "seed": 3, "max_tokens": 40}


@pytest.fixture(scope="module")
def loaded() -> Iterator[Model]:
    m = llama.load("cria", name="cria with branches")
    yield m
    m.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Model:
    loaded.chats.clear("main")
    return loaded


def ids(reply: Reply) -> list[int]:
    return [token.id for token in reply.tokens if token.id is not None]


def words(m: Model) -> list[str]:
    return [message.content for message in m.chats["main"].messages()]


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 0.9, "seed": 3},
        {"temperature": 1.2, "seed": 4, "repetition_penalty": 1.2, "dry_multiplier": 0.8},
        {"temperature": 1.0, "seed": 5, "mirostat_tau": 3.0, "mirostat_eta": 0.3},
        {"temperature": 1.0, "seed": 6, "xtc_probability": 0.5, "stop": ("the whole", " dog")},
    ],
    ids=["greedy", "seed", "penalties", "mirostat", "xtc and stop"],
)
def test_the_token_that_was_chosen_gives_the_same_rest(m: Model, sampling: dict[str, Any]) -> None:
    reply = m.chat(STORY, max_tokens=24, **sampling)
    for position in range(0, len(ids(reply)), 5):
        again = m.branch(position, ids(reply)[position], at=reply.id)
        assert ids(again) == ids(reply)
        assert again.text == reply.text
        assert again.id == reply.id
        assert [token.text for token in again.tokens] == [token.text for token in reply.tokens]
        assert [token.logprob for token in again.tokens] == pytest.approx(reply.logprobs, abs=1e-4)
        assert again.finish is not None
        assert reply.finish is not None
        assert (again.finish.reason, again.finish.detail) == (reply.finish.reason, reply.finish.detail)
    assert len(m.chats["main"].nodes) == 2  # what says the same is the same version


def test_another_token_is_another_version_and_keeps_what_was_before(m: Model) -> None:
    reply = m.chat(STORY, **DRAWN)
    other = m.branch(10, rank=2)
    assert ids(other)[:10] == ids(reply)[:10]
    chosen = reply.tokens[10].alternatives[1]
    if chosen.id == ids(reply)[10]:
        chosen = reply.tokens[10].alternatives[0]
        other = m.branch(10, rank=1, at=reply.id)
    assert other.tokens[10].id == chosen.id
    assert other.tokens[10].logprob == chosen.logprob
    assert other.tokens[3] == dataclasses.replace(reply.tokens[3], elapsed_s=0.0)
    assert len(ids(other)) == len(ids(reply)) == 40
    assert other.seed == 3
    chat = m.chats["main"]
    assert chat.head == other.id
    assert [node.id for node in chat.versions(reply.id)] == [reply.id, other.id]
    assert chat.nodes[reply.id].message.content == reply.text
    assert len(other.begun) == 11
    assert other.usage is not None
    assert other.usage.cached_tokens == other.usage.prompt_tokens - 1
    assert other.usage.completion_tokens == 29
    assert other.to_record()["begun"] == 11


def test_tokens_are_named_by_text_id_and_from_the_end(m: Model) -> None:
    reply = m.chat("What is 2 + 3?", temperature=0, max_tokens=40)
    seven = m.branch(-3, "7")
    assert seven.text.startswith("2 + 3 = 7")
    by_id = m.branch(-3, m.tokens("7").ids[0], at=reply.id)
    assert by_id.id == seven.id
    with pytest.raises(MessageError, match="is 9 tokens: 'comp'"):
        m.branch(0, "completely different", at=reply.id)


def test_a_branch_where_the_model_ended_goes_on(m: Model) -> None:
    reply = m.chat("What is 2 + 3?", temperature=0)
    assert reply.finish is not None
    assert reply.finish.reason == "end"
    on = m.branch(-1, "\n", max_tokens=5)
    assert on.text.startswith(reply.text + "\n")
    end = reply.tokens[-1].id
    assert end is not None
    cut = m.branch(1, end, at=reply.id)
    assert cut.text == reply.tokens[0].text
    assert cut.finish is not None
    assert cut.finish.reason == "end"


def test_without_a_token_the_model_chooses_anew(m: Model) -> None:
    reply = m.chat(STORY, **DRAWN)
    others = [m.branch(4, at=reply.id, temperature=1.5) for _ in range(3)]
    assert all(ids(other)[:4] == ids(reply)[:4] for other in others)
    assert len({other.seed for other in others}) == 3
    assert m.branch(4, at=reply.id, seed=3).text == reply.text


def test_a_stopped_answer_goes_on_as_if_never_stopped(m: Model) -> None:
    whole = m.chat(STORY, **DRAWN)
    m.chats.clear()
    m.chat(STORY, **{**DRAWN, "max_tokens": 7})
    second = m.go_on()
    assert (len(ids(second)), len(second.begun)) == (14, 7)
    third = m.go_on(max_tokens=26)
    assert ids(third) == ids(whole)
    assert third.text == whole.text
    assert len(m.chats["main"].versions(third.id)) == 3
    fourth = m.go_on()  # as many as were allowed the last time
    assert len(ids(fourth)) == 40 + 26


def test_characters_that_span_tokens_are_whole_again(m: Model) -> None:
    text = "A 🦙 and a naïve 日本 word"
    tokens = m.tokens(text).ids
    assert len(tokens) > len(text.split())
    reply = m.chat("Hi.", temperature=0, max_tokens=30)
    for position, token in enumerate(tokens):
        reply = m.branch(position, token, max_tokens=1, temperature=0)
        assert ids(reply)[: position + 1] == list(tokens[: position + 1])
    assert reply.text.startswith(text)
    assert all("\ufffd" not in token.text for token in reply.tokens[:-1])


def test_an_answer_that_the_model_ended_goes_on_in_words(m: Model) -> None:
    reply = m.chat("What is 2 + 3?", temperature=0)
    on = m.go_on(max_tokens=6)
    assert on.text.startswith(reply.text)
    assert len(on.text) > len(reply.text)
    assert "assistant" not in on.text
    assert m.chats["main"].head == on.id


def test_a_stop_string_is_passed_when_the_answer_goes_on(m: Model) -> None:
    whole = m.chat(STORY, **DRAWN)
    stop = whole.text[30:36]
    m.chats.clear()
    cut = m.chat(STORY, stop=[stop], **DRAWN)
    assert whole.text.startswith(cut.text)
    assert stop not in cut.text
    on = m.go_on()
    assert on.text.startswith(whole.text[: len(cut.text) + len(stop)])


def test_json_goes_on_and_branches_inside_its_grammar(m: Model) -> None:
    schema: dict[str, Any] = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    schema["additionalProperties"] = False
    cut = m.json("Give a number.", schema, temperature=0, max_tokens=3)
    whole = m.go_on(max_tokens=30)
    assert whole.text.startswith(cut.text)
    assert isinstance(whole.json["n"], int)
    with pytest.raises(MessageError, match="whole"):
        m.go_on()
    head = m.chats["main"].head
    with pytest.raises(SchemaError, match="does not fit"):
        m.branch(0, "Once")
    assert m.chats["main"].head == head


def test_retry_draws_another_seed_and_moves_the_conversation(m: Model) -> None:
    first = m.chat(STORY, temperature=1, max_tokens=60)
    m.chat("And then?", temperature=0, max_tokens=10)
    chat = m.chats["main"]
    last = chat.head
    again = m.retry(at=first.id[:6], temperature=1, max_tokens=60)
    assert again.seed != first.seed
    assert chat.head == again.id
    assert words(m) == [STORY, again.text]
    assert {node.id for node in chat.versions(first.id)} == {first.id, again.id}
    assert chat.tip(first.id) == last  # the rest of the old branch is where it was
    chat.goto(chat.tip(first.id))
    assert len(words(m)) == 4
    assert again.usage is not None
    assert again.usage.cached_tokens > 5


def test_a_greedy_retry_says_that_it_is_the_same(m: Model) -> None:
    first = m.chat("What is 2 + 3?", temperature=0)
    again = m.retry(temperature=0)
    assert again.id == first.id
    assert len(m.chats["main"].nodes) == 2
    assert "word for word" in " ".join(again.notes)


def test_another_system_prompt_makes_it_another_question(m: Model) -> None:
    first = m.chat("What is 2 + 3?", temperature=0, system="Answer kindly.")
    chat = m.chats["main"]
    chat.system = "Answer in capitals."
    again = m.retry(temperature=0)
    assert again.system == "Answer in capitals."
    assert again.request is not None
    assert again.request.input[0].content == "Answer in capitals."  # type: ignore[union-attr]
    assert len(chat.versions(chat.path()[0].id)) == 2
    chat.goto(first.id)
    on = m.go_on(max_tokens=3)
    assert on.system == "Answer kindly."  # what goes on stands behind the same prompt


def test_edit_is_a_branch_of_its_own(m: Model) -> None:
    m.chat("What is 2 + 3?", temperature=0)
    m.chat("And 1 + 1?", temperature=0)
    before = words(m)
    edited = m.edit("What is 2 + 4?", at=m.chats["main"].path()[0].id, temperature=0)
    assert edited.text == "2 + 4 = 6."
    assert words(m) == ["What is 2 + 4?", "2 + 4 = 6."]
    assert edited.usage is not None
    assert edited.usage.cached_tokens > 3
    chat = m.chats["main"]
    first = chat.versions(chat.path()[0].id)[0]
    chat.goto(chat.tip(first.id))
    assert words(m) == before


def test_nothing_is_changed_by_what_is_refused(m: Model) -> None:
    with pytest.raises(MessageError, match="has no answer"):
        m.go_on()
    with pytest.raises(MessageError, match="has no message"):
        m.edit("x")
    m.chat("What is 2 + 3?", temperature=0, max_tokens=12)
    chat = m.chats["main"]
    before = (chat.head, dict(chat.nodes))
    question = chat.path()[0].id
    wrong: list[tuple[type[Exception], Any]] = [
        (LlamaError, lambda: m.retry(at="zzz")),
        (LlamaError, lambda: m.retry(chat="nowhere")),
        (SamplingError, lambda: m.retry(temperature=-1)),
        (SamplingError, lambda: m.branch(0, rank=1, temprature=1)),
        (MessageError, lambda: m.branch(99, rank=1)),
        (MessageError, lambda: m.branch(0, rank=11)),
        (MessageError, lambda: m.branch(0, rank=0)),
        (MessageError, lambda: m.branch(0, "a", rank=1)),
        (MessageError, lambda: m.branch(0, 10**9)),
        (MessageError, lambda: m.branch(0, "")),
        (MessageError, lambda: m.branch("0", rank=1)),  # type: ignore[arg-type]
        (MessageError, lambda: m.branch(0, rank=1, at=question)),
        (MessageError, lambda: m.go_on(at=question)),
        (MessageError, lambda: m.edit("x", at=chat.head)),
        (MessageError, lambda: m.edit("  ")),
        (MessageError, lambda: m.edit(["x"])),  # type: ignore[arg-type]
    ]
    for kind, call in wrong:
        with pytest.raises(kind):
            call()
    assert "nowhere" not in m.chats
    assert (chat.head, dict(chat.nodes)) == before
    assert m.active == ()
    assert not chat.turn.held


def test_a_stopped_branch_keeps_its_text(m: Model) -> None:
    reply = m.chat(STORY, **DRAWN)
    branch = m.branch(5, rank=2, background=True, max_tokens=400)
    while len(branch.tokens) < 9:
        time.sleep(0.001)
    branch.stop()
    branch.wait(10)
    assert branch.finish is not None
    assert branch.finish.reason == "stopped"
    chat = m.chats["main"]
    assert chat.head == branch.id
    assert chat.nodes[branch.id].message.content == branch.text
    assert ids(branch)[:5] == ids(reply)[:5]
    on = m.go_on(max_tokens=4)
    assert on.text.startswith(branch.text.rstrip("\ufffd"))


def test_branches_wait_their_turn(m: Model) -> None:
    m.chat(STORY, **DRAWN)
    first = m.retry(temperature=1, seed=8, max_tokens=60, background=True)
    second = m.go_on(background=True, max_tokens=5)  # of the answer that is being written
    third = m.edit("What is 2 + 3?", temperature=0, background=True)
    for reply in (first, second, third):
        reply.wait(30)
    assert ids(second)[:60] == ids(first)  # in the order in which they were asked for
    assert len(ids(second)) == 65
    assert words(m) == ["What is 2 + 3?", third.text]
    assert len(m.chats["main"].nodes) == 6


def test_events_tell_a_view_the_whole_answer(m: Model) -> None:
    m.chat(STORY, **DRAWN)
    told: list[str] = []
    heads: list[str | None] = []

    def watch(event: events.Event) -> None:
        if isinstance(event, events.ReplyAdvanced):
            told.append(event.token.text)
        if isinstance(event, events.ReplyStarted):
            heads.append(m.chats["main"].head)
            assert event.reply.asked == m.chats["main"].head

    unsubscribe = events.subscribe(watch)
    branch = m.branch(10, rank=2)
    unsubscribe()
    assert "".join(told) == branch.text
    assert heads == [m.chats["main"].path()[0].id]  # the conversation goes there when it begins


def test_many_threads_branch_one_chat(m: Model) -> None:
    first = m.chat(STORY, **{**DRAWN, "max_tokens": 10})
    found: list[Reply] = []

    def work(seed: int) -> None:
        found.append(m.retry(at=first.id, temperature=1.3, seed=seed, max_tokens=10))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    chat = m.chats["main"]
    assert {reply.id for reply in found} <= set(chat.nodes)
    assert all(chat.nodes[reply.id].parent == chat.nodes[first.id].parent for reply in found)


def with_files(folder: Path) -> Model:
    other = llama.load("cria", name="cria with files")
    other.chats = ChatBook(ChatFiles(folder), other._forget)
    return other


def test_stored_chats_bring_all_versions_back(tmp_path: Path) -> None:
    other = with_files(tmp_path)
    try:
        first = other.chat(STORY, **DRAWN)
        branch = other.branch(5, rank=2)
        edited = other.edit("What is 2 + 3?", temperature=0)
        chat = other.chats["main"]
        before = (chat.head, dict(chat.nodes))
        other = with_files(tmp_path)
        chat = other.chats.restore()
        assert (chat.head, dict(chat.nodes)) == before
        chat.goto(first.id)
        assert chat.reply(first.id) is None  # it came from the disk
        same = other.branch(5, ids(branch)[5])
        assert same.text == branch.text
        with pytest.raises(MessageError, match="not in memory"):
            other.branch(5, rank=2, at=first.id)
        on = other.go_on(at=first.id, max_tokens=8)
        assert ids(on)[:40] == ids(first)
        assert other.retry(at=edited.id, temperature=0).id == edited.id
    finally:
        other.unload(force=True)


def test_another_models_answer_goes_on_by_its_text(m: Model) -> None:
    first = m.chat("What is 2 + 3?", temperature=0, max_tokens=4)
    chat = m.chats["main"]
    asked, answered = chat.path()
    record = {**(answered.reply or {}), "model": {"name": "another", "fingerprint": "0" * 16}}
    chat.fill([asked, dataclasses.replace(answered, reply=record)], head=first.id)
    with pytest.raises(MessageError, match="tokens of this answer are not known"):
        m.branch(0, "No")
    on = m.go_on(max_tokens=5)
    assert on.text.startswith(first.text)
    assert "cut into tokens again" in " ".join(on.notes)


@pytest.mark.parametrize(
    "tokens",
    [[["x", "", 1, 1]], [[10**9, "", 0, 0]], [[-1, "", 0, 0]], [[5, "a", None, None]], "text", [[]], [5]],
)
def test_a_forged_record_is_not_believed(m: Model, tokens: Any) -> None:
    first = m.chat("What is 2 + 3?", temperature=0, max_tokens=4)
    chat = m.chats["main"]
    asked, answered = chat.path()
    record = {**(answered.reply or {}), "tokens": tokens, "sampling": {"temperature": "hot"}, "seed": []}
    chat.fill(
        [asked, answered.__class__(answered.id, asked.id, answered.message, None, record)], head=first.id
    )
    on = m.go_on(max_tokens=3)
    assert on.text.startswith(first.text)
    assert "cut into tokens again" in " ".join(on.notes)


def test_a_rerun_of_a_branch_is_the_whole_prompt_again(m: Model) -> None:
    reply = m.chat(STORY, **DRAWN)
    branch = m.branch(10, rank=2)
    head = m.chats["main"].head
    again = branch.rerun()
    assert again.text == reply.text  # the same prompt, the same seed, nothing to begin with
    assert again.begun == ()
    assert m.chats["main"].head == head


def test_the_distribution_of_a_branch_is_looked_at_by_position(m: Model) -> None:
    m.chat(STORY, temperature=1.0, seed=2, mirostat_tau=3.0, mirostat_eta=0.3, max_tokens=20)
    branch = m.branch(5, rank=3)
    for position in (2, 5, 9, 19):
        seen = m.distribution(branch, position=position)
        token = branch.tokens[position]
        assert seen.token(token.id).before == pytest.approx(  # type: ignore[arg-type]
            2.718281828 ** (token.logprob or 0), abs=1e-4
        )
