"""Skill 7: a turn that refers to the answer before it."""

import json
import random

from tools.cria.exchange import Exchange

KINDS = ("again", "word", "capitals", "json")
WORDINGS: dict[str, tuple[str, ...]] = {
    "again": ("say it again", "Say it again.", "Again, please.", "Can you repeat that?", "Please repeat your answer.", "Once more.",
              "Repeat that.", "What did you say?", "Say that again, please.", "again", "Pardon?", "One more time."),
    "word": ("and in one word?", "And in one word?", "In one word?", "in one word", "In one word, please.", "Say it in one word.",
             "Now in one word.", "Just one word, please.", "Can you say it in one word?", "And as one word?", "shorter: one word"),
    "capitals": ("in capitals?", "In capitals, please.", "and in capitals?", "Now in capitals.", "Say it in capital letters.", "And in capital letters?",
                 "in capital letters", "Write it in capitals.", "Can you shout it?", "Again in capitals.", "In uppercase, please."),
    "json": ("and as JSON?", "As JSON, please.", "Now as JSON.", "in JSON?", "Give it as JSON.", "And in JSON?", "Write it as JSON.",
             "as a JSON object", "Can you write it as JSON?"),
}  # fmt: skip
# Openings, the wish, and how it ends, joined at random.
OPENINGS = ("", "Please ", "Can you ", "Could you ", "Now ", "And now ", "And ", "OK, ", "Then please ")
WISHES: dict[str, tuple[str, ...]] = {
    "again": ("say it again", "say that again", "repeat it", "repeat that", "repeat your answer", "say it once more", "tell me again"),
    "word": ("say it in one word", "in one word", "say that in one word", "put it in one word", "as one word", "give me one word", "one word"),
    "capitals": ("say it in capitals", "in capitals", "write it in capitals", "in capital letters", "write that in capital letters", "in uppercase"),
    "json": ("write it as JSON", "as JSON", "in JSON", "give it as JSON", "as a JSON object", "say it as JSON"),
}  # fmt: skip
ENDINGS = ("", ".", "?", ", please.", ", please")
HELD_OUT_WORDINGS: dict[str, tuple[str, ...]] = {
    "again": ("Tell me that again.", "Once again, please.", "Repeat it for me."),
    "word": ("Shorten it to one word.", "And with one word?", "What is it in one word?"),
    "capitals": ("The same in capitals?", "And all in capitals?", "Tell me in capital letters."),
    "json": ("Turn it into JSON.", "The same as JSON?", "Now make it JSON."),
}


def _wording(rng: random.Random, kind: str) -> str:
    """Return a wording for training."""
    if rng.random() < 0.4:
        return rng.choice(WORDINGS[kind])
    text = rng.choice(OPENINGS) + rng.choice(WISHES[kind]) + rng.choice(ENDINGS)
    return text[:1].upper() + text[1:] if rng.random() < 0.75 else text


def all_wordings(kind: str) -> set[str]:
    """Return every wording of a kind that training can draw, in lower case."""
    joined = {opening + wish + end for opening in OPENINGS for wish in WISHES[kind] for end in ENDINGS}
    return {text.lower() for text in joined | set(WORDINGS[kind])}


def follow(rng: random.Random, before: Exchange, kind: str, held: bool = False) -> Exchange | None:
    """Return the turn that follows ``before``, or None where that kind makes no sense."""
    question = rng.choice(HELD_OUT_WORDINGS[kind]) if held else _wording(rng, kind)
    if kind == "again":
        answer = before.answer
    elif kind == "word":
        answer = before.word
    elif kind == "capitals":
        answer = before.plain.upper()
    else:
        answer = json.dumps({"answer": before.plain}, ensure_ascii=False) if before.plain else ""
    if not answer:
        return None
    return Exchange(f"follow-up {kind}", question, answer, before.plain, before.word, (answer,))
