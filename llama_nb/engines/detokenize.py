"""Tokens to text, one at a time: never half a character, never a part of a stop string.

Knows the `tokenizers` backend by its `decode` and `id_to_token` only.
"""

import re
from collections.abc import Callable, Collection, Sequence

_REPLACEMENT = "\ufffd"
_BYTE_TOKEN = re.compile(r"<0x[0-9A-Fa-f]{2}>\Z")
# A cut UTF-8 sequence has at most three bytes, so it shows as at most three replacement characters.
_UNSETTLED_CHARACTERS = 3
_PATIENCE = 8  # tokens that may pass before the settled beginning of a broken run of bytes is let out


class TextStream:
    """The text of a growing reply.

    What `feed` and `flush` return, joined, equals the decoding of all tokens at once.

    Parameters
    ----------
    decode
        Token ids to text, control tokens skipped.
    piece
        A token id to the tokenizer's own name of it.
    special
        The ids of control tokens: they add nothing to the text.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], piece: Callable[[int], str | None], special: Collection[int]
    ) -> None:
        self._decode = decode
        self._piece = piece
        self._special = special
        self._ids: list[int] = []
        self._settled = 0  # tokens before this one are in the text
        self._context = 0  # the window is decoded from here, since decoders treat a first token differently
        self._sent = 0  # characters of the unsettled window that were already let out
        self._byte_run = False

    def feed(self, token: int) -> str:
        """Add a token and return the text that is certain now."""
        if token in self._special:
            return ""
        self._ids.append(token)
        # Byte-fallback decoders turn a whole run of byte tokens to "unknown" when one byte is wrong,
        # so nothing of the run is certain before it ends.
        self._byte_run = bool(_BYTE_TOKEN.match(self._piece(token) or ""))
        if self._byte_run:
            return ""
        text = self._window()
        if not text.endswith(_REPLACEMENT):
            return self._settle(text)
        if len(self._ids) - self._settled < _PATIENCE:
            return ""
        sure = max(len(text) - _UNSETTLED_CHARACTERS, self._sent)
        out, self._sent = text[self._sent : sure], sure
        return out

    def flush(self) -> str:
        """Return what was held back; a cut character becomes a replacement character."""
        return self._settle(self._window())

    def _window(self) -> str:
        before = self._decode(self._ids[self._context : self._settled]) if self._settled else ""
        return self._decode(self._ids[self._context :])[len(before) :]

    def _settle(self, text: str) -> str:
        out, self._sent = text[self._sent :], 0
        if self._settled < len(self._ids):
            self._context, self._settled = self._settled, len(self._ids)
        return out


class StopStrings:
    """Holds back what may become a stop string and cuts the text where one is complete.

    The stop string that is complete first ends the text, wherever the tokens' borders are.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        """Add text and return what cannot belong to a stop string; `found` is set once one is complete."""
        if not self._stops or self.found is not None:
            return text if self.found is None else ""
        text = self._held + text
        if hits := self._hits(text):
            _, start, self.found = min(hits)
            self._held = ""
            return text[:start]
        return self._without_beginnings(text)

    def pass_over(self, text: str) -> str:
        """Add text as `feed` does, but let the stop strings pass that are complete in it."""
        if not self._stops:
            return text
        passed, text = "", self._held + text
        while hits := self._hits(text):
            end, _, _ = min(hits)
            passed, text = passed + text[:end], text[end:]
        return passed + self._without_beginnings(text)

    def _hits(self, text: str) -> list[tuple[int, int, str]]:
        """Return where each stop string ends and starts."""
        return [(start + len(stop), start, stop) for stop in self._stops if (start := text.find(stop)) >= 0]

    def _without_beginnings(self, text: str) -> str:
        """Hold back the end of `text` that may become a stop string, and return what is before it."""
        keep = max(self._overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """Return what was held back and did not become a stop string."""
        out, self._held = self._held, ""
        return out

    @staticmethod
    def _overlap(text: str, stop: str) -> int:
        for size in range(min(len(stop) - 1, len(text)), 0, -1):
            if text.endswith(stop[:size]):
                return size
        return 0
