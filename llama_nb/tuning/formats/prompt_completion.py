"""A prompt and its completion, under these names or others that say the same."""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import DataError
from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.formats.fields import text_of
from llama_nb.tuning.formats.openai import read_messages

NAME: Final = "prompt_completion"
DESCRIPTION: Final = "prompts with a completion"
KIND: Final[Kind] = "pair"
FIELDS: Final = ("prompt", "completion")

_PROMPTS: Final = ("prompt", "question", "input", "query", "user")
_COMPLETIONS: Final = ("completion", "answer", "output", "response", "assistant", "target")


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there is a field of each sort."""
    return None not in _names(record)


def note(record: Mapping[str, Any]) -> str:
    """Return which field is taken for which, unless they are called so."""
    prompt, completion = _names(record)
    if (prompt, completion) == FIELDS:
        return ""
    return f"{prompt!r} is read as the prompt and {completion!r} as the answer"


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the pair; a conversation where both are lists of messages, the prompt being context only."""
    prompt, completion = _names(record)
    asked, said = record.get(prompt or FIELDS[0]), record.get(completion or FIELDS[1])
    if isinstance(asked, list | tuple) and isinstance(said, list | tuple):
        if not said:
            raise DataError(f"{where}: {completion!r} is an empty list.", "It holds the assistant's message.")
        messages = read_messages([*asked, *said], where)
        return Example("chat", messages, where=where, untrained=tuple(range(len(asked))))
    return Example(
        "pair",
        prompt=text_of(record, prompt or FIELDS[0], where),
        completion=text_of(record, completion or FIELDS[1], where),
        where=where,
    )


def _names(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return (
        next((name for name in _PROMPTS if name in record), None),
        next((name for name in _COMPLETIONS if name in record), None),
    )
