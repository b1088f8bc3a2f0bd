"""Preferences: two answers to one prompt, of which `chosen` is the better one and `rejected` the worse."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message
from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.formats.fields import text_of
from llama_nb.tuning.formats.openai import read_messages

NAME: Final = "preference"
DESCRIPTION: Final = "a prompt with a chosen and a rejected answer"
KIND: Final[Kind] = "preference"
FIELDS: Final = ("prompt", "chosen", "rejected")


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there are two answers."""
    return "chosen" in record and "rejected" in record


def note(record: Mapping[str, Any]) -> str:
    """Return where the prompt is, if it is in no field of its own."""
    return "" if "prompt" in record else "the prompt is what both conversations begin with"


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the preference; answers are texts or conversations that end with the assistant's."""
    prompt, chosen, rejected = (record.get(name) for name in FIELDS)
    if isinstance(chosen, list | tuple) and isinstance(rejected, list | tuple):
        asked = _prompt(prompt, chosen, rejected, where)
        return Example(
            "preference",
            read_messages(asked, where),
            chosen=_answer(chosen, asked, "chosen", where),
            rejected=_answer(rejected, asked, "rejected", where),
            where=where,
        )
    better, worse = text_of(record, "chosen", where), text_of(record, "rejected", where)
    if isinstance(prompt, list | tuple):
        return Example("preference", read_messages(prompt, where), chosen=better, rejected=worse, where=where)
    text = text_of(record, "prompt", where)
    return Example("preference", prompt=text, chosen=better, rejected=worse, where=where)


def _prompt(prompt: Any, chosen: Sequence[Any], rejected: Sequence[Any], where: str) -> list[Any]:
    if isinstance(prompt, list | tuple) and prompt:
        return list(prompt)
    common = 0
    while common < min(len(chosen), len(rejected)) - 1 and chosen[common] == rejected[common]:
        common += 1
    if common:
        return list(chosen[:common])
    if isinstance(prompt, str) and prompt.strip():
        return [{"role": "user", "content": prompt}]
    raise DataError(
        f"{where}: there is no prompt, and 'chosen' and 'rejected' do not begin alike.",
        'Give "prompt": "..." beside them.',
    )


def _answer(turns: Sequence[Any], asked: Sequence[Any], name: str, where: str) -> str:
    rest = list(turns[len(asked) :]) if list(turns[: len(asked)]) == list(asked) else list(turns)
    messages: tuple[Message, ...] = read_messages(rest, where) if rest else ()
    if len(messages) != 1 or messages[0].role != "assistant":
        raise DataError(
            f"{where}: {name!r} has {len(messages)} messages behind the prompt.",
            "One is expected there, the assistant's.",
        )
    return messages[0].content
