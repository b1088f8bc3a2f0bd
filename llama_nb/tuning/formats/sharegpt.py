"""ShareGPT's conversations: a list of turns with `from` and `value`."""

import json
from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import DataError, did_you_mean
from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.formats.openai import read_messages, read_tools

NAME: Final = "sharegpt"
DESCRIPTION: Final = "conversations of turns with from and value"
KIND: Final[Kind] = "chat"
FIELDS: Final = ("conversations",)

_TURN: Final = '{"from": "human", "value": "..."}'
_ROLES: Final = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "system": "system", "tool": "tool",
    "observation": "tool", "function_response": "tool", "function_call": "assistant",
}  # fmt: skip


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there is a list of turns with `from`."""
    turns = _turns(record)
    return bool(turns) and all(isinstance(turn, Mapping) and "from" in turn for turn in turns)


def note(_record: Mapping[str, Any]) -> str:
    """Return nothing: there is no choice."""
    return ""


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the conversation, with the record's own system prompt before it."""
    turns = _turns(record)
    if not turns:
        raise DataError(
            f"{where}: 'conversations' is no list of turns.",
            f'It looks like [{_TURN}, {{"from": "gpt", "value": "..."}}].',
        )
    messages = [_message(turn, index, where) for index, turn in enumerate(turns)]
    system = record.get("system")
    if isinstance(system, str) and system.strip():
        messages.insert(0, {"role": "system", "content": system})
    return Example(
        "chat", read_messages(messages, where), where=where, tools=read_tools(record.get("tools"), where)
    )


def _turns(record: Mapping[str, Any]) -> list[Any]:
    value = record.get("conversations", record.get("conversation"))
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    return list(value) if isinstance(value, list | tuple) else []


def _message(turn: Any, index: int, where: str) -> dict[str, Any]:
    speaker = turn.get("from") if isinstance(turn, Mapping) else None
    role = _ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise DataError(
            f"{where}: conversations[{index}]['from'] is {speaker!r}.",
            did_you_mean(str(speaker), _ROLES) or f"Speakers are: {', '.join(_ROLES)}.",
        )
    value = turn.get("value")
    if not isinstance(value, str):
        raise DataError(
            f"{where}: conversations[{index}] has no text under 'value'.", f"A turn looks like {_TURN}."
        )
    if str(speaker).lower() != "function_call":
        return {"role": role, "content": value}
    try:
        call = json.loads(value)
        function = {"name": call["name"], "arguments": call["arguments"]}
    except (ValueError, TypeError, KeyError):
        raise DataError(
            f"{where}: conversations[{index}] is no function call: {value[:60]!r}.",
            'It looks like {"name": "...", "arguments": {...}}.',
        ) from None
    return {"role": role, "content": "", "tool_calls": [{"function": function}]}
