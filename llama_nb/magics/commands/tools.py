"""Let the model call functions of yours: each call is shown, and runs only when you say yes.

Name functions that have type hints; their docstrings tell the model what they do. The cell's body is the
message. cria and Llama 3.1 and later were trained for it. With --auto functions under
@llama_nb.tool(safe=True) run unasked. The value is a ToolRun: r.text, r.calls, r.replies.
"""

from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any, Final

from llama_nb.core.errors import MessageError, ToolError, nearest
from llama_nb.magics import generation, names
from llama_nb.magics.parser import VerbParser, cut
from llama_nb.magics.verbs import Call

EXAMPLES = (
    'def weather(city: str) -> dict:\n    "Get the weather in a city."\n    return {"sky": "sunny"}',
    "%%llama tools weather\nWhat is the weather in Oslo?",
    "import llama_nb\n\n@llama_nb.tool(safe=True)\ndef clock(city: str) -> str:\n"
    '    "Get the time in a city."\n    return "12:30"',
    "%%llama tools r << weather clock --auto --rounds 3\nWhat time is it in Lima?",
    "r.calls, r.text",
    '%llama tools clock --auto "What time is it in Rome?"',
)
_MISSING: Final = object()
_HINT: Final = "Name functions of yours: %%llama tools weather clock"


def add_arguments(parser: VerbParser) -> None:
    """Declare the options."""
    parser.takes_text("words", "functions by name; on a line the message behind them, in quotes")
    parser.add_argument("--auto", action="store_true", help="run functions marked safe without asking")
    parser.add_argument(
        "--rounds", metavar="N", default="5", help="how many replies may call functions (1 to 50)"
    )
    parser.add_named("--chat", names.chats, "the conversation (a new name begins a new one)")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt from now on")
    generation.add_options(parser)


def complete(words: list[str]) -> list[str]:
    """Offer the functions of the notebook that were not named yet."""
    return [name for name in names.functions() if name not in words]


def run(args: Namespace, call: Call) -> Any:
    """Send the message and return the ToolRun."""
    sampling = generation.sampling_from(args)
    functions, rest = _functions(args.words, call)
    text = generation.message_from(rest, call, raw=args.raw, verb="tools").strip("\n").rstrip()
    if not text:
        raise MessageError(
            "Nothing to send: the message is empty.",
            "Write it into the cell's body below %%llama tools, or in quotes behind the functions.",
        )
    rounds: Any = int(args.rounds) if args.rounds.isdecimal() else args.rounds
    options = {"auto": args.auto, "rounds": rounds, "background": args.bg, **sampling}
    if args.chat is not None:
        options["chat"] = args.chat
    if args.system is not None:
        options["system"] = call.expand(args.system, raw=args.raw)
    model = generation.choose_model(args.model)
    return generation.generate(call, args, lambda: model.tools(text, functions, **options))


def _functions(words: str, call: Call) -> tuple[list[Callable[..., Any]], str]:
    """Return the functions that a line names, and the message that stands behind them."""
    found: list[Callable[..., Any]] = []
    for word in cut(words):
        if word.quoted:
            return _some(found), words[word.start :].strip()[1:-1] if word.end == len(words) else words[
                word.start :
            ]
        for name in filter(None, word.text.split(",")):
            function = _look_up(name, call.namespace)
            if function is _MISSING:
                if found and call.body is None:
                    return found, words[word.start :]
                raise _unknown(name, call.namespace)
            found.append(function)
    return _some(found), ""


def _some(found: list[Callable[..., Any]]) -> list[Callable[..., Any]]:
    if not found:
        raise ToolError("No function is named.", _HINT)
    return found


def _look_up(name: str, namespace: Mapping[str, Any]) -> Any:
    """Return what a name of the user's line stands for: a variable, or `module.function`."""
    first, *rest = name.split(".")
    found = namespace.get(first, _MISSING)
    for attribute in rest:
        found = getattr(found, attribute, _MISSING)
    return found


def _unknown(name: str, namespace: Mapping[str, Any]) -> ToolError:
    known = names.functions(namespace)
    near = nearest(name, known) or known[:5]
    hint = f"Did you mean {', '.join(near)}?" if near else "Define it first, with type hints and a docstring."
    return ToolError(f"There is no {name!r} here to take as a tool.", hint)
