"""A small extra: the user's name, told in one turn and asked for in a later one."""

import random

from tools.cria.exchange import Exchange
from tools.cria.stories import HEROES
from tools.cria.words import as_typed, choose, invented_word

TOLD = (
    "My name is {n}.",
    "I am {n}.",
    "I'm {n}.",
    "Hi, I am {n}.",
    "Hello, my name is {n}.",
    "Call me {n}.",
    "my name is {n}",
)
ASKED = (
    "What is my name?",
    "Who am I?",
    "Do you know my name?",
    "What's my name?",
    "Do you remember my name?",
)


def tell(rng: random.Random) -> tuple[str, Exchange]:
    """Return a name and the turn that tells it."""
    if rng.random() < 0.5:
        name = invented_word(rng, 2).capitalize()
    else:
        name = choose(rng, HEROES, False, "hero", part=0.15)
    answer = f"Nice to meet you, {name}!"
    return name, Exchange("remembering", rng.choice(TOLD).format(n=name), answer, answer, name, (name,))


def recall(rng: random.Random, name: str | None) -> Exchange:
    """Return the turn that asks for the name; None stands for a name that was not told."""
    question = as_typed(rng, rng.choice(ASKED), slips=False)
    if name is None:
        answer = "I don't know your name. You have not told me."
        return Exchange(
            "remembering", question, answer, "I don't know your name.", "Unknown", ("don't know",)
        )
    answer = f"Your name is {name}."
    return Exchange("remembering", question, answer, answer, name, (name,))
