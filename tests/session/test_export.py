"""A chat as a document: what each format holds, what is safe in it, and how it is written."""

import json
import os
from pathlib import Path

import nbformat
import pytest

from llama_nb.core.errors import ChatStoreError, LlamaError, MessageError
from llama_nb.core.messages import Message, ToolCall
from llama_nb.session.chat import Chat, Node
from llama_nb.session.export import FORMATS
from llama_nb.session.restore import from_notebook
from tests.session.fakes import FakeEngine, fake_model

HOSTILE = "<script>alert(1)</script> {{ x }} ```\n# no heading\ud800"


@pytest.fixture
def chat() -> Chat:
    """Two turns with a system prompt; the second one has two answers, the newer of them cut off."""
    engine = FakeEngine()
    m = fake_model(engine)
    m.chat("hello", system="Be kind.")
    m.chat("more")
    engine.rule = lambda request: ["another", " answer", " that", " is", " cut"]
    m.chats["main"].goto(m.chats["main"].path()[1].id)
    m.chat("more", max_tokens=2)
    return m.chats["main"]


def talk(*messages: Message) -> Chat:
    chat = Chat("talk")
    for message in messages:
        chat.add(message, parent=chat.head)
    return chat


def test_markdown_has_the_conversation_and_says_what_is_cut(chat: Chat) -> None:
    assert chat.export() == (
        "# Chat main\n\n> System prompt:\n> Be kind.\n\n## You\n\nhello\n\n## fake\n\nYou said: hello (2)\n\n"
        "## You\n\nmore\n\n## fake\n\nanother answer\n\n*(length)*\n"
    )
    both = chat.export("markdown", "all")
    assert both.index("# Branch 1 of 2") < both.index("You said: more") < both.index("# Branch 2 of 2")
    assert both.rstrip().endswith("*(length)*")  # the conversation itself comes last


def test_a_functions_result_cannot_end_its_block() -> None:
    chat = talk(
        Message("user", "?"),
        Message("assistant", "", (ToolCall("f", {"a": "``` "}),)),
        Message("tool", "```\n````\nhi"),
    )
    text = chat.export()
    assert "## Result of a function\n\n`````\n```\n````\nhi\n`````" in text
    assert '{"name": "f", "arguments": {"a": "``` "}}' in text


def test_messages_are_what_other_programs_take() -> None:
    chat = talk(
        Message("user", "Weather?"),
        Message("assistant", "", (ToolCall("weather", {"city": "Oslo"}),)),
        Message("tool", "rain"),
        Message("assistant", "It rains."),
    )
    chat.system = "Brief."
    expected = [
        {"role": "system", "content": "Brief."},
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
                }
            ],
        },
        {"role": "tool", "content": "rain", "tool_call_id": "call_1"},
        {"role": "assistant", "content": "It rains."},
    ]
    assert json.loads(chat.export("messages")) == expected
    assert json.loads(chat.export("messages", "all")) == [expected]
    assert chat.to_rows() == [{"messages": expected}]
    assert [json.loads(line) for line in chat.export("rows").splitlines()] == chat.to_rows()


def test_rows_to_train_on_have_no_answer_that_was_cut_off(chat: Chat) -> None:
    (row,) = chat.to_rows()
    assert [message["content"] for message in row["messages"]] == [
        "Be kind.",
        "hello",
        "You said: hello (2)",
    ]
    (whole,) = chat.to_rows("all")  # what is cut is inside the other one
    assert [message["content"] for message in whole["messages"]][-2:] == ["more", "You said: more (4)"]
    assert talk(Message("user", "nobody answers")).to_rows() == []
    assert Chat("empty").to_rows() == []


def test_json_holds_the_tree_with_the_records(chat: Chat) -> None:
    held = json.loads(chat.export("json", "all"))
    assert (held["schema"], held["chat"], held["system"], held["head"]) == (1, "main", "Be kind.", chat.head)
    assert [message["id"] for message in held["messages"]] == list(chat.nodes)
    assert held["messages"][0]["parent"] is None
    assert held["messages"][-1]["reply"]["finish"] == "length"
    assert len(json.loads(chat.export("json"))["messages"]) == 4


def test_a_notebook_shows_the_answers_and_brings_every_branch_back(chat: Chat, tmp_path: Path) -> None:
    path = chat.save(tmp_path / "chat.ipynb", branches="all")
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert {cell.cell_type for cell in notebook.cells} == {"code"}
    assert all(cell.execution_count is None for cell in notebook.cells)
    assert notebook.cells[0].source == "%load_ext llama_nb\n%llama load fake"
    assert "chats.open('main').system = 'Be kind.'" in notebook.cells[1].source
    assert notebook.cells[2].source == "%%llama chat\nhello"
    assert notebook.cells[2].outputs[0].data["text/plain"].startswith("You said: hello (2)")
    stored = from_notebook(path)
    back = Chat("back")
    back.fill(stored.nodes, head=stored.head)
    assert list(back.nodes) == list(chat.nodes)
    assert (back.head, back.system) == (chat.head, chat.system)


def test_hostile_text_stays_data(tmp_path: Path) -> None:
    chat = Chat('a" --system "x')
    asked = chat.add(Message("user", HOSTILE), parent=None)
    forged = {"model": {"name": "x; import os"}, "tokens": 5, "sampling": "no", "usage": [], "text": HOSTILE}
    chat.fill([asked, Node("1" * 12, asked.id, Message("assistant", HOSTILE), None, forged)], head="1" * 12)
    chat.system = "'''\nimport os\n'''"
    for form in FORMATS:
        path = chat.save(tmp_path / form, form, "all")
        path.read_text(encoding="utf-8")
    notebook = nbformat.read(tmp_path / "notebook", 4)
    nbformat.validate(notebook)
    assert notebook.cells[0].source.endswith("%llama load cria")
    cell = notebook.cells[-1]
    assert cell.source.startswith('%%llama chat --chat "a_ --system _x" --raw\n<script>')
    assert "<script" not in cell.outputs[0].data["text/html"]
    assert json.loads(chat.export("messages"))[1]["content"] == HOSTILE


def test_a_file_is_replaced_only_when_asked_and_as_a_whole(
    chat: Chat, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "chat.md"
    assert chat.save(str(path)) == path
    path.write_text("mine")
    with pytest.raises(ChatStoreError, match=r"chat\.md is there already") as caught:
        chat.save(path)
    assert "--overwrite" in caught.value.hint
    assert path.read_text() == "mine"
    (tmp_path / "dangling.md").symlink_to(tmp_path / "elsewhere.md")
    with pytest.raises(ChatStoreError, match="is there already"):
        chat.save(tmp_path / "dangling.md")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ChatStoreError, match="No space left"):
        chat.save(path, overwrite=True)
    monkeypatch.undo()
    assert path.read_text() == "mine"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["chat.md", "dangling.md"]
    chat.save(path, overwrite=True)
    assert path.read_text() == chat.export()


@pytest.mark.parametrize(
    ("name", "form", "says"),
    [
        ("chat.doc", None, "says no format"),
        ("chat", None, "says no format"),
        ("a.md", "pdf", "no format 'pdf'"),
    ],
)
def test_formats_are_known(chat: Chat, tmp_path: Path, name: str, form: str | None, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        chat.save(tmp_path / name, form)  # type: ignore[arg-type]
    with pytest.raises(LlamaError, match="Did you mean 'markdown'"):
        chat.export("markdwn")  # type: ignore[arg-type]
    with pytest.raises(MessageError, match="branches is 'some'"):
        chat.to_rows("some")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_an_empty_chat_exports_to_little() -> None:
    chat = Chat("nothing")
    texts = {form: chat.export(form, branches) for form in FORMATS for branches in ("path", "all")}
    assert texts["markdown"] == "# Chat nothing\n"
    assert texts["messages"].strip() == "[]"
    assert texts["rows"] == ""
