"""Text to token ids: control tokens that somebody typed stay text, those of a template are control tokens.

Knows the tokenizer; what is around the text is the prompt's business.
"""

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

# Marks around control tokens that stand in messages: private-use characters, taken where no message has them.
_MARKS: Final = [chr(code) for code in range(0xF7A00, 0xF7B00)]


class ControlText:
    """Tokenises for one model; safe to use from several threads.

    Parameters
    ----------
    tokenizer
        A transformers tokenizer with a `tokenizers` backend.
    template
        The chat template: what it writes of the added tokens are control tokens, too.
    """

    def __init__(self, tokenizer: Any, template: str | None) -> None:
        self._backend = tokenizer.backend_tokenizer
        self._bos: int | None = tokenizer.bos_token_id
        self._lock = threading.Lock()
        added = self._backend.get_added_tokens_decoder()
        self.special = frozenset(id_ for id_, token in added.items() if token.special)
        written = template or ""
        control = {
            t.content for t in added.values() if t.content.strip() and (t.special or t.content in written)
        }
        longest_first = sorted(control, key=len, reverse=True)
        self.control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def encode_raw(self, text: str) -> tuple[int, ...]:
        """Tokenise raw text as the model was trained on it: one beginning of text, control tokens as such."""
        with self._lock:
            ids = list(self._backend.encode(text, add_special_tokens=True).ids)
        if self._bos is not None and ids[:2] == [self._bos, self._bos]:
            del ids[0]
        return tuple(ids)

    def continue_raw(self, text: str) -> tuple[int, ...]:
        """Tokenise raw text that follows other text: nothing added, control tokens as such."""
        with self._lock:
            return tuple(self._piece(text, first=False)[0])

    def encode_plain(self, text: str) -> tuple[int, ...]:
        """Tokenise `text`: nothing added, control tokens in it taken as plain text."""
        with self._lock:
            if self.control.search(text):
                return tuple(self._plain(text))
            return tuple(self._backend.encode(text, add_special_tokens=False).ids)

    def encode_marked(
        self, text: str, start: str, end: str, cuts: Sequence[int] = ()
    ) -> tuple[list[int], list[int]]:
        """Return token ids and, for each, where its text begins in `text` with the marks counted.

        Parameters
        ----------
        start, end
            The marks that stand around text which is not to be control tokens.
        cuts
            Places in `text`, ascending and outside marks, that no token spans.
        """
        ids: list[int] = []
        starts: list[int] = []
        place = 0
        with self._lock:
            for part in (text[a:b] for a, b in zip((0, *cuts), (*cuts, len(text)), strict=True)):
                place = self._encode_part(part, place, (start, end), ids, starts)
        return ids, starts

    def _encode_part(
        self, text: str, place: int, marks: tuple[str, str], ids: list[int], starts: list[int]
    ) -> int:
        start, end = marks
        for number, piece in enumerate(re.split(f"({start}[^{start}{end}]*{end}|{start}|{end})", text)):
            if number % 2 == 0 and piece:
                new, offsets = self._piece(piece, first=place == 0)
                ids += new
                starts += [place + offset for offset in offsets]
            elif len(piece) > 1:
                # Behind a newline, as in `_piece`.
                new, before = self._plain("\n" + piece[1:-1]), self._plain("\n")
                new = new[len(before) :] if new[: len(before)] == before else self._plain(piece[1:-1])
                ids += new
                starts += [place] * len(new)
            place += len(piece)
        return place

    def _piece(self, text: str, *, first: bool) -> tuple[list[int], list[int]]:
        if first:
            encoding = self._backend.encode(text, add_special_tokens=False)
            return list(encoding.ids), [begin for begin, _ in encoding.offsets]
        # Behind a newline, so that a SentencePiece tokenizer adds no space in the middle of a text.
        newline = list(self._backend.encode("\n", add_special_tokens=False).ids)
        encoding = self._backend.encode("\n" + text, add_special_tokens=False)
        ids = list(encoding.ids)
        if ids[: len(newline)] != newline:
            return self._piece(text, first=True)
        return ids[len(newline) :], [begin - 1 for begin, _ in encoding.offsets[len(newline) :]]

    def _plain(self, text: str) -> list[int]:
        """Tokenise without looking for added tokens: the backend's stages, one after the other."""
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        parts = [text]
        if self._backend.pre_tokenizer is not None:
            parts = [part for part, _ in self._backend.pre_tokenizer.pre_tokenize_str(text)]
        return [token.id for part in parts for token in self._backend.model.tokenize(part)]

    def mark(self, value: Any, start: str, end: str, found: list[str] | None = None) -> Any:
        """Return a text, or what is made of texts, with each control token in it between two marks.

        The control tokens are appended to `found`.
        """

        def wrap(match: re.Match[str]) -> str:
            if found is not None:
                found.append(match[0])
            return f"{start}{match[0]}{end}"

        return _map_text(value, lambda text: self.control.sub(wrap, text))


def free_marks(*values: Any) -> list[str]:
    """Return characters that stand in none of the texts that `values` are made of, at least three."""
    everything = repr(values) + "".join(_texts(values))
    return [mark for mark in _MARKS if mark not in everything]


def _map_text(value: Any, change: Any) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_map_text(key, change): _map_text(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_map_text(item, change) for item in value]
    return value


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [text for item in items for text in _texts(item)]
