"""`{{ expression }}` in what a user typed becomes the expression's value; everything else stays as typed.

The scanner is our own: full Jinja swallows `{# #}` and raises on `{% if`. Each expression is compiled by
Jinja over the user's variables. A value is text from then on: braces in it are not looked at again.
"""

import builtins
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final

from llama_nb.core.errors import TemplateError, nearest

_OPENING: Final = {"(": ")", "[": "]", "{": "}"}
_AS_TYPED: Final = "To send the braces as typed, add --raw."


@dataclasses.dataclass(frozen=True, slots=True)
class Slot:
    """A `{{ expression }}`: where it stands in the text, and the expression itself."""

    start: int
    end: int
    expression: str


def expand(text: str, namespace: Mapping[str, Any]) -> str:
    """Return `text` with each `{{ expression }}` replaced by its value over `namespace`.

    Raises
    ------
    TemplateError
        If an expression is not closed, names nothing that exists, or fails. All names are checked before
        the first expression is evaluated.
    """
    slots = list(find_slots(text))
    if not slots:
        return text
    names = {**vars(builtins), **namespace}
    compiled = [_compile(slot.expression, names, namespace) for slot in slots]
    parts, position = [], 0
    for slot, evaluate in zip(slots, compiled, strict=True):
        parts += [text[position : slot.start], _evaluate(slot.expression, evaluate, names)]
        position = slot.end
    return "".join([*parts, text[position:]])


def find_slots(text: str) -> Iterator[Slot]:
    """Yield every `{{ expression }}`; an empty one, and `{{` without any `}}` after it, is plain text."""
    position = text.find("{{")
    while position >= 0:
        closing = text.find("}}", position + 2)
        if closing < 0:
            return
        end = _end_of_expression(text, position + 2)
        if end is None:
            shown = _short(text[position : closing + 2])
            raise TemplateError(f"{shown} has a quote or a bracket that is not closed.", _AS_TYPED)
        expression = text[position + 2 : end].strip()
        if expression:
            yield Slot(position, end + 2, expression)
        position = text.find("{{", end + 2)


def _end_of_expression(text: str, start: int) -> int | None:
    """Return where the `}}` stands that closes the expression: outside quotes and balanced brackets."""
    open_brackets: list[str] = []
    quote, position = "", start
    while position < len(text):
        char = text[position]
        if quote:
            if char == "\\":
                position += 1
            elif char == quote:
                quote = ""
        elif char in "'\"":
            quote = char
        elif char in _OPENING:
            open_brackets.append(_OPENING[char])
        elif open_brackets:
            if char == open_brackets[-1]:
                open_brackets.pop()
        elif text.startswith("}}", position):
            return position
        position += 1
    return None


def _compile(expression: str, names: Mapping[str, Any], variables: Mapping[str, Any]) -> Any:
    import jinja2
    import jinja2.meta

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701 - text, not HTML
    environment.globals.clear()
    try:
        tree = environment.parse("{{ " + expression + " }}")
        evaluate = environment.compile_expression(expression, undefined_to_none=False)
    except jinja2.TemplateError as error:
        raise TemplateError(
            f"{{{{ {_short(expression)} }}}} is not an expression: {error}",
            f"Put the value into a variable first, and write {{{{ name }}}}. {_AS_TYPED}",
        ) from None
    missing = sorted(jinja2.meta.find_undeclared_variables(tree) - names.keys())
    if missing:
        problem = f"{{{{ {_short(expression)} }}}}: there is no variable {missing[0]!r}."
        raise TemplateError(problem, _known(missing[0], variables))
    return evaluate


def _evaluate(expression: str, evaluate: Any, names: Mapping[str, Any]) -> str:
    try:
        return str(evaluate(names))
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise TemplateError(
            f"{{{{ {_short(expression)} }}}} failed: {type(error).__name__}: {_short(reason, 300)}",
            f"Nothing was sent. {_AS_TYPED}",
        ) from error


def _known(missing: str, variables: Mapping[str, Any]) -> str:
    own = [name for name in variables if not name.startswith("_")]
    near = nearest(missing, own)
    meant = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{meant}Nothing was sent. {_AS_TYPED}"


def _short(text: str, limit: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
