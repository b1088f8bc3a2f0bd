"""The verbs of `%llama`, found by file name in `commands/` and imported when they are used."""

import functools
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from llama_nb.magics import commands
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.template import expand

# The order in which help lists them: what a beginner needs first. Verbs not named here follow by name.
_FIRST: Final = (
    *("load", "chat", "complete", "why", "set", "prompt"),
    *("tokens", "chats", "status", "models", "use"),
)


@dataclass(frozen=True, slots=True)
class Call:
    """What a verb knows beside its arguments: the shell, the cell's body, and the caller's variables."""

    shell: Any
    body: str | None
    namespace: Mapping[str, Any]
    keep: str | None = None

    def expand(self, text: str, *, raw: bool) -> str:
        """Return `text` with its `{{ expressions }}` replaced, unless `raw`."""
        return text if raw else expand(text, self.namespace)

    def keep_value(self, value: Any) -> None:
        """Bind the variable that `name <<` asked for, if any."""
        if self.keep is not None:
            self.shell.user_ns[self.keep] = value


class Verb(Protocol):
    """What a file in `commands/` exports. `complete` is optional: names for its positional words."""

    __doc__: str | None
    EXAMPLES: Sequence[str]

    def add_arguments(self, parser: VerbParser) -> None:
        """Declare the verb's options and words."""

    def run(self, args: Any, call: Call) -> Any:
        """Do it; what is returned is the value of the line, and is shown as any value is."""


@functools.cache
def names() -> tuple[str, ...]:
    """Return every verb, the beginner's first."""
    found = {module.name for module in pkgutil.iter_modules(commands.__path__)}
    return (*(verb for verb in _FIRST if verb in found), *sorted(found.difference(_FIRST)))


def find(verb: str) -> Verb:
    """Return the verb's module."""
    return cast("Verb", importlib.import_module(f"{commands.__name__}.{verb}"))


def parser(verb: str) -> VerbParser:
    """Return the parser of the verb's arguments."""
    module = find(verb)
    made = VerbParser(verb, summary(verb))
    module.add_arguments(made)
    return made


def summary(verb: str) -> str:
    """Return the first line of the verb's docstring, without its full stop."""
    return (find(verb).__doc__ or "").strip().split("\n", 1)[0].rstrip(".")


def completions(verb: str, words: Sequence[str]) -> Iterable[str]:
    """Return what may stand as the verb's next positional word, after `words`."""
    complete = getattr(find(verb), "complete", None)
    return complete(list(words)) if complete is not None else ()
