"""Formats: what each record becomes, how it is recognised, and what is said of records that are wrong."""

import json

import pytest

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message, ToolCall
from llama_nb.tuning.data import Example, read_data
from llama_nb.tuning.formats import all_formats, find_format

CALLED = Message("assistant", "", (ToolCall("f"),))
ASKED, SAID = Message("user", "Hi?"), Message("assistant", "Hello.")
TURNS = [ASKED.to_dict(), SAID.to_dict()]
PAIR = Example("pair", prompt="Hi?", completion="Hello.")
CHAT = Example("chat", (ASKED, SAID))
BETTER = Example("preference", (ASKED,), chosen="Hello.", rejected="No.")
HUMAN = {"from": "human", "value": "Hi?"}
NO = {"role": "assistant", "content": "No."}

RECORDS = [
    ("openai", {"messages": TURNS}, CHAT),
    ("openai", {"conversations": TURNS}, CHAT),
    ("openai", {"messages": json.dumps(TURNS)}, CHAT),
    ("openai", {"messages": TURNS, "text": "Hi? Hello."}, CHAT),
    ("openai", [ASKED, SAID], CHAT),
    ("openai", {"messages": [{"role": "developer", "content": "Be."}, *TURNS]},
     Example("chat", (Message("system", "Be."), ASKED, SAID))),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi?"}]},
                             {**TURNS[1], "weight": 0}]}, Example("chat", (ASKED, SAID), untrained=(1,))),
    ("openai", {"messages": [TURNS[0], {"role": "assistant", "content": None, "tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]},
        {"role": "tool", "tool_call_id": "1", "content": "2"}], "tools": '[{"type": "function"}]'},
     Example("chat", (ASKED, Message("assistant", "", (ToolCall("f", {"x": 1}),)), Message("tool", "2")),
             tools=({"type": "function"},))),
    ("sharegpt", {"conversations": [HUMAN, {"from": "gpt", "value": "Hello."}]}, CHAT),
    ("sharegpt", {"system": "Be.", "conversations": [
        HUMAN, {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
        {"from": "observation", "value": "2"}]},
     Example("chat", (Message("system", "Be."), ASKED, CALLED, Message("tool", "2")))),
    ("alpaca", {"instruction": "Hi?", "input": "", "output": "Hello."}, PAIR),
    ("alpaca", {"instruction": "Add.", "input": "1 2", "output": "3"},
     Example("pair", prompt="Add.\n\n1 2", completion="3")),
    ("alpaca", {"instruction": "Hi?", "context": None, "response": "Hello.", "category": "x"}, PAIR),
    ("alpaca", {"instruction": "And?", "output": "So.", "system": "Be.", "history": [["Hi?", "Hello."]]},
     Example("chat", (Message("system", "Be."), ASKED, SAID, Message("user", "And?"),
                      Message("assistant", "So.")))),
    ("prompt_completion", {"prompt": "Hi?", "completion": "Hello."}, PAIR),
    ("prompt_completion", {"question": "Hi?", "answer": "Hello.", "id": 7}, PAIR),
    ("prompt_completion", {"input": "Hi?", "output": "Hello."}, PAIR),
    ("prompt_completion", {"prompt": "1+1", "completion": 2}, Example("pair", prompt="1+1", completion="2")),
    ("prompt_completion", {"prompt": TURNS[:1], "completion": TURNS[1:]},
     Example("chat", (ASKED, SAID), untrained=(0,))),
    ("text", {"text": "Hi."}, Example("text", completion="Hi.")),
    ("text", {"content": "Hi."}, Example("text", completion="Hi.")),
    ("text", "Hi.", Example("text", completion="Hi.")),
    ("preference", {"prompt": "Hi?", "chosen": "Hello.", "rejected": "No."},
     Example("preference", prompt="Hi?", chosen="Hello.", rejected="No.")),
    ("preference", {"chosen": TURNS, "rejected": [TURNS[0], NO]}, BETTER),
    ("preference", {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": [NO]}, BETTER),
    ("preference", {"prompt": TURNS[:1], "chosen": "Hello.", "rejected": "No."}, BETTER),
    ("preference", {"prompt": "Hi?", "chosen": TURNS, "rejected": [TURNS[0], NO], "score": 3}, BETTER),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "expected"), RECORDS, ids=range(len(RECORDS)))
def test_a_record_is_recognised_and_read(name, record, expected):
    data = read_data([record])
    assert data.format == name
    [example] = data.examples
    assert example.where == "data[0]"
    assert example.content == expected.content
    assert example.kind == expected.kind


def test_every_format_has_its_name_and_a_record_here():
    formats = all_formats()
    assert {name for name, _, _ in RECORDS} == set(formats)
    for name, form in formats.items():
        assert name == form.__name__.rpartition(".")[2]
        assert form.DESCRIPTION
        assert form.FIELDS


WRONG = [
    ("openai", {"messages": "Hi"}, r"'messages' is no list of messages"),
    ("openai", {"messages": [{"role": "usr", "content": "x"}]}, r"messages\[0\].* is 'usr'.*\n.*'user'"),
    ("openai", {"messages": [{"role": "user"}]}, "has no 'content'"),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "vision model"),
    ("openai", {"messages": TURNS, "tools": "{"}, "'tools' is no list"),
    ("sharegpt", {"conversations": [{"from": "humann", "value": "x"}]}, r"is 'humann'.*\n.*'human'"),
    ("sharegpt", {"conversations": [{"from": "gpt", "value": 3}]}, "no text under 'value'"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "f()"}]}, "no function call"),
    ("alpaca", {"instruction": "x", "outputs": "y"}, r"no 'output' \(its fields: .*\n.*'outputs'"),
    ("alpaca", {"instruction": "x", "output": "y", "history": "z"}, "'history' is no list of pairs"),
    ("prompt_completion", {"prompt": "x"}, "no 'completion'"),
    ("prompt_completion", {"prompt": "x", "completion": ["y"]}, "'completion' is a list, not text"),
    ("text", {"txt": "x"}, r"no 'text' .*\n.*'txt'"),
    ("preference", {"chosen": TURNS, "rejected": [NO]}, "no prompt"),
    ("preference", {"prompt": "x", "chosen": "y"}, "no 'rejected'"),
    ("preference", {"chosen": [*TURNS, *TURNS], "rejected": [TURNS[0], NO]}, "'chosen' has 3 messages"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "record", "message"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_record_is_named_with_its_place_and_field(name, record, message):
    with pytest.raises(DataError, match=message) as caught:
        read_data([record], format=name)
    assert caught.value.message.startswith("data[0]: ")
    assert caught.value.hint


def test_a_format_is_named_by_the_user_and_mistyped_names_are_corrected():
    assert read_data([{"messages": TURNS, "text": "x"}], format="text").examples[0].completion == "x"
    assert find_format("prompt-completion").NAME == "prompt_completion"
    with pytest.raises(DataError, match=r"no format 'alpacca'.*\n.*'alpaca'"):
        read_data([{"text": "x"}], format="alpacca")


def test_fields_that_no_format_has_are_told_beside_the_nearest_format():
    with pytest.raises(DataError, match=r"no format has the fields promt, completion.*\n.*prompt_completion"):
        read_data([{"promt": "x", "completion": "y"}])
    with pytest.raises(DataError, match=r"the fields a, b(.|\n)*alpaca: instruction, input, output"):
        read_data([{"a": 1, "b": 2}])


def test_a_record_unlike_those_before_it_is_named():
    with pytest.raises(
        DataError, match=r"data\[1\]: the record has the fields promt, .* are prompt_completion"
    ):
        read_data([{"prompt": "x", "completion": "y"}, {"promt": "x", "completion": "y"}])


def test_what_is_understood_is_said():
    said = read_data([{"question": "x", "answer": "y"}]).notes[0]
    assert "'question' is read as the prompt and 'answer' as the answer" in said
    assert "below it, the input" in read_data([{"instruction": "x", "input": "z", "output": "y"}]).notes[0]
    plain = read_data([{"prompt": "x", "completion": "y"}]).notes
    assert plain == ("Read as prompt_completion: prompts with a completion.",)


def test_pairs_among_conversations_are_conversations():
    data = read_data(
        [{"instruction": "x", "output": "y"}, {"instruction": "x", "output": "y", "system": "z"}]
    )
    assert [example.kind for example in data.examples] == ["chat", "chat"]
    assert [message.content for message in data.examples[0].messages] == ["x", "y"]
