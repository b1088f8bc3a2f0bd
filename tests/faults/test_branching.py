"""Branches where something goes wrong: contexts that are full, interrupts at any instant, models that go."""

import functools
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import llama_nb as llama
from llama_nb.core.errors import ContextOverflow, ModelBusy
from llama_nb.session.model import Model
from llama_nb.session.reply import Reply
from llama_nb.session.store import ChatFiles
from tests.models import write_random_llama

LONG = "word " * 120
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory, llama3_tokenizer: Path) -> Iterator[Model]:
    """A random Llama that rambles with the vocabulary of Llama 3, in a context of 256 tokens."""
    folder = tmp_path_factory.mktemp("branching") / "random"
    write_random_llama(folder, tokenizer_from=llama3_tokenizer, hidden=32, tie=True, seed=3, context=256)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    m = llama.load(folder, name="a small context")
    yield m
    m.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Model:
    loaded.chats.clear("main")
    return loaded


def ids(reply: Reply) -> list[int]:
    return [token.id for token in reply.tokens if token.id is not None]


def test_an_answer_that_fills_the_context_cannot_go_on_but_branch(m: Model) -> None:
    reply = m.chat("go", temperature=1, seed=1, max_tokens=None, banned=("<|eot_id|>",))
    assert reply.finish is not None
    assert reply.finish.reason == "context"
    head = m.chats["main"].head
    with pytest.raises(ContextOverflow, match="no room to go on"):
        m.go_on()
    assert m.chats["main"].head == head
    last = m.branch(-1, rank=5)
    assert last.finish is not None
    assert last.finish.reason == "context"
    assert ids(last)[:-1] == ids(reply)[:-1]
    assert m.branch(-8, ids(reply)[-8], at=reply.id).id == reply.id


def test_old_turns_make_room_for_an_answer_that_goes_on(m: Model) -> None:
    m.chat(LONG, temperature=0, max_tokens=20)
    reply = m.chat("and?", temperature=1, seed=2, max_tokens=None)
    assert reply.finish is not None
    if reply.finish.reason != "context":
        pytest.fail(f"the reply ended by {reply.finish.reason}: choose another seed")
    on = m.go_on(max_tokens=5)
    assert ids(on)[: len(ids(reply))] == ids(reply)
    assert len(ids(on)) == len(ids(reply)) + 5
    assert any("left out" in note for note in on.notes)


def test_an_edit_that_does_not_fit_changes_nothing(m: Model) -> None:
    m.chat("hello", temperature=0, max_tokens=5)
    chat = m.chats["main"]
    before = (chat.head, dict(chat.nodes))
    with pytest.raises(ContextOverflow):
        m.edit(LONG * 3)
    chat.system = LONG * 3
    with pytest.raises(ContextOverflow):
        m.retry()
    chat.system = None
    assert chat.head == before[0]
    assert [key for key in chat.nodes if chat.nodes[key].message.role == "assistant"] == [before[0]]


def test_interrupts_at_any_instant_keep_everything(m: Model, late: list[int]) -> None:
    chance = random.Random(7)
    first = m.chat("go on and on", temperature=1, seed=4, max_tokens=30)
    chat = m.chats["main"]
    for number in range(24):
        ways: list[Callable[[], Reply]] = [
            lambda: m.branch(chance.randrange(20), rank=chance.randint(1, 5), at=first.id, max_tokens=150),
            lambda: m.go_on(at=first.id, max_tokens=150),
            lambda: m.retry(at=first.id, temperature=1, max_tokens=150),
            functools.partial(m.edit, f"number {number}", at=chat.path()[0].id, max_tokens=150),
        ]
        before = dict(chat.nodes)
        timer = threading.Timer(chance.uniform(0, 0.15), os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        reply: Reply | None = None
        try:
            reply = ways[number % 4]()
        except KeyboardInterrupt:
            reply = None
        timer.join()
        assert before.items() <= chat.nodes.items()
        assert not chat.turn.held
        assert chat.path()[-1].message.role == "assistant"
        if reply is not None and reply.text and reply.tokens[len(reply.begun) :]:
            assert chat.nodes[reply.id].message.content == reply.text
        chat.goto(first.id)
    again = m.branch(3, ids(first)[3], at=first.id)
    assert ids(again) == ids(first)  # no torn cache


def test_an_edited_answer_uses_no_stale_cache(m: Model) -> None:
    first = m.chat("one two three", temperature=0, max_tokens=12)
    m.edit("one two four", temperature=0, max_tokens=12)
    m.engine.forget()
    fresh = m.edit("one two four", temperature=0, max_tokens=12)
    assert fresh.id == m.chats["main"].head
    m.chats["main"].goto(first.id)
    m.engine.forget()
    assert ids(m.branch(0, ids(first)[0])) == ids(first)


def test_a_model_that_is_unloaded_keeps_what_a_branch_has(tmp_path: Path, llama3_tokenizer: Path) -> None:
    folder = tmp_path / "random"
    write_random_llama(folder, tokenizer_from=llama3_tokenizer, hidden=32, tie=True, seed=3, context=2048)
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    m = llama.load(folder, name="going")
    m.chat("hello", temperature=1, seed=1, max_tokens=8)
    branch = m.branch(2, rank=2, background=True, max_tokens=None)
    waiting = m.retry(background=True)
    deadline = time.monotonic() + 10
    while len(branch.tokens) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    with pytest.raises(ModelBusy):
        m.unload()
    m.unload(force=True)
    assert branch.join(5)
    assert waiting.join(5)
    assert m.chats["main"].head == branch.id
    assert len(branch.tokens) >= 10


def test_a_kernel_that_dies_in_a_retry_loses_no_answer(m: Model, tmp_path: Path) -> None:
    m.chats.delete("main")
    m.chats._journal = ChatFiles(tmp_path)
    m.chats.delete("main")
    try:
        first = m.chat("hello", temperature=0, max_tokens=5)
        retry = m.retry(temperature=1, max_tokens=None, background=True)
        while len(retry.tokens) < 3:
            time.sleep(0.005)
        written = (tmp_path / "main.jsonl").read_bytes()  # what the disk has if the kernel dies now
        retry.stop()
        retry.join(10)
        copy = tmp_path / "copy.jsonl"
        copy.write_bytes(written)
        chat = m.chats.restore("copy", copy)
        assert chat.head == first.id
    finally:
        m.chats._journal = None
        m.chats.delete("main")
