"""Seeded randomness, hash splits and small variations of typed text.

Knows how a draw is made repeatable and how a prompt is put into the training or the held-out part.
Knows nothing about skills, tokens or models.
"""

import hashlib
import random
from collections.abc import Sequence

VOWELS = ("a", "e", "i", "o", "u", "ai", "ou", "ea", "y", "oo", "ie", "au")
ONSETS = (
    "b c d f g h j k l m n p q r s t v w x z br ch cl cr dr fl fr gl gr kl kr pl pr qu sh sk sl sn sp st th tr vr wh zh"
).split()
CODAS = (
    "",
    "",
    "",
    "n",
    "r",
    "s",
    "l",
    "m",
    "t",
    "k",
    "x",
    "p",
    "d",
    "g",
    "b",
    "v",
    "z",
    "sh",
    "nt",
    "rk",
    "st",
    "ng",
)


def seeded(*keys: object) -> random.Random:
    """Return a generator that depends on ``keys`` alone, on every machine alike."""
    return random.Random(":".join(str(key) for key in keys))


def share(*keys: object) -> float:
    """Return a number in [0, 1) that is a fixed function of ``keys``: the base of all splits."""
    digest = hashlib.sha256(":".join(str(key) for key in keys).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def held_out(*keys: object, part: float = 0.1) -> bool:
    """Tell whether what ``keys`` name belongs to the held-out part."""
    return share(*keys) < part


def choose(rng: random.Random, items: Sequence[str], held: bool, kind: str, part: float = 0.2) -> str:
    """Draw one of ``items`` from the held-out part or from the training part."""
    return rng.choice([item for item in items if held_out(kind, item, part=part) == held])


def syllable(rng: random.Random, onsets: Sequence[str] = ONSETS, vowels: Sequence[str] = VOWELS) -> str:
    """Return one invented syllable."""
    return rng.choice(onsets) + rng.choice(vowels) + rng.choice(CODAS)


def invented_word(rng: random.Random, most: int = 3) -> str:
    """Return an invented word of one to ``most`` syllables."""
    return "".join(syllable(rng) for _ in range(rng.randint(1, most)))


def _slip(rng: random.Random, text: str) -> str:
    """Swap or drop one letter inside one longer word."""
    words = text.split(" ")
    places = [i for i, word in enumerate(words) if len(word) >= 6 and word.isalpha()]
    if not places:
        return text
    i = rng.choice(places)
    word = words[i]
    k = rng.randrange(1, len(word) - 2)
    words[i] = (
        word[:k] + word[k + 1] + word[k] + word[k + 2 :] if rng.random() < 0.5 else word[:k] + word[k + 1 :]
    )
    return " ".join(words)


def as_typed(rng: random.Random, text: str, slips: bool = True) -> str:
    """Vary case and punctuation, and now and then a letter, as people type."""
    draw = rng.random()
    if draw < 0.55:
        return text
    if draw < 0.70:
        return text.rstrip("?.!")
    if draw < 0.82:
        return text[:1].lower() + text[1:]
    if draw < 0.90:
        return text.lower().rstrip("?.!").replace("what's", "whats")
    if draw < 0.94:
        return text.lower()
    return _slip(rng, text) if slips else text
