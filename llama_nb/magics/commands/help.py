"""Say what the verbs do: all of them, or one with its options and examples."""

import argparse
import textwrap
from collections.abc import Iterable, Sequence

from llama_nb.core.errors import did_you_mean
from llama_nb.magics import verbs
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama help", "%llama help chat")


def add_arguments(parser: VerbParser) -> None:
    """Declare the verb to explain."""
    parser.add_argument("verb", nargs="?", help="one verb, with its options and examples")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the verbs."""
    return () if words else verbs.names()


def run(args: argparse.Namespace, call: Call) -> Shown:
    """Return the help."""
    del call
    if args.verb is None:
        return Shown(_overview())
    if args.verb not in verbs.names():
        known = verbs.names()
        hint = did_you_mean(args.verb, known) or f"The verbs are: {', '.join(known)}."
        raise CommandError(f"%llama has no verb {args.verb!r}.", hint)
    return Shown(explain(args.verb))


def _overview() -> str:
    width = max(map(len, verbs.names()))
    lines = [f"  %llama {verb.ljust(width)}  {verbs.summary(verb)}" for verb in verbs.names()]
    return "\n".join(
        [
            "A Llama in your notebook. Begin with:",
            "  %llama load cria",
            "  %%llama",
            "  What is a token?",
            "",
            *lines,
            "",
            "Options and examples of a verb: %llama help VERB",
        ]
    )


def explain(verb: str) -> str:
    """Return a verb's description, options and examples as text."""
    module, parser = verbs.find(verb), verbs.parser(verb)
    words = [action for action in parser._actions if not action.option_strings]
    parts = [f"%llama {verb}", "", (module.__doc__ or "").strip(), ""]
    if words or parser.text_name:
        parts += ["Words:", *_rows((word.dest.upper(), word.help or "") for word in words)]
        if parser.text_name:
            parts += _rows([(parser.text_name.upper(), parser.text_help)])
        parts.append("")
    for title, actions in _groups(parser):
        parts += [f"{title}:", *_rows((_usage(action), _meaning(action)) for action in actions), ""]
    parts.append("Examples:")
    for example in module.EXAMPLES:
        parts += [*("  " + line for line in example.splitlines()), *([""] if "\n" in example else [])]
    return "\n".join(parts).rstrip()


def _groups(parser: VerbParser) -> Iterable[tuple[str, Sequence[argparse.Action]]]:
    """The options under headings: the verb's own first, then each group that it named."""
    # argparse's own two groups come first, with titles of its own.
    titled = [(group.title or "", group._group_actions) for group in parser._action_groups[2:]]
    grouped = {id(action) for _, actions in titled for action in actions}
    own = [action for action in dict.fromkeys(parser.options().values()) if id(action) not in grouped]
    return [("Options", own), *titled]


def _usage(action: argparse.Action) -> str:
    name = ", ".join(action.option_strings)
    if action.nargs == 0:
        return name
    metavar = action.metavar or action.dest.upper()
    if action.nargs == "?":
        return f"{name} [{metavar}]"
    return f"{name} {' '.join(metavar) if isinstance(metavar, tuple) else metavar}"


def _meaning(action: argparse.Action) -> str:
    choices = f" ({', '.join(map(str, action.choices))})" if action.choices is not None else ""
    return f"{action.help or ''}{choices}"


def _rows(pairs: Iterable[tuple[str, str]]) -> list[str]:
    lines: list[str] = []
    for left, right in pairs:
        first, *more = textwrap.wrap(right, 78) or [""]
        lines += [f"  {left:<26}  {first}".rstrip(), *(" " * 30 + line for line in more)]
    return lines
