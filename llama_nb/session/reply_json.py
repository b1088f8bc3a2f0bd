"""A reply's text as the object that was asked for, and what a grammar did to the choice of its tokens.

Reads Replies; makes no form and masks no token.
"""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import SchemaError
from llama_nb.core.events import TokenEvent
from llama_nb.core.grammar import Grammar
from llama_nb.session.form import Form, short

if TYPE_CHECKING:
    from llama_nb.session.reply import Reply

_MOST_NAMED: Final = 3  # tokens in the note on what was forbidden
_NOTED: Final = 0.01  # the least mass that is worth a note
_ENDS: Final = {
    "length": ("max_tokens was reached", "Allow more with --max-tokens (in Python max_tokens=...)."),
    "context": ("the context is full", "Begin a new chat, or load a model with a longer context."),
    "stopped": ("it was stopped", "Ask again, or take what is there: r.partial."),
    "stop_string": ("a stop string ended it", "Leave --stop out: the schema itself ends the reply."),
    "error": ("an error ended it", "See r.error."),
}


def read_reply(reply: "Reply") -> Any:
    """Return the object that a reply is; see `Reply.json`."""
    form = reply.form
    if reply.finish is None:
        raise SchemaError("The reply is still being written.", "Wait for it: r.wait().json")
    if form is None:
        try:
            return json.loads(reply.text)
        except ValueError:
            raise SchemaError(
                "The reply is not JSON, and no schema was asked for.",
                "Ask with one: %%llama json Recipe, or m.json(message, Recipe).",
            ) from None
    if reply.finish.complete is not True:
        raise _unfinished(reply, form)
    try:
        return form.read(reply.text)
    except ValueError as error:
        raise SchemaError(
            f"The reply is JSON but no {form.grammar.name}: {_complaint(error)}.",
            "Such a rule is no part of a schema; ask again with another seed: r.rerun(seed=None).",
        ) from error


def partial(reply: "Reply") -> Any:
    """Return what can be read of a reply that is not whole; see `Reply.partial`."""
    if reply.form is not None and reply.form.grammar.kind != "json":
        return reply.text
    from pydantic_core import from_json

    try:
        return from_json(reply.text, allow_partial="trailing-strings")
    except ValueError:
        return None


def _unfinished(reply: "Reply", form: Form) -> SchemaError:
    assert reply.finish is not None
    why, hint = _ENDS.get(reply.finish.reason, ("it ended too early", "Ask again."))
    if reply.finish.reason == "length" and reply.sampling.max_tokens is not None:
        why = f"max_tokens ({reply.sampling.max_tokens:,}) was reached"
    missing = ", ".join(_missing(form.grammar, partial(reply)))
    rest = f"; missing: {missing}" if missing else ""
    return SchemaError(f"The {form.grammar} is not whole: {why} after {reply.text[-40:]!r}{rest}.", hint)


def _missing(grammar: Grammar, found: Any) -> list[str]:
    """Return which of the properties that must be there are not."""
    if grammar.kind != "json":
        return []
    schema = json.loads(grammar.text)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        schema = schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})
    there = found if isinstance(found, dict) else {}
    return [name for name in schema.get("required", ()) if name not in there]


def _complaint(error: ValueError) -> str:
    """Return the first thing that pydantic has against a value, in one line."""
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error).split("\n", 1)[0].rstrip(".")
    first = errors(include_url=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def mask_notes(tokens: Sequence[TokenEvent], grammar: Grammar) -> list[str]:
    """Return a sentence on how much of the model's probability the grammar forbade, and where most."""
    held = [(token.forbidden, place) for place, token in enumerate(tokens) if token.forbidden is not None]
    if not held:
        return []
    mean = sum(mass for mass, _ in held) / len(held)
    most = sorted(held, key=lambda pair: -pair[0])[:_MOST_NAMED]
    named = [_forbidden(place, tokens[place], mass) for mass, place in most if mass >= _NOTED]
    if not named:
        return [f"The {grammar} forbade less than {_NOTED:.0%} of the probability at every token."]
    return [f"The {grammar} forbade {mean:.0%} of the probability on average, most at {', '.join(named)}."]


def _forbidden(place: int, token: TokenEvent, mass: float) -> str:
    wanted = token.alternatives[0] if token.alternatives else None
    if wanted is None or wanted.sampled is not None:
        return f"token {place + 1} ({mass:.0%})"
    return f"token {place + 1} ({mass:.0%}: {short(wanted.text)!r} gave way to {short(_text(token))!r})"


def _text(token: TokenEvent) -> str:
    """Return the text of the token itself: what it adds to the reply may be more or less."""
    own = (other.text for other in token.alternatives if other.id == token.id)
    return next(own, token.text)
