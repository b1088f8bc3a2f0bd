"""Alpaca's instructions: `instruction`, perhaps `input`, and `output`; `system` and `history` beside them."""

from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import DataError
from llama_nb.core.messages import Message
from llama_nb.tuning.example import Example, Kind
from llama_nb.tuning.formats.fields import text_of

NAME: Final = "alpaca"
DESCRIPTION: Final = "instructions with an output"
KIND: Final[Kind] = "pair"
FIELDS: Final = ("instruction", "input", "output")

_INPUTS: Final = ("input", "context")  # Dolly says "context" and "response"
_OUTPUTS: Final = ("output", "response", "completion", "answer")


def matches(record: Mapping[str, Any]) -> bool:
    """Whether there is an instruction and an output."""
    return "instruction" in record and any(name in record for name in _OUTPUTS)


def note(record: Mapping[str, Any]) -> str:
    """Return how instruction and input become one prompt."""
    extra = next((name for name in _INPUTS if name in record), None)
    return f"the prompt is the instruction and, below it, the {extra}" if extra else ""


def read(record: Mapping[str, Any], where: str) -> Example:
    """Return the pair; a conversation where there is a system prompt or a history."""
    instruction = text_of(record, "instruction", where)
    extra = next((text_of(record, name, where) for name in _INPUTS if name in record), "")
    name = next((name for name in _OUTPUTS if name in record), _OUTPUTS[0])
    output = text_of(record, name, where)
    prompt = f"{instruction}\n\n{extra}" if extra.strip() else instruction
    system = text_of(record, "system", where, required=False)
    history = _history(record.get("history") or (), where)
    if not system.strip() and not history:
        return Example("pair", prompt=prompt, completion=output, where=where)
    head = [Message("system", system)] if system.strip() else []
    messages = (*head, *history, Message("user", prompt), Message("assistant", output))
    return Example("chat", messages, where=where)


def _history(turns: Any, where: str) -> list[Message]:
    pairs = isinstance(turns, list | tuple) and all(
        isinstance(turn, list | tuple) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
        for turn in turns
    )
    if not pairs:
        raise DataError(
            f"{where}: 'history' is no list of pairs.", 'It looks like [["question", "answer"], ...].'
        )
    return [
        message for asked, said in turns for message in (Message("user", asked), Message("assistant", said))
    ]
