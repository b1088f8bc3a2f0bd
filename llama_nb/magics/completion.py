"""What Tab offers after `%llama`: verbs, options, models, chats, settings.

Two hooks share one function: IPython's matcher sees the whole cell, so a magic on its second line is found;
the older `complete_command` hook serves front ends that complete a single line.
"""

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from IPython.core.completer import SimpleCompletion, context_matcher

from llama_nb.magics import verbs

_LINE: Final = re.compile(r"^\s*(?:[\w.,\s]+=\s*)?(?P<magic>%%?llama)\s+(?P<rest>.*)$", re.DOTALL)
_HOOK: Final = r"(.*[=\s])?%%?llama\s"


def candidates(line: str) -> list[str] | None:
    """Return what may follow `line` (the text up to the cursor), or None where no `%llama` is written."""
    match = _LINE.match(line)
    if match is None:
        return None
    *before, word = re.split(r"\s+", match["rest"])
    if not before:
        found: Iterable[str] = [*verbs.names(), *(_options("chat") if match["magic"] == "%%llama" else ())]
    else:
        found = _after_verb(before, word)
    return sorted({name for name in found if name.startswith(word)})


def _after_verb(before: list[str], word: str) -> Iterable[str]:
    verb, *words = before if before[0] in verbs.names() else ["chat", *before]
    if word.startswith("-"):
        return _options(verb)
    parser = verbs.parser(verb)
    action = parser.options().get(words[-1]) if words else None
    if action is not None and action.nargs != 0:
        known = parser.names.get(words[-1])
        return [str(choice) for choice in action.choices or ()] if known is None else known()
    return verbs.completions(verb, [other for other in words if not other.startswith("-")])


def _options(verb: str) -> list[str]:
    return [name for name in verbs.parser(verb).options() if name.startswith("--")]


def _safely(line: str) -> list[str] | None:
    # A fault here must not cost the user the rest of the completions.
    with contextlib.suppress(Exception):
        return candidates(line)
    return None


@context_matcher()
def llama_matcher(context: Any) -> dict[str, Any]:
    """Complete `%llama` on whatever line of the cell the cursor is."""
    line = context.text_until_cursor
    found = _safely(line)
    if found is None:
        return {"completions": []}
    word = re.split(r"\s+", line)[-1]
    return {
        "completions": [SimpleCompletion(text=name, type="llama") for name in found],
        "matched_fragment": word,
        "suppress": bool(found),
    }


def install(shell: Any) -> Callable[[], None]:
    """Register both hooks in `shell`; return the function that takes them back."""

    def complete_command(_shell: Any, event: Any) -> list[str]:
        return _safely(event.text_until_cursor) or []

    matchers = shell.Completer.custom_matchers
    matchers.append(llama_matcher)
    shell.set_hook("complete_command", complete_command, re_key=_HOOK)

    def uninstall() -> None:
        with contextlib.suppress(ValueError):
            matchers.remove(llama_matcher)
        shell.strdispatchers["complete_command"].regexs.pop(re.compile(_HOOK), None)

    return uninstall
