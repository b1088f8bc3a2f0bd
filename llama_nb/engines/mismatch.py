"""Why nothing is played back: how what is asked differs from the nearest question that was recorded.

Compares records (JSON values) and writes the sentence; the texts in it are untrusted and shown as such.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.core.errors import RecordingError
from llama_nb.core.sampling import FIELDS, Sampling
from llama_nb.engines.recorded import RecordedModel

_MOST_COMPARED: Final = 500  # questions, the newest ones
_COMPARED: Final = 2000  # characters of a message
_SHOWN: Final = 40  # characters of a message
_MOST_FIELDS: Final = 3
_ROLES: Final = {"system": "the system prompt", "user": "the message", "assistant": "the model's reply"}
_OTHERS: Final = {
    "grammar": "the schema, pattern or choice",
    "tools": "the tools",
    "begun": "what the reply begins with",
    "adapter": "the adapter",
    "interventions": "what is changed in the model",
    "continue_last": "whether the last reply goes on",
}


def mismatch(
    request: Mapping[str, Any], sampling: Mapping[str, Any] | None, model: RecordedModel, file: str
) -> RecordingError:
    """Return the error for a request (with `sampling` None: a prompt) that `file` holds no answer to."""
    name, source = model.facts.name, model.facts.source
    again = f"Ask as it was recorded, or run it anew: %llama record {file}, then %llama load {source}"
    questions = list(model.questions.values())[-_MOST_COMPARED:]
    if not questions:
        return RecordingError(f"{file} holds no replies of {name}.", again)
    same = [question for question in questions if question.request == request]
    if same and sampling is not None:
        differing = min((_fields(question.sampling, sampling) for question in same), key=len)
        more = len(differing) - _MOST_FIELDS
        rest = f"; {more} more differ" if more > 0 else ""
        return RecordingError(
            f"This was recorded with other sampling parameters: {'; '.join(differing[:_MOST_FIELDS])}{rest}.",
            again,
        )
    nearest = max(questions, key=lambda question: _likeness(question.request, request))
    return RecordingError(
        f"This was not recorded with {name}. The nearest recorded question differs: "
        f"{_difference(nearest.request, request)}.",
        again,
    )


def _fields(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return a part of a sentence for each sampling parameter that differs."""
    rest = Sampling().to_dict()
    names = dict.fromkeys([*FIELDS, *recorded])
    values = [(name, recorded.get(name, rest.get(name)), asked.get(name, rest.get(name))) for name in names]
    return [
        f"{name[:_SHOWN]} was {_plain(old)}, and is {_plain(new)} now"
        for name, old, new in values
        if old != new
    ]


def _plain(value: Any) -> str:
    if value is None:
        return "not set"
    shown = f"{value:g}" if isinstance(value, float) else repr(value)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}\u2026"


def _likeness(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> tuple[int, float]:
    """Say how near two requests are: how many first messages agree, and how alike the next ones are."""
    old, new = _parts(recorded), _parts(asked)
    equal = _shared(old, new)
    if equal >= min(len(old), len(new)):
        return equal, 1.0 - abs(len(old) - len(new)) / (len(old) + len(new) + 1)
    was, now = old[equal][1][:_COMPARED], new[equal][1][:_COMPARED]
    return equal, difflib.SequenceMatcher(None, was, now).quick_ratio()


def _shared(old: Sequence[Any], new: Sequence[Any]) -> int:
    """Count how many items two sequences begin with together."""
    pairs = enumerate(zip(old, new, strict=False))
    return next((place for place, (was, now) in pairs if was != now), min(len(old), len(new)))


def _parts(request: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a request as (role, text), whatever stands in its record."""
    messages = request.get("messages")
    if isinstance(messages, list):
        return [
            (str(part.get("role")), str(part.get("content")) + _calls(part))
            for part in messages
            if isinstance(part, dict)
        ]
    return [("text", str(request.get("text", request.get("ids"))))]


def _calls(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls")
    return f" {calls}" if calls else ""


def _difference(recorded: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return the first thing in which two requests differ."""
    kinds = ["messages" if "messages" in each else "a text to go on with" for each in (recorded, asked)]
    if kinds[0] != kinds[1]:
        return f"it has {kinds[0]}, not {kinds[1]}"
    old, new = _parts(recorded), _parts(asked)
    for number, (was, now) in enumerate(zip(old, new, strict=False), 1):
        if was != now:
            return _first_difference(number, len(new), was, now)
    if len(old) != len(new):
        return f"its conversation has {_count(old)}, this one {_count(new)}"
    differing = [what for name, what in _OTHERS.items() if recorded.get(name) != asked.get(name)]
    if not differing:
        return "it was sent in another way, such as in a batch"
    return f"{' and '.join(differing)} of it {'is another one' if len(differing) == 1 else 'are others'}"


def _first_difference(number: int, count: int, was: tuple[str, str], now: tuple[str, str]) -> str:
    if was[0] != now[0]:
        return f"message {number} is of the {was[0]}, not of the {now[0]}"
    what = _ROLES.get(was[0], "the text" if was[0] == "text" else f"the {was[0]} message")
    where = f" (message {number} of {count})" if count > 1 else ""
    # Short texts are shown whole, of long ones the place where they part.
    short = max(len(was[1]), len(now[1])) <= 2 * _SHOWN
    start = 0 if short else max(0, _shared(was[1], now[1]) - _SHOWN // 4)
    old, new = (_excerpt(text, start) for text in (was[1], now[1]))
    return f"{what}{where} was {old}, and is {new} now"


def _excerpt(text: str, start: int) -> str:
    length = _SHOWN if start else 2 * _SHOWN
    before = "\u2026" if start else ""
    after = "\u2026" if len(text) > start + length else ""
    return repr(f"{before}{text[start : start + length]}{after}")


def _count(parts: Sequence[tuple[str, str]]) -> str:
    return "1 message" if len(parts) == 1 else f"{len(parts)} messages"
