"""Send a message and get an object back: a reply held to a schema, a pattern or a choice.

The schema is a name of yours (a pydantic model, a dataclass, a TypedDict, a JSON schema) or JSON on the line.
Tokens that do not fit are ruled out while the model writes. It is not told the schema: say in the message
what you want. r.json is the object. A base model goes on with the text instead.
"""

import builtins
import json
from argparse import Namespace
from collections.abc import Mapping
from typing import Any, Final

from llama_nb.core.errors import MessageError, SchemaError, nearest
from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama json r << Recipe --max-tokens 300\nA recipe for pancakes, as JSON.",
    "r.json.title",
    '%llama json --choice yes,no,maybe "Is a llama an animal?"',
    '%%llama json --regex "[0-9]{1,3}"\nWhat is 20 + 22?',
)
_MISSING: Final = object()


def add_arguments(parser: VerbParser) -> None:
    """Declare the options."""
    parser.takes_text("words", "the schema's name, and on a line the message behind it")
    parser.add_argument("--regex", metavar="PATTERN", help="a pattern that the whole reply matches")
    parser.add_argument("--choice", metavar="A,B", help="what the reply can be; a JSON list if it has commas")
    parser.add_named("--chat", names.chats, "the conversation (a new name begins a new one)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt from now on")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Send the message and return the Reply."""
    from llama_nb.session import form

    sampling = generation.sampling_from(args)
    choice = None if args.choice is None else _choices(args.choice)
    schema, rest = None, args.words
    if args.regex is None and choice is None:
        schema, rest = _take_schema(args.words, call.namespace)
    asked = form.one_form(schema, args.regex, choice)
    text = generation.message_from(rest, call, raw=args.raw, verb="json").strip("\n").rstrip()
    if not text:
        raise MessageError(
            "Nothing to send: the message is empty.",
            "Write it into the cell's body below %%llama json, or behind the schema's name.",
        )
    options = {"background": args.bg, **sampling}
    if args.chat is not None:
        options["chat"] = args.chat
    if args.system is not None:
        options["system"] = call.expand(args.system, raw=args.raw)
    model = generation.choose_model(args.model)
    return generation.generate(call, args, lambda: model.json(text, asked, **options))


def _take_schema(words: str, namespace: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the schema that a line begins with, and the rest of it."""
    if words.startswith("{"):
        try:
            schema, end = json.JSONDecoder().raw_decode(words)
        except (ValueError, RecursionError) as error:
            raise SchemaError(
                f"The schema on the line is no JSON: {error}.", 'An example: {"type": "integer"}'
            ) from None
        return schema, _unquoted(words[end:])
    name, _, rest = words.partition(" ")
    if not name:
        raise SchemaError(
            "No schema is given.", "Name one: %%llama json Recipe; or --choice yes,no; or --regex PATTERN."
        )
    return _look_up(name, namespace), _unquoted(rest)


def _look_up(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return what `name` stands for: a variable, `module.Recipe`, or a type of Python."""
    first, *rest = name.split(".")
    found = namespace.get(first, getattr(builtins, first, _MISSING) if not rest else _MISSING)
    for attribute in rest:
        found = getattr(found, attribute, _MISSING)
    if found is _MISSING:
        known = [known for known, value in namespace.items() if not known.startswith("_") and _fits(value)]
        near = nearest(name, known) or known[:3]
        hint = f"Did you mean {', '.join(near)}?" if near else "Define it first, as a pydantic model."
        raise SchemaError(f"There is no {name!r} here to take as a schema.", hint)
    return found


def _fits(value: Any) -> bool:
    return isinstance(value, type) or (isinstance(value, Mapping) and "type" in value)


def _choices(text: str) -> Any:
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise SchemaError(f"--choice is no JSON list: {error}.", '["yes, please", "no"] is one.') from None


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
