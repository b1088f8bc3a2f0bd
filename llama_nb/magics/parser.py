"""A `%llama` line as verb, options, text and the variable that keeps the result.

People type sentences here, so apostrophes, `{...}` and `$HOME` stay as they are: the line is cut by our own
scanner, and argparse only sees options with their values. Every mistake is a CommandError that says what was
meant; argparse never prints and never exits.
"""

import argparse
import itertools
import keyword
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from llama_nb.core.errors import did_you_mean
from llama_nb.magics.boundary import CommandError

_BRACKETS: Final = {"{": "}", "[": "]"}
_KEEP_FIRST: Final = re.compile(r"(\S+?)\s*<<(?=\s|$)")
_KEEP_LAST: Final = re.compile(r"(?<!\S)(\S+?)\s*<<$")
# Before a value, so that argparse never takes "--" or "-x" for an option; its type conversion removes it.
_AS_VALUE: Final = "\0"
_OPTION: Final = re.compile(r"--?[A-Za-z][\w-]*")


@dataclass(frozen=True, slots=True)
class Word:
    """A piece of a line: what it says (without its quotes), and where it stands."""

    text: str
    start: int
    end: int
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line cut at its verb: `name <<` taken out, the rest not parsed yet."""

    verb: str
    rest: str
    keep: str | None = None


class VerbParser(argparse.ArgumentParser):
    """The arguments of one verb; raises CommandError where argparse would print and exit."""

    def __init__(self, verb: str, description: str = "") -> None:
        super().__init__(prog=f"%llama {verb}", description=description, add_help=False, allow_abbrev=False)
        self.verb = verb
        self.text_name: str | None = None
        self.text_help = ""
        self.names: dict[str, Callable[[], Iterable[str]]] = {}
        self.register("type", None, lambda text: text.removeprefix(_AS_VALUE))
        self.register("type", int, whole_number)
        self.add_argument("--help", "-h", action="store_true", help="show what this verb does")
        self.add_argument("--debug", action="store_true", help="show the whole traceback of an error")

    def takes_text(self, name: str, meaning: str) -> None:
        """Let what is not an option be one text, as typed; it is in the namespace under `name`."""
        self.text_name, self.text_help = name, meaning
        self.set_defaults(**{name: ""})

    def add_named(self, option: str, known: Callable[[], Iterable[str]], meaning: str) -> None:
        """Add an option whose value is a name; `known` returns what Tab offers."""
        self.add_argument(option, metavar="NAME", help=meaning)
        self.names[option] = known

    def error(self, message: str) -> NoReturn:
        """Raise what argparse complains about."""
        shown = message.replace(_AS_VALUE, "").replace(repr(_AS_VALUE)[1:-1], "")
        raise CommandError(f"%llama {self.verb}: {shown}.", f"See: %llama help {self.verb}")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """Never leave the interpreter."""
        raise CommandError(f"%llama {self.verb}: {message or status}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Refuse what is not one of an option's choices; argparse's own sentence names no nearest one."""
        if action.choices is not None and value not in action.choices:
            choices = [str(choice) for choice in action.choices]
            name = action.option_strings[0] if action.option_strings else action.dest
            hint = f"One of: {', '.join(choices)}."
            raise CommandError(f"{name} is {value!r}.", f"{did_you_mean(str(value), choices)} {hint}".strip())

    def options(self) -> dict[str, argparse.Action]:
        """Return every option string with its action."""
        return dict(self._option_string_actions)

    def parse_line(self, rest: str) -> argparse.Namespace:
        """Parse what follows the verb.

        Raises
        ------
        CommandError
            Naming the option or word that is wrong, with the nearest one that exists.
        """
        arguments, words = self._separate(rest)
        if self.text_name is None:
            before_comment = itertools.takewhile(lambda word: word.quoted or word.text[0] != "#", words)
            # Words first: behind an option they could be taken for the value that it may have.
            return self.parse_args([*(_AS_VALUE + word.text for word in before_comment), *arguments])
        args = self.parse_args(arguments)
        setattr(args, self.text_name, _as_text(words, rest))
        return args

    def _separate(self, rest: str) -> tuple[list[str], list[Word]]:
        """Return the options with their values, in argparse's form, and the words that are neither."""
        known = self.options()
        arguments: list[str] = []
        plain: list[Word] = []
        words = list(cut(rest))
        position = 0
        while position < len(words):
            word = words[position]
            position += 1
            name, equals, value = word.text.partition("=")
            if word.quoted or not self._looks_like_option(name, bool(plain)):
                plain.append(word)
            elif name == "--":
                return arguments, [*plain, *words[position:]]
            elif name not in known:
                self._unknown(name, known, in_text=self.text_name is not None)
            elif equals:
                arguments.append(f"{name}={_AS_VALUE}{_unquoted(value)}")
            else:
                needed = self._values_needed(known[name], words[position:])
                values = words[position : position + needed]
                if len(values) < needed or any(not value.quoted and value.text in known for value in values):
                    self._value_missing(known[name])
                position += needed
                arguments += [name, *(_AS_VALUE + value.text for value in values)]
        return arguments, plain

    def _values_needed(self, action: argparse.Action, words: list[Word]) -> int:
        """Return how many of the next words are an option's values; an optional value is the next word."""
        if action.nargs != "?":
            return 1 if action.nargs is None else int(action.nargs)
        return int(bool(words) and (words[0].quoted or not self._looks_like_option(words[0].text, False)))

    def _looks_like_option(self, name: str, text_begun: bool) -> bool:
        if name == "--":
            return not text_begun
        if not _OPTION.fullmatch(name):
            return False
        # In a message, "rm -o" is a word; only --long options are looked for after the text has begun.
        return name.startswith("--") or (name in self.options() and not (text_begun and self.text_name))

    def _unknown(self, name: str, known: Iterable[str], *, in_text: bool) -> NoReturn:
        names = [option for option in known if option.startswith("--")]
        hint = did_you_mean(name.replace("_", "-"), names) or f"Its options: {', '.join(names)}."
        if in_text:
            hint += " If it belongs to the text, put the text in quotes."
        raise CommandError(f"%llama {self.verb} has no option {name!r}.", hint)

    def _value_missing(self, action: argparse.Action) -> NoReturn:
        name = action.option_strings[0]
        what = " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar or "VALUE"
        raise CommandError(f"{name} needs a value: {name} {what}.", f"See: %llama help {self.verb}")


def whole_number(text: str) -> int:
    """Read the value of an option that takes a whole number."""
    return int(text.removeprefix(_AS_VALUE))


def split_line(line: str, verbs: Iterable[str], *, cell: bool) -> Line:
    """Cut a magic's line into verb, `name <<` and the rest; a cell without a verb is a chat.

    Raises
    ------
    CommandError
        If the verb is unknown or the name before `<<` cannot be a variable.
    """
    known = list(verbs)
    stripped = line.strip()
    first = stripped.split(None, 1)[0] if stripped else ""
    if first.rstrip("?") in known and first.endswith("?"):
        return Line("help", first.rstrip("?"))
    if first in known:
        verb, rest = first, stripped[len(first) :].strip()
    elif first.startswith("--") or (cell and (not first or _KEEP_FIRST.match(stripped))):
        verb, rest = "chat", stripped
    elif not first:
        verb, rest = "help", ""
    else:
        hint = did_you_mean(first, known) or f"The verbs are: {', '.join(known)}."
        sentence = f" To send it as a message: %llama chat {stripped}" if " " in stripped else ""
        raise CommandError(f"%llama has no verb {first!r}.", hint + sentence)
    # On a line, `r = %llama chat ...` keeps the result, and << may be part of a question about C++.
    keep, rest = _take_keep(rest) if cell else (None, rest)
    return Line(verb, rest, keep)


def cut(line: str) -> Iterable[Word]:
    """Yield the words of a line: quoted texts and balanced `{...}` or `[...]` are one word each."""
    position = 0
    while position < len(line):
        if line[position].isspace():
            position += 1
            continue
        word = _quoted(line, position) or _bracketed(line, position) or _plain(line, position)
        yield word
        position = word.end


def _plain(line: str, start: int) -> Word:
    end = start
    while end < len(line) and not line[end].isspace():
        # --system="a b": the value's quotes begin after the equals sign.
        if line[end] == "=" and line.startswith("--", start):
            value = _quoted(line, end + 1) or _bracketed(line, end + 1)
            if value is not None:
                return Word(line[start : value.end], start, value.end)
        # {{ a b }} in the middle of a sentence stays together.
        block = _bracketed(line, end) if line.startswith("{{", end) else None
        end = block.end if block is not None else end + 1
    return Word(line[start:end], start, end)


def _quoted(line: str, start: int) -> Word | None:
    """Return the quoted text that begins here; None for an apostrophe, which closes nothing."""
    quote = line[start : start + 1]
    if quote not in {'"', "'"}:
        return None
    position = start + 1
    while position < len(line):
        if line[position] == "\\":
            position += 2
            continue
        ends_word = position + 1 == len(line) or line[position + 1].isspace()
        if line[position] == quote and ends_word:
            inner = line[start + 1 : position].replace("\\" + quote, quote)
            return Word(inner, start, position + 1, quoted=True)
        position += 1
    return None


def _bracketed(line: str, start: int) -> Word | None:
    opening = line[start : start + 1]
    if opening not in _BRACKETS:
        return None
    depth, quote, position = 0, "", start
    while position < len(line):
        char = line[position]
        if quote:
            position += char == "\\"
            quote = "" if char == quote else quote
        elif char == '"':
            quote = char
        elif char == opening:
            depth += 1
        elif char == _BRACKETS[opening]:
            depth -= 1
            if depth == 0:
                return Word(line[start : position + 1], start, position + 1)
        position += 1
    return None


def _unquoted(value: str) -> str:
    word = _quoted(value, 0)
    return word.text if word is not None and word.end == len(value) else value


def _as_text(words: list[Word], rest: str) -> str:
    """Return the text that the words stand for: a lone quoted one without its quotes, else as typed."""
    if len(words) == 1 and words[0].quoted:
        return words[0].text
    runs: list[tuple[int, int]] = []
    for word in words:
        # Options between two words were taken out, so only blanks may join them.
        if runs and rest[runs[-1][1] : word.start].isspace():
            runs[-1] = (runs[-1][0], word.end)
        else:
            runs.append((word.start, word.end))
    return " ".join(rest[start:end] for start, end in runs)


def _take_keep(rest: str) -> tuple[str | None, str]:
    """Take `name <<` off the beginning or the end of a cell's line."""
    match = _KEEP_FIRST.match(rest) or _KEEP_LAST.search(rest)
    if match is None:
        return None, rest
    name = match[1]
    if not name.isidentifier() or keyword.iskeyword(name):
        raise CommandError(f"{name!r} before << cannot be a variable.", "An example: %%llama chat r <<")
    return name, (rest[: match.start()] + rest[match.end() :]).strip()
