"""What a single token shows as: its text, or the bytes of an incomplete character.

Knows how byte-level and byte-fallback tokenizers name their tokens.
"""

from collections.abc import Sequence
from typing import Any

from llama_nb.engines.prompt import piece_bytes


def _byte_letters() -> dict[str, int]:
    # Byte-level BPE names a byte by a printable character: itself where it is one, else 256 and upwards.
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {chr(byte): byte for byte in printable}
    others = [byte for byte in range(256) if byte not in set(printable)]
    letters.update({chr(256 + place): byte for place, byte in enumerate(others)})
    return letters


_LETTERS = _byte_letters()


class TokenTexts:
    """The texts of a tokenizer's tokens, each worked out once."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._byte_level = "ByteLevel" in repr(backend.decoder)
        self._added = {id_: token.content for id_, token in backend.get_added_tokens_decoder().items()}
        self._known: dict[int, str] = {}

    def one(self, token: int) -> str:
        """Return what `token` shows as."""
        text = self._known.get(token)
        if text is None:
            text = self._known[token] = self._work_out(token)
        return text

    def many(self, tokens: Sequence[int]) -> list[str]:
        """Return what each of `tokens` shows as."""
        return [self.one(token) for token in tokens]

    def _work_out(self, token: int) -> str:
        if token in self._added:
            return self._added[token]
        name = self._backend.id_to_token(token)
        if name is None:
            return f"<{token}>"
        if self._byte_level and all(letter in _LETTERS for letter in name):
            return show_bytes(bytes(_LETTERS[letter] for letter in name))
        byte = piece_bytes(name)
        return show_bytes(byte) if byte is not None else name.replace("▁", " ")


def show_bytes(data: bytes) -> str:
    """Return the text of UTF-8 `data`, each byte that is not part of a character as `<0xF0>`."""
    parts: list[str] = []
    place = 0
    while place < len(data):
        for size in (1, 2, 3, 4):
            try:
                parts.append(data[place : place + size].decode())
            except UnicodeDecodeError:
                continue
            if place + size <= len(data):
                break
        else:
            parts.append(f"<0x{data[place]:02X}>")
            size = 1
        place += size
    return "".join(parts)
