"""Skill 3: sums of two numbers below 100, with a tenth of the pairs held out."""

import random

from tools.cria.exchange import Exchange
from tools.cria.words import as_typed, held_out

PHRASINGS = (
    "What is {a} + {b}?", "What is {a} + {b}?", "{a} + {b}", "{a} + {b} = ?", "{a} plus {b}?", "add {a} and {b}", "Add {a} and {b}.",
    "What is {a} plus {b}?", "How much is {a} + {b}?", "Compute {a} + {b}.", "Calculate {a} + {b}", "{a}+{b}",
    "What is the sum of {a} and {b}?", "Please add {a} and {b}.", "{a} + {b}?", "What do {a} and {b} make?",
    "How much is {a} plus {b}?", "Can you add {a} and {b}?",
)  # fmt: skip
HELD_OUT_PHRASINGS = (
    "What is {a}+{b}?",
    "Tell me {a} + {b}.",
    "Please compute {a} + {b}.",
    "Sum {a} and {b}.",
)


def pair(rng: random.Random, held: bool) -> tuple[int, int]:
    """Return two numbers below 100 from the part asked for."""
    while True:
        a, b = rng.randrange(100), rng.randrange(100)
        if held_out("sum", a, b) == held:
            return a, b


def ask(rng: random.Random, held: bool = False) -> Exchange:
    """Return a question for a sum; a held-out question has a held-out pair, in any phrasing."""
    a, b = pair(rng, held)
    phrasings = PHRASINGS + HELD_OUT_PHRASINGS if held else PHRASINGS
    question = rng.choice(phrasings).format(a=a, b=b)
    if not held:
        question = as_typed(rng, question, slips=False)
    text = f"{a} + {b} = {a + b}."
    return Exchange("sums", question, text, text, str(a + b), (f"= {a + b}.",))


def sheet(rng: random.Random, lines: int) -> list[tuple[str, str]]:
    """Return lines of plain sums of the training part, each as (given, result)."""
    out = []
    for _ in range(lines):
        a, b = pair(rng, False)
        out.append((f"{a} + {b} =", f" {a + b}.\n"))
    return out
