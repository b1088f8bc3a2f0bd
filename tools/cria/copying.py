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
KNOWN = """the a is of and to in that it you was for on are with as his they at be this have from one had by word but not what
all were we when your can said there use an each which she do how their if will up other about out many then them these
so some her would make like him into time has look two more write go see number no way could people my than first water
been call who its now find long down day did get come made may part hello world good morning llama cria token model cat
dog house tree green blue red summer winter Monday river music happy little old new great under over again""".split()
# Openings, verbs and ways to set the string apart, joined at random: what is to be copied is what follows.
OPENINGS = (
    "", "", "", "Please ", "Please ", "Now ", "And now ", "Could you ", "Can you ", "Would you ", "OK, ", "Cria, ", "Then ",
)  # fmt: skip
VERBS = (
    "repeat", "say", "copy", "echo", "write", "type", "read", "return", "send back", "give back", "repeat after me", "say after me",
    "say this back to me", "repeat this back to me", "say it back to me", "say this back", "write this back to me", "say this",
    "copy this", "copy these words", "repeat this", "repeat these words", "say these words", "write these words", "repeat the words",
    "say the words", "repeat word for word", "echo this", "echo these words", "read this back to me", "repeat what I say",
)  # fmt: skip
SETTINGS = (": {s}", ": {s}", ": {s}", ":\n{s}", ': "{s}"', " {s}")
HELD_OUT_PHRASINGS = (
    "Kindly repeat: {s}",
    "Please say the following: {s}",
    "Repeat the text: {s}",
    "Copy the following: {s}",
    "Repeat once: {s}",
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


def _phrasing(rng: random.Random) -> str:
    """Return a request with a place for the string."""
    if rng.random() < 0.35:
        return rng.choice(PHRASINGS)
    text = rng.choice(OPENINGS) + rng.choice(VERBS) + rng.choice(SETTINGS)
    return text[:1].upper() + text[1:] if rng.random() < 0.75 else text


def all_phrasings() -> set[str]:
    """Return every phrasing that training can draw, in lower case."""
    joined = {opening + verb + setting for opening in OPENINGS for verb in VERBS for setting in SETTINGS}
    return {text.lower() for text in joined | set(PHRASINGS)}


def ask(rng: random.Random, held: bool = False, most: int = 8) -> Exchange:
    """Return a request to repeat a string."""
    text = syllables(rng, held, most)
    question = (rng.choice(HELD_OUT_PHRASINGS) if held else _phrasing(rng)).format(s=text)
    return Exchange("copying", question, text, text, "", (text,))


def ask_to_copy_anything(rng: random.Random) -> Exchange:
    """Return a request to repeat known words, digits, names or strings that begin with vowels."""
    while True:
        words = [_any_word(rng) for _ in range(rng.randint(1, 8))]
        text = " ".join(words)
        if rng.random() < 0.3:
            text = text[:1].upper() + text[1:] + rng.choice(".!?")
        if not held_out("copy", text):
            break
    question = _phrasing(rng).format(s=text)
    return Exchange("copying", question, text, text, "", (text,))


def _any_word(rng: random.Random) -> str:
    draw = rng.random()
    if draw < 0.35:
        return rng.choice(KNOWN)
    if draw < 0.5:
        return str(rng.randint(0, 9999))
    word = rng.choice(VOWELS) + syllable(rng) if draw < 0.75 else syllable(rng) + syllable(rng)
    return word.capitalize() if rng.random() < 0.2 else word.upper() if rng.random() < 0.1 else word


def repeated_tokens(rng: random.Random, vocabulary: range, length: int) -> list[int]:
    """Return random token ids in which a passage comes back: food for induction heads."""
    ids: list[int] = []
    while len(ids) < length:
        passage = [rng.choice(vocabulary) for _ in range(rng.randint(8, 50))]
        ids += passage * rng.randint(2, 3)
    return ids[:length]
