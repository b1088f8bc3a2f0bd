"""What a conversation may look like, and what is said of one that may not."""

import pytest

from llama_nb.core.errors import MessageError
from llama_nb.core.messages import Message, ToolCall, parse_messages


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ({"role": "user"}, ["messages[1]", "'content'"]),
        ({"content": "hi"}, ["messages[1]", "'role'"]),
        ({"role": "banana", "content": "x"}, ["messages[1]", "'role'", "banana", "assistant"]),
        ({"role": "usr", "content": "x"}, ["messages[1]", "usr", "Did you mean 'user'"]),
        ({"role": ["user"], "content": "x"}, ["messages[1]", "'role'"]),
        ({"role": "user", "content": ["x"]}, ["messages[1]", "'content'", "list"]),
        ({"role": "user", "content": None}, ["messages[1]", "NoneType"]),
        ("hello", ["messages[1]", "str"]),
        ({"role": "assistant", "content": "", "tool_calls": [{"x": 1}]}, ["messages[1]", "'tool_calls'][0]"]),
        ({"role": "assistant", "content": "", "tool_calls": 3}, ["messages[1]", "'tool_calls'"]),
    ],
)
def test_a_wrong_message_is_named_by_index_and_key(item: object, names: list[str]) -> None:
    with pytest.raises(MessageError) as caught:
        parse_messages([Message("user", "hi"), item])  # type: ignore[list-item]
    for name in names:
        assert name in str(caught.value)


def test_an_empty_conversation_is_refused() -> None:
    with pytest.raises(MessageError, match="nothing to send"):
        parse_messages([])


def test_ipython_is_read_as_tool_and_calls_survive() -> None:
    call = {"type": "function", "function": {"name": "clock", "arguments": {"zone": "UTC"}}}
    messages = parse_messages(
        [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "ipython", "content": "12:00"},
        ]
    )
    assert messages[0].tool_calls == (ToolCall("clock", {"zone": "UTC"}),)
    assert messages[1].role == "tool"
    assert messages[0].to_dict()["tool_calls"] == [call]
