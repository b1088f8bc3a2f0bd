"""`llama.models`: finds the card that a person means by "3.3 70b", "guard 1b" or a hub id.

A text is cut into words; each word of it must be a word of the card: numbers and sizes exactly, names also
shortened or with a typo. It never picks one of several families; it lists them.
"""

import difflib
import functools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.core.errors import CatalogError, nearest
from llama_nb.runtime.secrets import redact

_PLACE: Final = re.compile(r"^(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/")
_WORD: Final = re.compile(r"\d+(?:\.\d+)?[a-z]*|[a-z]+\d*")
# Written together, meant apart: codellama, llama3, guard3, 17bx16e.
_JOINT: Final = re.compile(
    r"(?<=code)(?=llama)|(?<=llama)(?=\d|guard)|(?<=prompt)(?=guard)|(?<=guard)(?=\d)|(?<=\db)(?=x\d)"
)
# What people write for the same thing.
_SAME: Final = {
    "chat": "instruct",
    "instruction": "instruct",
    "it": "instruct",
    "x16e": "16e",
    "x128e": "128e",
}
_SHORTEST_PART: Final = 3
_LIKENESS: Final = 0.75
_LONGEST: Final = 200
_QUOTED: Final = 80
_SHOWN: Final = 8
_HELP: Final = "All of them: `%llama models --all`."


class Models:
    """The catalogue, newest first: iterate over it, `find` one model, `search` for several."""

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self.all())

    def __len__(self) -> int:
        return len(catalog.cards())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and catalog.find(name) is not None

    def __repr__(self) -> str:
        lines = [f"  {family}: {', '.join(card.name for card in group)}" for family, group in by_family(self)]
        return "\n".join([f"{len(self)} models, newest first:", *lines])

    def all(self) -> tuple[ModelCard, ...]:
        """Return every card, the newest family first, each family from small to large."""
        return _newest_first()

    def find(self, text: str) -> ModelCard:
        """Return the one card that `text` means.

        Of a base model and what was tuned from it, the one with the plain name is meant ("3.1 8b" is
        llama-3.1-8b, as on the hub), unless the text says "instruct" or "chat".

        Parameters
        ----------
        text
            A name, a hub id or its page, or some words of them: "3.3 70b", "scout", "llama 3 8b instruct".

        Raises
        ------
        CatalogError
            If no card has these words (with the nearest), or several families have (with all of them).
        """
        exact = catalog.find(_plain(text))
        if exact is not None:
            return exact
        words = _words(_plain(text))
        if not words:
            raise CatalogError("No model named.", f"An example: '3.3 70b'. {_HELP}")
        found = self.candidates(text)
        if not found:
            raise _unknown(text, words)
        named = [card for card in found if len(words) > 1 and _words(card.name) <= words | {"llama"}]
        fewest = min(len(_words(card.name) - words) for card in found)
        closest = [card for card in found if len(_words(card.name) - words) == fewest]
        if len(named) == 1:
            return named[0]
        if len({(card.family, card.size) for card in found}) == 1:
            return closest[0]
        raise _ambiguous(text, found)

    def candidates(self, text: str) -> list[ModelCard]:
        """Return every card that `text` may mean: that has its words as whole ones, or nearly."""
        words = _words(_plain(text))
        found = (_matching(words, exactly=True) or _matching(words, exactly=False)) if words else []
        # "llama 3" is the family of that name, not Llama Guard 3; "guard" is not the first Llama Guard.
        if any(word[0].isdigit() for word in words):
            found = [card for card in found if _words(card.family) == words | {"llama"}] or found
        return found

    def search(self, text: str = "") -> list[ModelCard]:
        """Return every card that fits a text that may still be typed, newest first; all of them for "".

        Here a number may be unfinished too: "3." finds Llama 3.1, 3.2 and 3.3.
        """
        words = _words(_plain(text))
        unfinished = [
            card
            for card in self.all()
            if all(any(own.startswith(word) for own in _card_words(card)) for word in words)
        ]
        return unfinished or _matching(words, exactly=False)


def by_family(cards: Iterable[ModelCard]) -> list[tuple[str, list[ModelCard]]]:
    """Return the cards in their order, put together by family."""
    groups: dict[str, list[ModelCard]] = {}
    for card in cards:
        groups.setdefault(card.family, []).append(card)
    return list(groups.items())


@functools.cache
def _newest_first() -> tuple[ModelCard, ...]:
    groups = by_family(catalog.cards())
    groups.sort(key=lambda group: group[1][0].date.ljust(10, "-"), reverse=True)
    return tuple(card for _, group in groups for card in group)


def _plain(text: str) -> str:
    if not isinstance(text, str):
        raise CatalogError(f"{text!r:.80} is no name of a model.", f"An example: '3.3 70b'. {_HELP}")
    return _PLACE.sub("", text.strip().lower()[:_LONGEST]).rstrip("/")


@functools.lru_cache(maxsize=4096)
def _words(text: str) -> frozenset[str]:
    """Return the words of a text: "meta-llama/Llama-3.3-70B" has llama, 3.3 and 70b."""
    text = text.lower().removeprefix("meta-llama/").removeprefix("codellama/").removeprefix("meta-")
    return frozenset(_SAME.get(word, word) for word in _WORD.findall(_JOINT.sub(" ", text)))


def _card_words(card: ModelCard) -> frozenset[str]:
    kind = {"mixture": {"moe", "mixture", "experts"}, "guard": {"safety"}}.get(card.kind, set())
    image = {"vision", "multimodal"} if card.multimodal else set()
    return _words(f"{card.name} {card.hub_id or ''} {card.size}") | kind | image


def _matching(words: frozenset[str], *, exactly: bool) -> list[ModelCard]:
    """Return the cards that have every word."""
    return [card for card in _newest_first() if all(_has(card, word, exactly=exactly) for word in words)]


def _has(card: ModelCard, word: str, *, exactly: bool) -> bool:
    own = _card_words(card)
    if word in own:
        return True
    if exactly or word[0].isdigit() or len(word) < _SHORTEST_PART:
        return False
    names = [other for other in own if other.isalpha()]
    return any(name.startswith(word) for name in names) or bool(
        difflib.get_close_matches(word, names, n=1, cutoff=_LIKENESS)
    )


def _ambiguous(text: str, found: Sequence[ModelCard]) -> CatalogError:
    families = by_family(found)
    shown = "; ".join(
        f"{family}: {', '.join(card.name for card in group[:4])}" for family, group in families[:_SHOWN]
    )
    more = f" and {len(families) - _SHOWN} more families" if len(families) > _SHOWN else ""
    count = f"{len(families)} families" if len(families) > 1 else f"{len(found)} models"
    return CatalogError(
        f"{_quoted(text)} fits {count}: {shown}{more}.", f"Say more, as in {found[0].name!r}."
    )


def _unknown(text: str, words: frozenset[str]) -> CatalogError:
    """The answer to what no card has: which word is strange, or which families have the size; the nearest."""
    message = f"The catalogue has no model {_quoted(text)}"
    strange = {word for word in words if not _matching(frozenset({word}), exactly=False)}
    sizes = sorted(word for word in words if re.fullmatch(r"\d+[bm]", word))
    if strange and redact(text) == text:
        message += f": nothing in it is called {max(sorted(strange), key=len)[:_QUOTED]!r}"
    elif sizes:
        families = by_family(_matching(frozenset(sizes), exactly=True))
        message += f": {sizes[0].upper()} came with {_listed([family for family, _ in families])}"
    rest = words - strange - {"llama"}
    near = _matching(rest, exactly=False) if rest else []
    names = [card.name for card in near] or nearest("-".join(_plain(text).split()), _names())
    if not rest or not names:
        families = by_family(_newest_first())
        return CatalogError(
            f"{message}.", f"Families: {', '.join(family for family, _ in families)}. {_HELP}"
        )
    return CatalogError(f"{message}.", f"Nearest: {', '.join(names[:3])}. {_HELP}")


def _quoted(text: str) -> str:
    # A token may have been pasted in place of a name.
    return repr(redact(text)[:_QUOTED])


def _names() -> list[str]:
    return [card.name for card in _newest_first()]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


models: Final = Models()
find = models.find
search = models.search
