"""Skill 2: repeat strings of random syllables.

Every string is new, and its hash says whether it belongs to training or to the test. Inventories of
syllables differ from string to string, so that nothing but copying helps.
"""

import random

from tools.cria.exchange import Exchange
from tools.cria.words import ONSETS, VOWELS, held_out, syllable

PHRASINGS = (
    "Repeat: {s}", "Repeat: {s}", "Repeat after me: {s}", "Say this back to me: {s}", "Please repeat: {s}", "Copy this: {s}",
    "Say: {s}", "Echo: {s}", "Write the same: {s}", "Repeat this exactly: {s}", "Say exactly: {s}", "repeat {s}",
    "Repeat the following words: {s}", "Can you repeat this? {s}", "Repeat the next line.\n{s}", 'Repeat "{s}"',
    'Say "{s}"', "Please say {s}",
)  # fmt: skip
HELD_OUT_PHRASINGS = (
    "Please copy: {s}",
    "Repeat these words: {s}",
    "Say this: {s}",
    "Please say this back to me: {s}",
)


def syllables(rng: random.Random, held: bool, most: int = 8) -> str:
    """Return one to ``most`` invented words that belong to the part asked for."""
    while True:
        onsets = rng.sample(ONSETS, rng.randint(3, len(ONSETS)))
        vowels = rng.sample(VOWELS, rng.randint(2, len(VOWELS)))
        longest = rng.choice((1, 2, 2, 3))
        words = [
            "".join(syllable(rng, onsets, vowels) for _ in range(rng.randint(1, longest)))
            for _ in range(rng.randint(1, most))
        ]
        if rng.random() < 0.1:
            words = [word.capitalize() for word in words]
        text = " ".join(words)
        if held_out("copy", text) == held:
            return text


def ask(rng: random.Random, held: bool = False, most: int = 8) -> Exchange:
    """Return a request to repeat a string."""
    text = syllables(rng, held, most)
    question = rng.choice(HELD_OUT_PHRASINGS if held else PHRASINGS).format(s=text)
    return Exchange("copying", question, text, text, "", (text,))


def repeated_tokens(rng: random.Random, vocabulary: range, length: int) -> list[int]:
    """Return random token ids in which a passage comes back: food for induction heads."""
    ids: list[int] = []
    while len(ids) < length:
        passage = [rng.choice(vocabulary) for _ in range(rng.randint(8, 50))]
        ids += passage * rng.randint(2, 3)
    return ids[:length]
