"""Chats on disk and back: private, whole lines, and nothing hostile in them does harm."""

import json
import multiprocessing
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llama_nb.core import events
from llama_nb.core.errors import ChatStoreError, EngineError
from llama_nb.render.reply import bundle
from llama_nb.runtime import settings
from llama_nb.runtime.environment import Environment
from llama_nb.session import store
from llama_nb.session.chat import Chat
from llama_nb.session.model import Model
from llama_nb.session.reply import MIME
from llama_nb.session.restore import from_notebook, restore, restore_into
from tests.session.fakes import FakeEngine, fake_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".llama-nb" / "chats" / "lesson"


@pytest.fixture
def notes() -> Iterator[list[str]]:
    texts: list[str] = []
    unsubscribe = events.subscribe(lambda e: texts.append(e.text) if isinstance(e, events.Note) else None)
    yield texts
    unsubscribe()


def model(folder: Path, engine: FakeEngine | None = None) -> Model:
    return fake_model(engine, journal=store.ChatFiles(folder))


def lines(folder: Path, name: str = "main") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_each_turn_is_a_line_in_a_private_file(folder: Path) -> None:
    m = model(folder)
    m.chat("hello", system="s")
    records = lines(folder)
    assert [(r["type"], r["role"], r["text"]) for r in records] == [
        ("message", "user", "hello"),
        ("message", "assistant", "You said: hello (2)"),
    ]
    assert records[0]["system"] == "s"
    assert records[1]["reply"]["finish"] == "end"
    assert stat.S_IMODE((folder / "main.jsonl").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert "*" in (folder.parent / ".gitignore").read_text().split()


def test_a_new_kernel_goes_on_where_the_old_one_was(folder: Path, notes: list[str]) -> None:
    old = model(folder)
    old.chat("one", system="Be brief.")
    old.chat("two")
    engine = FakeEngine()
    new = model(folder, engine)
    chat = new.chats.restore()
    assert chat.messages() == old.chats["main"].messages()
    assert notes == ["Chat 'main': 2 turns and its system prompt restored from main.jsonl."]
    new.chat("three")
    third = model(folder)
    assert third.chats.restore().turn_count() == 3
    assert third.chats["main"].system == "Be brief."


def test_restore_takes_the_newest_other_conversation(folder: Path) -> None:
    model(folder).chat("old")
    model(folder).chat("newer")
    m = model(folder)
    m.chat("just now")
    assert m.chats.restore().messages()[0].content == "newer"


def test_a_stopped_and_a_failed_reply_are_kept(folder: Path) -> None:
    m = model(folder, FakeEngine(failure=EngineError("x"), fail_at=2))
    with pytest.raises(EngineError):
        m.chat("hello")
    again = model(folder).chats.restore()
    assert again.messages()[-1].content == "You said:"


def test_a_kernel_killed_in_a_turn_loses_that_turn_only(folder: Path, notes: list[str]) -> None:
    m = model(folder)
    m.chat("one")
    with m.stream("two") as stream:
        next(stream)
        restored = model(folder).chats.restore()
    assert [message.content for message in restored.messages()] == ["one", "You said: one (1)"]
    assert notes[0].endswith("Its last message got no answer and is left out: 'two'")


def test_branches_and_versions_come_back(folder: Path) -> None:
    m = model(folder)
    first = m.chat("one")
    m.chat("two")
    m.chats["main"].goto(first.id)
    last = m.chat("three")
    last.rerun(temperature=0)
    chat = model(folder).chats.restore()
    assert [message.content for message in chat.messages()] == [x.content for x in m.chats["main"].messages()]
    assert len(chat.nodes) == len(m.chats["main"].nodes)


def test_nothing_answered_is_not_in_the_restored_conversation(folder: Path) -> None:
    m = model(folder, FakeEngine(failure=EngineError("x")))
    with pytest.raises(EngineError):
        m.chat("hello")
    assert model(folder).chats.restore().messages() == ()


def test_a_line_cut_in_the_middle_costs_itself_only(folder: Path, notes: list[str]) -> None:
    m = model(folder)
    m.chat("one")
    file = folder / "main.jsonl"
    os.truncate(file, file.stat().st_size - 30)
    other = model(folder)
    other.chats.restore()
    other.chat("two")
    records = file.read_text().splitlines()
    assert json.loads(records[-1])["text"].startswith("You said: two")
    assert "; 1 unreadable line was left out." in notes[0]


MESSAGE = {
    "schema": 1,
    "session": "s",
    "type": "message",
    "id": "a",
    "parent": None,
    "role": "user",
    "text": "x",
}
HOSTILE = [
    "",
    "not json",
    "[]",
    "null",
    "3",
    '{"schema": 1}',
    json.dumps({**MESSAGE, "schema": 99}),
    json.dumps({**MESSAGE, "role": "banana"}),
    json.dumps({**MESSAGE, "role": "system"}),
    json.dumps({**MESSAGE, "role": ["user"]}),
    json.dumps({**MESSAGE, "id": 3}),
    json.dumps({**MESSAGE, "parent": []}),
    json.dumps({**MESSAGE, "text": {}}),
    json.dumps({**MESSAGE, "head": {}}),
    json.dumps({**MESSAGE, "type": "eval"}),
    json.dumps({**MESSAGE, "session": ["s"]}),
    "[" * 100_000,
    "\x00\x01\x02",
]


@pytest.mark.parametrize("line", HOSTILE)
def test_a_hostile_line_is_left_out(folder: Path, line: str) -> None:
    folder.mkdir(parents=True)
    (folder / "main.jsonl").write_text(line + "\n", encoding="utf-8")
    with pytest.raises(ChatStoreError):
        restore(folder / "main.jsonl")
    model(folder).chat("one")
    with (folder / "main.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    chat = model(folder).chats.restore()
    assert [message.content for message in chat.messages()] == ["one", "You said: one (1)"]


def test_a_file_cannot_make_a_loop(folder: Path) -> None:
    folder.mkdir(parents=True)
    base = {"schema": 1, "session": "s", "type": "message", "role": "assistant", "text": "x"}
    records = [
        {**base, "id": "a", "parent": "b", "head": "a"},
        {**base, "id": "b", "parent": "a", "head": "b"},
    ]
    records.append({**base, "id": "a", "parent": "b", "head": "a"})
    (folder / "main.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    chat = Chat("main")
    restore_into(chat, folder / "main.jsonl")
    assert [node.id for node in chat.path()] == ["a"]
    assert [node.id for node in chat.path("b")] == ["a", "b"]


def test_nothing_stored_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ChatStoreError, match=r"main.jsonl does not exist"):
        model(folder).chats.restore()
    m = model(folder)
    m.chat("x")
    with pytest.raises(ChatStoreError, match="no earlier conversation"):
        m.chats.restore()
    with pytest.raises(ChatStoreError, match="cannot be read"):
        m.chats.restore("main", tmp_path)
    assert m.chats["main"].turn_count() == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", ".hidden", "a/b", "ä ö", "..", "C:\\x", "con"])
def test_a_chats_name_cannot_leave_the_folder(folder: Path, name: str) -> None:
    model(folder).chat("x", chat=name)
    (file,) = folder.iterdir()
    assert file.parent == folder
    assert not file.name.startswith(".")
    assert model(folder).chats.restore(name).turn_count() == 1


def test_a_link_in_the_folders_place_is_not_followed(tmp_path: Path, notes: list[str]) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".llama-nb").symlink_to(elsewhere)
    m = model(tmp_path / ".llama-nb" / "chats" / "n")
    assert m.chat("x").text
    assert list(elsewhere.iterdir()) == []
    assert len(notes) == 1
    folder = tmp_path / "real" / ".llama-nb" / "chats" / "n"
    folder.mkdir(parents=True)
    (folder / "main.jsonl").symlink_to(elsewhere / "stolen")
    model(folder).chat("x")
    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path: Path, notes: list[str]) -> None:
    (tmp_path / ".llama-nb").write_text("a file is in the way")
    m = model(tmp_path / ".llama-nb" / "chats" / "n")
    m.chat("one")
    m.chat("two")
    assert m.chats["main"].turn_count() == 2
    assert len(notes) == 1
    assert "in memory only" in notes[0]


def test_delete_removes_the_file(folder: Path) -> None:
    m = model(folder)
    m.chat("x", chat="secret")
    m.chats.delete("secret")
    assert not (folder / "secret.jsonl").exists()


def _write_many(folder: str, number: int) -> None:
    for turn in range(25):
        record = json.dumps({"who": number, "turn": turn, "pad": "x" * 5000})
        store.append_line(Path(folder) / "main.jsonl", record.encode() + b"\n")


def test_two_kernels_write_whole_lines(folder: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(str(folder), number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    written = [(record["who"], record["turn"]) for record in lines(folder)]
    assert sorted(written) == [(who, turn) for who in range(2) for turn in range(25)]


@pytest.mark.parametrize(
    ("kind", "watched", "setting", "kept"),
    [
        ("lab", True, None, True),
        ("terminal", True, None, True),
        ("batch", False, None, False),
        ("plain", False, None, False),
        ("plain", False, True, True),
        ("lab", True, False, False),
    ],
)
def test_where_chats_are_kept(
    kind: Any,
    watched: bool,
    setting: bool | None,
    kept: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("LLAMA_NB_CHATS", raising=False)
    monkeypatch.setattr(store, "detect", lambda: Environment(kind, watched, False))
    monkeypatch.setattr(
        store, "notebook_path", lambda: tmp_path / "My lesson.ipynb" if kind == "lab" else None
    )
    monkeypatch.setattr(settings, "_chats_on_disk", setting)
    monkeypatch.chdir(tmp_path)
    fake_model(journal=store.ChatFiles()).chat("x")
    name = {"lab": "My lesson", "terminal": "terminal", "plain": "python"}.get(kind, "session")
    assert (tmp_path / ".llama-nb" / "chats" / name / "main.jsonl").exists() == kept


# --- saved notebooks -------------------------------------------------------------------------------


def notebook(path: Path, records: list[Any]) -> Path:
    cells: list[Any] = [{"cell_type": "markdown", "source": "# hi"}]
    cells += [
        {
            "cell_type": "code",
            "outputs": [{"output_type": "display_data", "data": {MIME: record, "text/plain": "x"}}],
        }
        for record in records
    ]
    path.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    return path


def test_a_saved_notebook_goes_on_without_its_kernel(tmp_path: Path) -> None:
    m = fake_model()
    records = [
        m.chat("one", system="s").to_record(),
        m.chat("two").to_record(),
        m.complete("raw").to_record(),
    ]
    records.append(m.chat([{"role": "user", "content": "one-off"}]).to_record())
    new = fake_model()
    chat = new.chats.restore("main", notebook(tmp_path / "n.ipynb", records))
    assert chat.messages() == m.chats["main"].messages()
    assert chat.head == m.chats["main"].head
    assert new.chat("three").parent == m.chats["main"].head


@pytest.mark.parametrize("watched", [True, False])
def test_what_a_notebook_saves_of_a_reply_is_enough(tmp_path: Path, watched: bool) -> None:
    m = fake_model()
    replies = [m.chat("one", system="s"), m.chat("two <b>x</b>\x1b[31m", seed=3, temperature=1)]
    saved = [bundle(reply.to_record(), watched=watched)[MIME] for reply in replies]
    chat = fake_model().chats.restore("main", notebook(tmp_path / "n.ipynb", saved))
    assert chat.messages() == m.chats["main"].messages()
    assert [node.id for node in chat.path()] == [node.id for node in m.chats["main"].path()]


def test_a_restored_notebook_is_stored_anew(tmp_path: Path, folder: Path) -> None:
    record = fake_model().chat("one").to_record()
    m = model(folder)
    m.chats.restore("main", notebook(tmp_path / "n.ipynb", [record]))
    m.chat("two")
    assert model(folder).chats.restore().turn_count() == 2


def test_a_deleted_output_leaves_a_gap_and_no_break(tmp_path: Path) -> None:
    m = fake_model()
    records = [m.chat(word).to_record() for word in ("one", "two", "three")]
    stored = from_notebook(notebook(tmp_path / "n.ipynb", [records[0], records[2]]))
    chat = Chat("main")
    chat.fill(stored.nodes, head=stored.head)
    assert [message.content for message in chat.messages() if message.role == "user"] == ["one", "three"]


GOOD = fake_model().chat("one").to_record()


@pytest.mark.parametrize(
    "record",
    [
        None,
        [],
        "text",
        ["a", "b"],
        {**GOOD, "schema": 2},
        {**GOOD, "text": None},
        {**GOOD, "user": 3},
        {**GOOD, "id": ["x"]},
        {**GOOD, "kind": "tool"},
        {key: value for key, value in GOOD.items() if key != "text"},
    ],
)
def test_a_hostile_record_in_a_notebook_is_left_out(tmp_path: Path, record: object) -> None:
    assert len(from_notebook(notebook(tmp_path / "n.ipynb", [record, GOOD])).nodes) == 2
    with pytest.raises(ChatStoreError, match="holds no replies"):
        from_notebook(notebook(tmp_path / "n.ipynb", [record]))


def test_a_record_saved_as_text_lines_is_read(tmp_path: Path) -> None:
    whole = json.dumps(GOOD)
    assert len(from_notebook(notebook(tmp_path / "n.ipynb", [[whole[:20], whole[20:]]])).nodes) == 2


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"cells": 3}', '{"cells": [3]}', "<html>", "[" * 10_000]
)
def test_what_is_no_notebook_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "n.ipynb"
    path.write_text(content)
    with pytest.raises(ChatStoreError, match=r"n\.ipynb (is not a notebook|holds no replies)"):
        from_notebook(path)
