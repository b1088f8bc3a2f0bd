"""The verbs of branches in a real kernel, on the bundled model."""

import json
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel

pytestmark = pytest.mark.kernel

ASK = (
    "%llama chats clear\n%llama chat --temperature 0.9 --seed 3 --max-tokens 24 Tell me a story about a dog."
)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("branches")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "on"}, cwd=folder) as kernel:
        kernel.ok("%load_ext llama_nb\nm = %llama load cria\nchat = m.chats['main']")
        yield kernel


@pytest.fixture
def asked(started):
    started.ok(ASK)
    return started


def words(kernel):
    return kernel.evaluate("[message.content for message in chat.messages()]")


def test_a_branch_streams_and_becomes_the_conversation(asked):
    before = words(asked)
    result = asked.ok("b = %llama branch 6 --rank 3\nb.usage.cached_tokens == b.usage.prompt_tokens - 1")
    assert result.value["text/plain"] == "True"
    after = words(asked)
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert asked.evaluate("[n.message.content for n in chat.versions(chat.head)]") == [before[1], after[1]]
    shown = asked.ok("%llama branch 2 --token a --temperature 0 --max-tokens 5")
    assert words(asked)[1] in shown.text
    assert asked.evaluate("len(m.last.tokens)") == 2 + 1 + 5


def test_retry_edit_goto_and_the_tree(asked):
    first = words(asked)
    asked.ok("%llama retry --temperature 1.3 --seed 11 --max-tokens 12")
    second = words(asked)
    asked.ok('%llama edit "What is 2 + 3?" --temperature 0')
    asked.ok("%%llama edit --temperature 0 --raw\nWhat is a {{token}}?")
    assert words(asked)[0] == "What is a {{token}}?"
    tree = asked.ok("%llama chats --tree").text
    lines = tree.splitlines()
    assert lines[0].startswith("Chat 'main'")
    assert len(lines) == 1 + 3 + 2 + 2
    assert [line[0] for line in lines[1:]].count(">") == 1
    assert lines[-1].startswith(">")
    key = next(line.split()[0] for line in lines if second[1][:40] in line)
    assert second[1].strip() in asked.ok(f"%llama goto {key}").text
    assert words(asked) == second
    asked.ok("%llama chat --temperature 0 --max-tokens 4 And 2 + 2?")
    assert "has 1 turn now" in asked.ok("%llama goto 1").text
    assert words(asked) == second
    assert first[1] in [
        str(line) for line in asked.evaluate("[n.message.content for n in chat.nodes.values()]")
    ]
    asked.ok("%llama retry --at 1 --seed 11 --temperature 1.3 --max-tokens 12")
    assert words(asked) == second


def test_continue_makes_it_longer(asked):
    before = words(asked)[1]
    longer = asked.ok("r = %llama continue --max-tokens 6\nprint(r.text)")
    assert longer.text.count(before) == 2  # as the reply, and printed
    assert words(asked)[1].startswith(before)
    assert asked.evaluate("(len(r.begun), len(r.tokens))") == (24, 30)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("%llama goto 7", "There is no turn 7"),
        ("%llama goto zzz", "no message has it"),
        ("%llama goto", "Which message?"),
        ("%llama branch 99 --rank 1", "has no token 99"),
        ("%llama branch 0 --rank 99", "10 alternatives were recorded"),
        ('%llama branch 0 --token "a whole sentence"', "tokens"),
        ("%llama branch", "position"),
        ("%llama branch two --rank 1", "two"),
        ("%llama retry --at 9", "There is no turn 9"),
        ("%llama retry --chat nowhere", "There is no chat 'nowhere'"),
        ("%%llama retry\nwith words", "sends no text"),
        ('%llama edit ""', "Nothing to send"),
        ("%llama continue --temperature -1", "temperature"),
        ("%llama export chat.doc", "says no format by its end"),
        ("%llama export", "file"),
        ("%llama export chat.md --format pdf", "pdf"),
        ("%llama export nowhere/chat.md", "cannot be written"),
        ("%llama chats use main --tree", "--tree does nothing else"),
    ],
)
def test_mistakes_are_said_in_few_lines_and_change_nothing(asked, line, says):
    before = asked.evaluate("(chat.head, len(chat.nodes))")
    result = asked.run(line)
    assert result.status == "error"
    assert says in result.error_text
    assert len(result.error_text.splitlines()) <= 12
    assert "Traceback" not in result.error_text
    assert asked.evaluate("(chat.head, len(chat.nodes))") == before


def test_exports_are_written_whole_and_never_over_another_file(asked):
    folder = Path(asked.evaluate("__import__('os').getcwd()"))
    asked.ok("%llama chat --temperature 0 What is 2 + 3?")
    asked.ok("%llama retry --temperature 2 --seed 5 --max-tokens 4")
    said = asked.ok("%llama export kept.md").text
    assert said == "kept.md: chat 'main', 2 turns."
    text = (folder / "kept.md").read_text()
    assert all(word in text for word in words(asked))
    refused = asked.run("%llama export kept.md")
    assert "is there already" in refused.error_text
    assert (folder / "kept.md").read_text() == text
    asked.ok("%llama export kept.md --all --overwrite")
    assert "# Branch 2 of 2" in (folder / "kept.md").read_text()
    asked.ok("%llama export kept.ipynb --all")
    notebook = nbformat.read(folder / "kept.ipynb", 4)
    nbformat.validate(notebook)
    asked.ok("%llama export messages.json --format messages")
    messages = json.loads((folder / "messages.json").read_text())
    assert [message["content"] for message in messages] == words(asked)
    assert not [path for path in folder.iterdir() if path.name.startswith(".kept")]
    asked.ok("%llama chat --chat copy --from kept.ipynb")
    assert asked.evaluate("m.chats['copy'].nodes.keys() == chat.nodes.keys()")
    assert asked.evaluate("m.chats['copy'].head == chat.head")


def test_an_interrupt_keeps_what_a_branch_has(asked):
    cell = asked.submit("%llama branch 4 --rank 2 --max-tokens 900 --stop never")
    asked.until(lambda: any("delta" in str(message["content"]) for message in cell.messages), 20)
    asked.interrupt()
    asked.wait(cell)
    if cell.status == "ok":
        pytest.fail("the branch ended before it could be interrupted")
    assert "kept in the chat" in cell.error_text
    said = words(asked)[1]
    assert said
    assert asked.evaluate("(m.last.finish.reason, m.last.text)") == ("stopped", said)
    asked.ok("%llama continue --max-tokens 3")
    assert words(asked)[1].startswith(said.rstrip("\ufffd"))


def test_a_restarted_kernel_has_all_versions(started, tmp_path_factory):
    started.ok(ASK)
    started.ok("%llama branch 5 --rank 2\n%llama edit --temperature 0 What is 2 + 3?")
    before = started.evaluate("(chat.head, list(chat.nodes))")
    folder = started.evaluate("__import__('os').getcwd()")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "on"}, cwd=folder) as again:
        again.ok("%load_ext llama_nb\nm = %llama load cria\n%llama chat --restore")
        assert again.evaluate("(m.chats['main'].head, list(m.chats['main'].nodes))") == before
        again.ok("%llama goto 1\n%llama branch 2 --token a --max-tokens 3")


def test_where_nobody_watches_outputs_are_the_same_each_time(started):
    outputs = []
    for _ in range(2):
        started.run(ASK, allow_stdin=False)
        result = started.run("%llama branch 5 --rank 2\n%llama chats --tree", allow_stdin=False)
        assert result.status == "ok", result.error_text
        outputs.append([output.get("data", output.get("text")) for output in result.outputs])
    assert outputs[0] == outputs[1]
    assert not any("widget" in str(output) for output in outputs[0])
