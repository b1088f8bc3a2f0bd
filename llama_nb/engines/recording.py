"""What a recording holds of an engine's work, as JSON values and back: requests, replies, prompts, errors.

What is read may have been written by anybody: every value is checked, and what is wrong raises Damaged. Knows
no files (`recorded.py` reads them, the session writes them) and no models.
"""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, get_args

from llama_nb.core import errors
from llama_nb.core.events import Alternative, Finish, FinishReason, TokenEvent, Usage
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.engines.base import Prompt, PromptSpan

SCHEMA: Final = 1
LONGEST_REPLY: Final = 1_000_000  # tokens
LONGEST_TEXT: Final = 16 * 2**20  # characters
_LARGEST_ID: Final = 2**31
_LARGEST: Final = 1e15  # of a figure: no logarithm and no time is larger
_LONGEST_NAME: Final = 500
_REASONS: Final = get_args(FinishReason)

T = TypeVar("T")


class Damaged(ValueError):
    """A recorded value is not what it should be."""


# --- what was asked -------------------------------------------------------------------------------------


def request_record(request: Request) -> dict[str, Any]:
    """Return what decides the prompt and the form of the reply: all but the sampling.

    The chat, the cache and the number of alternatives do not: the same messages are the same question.
    """
    given = request.input
    record: dict[str, Any]
    if isinstance(given, str):
        record = {"text": given}
    else:
        messages = [part.to_dict() for part in given if isinstance(part, Message)]
        record = {"messages": messages} if messages else {"ids": list(given)}
    if request.tools:
        record["tools"] = [dict(tool) for tool in request.tools]
    if request.continue_last:
        record["continue_last"] = True
    if request.begun:
        record["begun"] = list(request.begun)
    if request.grammar is not None:
        record["grammar"] = {"kind": request.grammar.kind, "text": request.grammar.text}
    if request.adapter is not None:
        record["adapter"] = request.adapter
    if request.interventions:
        record["interventions"] = [each.record() for each in request.interventions]
    return record


def prompt_question(request: Request) -> dict[str, Any]:
    """Return what decides the prompt alone."""
    record = request_record(request)
    record.pop("grammar", None)
    record.pop("interventions", None)
    record.pop("adapter", None)
    return record


def sampling_record(sampling: Sampling) -> dict[str, Any]:
    """Return the parameters that are not at rest; those of two equal samplings are equal."""
    rest = Sampling().to_dict()
    return {name: value for name, value in sampling.to_dict().items() if value != rest[name]}


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits that equal JSON values share and others do not."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# --- what was answered ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordedReply:
    """One reply as it was recorded.

    Attributes
    ----------
    finish
        Why it ended; None when its reader went away, or an error ended it.
    error
        The error that was raised behind its tokens.
    special
        Which of its tokens and of their alternatives are control tokens.
    """

    tokens: tuple[TokenEvent, ...]
    finish: Finish | None
    error: errors.LlamaError | None
    special: frozenset[int]

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values; the finish of the last token is kept once."""
        return {
            "tokens": [_token_row(token) for token in self.tokens],
            "finish": None if self.finish is None else _finish_record(self.finish),
            "error": None if self.error is None else error_record(self.error),
            "special": sorted(self.special),
        }


def read_reply(record: Mapping[str, Any]) -> RecordedReply:
    """Return the reply that `RecordedReply.to_record` wrote; Damaged if it is none."""
    tokens = [_read_token(row) for row in _items(record.get("tokens"), "tokens", LONGEST_REPLY)]
    finish = _optional(record.get("finish"), _read_finish)
    if tokens and finish is not None:
        tokens[-1] = dataclasses.replace(tokens[-1], finish=finish)
    error = _optional(record.get("error"), read_error)
    special = _items(record.get("special", []), "special", LONGEST_REPLY)
    return RecordedReply(tuple(tokens), finish, error, frozenset(_id(token) for token in special))


def _token_row(token: TokenEvent) -> list[Any]:
    others = [
        [other.id, other.text, other.logprob, other.sampled, int(other.forbidden)]
        for other in token.alternatives
    ]
    figures = [token.logprob, token.entropy, token.elapsed_s, token.forbidden, token.sampled]
    return [token.text, token.id, *figures, others]


def _read_token(row: Any) -> TokenEvent:
    added, token, logprob, entropy, elapsed, forbidden, sampled, others = _row(row, 8, "a token")
    return TokenEvent(
        text=text(added, "a token's text"),
        id=_optional(token, _id),
        logprob=_optional(logprob, _number),
        entropy=_optional(entropy, _number),
        alternatives=tuple(_read_alternative(other) for other in _items(others, "alternatives", 100)),
        elapsed_s=_number(elapsed),
        forbidden=_optional(forbidden, _number),
        sampled=_optional(sampled, _number),
    )


def _read_alternative(row: Any) -> Alternative:
    token, shown, logprob, sampled, forbidden = _row(row, 5, "an alternative")
    return Alternative(
        _id(token),
        text(shown, "an alternative's text"),
        _number(logprob),
        _optional(sampled, _number),
        bool(whole(forbidden, "forbidden")),
    )


def _finish_record(finish: Finish) -> dict[str, Any]:
    usage = finish.usage
    return {
        "reason": finish.reason,
        "usage": [
            usage.prompt_tokens,
            usage.cached_tokens,
            usage.completion_tokens,
            usage.first_token_s,
            usage.total_s,
        ],
        "seed": finish.seed,
        "detail": finish.detail,
        "complete": finish.complete,
    }


def _read_finish(record: Any) -> Finish:
    record = mapping(record, "finish")
    reason = record.get("reason")
    if reason not in _REASONS:
        raise Damaged("finish has no reason that is known")
    prompt, cached, completion, first, total = _row(record.get("usage"), 5, "usage")
    complete = record.get("complete")
    if complete is not None and not isinstance(complete, bool):
        raise Damaged("complete is neither true nor false")
    return Finish(
        reason,
        Usage(
            whole(prompt, "usage"),
            whole(cached, "usage"),
            whole(completion, "usage"),
            _optional(first, _number),
            _number(total),
        ),
        _optional(record.get("seed"), lambda seed: whole(seed, "seed", 2**63)),
        text(record.get("detail", ""), "detail"),
        complete,
    )


# --- prompts and errors ---------------------------------------------------------------------------------


def prompt_record(prompt: Prompt) -> dict[str, Any]:
    """Return a prompt as JSON values."""
    return {
        "ids": list(prompt.ids),
        "text": prompt.text,
        "spans": [[span.role, span.start, span.end] for span in prompt.spans],
        "literal": list(prompt.literal),
    }


def read_prompt(record: Any) -> Prompt:
    """Return the prompt that `prompt_record` wrote; Damaged if it is none."""
    record = mapping(record, "prompt")
    spans = []
    for row in _items(record.get("spans"), "spans", LONGEST_REPLY):
        role, start, end = _row(row, 3, "a span")
        spans.append(PromptSpan(text(role, "role"), whole(start, "a span"), whole(end, "a span")))
    return Prompt(
        read_ids(record.get("ids")),
        text(record.get("text"), "text"),
        tuple(spans),
        tuple(text(part, "literal") for part in _items(record.get("literal"), "literal", LONGEST_REPLY)),
    )


def read_ids(value: Any) -> tuple[int, ...]:
    """Return token ids."""
    return tuple(_id(token) for token in _items(value, "ids", 16 * LONGEST_REPLY))


def read_texts(value: Any) -> list[str]:
    """Return a list of texts."""
    return [text(part, "a text") for part in _items(value, "texts", LONGEST_REPLY)]


def error_record(error: errors.LlamaError) -> dict[str, Any]:
    """Return an error as JSON values."""
    return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}


def read_error(record: Any) -> errors.LlamaError:
    """Return the error that `error_record` wrote; one of an unknown kind is an EngineError."""
    record = mapping(record, "error")
    found = getattr(errors, str(record.get("kind")), None)
    known = isinstance(found, type) and issubclass(found, errors.LlamaError)
    kind: type[errors.LlamaError] = found if known else errors.EngineError  # type: ignore[assignment]
    return kind(text(record.get("message"), "message"), text(record.get("hint", ""), "hint"))


# --- the model ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a recording says about the model that answered.

    Attributes
    ----------
    source, name
        What was loaded, and what it was called.
    quant, quant_notes, dtype, device, bytes, parameters, model_type, fingerprint, context
        As of `Model`.
    template
        16 digits of the chat template's hash; None for a base model.
    config
        Its config.json.
    schema, logprobs
        Whether its engine holds replies to a schema, and gives probabilities.
    generation
        The numbers of its generation_config.json.
    """

    source: str
    name: str
    fingerprint: str
    model_type: str
    parameters: int
    context: int
    dtype: str
    device: str
    bytes: int
    quant: str | None = None
    quant_notes: tuple[str, ...] = ()
    template: str | None = None
    schema: bool = False
    logprobs: bool = False
    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """Return the facts as JSON values."""
        record = {name: getattr(self, name) for name in type(self).__slots__}
        plain = {"config": dict(self.config), "generation": dict(self.generation)}
        return {**record, **plain, "quant_notes": list(self.quant_notes)}

    @property
    def id(self) -> str:
        """Tells this model, loaded in this way, from others in the file."""
        return digest(self.to_record())


def read_facts(record: Any) -> ModelFacts:
    """Return the facts that `ModelFacts.to_record` wrote; Damaged if they are none."""
    record = mapping(record, "facts")

    def word(name: str) -> str:
        found = text(record.get(name), name, _LONGEST_NAME)
        if not found.isprintable():
            raise Damaged(f"{name} cannot be shown")
        return found

    def word_or_none(name: str) -> str | None:
        return None if record.get(name) is None else word(name)

    generation = mapping(record.get("generation", {}), "generation")
    return ModelFacts(
        **{name: word(name) for name in ("source", "name", "fingerprint", "model_type", "dtype", "device")},
        parameters=whole(record.get("parameters"), "parameters", 2**53),
        context=whole(record.get("context"), "context"),
        bytes=whole(record.get("bytes"), "bytes", 2**53),
        quant=word_or_none("quant"),
        quant_notes=tuple(
            text(note, "quant_notes", _LONGEST_NAME)
            for note in _items(record.get("quant_notes", []), "quant_notes", 100)
        ),
        template=word_or_none("template"),
        config=mapping(record.get("config", {}), "config"),
        schema=record.get("schema") is True,
        logprobs=record.get("logprobs") is True,
        generation={
            name: value for name, value in generation.items() if isinstance(value, bool | int | float)
        },
    )


# --- checks ---------------------------------------------------------------------------------------------


def text(value: Any, what: str, longest: int = LONGEST_TEXT) -> str:
    """Return `value` if it is a text."""
    if not isinstance(value, str) or len(value) > longest:
        raise Damaged(f"{what} is no text, or too long")
    return value


def whole(value: Any, what: str, below: int = _LARGEST_ID) -> int:
    """Return `value` if it is a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < below:
        raise Damaged(f"{what} is no whole number in its range")
    return value


def mapping(value: Any, what: str) -> dict[str, Any]:
    """Return `value` if it is a JSON object."""
    if not isinstance(value, dict):
        raise Damaged(f"{what} is no JSON object")
    return value


def _id(value: Any) -> int:
    return whole(value, "a token id")


def _number(value: Any) -> float:
    # Logits may be minus infinity; what is not a number fails both comparisons.
    if isinstance(value, bool) or not isinstance(value, int | float) or not -math.inf <= value < _LARGEST:
        raise Damaged("a figure is no number")
    return float(value)


def _optional(value: Any, read: Callable[[Any], T]) -> T | None:
    return None if value is None else read(value)


def _items(value: Any, what: str, most: int) -> Sequence[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise Damaged(f"{what} is no list, or too long")
    return value


def _row(value: Any, length: int, what: str) -> Iterable[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise Damaged(f"{what} is no list of {length}")
    return value
