"""One example to learn from, whatever file it came from: a conversation, a text, a pair or a preference.

Knows neither formats nor tokens. `to_record` is how a run keeps it; `from_record` reads that again.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_nb.core.errors import DataError, MessageError
from llama_nb.core.messages import Message, parse_messages

Kind = Literal["chat", "text", "pair", "preference"]
# What one example of each kind is called, and several.
_WORDS: Final[Mapping[Kind, tuple[str, str]]] = {
    "chat": ("conversation", "conversations"),
    "text": ("text", "texts"),
    "pair": ("prompt with an answer", "prompts with an answer"),
    "preference": ("preference", "preferences"),
}
_CHANGED: Final = "The file was changed by hand."


@dataclass(frozen=True, slots=True)
class Example:
    """One example; which fields are filled depends on its kind.

    Parameters
    ----------
    kind
        "chat": `messages`. "text": `completion`. "pair": `prompt` and `completion`. "preference": `chosen`
        and `rejected`, two answers to `messages` or, where there are none, to `prompt`.
    where
        Where it stands, for messages: "data.jsonl, line 17".
    tools
        The functions that a conversation was given.
    untrained
        Indices of assistant messages that are context only, whatever the mask says.
    """

    kind: Kind
    messages: tuple[Message, ...] = ()
    prompt: str = ""
    completion: str = ""
    chosen: str = ""
    rejected: str = ""
    where: str = ""
    tools: tuple[Mapping[str, Any], ...] = ()
    untrained: tuple[int, ...] = ()

    @property
    def content(self) -> str:
        """What it says as JSON, without where it stands: equal for duplicates."""
        return json.dumps(self._filled(), ensure_ascii=False, sort_keys=True)

    @property
    def has_empty_answer(self) -> bool:
        """Whether there is no answer to learn, or an assistant's turn in it is empty."""
        if self.kind == "chat":
            answers = [message for message in self.messages if message.role == "assistant"]
            return not answers or any(not m.content.strip() and not m.tool_calls for m in answers)
        if self.kind == "preference":
            return not (self.chosen.strip() and self.rejected.strip())
        return not self.completion.strip()

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kind": self.kind, **self._filled(), "where": self.where}

    def _filled(self) -> dict[str, Any]:
        record: dict[str, Any] = {
            name: value
            for name in ("prompt", "completion", "chosen", "rejected")
            if (value := getattr(self, name))
        }
        if self.messages:
            record["messages"] = [message.to_dict() for message in self.messages]
        if self.tools:
            record["tools"] = [dict(tool) for tool in self.tools]
        if self.untrained:
            record["untrained"] = list(self.untrained)
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str) -> "Example":
        """Return what `to_record` wrote.

        Raises
        ------
        DataError
            Naming `where` the record stands, if it is no such record.
        """
        kind = next((kind for kind in _WORDS if kind == record.get("kind")), None)
        if kind is None:
            raise DataError(f"{where}: no kind of example is {record.get('kind')!r}.", _CHANGED)
        texts = {
            name: record.get(name, "") for name in ("prompt", "completion", "chosen", "rejected", "where")
        }
        odd = next((name for name, value in texts.items() if not isinstance(value, str)), None)
        if odd is not None:
            raise DataError(f"{where}: {odd!r} is no text.", _CHANGED)
        given = record.get("messages")
        try:
            messages = parse_messages(given) if given else ()
            tools = tuple(dict(tool) for tool in record.get("tools", ()))
            untrained = tuple(int(index) for index in record.get("untrained", ()))
        except (MessageError, TypeError, ValueError) as error:
            raise DataError(f"{where}: {error}", _CHANGED) from None
        texts["where"] = texts["where"] or where
        return cls(kind, messages, **texts, tools=tools, untrained=untrained)


def counted(count: int, kind: Kind) -> str:
    """Return a number of examples in words: "12 conversations"."""
    return f"{count:,} {_WORDS[kind][count != 1]}"
