"""The tokens that were read: what each is and shows as, which text it belongs to, and what that is about.

One text, or a corpus of them one after the other. Knows no model.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

MOST_DOMAINS = 256


@dataclass(frozen=True, eq=False)
class Passages:
    """N tokens of D texts.

    Attributes
    ----------
    ids
        Token ids, int32 of shape (N,).
    words
        What tokens show as: of one text by position, of a corpus by id.
    special_ids
        The ids among them that are control tokens.
    starts
        Where each text begins, and where the last one ends: int64 of shape (D + 1,).
    domains
        What texts are about: their labels, each once.
    about
        Of each text, which of `domains` it is, -1 for none: int16 of shape (D,); None if there are no labels.
    """

    ids: npt.NDArray[np.int32]
    words: Sequence[str] | Mapping[int, str]
    special_ids: frozenset[int]
    starts: npt.NDArray[np.int64]
    domains: tuple[str, ...] = ()
    about: npt.NDArray[np.int16] | None = None

    @classmethod
    def of_text(cls, ids: Sequence[int], texts: Sequence[str], special: Sequence[bool]) -> "Passages":
        """Return the tokens of one text."""
        controls = frozenset(token for token, is_special in zip(ids, special, strict=True) if is_special)
        return cls(np.array(ids, np.int32), tuple(texts), controls, np.array([0, len(ids)], np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def texts(self, start: int, stop: int) -> list[str]:
        """Return what tokens show as."""
        if isinstance(self.words, Mapping):
            return [self.words[token] for token in self.ids[start:stop].tolist()]
        return list(self.words[start:stop])

    @cached_property
    def special(self) -> npt.NDArray[np.bool_]:
        """Which tokens are control tokens, (N,)."""
        return np.isin(self.ids, list(self.special_ids))

    @cached_property
    def document_of(self) -> npt.NDArray[np.int64]:
        """Which text each token belongs to, (N,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @cached_property
    def domain_of(self) -> npt.NDArray[np.int16]:
        """Which domain each token belongs to, (N,); -1 for none."""
        about = np.full(len(self.starts) - 1, -1, np.int16) if self.about is None else self.about
        return np.repeat(about, np.diff(self.starts))

    @property
    def labels(self) -> tuple[str, ...]:
        """The label of each text, "" where it has none; () if no text has one."""
        if self.about is None:
            return ()
        return tuple(self.domains[place] if place >= 0 else "" for place in self.about.tolist())


def number_labels(labels: Sequence[str]) -> tuple[tuple[str, ...], npt.NDArray[Any]]:
    """Return each label once, in the order in which they come, and which of them each text has; "" is -1."""
    domains = tuple(dict.fromkeys(label for label in labels if label))
    places = {label: place for place, label in enumerate(domains)}
    return domains, np.array([places.get(label, -1) for label in labels], np.int16)
