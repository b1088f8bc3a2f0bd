"""OpenAI's messages: turns with `role` and `content`, tools and weights as its fine-tuning has them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.core.errors import DataError, MessageError
from llama_nb.core.messages import Message, parse_messages
from llama_nb.tuning.example import Example, Kind

NAME: Final = "openai"
DESCRIPTION: Final = "messages with role and content"
KIND: Final[Kind] = "chat"
FIELDS: Final = ("messages",)

_LISTS: Final = ("messages", "conversations", "conversation")  # where data sets keep such turns
_ROLES: Final = {"developer": "system", "function": "tool", "human": "user", "gpt": "assistant"}


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there is a list of turns with roles."""
    turns = _turns(record)[1]
    return bool(turns) and all(isinstance(turn, Message) or "role" in turn for turn in turns)


def note(record: Mapping[str, Any]) -> str:
    """Return which field the turns are read from, if it is another than `messages`."""
    name = _turns(record)[0]
    return "" if name == "messages" else f"{name!r} is read as the messages"


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the conversation; an assistant's message with weight 0 is context only."""
    name, turns = _turns(record)
    if not turns:
        raise DataError(
            f"{where}: {name!r} is no list of messages.",
            'It looks like [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}].',
        )
    messages = read_messages(turns, where)
    untrained = tuple(
        index for index, turn in enumerate(turns) if isinstance(turn, Mapping) and turn.get("weight") == 0
    )
    return Example(
        "chat", messages, where=where, tools=read_tools(record.get("tools"), where), untrained=untrained
    )


def read_messages(turns: Sequence[Any], where: str) -> tuple[Message, ...]:
    """Return turns as messages; content in parts and arguments as JSON text are understood.

    Raises
    ------
    DataError
        Naming `where` and the message that is wrong.
    """
    try:
        return parse_messages([_plain_turn(turn) for turn in turns])
    except MessageError as error:
        hint = error.hint or 'A message looks like {"role": "user", "content": "..."}.'
        raise DataError(f"{where}: {error.message}", hint) from None


def read_tools(given: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """Return the descriptions of functions, given as a list or as JSON text."""
    try:
        tools = json.loads(given) if isinstance(given, str) and given.strip() else given or ()
    except ValueError:
        tools = None
    if not isinstance(tools, list | tuple) or not all(isinstance(tool, Mapping) for tool in tools):
        raise DataError(f"{where}: 'tools' is no list of functions.", "Leave it out if there are none.")
    return tuple(dict(tool) for tool in tools)


def _turns(record: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Return the name of the list of turns, and the turns; a table has them as JSON text."""
    name = next((name for name in _LISTS if name in record), _LISTS[0])
    value = record.get(name)
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return name, []
    fine = isinstance(value, list | tuple) and all(isinstance(turn, Mapping | Message) for turn in value)
    return name, list(value) if fine and value else []


def _plain_turn(turn: Any) -> Any:
    if not isinstance(turn, Mapping) or not isinstance(turn.get("role"), str):
        return turn
    plain = {key: value for key, value in turn.items() if key in ("role", "content", "tool_calls")}
    plain["role"] = _ROLES.get(turn["role"], turn["role"])
    if not plain.get("tool_calls"):
        plain.pop("tool_calls", None)
    elif isinstance(plain["tool_calls"], list | tuple):
        plain["tool_calls"] = [_plain_call(call) for call in plain["tool_calls"]]
        plain.setdefault("content", "")
    content = plain.get("content")
    if isinstance(content, list | tuple) and all(
        isinstance(part, Mapping) and "text" in part for part in content
    ):
        plain["content"] = "".join(str(part["text"]) for part in content)
    elif content is None and "content" in plain and plain["role"] == "assistant":
        plain["content"] = ""
    return plain


def _plain_call(call: Any) -> Any:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
        try:
            return {"function": {**function, "arguments": json.loads(function["arguments"])}}
        except ValueError:
            return call
    return call
