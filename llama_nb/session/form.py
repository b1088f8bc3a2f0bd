"""The form that a reply is asked to have: a pydantic model, a JSON schema, a pattern or a choice.

It becomes a grammar, which the engine follows, and a reader of the text. Knows pydantic, which is imported
when the first form comes; how tokens are masked is the engine's business.
"""

import dataclasses
import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.core.errors import SchemaError
from llama_nb.core.grammar import Grammar

# A mapping with none of these says nothing about a value: it is no schema, or one that was mistyped.
_KEYWORDS: Final = ("type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items")
_HINT: Final = (
    "A schema is a pydantic model, a dataclass, a TypedDict, a type such as list[int], or a JSON schema "
    'such as {"type": "object", "properties": {...}}.'
)
# What may stand in a namespace under the name that was meant, and is no schema.
_CODE: Final = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)
_VALUES: Final = (str, bytes, bool, int, float, list, tuple, set, types.NoneType)


@dataclass(frozen=True, slots=True)
class Form:
    """What a reply is asked to be, and how it is read.

    Attributes
    ----------
    grammar
        What the engine follows.
    read
        Makes an object of the whole reply's text; raises ValueError where it is none.
    """

    grammar: Grammar
    read: Callable[[str], Any]


def read_form(asked: Any) -> Form:
    """Return the form that `asked` stands for.

    Parameters
    ----------
    asked
        A pydantic model, a dataclass, a TypedDict or any type that pydantic can read (`list[Recipe]`,
        `Literal["a", "b"]`, an enum): replies become instances. A mapping is a JSON schema: replies become
        what `json.loads` makes of them. A Form stays as it is.

    Raises
    ------
    SchemaError
        If it is none of these.
    """
    if isinstance(asked, Form):
        return asked
    if isinstance(asked, Mapping):
        return _mapping_form(asked)
    name = getattr(asked, "__name__", None) or str(asked)
    if isinstance(asked, _VALUES):
        raise SchemaError(f"The schema is {asked!r:.60}, not a class or a JSON schema.", _HINT)
    if isinstance(asked, _CODE):
        raise SchemaError(f"{name} is a {type(asked).__name__}, not a schema.", _HINT)
    kind = type(asked)
    if dataclasses.is_dataclass(kind) or hasattr(kind, "model_fields"):
        raise SchemaError(
            f"The schema is an instance of {kind.__name__}.", f"Give the class itself: {kind.__name__}."
        )
    return _type_form(asked, name)


def regex_form(pattern: Any) -> Form:
    """Return the form of replies that match `pattern` as a whole; they are read as text."""
    if not isinstance(pattern, str) or not pattern:
        raise SchemaError(f"The pattern is {pattern!r:.60}, not a regular expression.", "[0-9]{4} is one.")
    return Form(Grammar("regex", pattern, short(pattern)), str)


def choice_form(choices: Any) -> Form:
    """Return the form of replies that are one of `choices`: texts, or one text with commas between them."""
    if isinstance(choices, str):
        choices = choices.split(",")
    if not isinstance(choices, Sequence):
        raise SchemaError(f"The choice is a {type(choices).__name__}, not a list of texts.")
    for text in choices:
        if not isinstance(text, str) or (not text.strip() and len(choices) > 1):
            raise SchemaError(f"The choice holds {text!r:.60}.", "Each entry is a text, not an empty one.")
    texts = list(dict.fromkeys(text.strip() for text in choices if text.strip()))
    if not texts:
        raise SchemaError("The choice is empty.", "Name what the reply can be: --choice yes,no,maybe")
    return Form(Grammar("choice", json.dumps(texts, ensure_ascii=False), short("|".join(texts))), str)


def one_form(schema: Any, regex: Any, choice: Any) -> Form:
    """Return the form of the one that is given.

    Raises
    ------
    SchemaError
        If none or several are.
    """
    given = [
        name
        for name, value in (("a schema", schema), ("regex", regex), ("choice", choice))
        if value is not None
    ]
    if len(given) != 1:
        what = " and ".join(given) or "No schema"
        raise SchemaError(
            f"{what} {'are' if given else 'is'} given.", "Give one: a schema, a regex, or a choice."
        )
    if regex is not None:
        return regex_form(regex)
    return choice_form(choice) if choice is not None else read_form(schema)


def _mapping_form(schema: Mapping[str, Any]) -> Form:
    if not any(key in schema for key in _KEYWORDS):
        keys = ", ".join(repr(key) for key in list(schema)[:5]) or "nothing"
        raise SchemaError(f"The mapping is no JSON schema: it has {keys}, and no 'type'.", _HINT)
    title = schema.get("title")
    name = short(title) if isinstance(title, str) and title else "JSON"
    return Form(Grammar("json", _text(schema), name), json.loads)


def _type_form(asked: Any, name: str) -> Form:
    import pydantic

    try:
        adapter = pydantic.TypeAdapter(asked)
        schema = adapter.json_schema()
    except (pydantic.errors.PydanticUserError, TypeError, ValueError, NameError, RecursionError) as error:
        told = str(error).strip().split("\n", 1)[0].rstrip(".")
        raise SchemaError(f"{name} is no schema: {told or type(error).__name__}.", _HINT) from error
    return Form(Grammar("json", _text(_strict(schema)), short(name)), adapter.validate_json)


def _strict(node: Any) -> Any:
    """Return a schema that pydantic made, held to what the class says.

    No other properties than the class has: it would leave them out. And no `uniqueItems`, which cannot be
    masked: a set takes a list in which something comes twice.
    """
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    strict = {
        key: {name: _strict(part) for name, part in value.items()}
        if key in ("properties", "$defs")
        else value
        if key in ("const", "enum", "default", "examples")
        else _strict(value)
        for key, value in node.items()
        if key != "uniqueItems"
    }
    if node.get("type") == "object" and "properties" in node:
        strict.setdefault("additionalProperties", False)
    return strict


def _text(schema: Mapping[str, Any]) -> str:
    try:
        return json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaError(f"The schema cannot be written as JSON: {error}.") from error


def short(text: str) -> str:
    """Return `text`, of a long one the beginning."""
    return text if len(text) <= 40 else f"{text[:39]}\u2026"
