"""A conversation as data: messages with a role and text, checked when they are made.

Tokens, templates and storage are other layers' business.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from llama_nb.core.errors import MessageError, did_you_mean

ROLES: Final = ("system", "user", "assistant", "tool")
# Llama 3 calls the role of a tool's result "ipython"; OpenAI-style messages call it "tool".
_ALIASES: Final = {"ipython": "tool"}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks to have called, with its arguments by name."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation.

    Parameters
    ----------
    role
        One of `ROLES`; "ipython" is read as "tool".
    content
        The text; may be empty only when there are tool calls.
    tool_calls
        What an assistant's message asks to have called.
    """

    role: str
    content: str
    tool_calls: tuple[ToolCall, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the message in the form that chat templates read."""
        plain: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            plain["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": dict(call.arguments)}}
                for call in self.tool_calls
            ]
        return plain


def parse_messages(items: Iterable[Message | Mapping[str, Any]]) -> tuple[Message, ...]:
    """Check a conversation given as Messages or dicts with "role" and "content".

    Raises
    ------
    MessageError
        Naming the index and the key of the first item that is wrong, or if there is none at all.
    """
    messages = tuple(
        item if isinstance(item, Message) else _parse(index, item) for index, item in enumerate(items)
    )
    if not messages:
        raise MessageError("The conversation is empty: nothing to send.")
    return messages


def _parse(index: int, item: Any) -> Message:
    if not isinstance(item, Mapping):
        raise MessageError(
            f"messages[{index}] is a {type(item).__name__}, not a dict.",
            'A message looks like {"role": "user", "content": "..."}.',
        )
    for key in ("role", "content"):
        if key not in item:
            raise MessageError(
                f"messages[{index}] has no {key!r} (its keys: {', '.join(map(str, item)) or 'none'})."
            )
    role = _ALIASES.get(item["role"], item["role"]) if isinstance(item["role"], str) else None
    if role not in ROLES:
        raise MessageError(
            f"messages[{index}]['role'] is {item['role']!r}.",
            did_you_mean(str(item["role"]), ROLES) or f"Roles are: {', '.join(ROLES)}.",
        )
    content = item["content"]
    given = item.get("tool_calls") or ()
    if not isinstance(given, list | tuple):
        raise MessageError(f"messages[{index}]['tool_calls'] is a {type(given).__name__}, not a list.")
    calls = tuple(_parse_call(index, number, call) for number, call in enumerate(given))
    if content is None and calls:
        content = ""
    if not isinstance(content, str):
        raise MessageError(
            f"messages[{index}]['content'] is a {type(content).__name__}, not text.",
            "Only text is understood here; images need a vision model.",
        )
    return Message(role, content, calls)


def _parse_call(index: int, number: int, call: Any) -> ToolCall:
    function = call.get("function", call) if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise MessageError(f"messages[{index}]['tool_calls'][{number}] has no function name.")
    arguments = function.get("arguments", {})
    if not isinstance(arguments, Mapping):
        raise MessageError(f"messages[{index}]['tool_calls'][{number}]['arguments'] is not a dict.")
    return ToolCall(function["name"], dict(arguments))
