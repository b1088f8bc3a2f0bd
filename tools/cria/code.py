"""Skill of the model with experts: short Python functions with a number and a name in them.

A function is drawn from a table of kinds; numbers and the names of things are held out together with their kind.
"""

import random
from dataclasses import dataclass

from tools.cria.exchange import Exchange
from tools.cria.words import held_out

THINGS = """number price score weight width height age count size step level day total point""".split()
LISTS = """numbers prices scores words names items values lines letters colours""".split()


@dataclass(frozen=True)
class Kind:
    """One kind of function: what is asked for, its name and its body, with {n} and {x} filled in."""

    asked: str
    name: str
    body: str
    many: bool = False
    bare: bool = False  # without a number


KINDS = (
    Kind("adds {n} to a {x}", "add_{n}", "return {x} + {n}"),
    Kind("takes {n} from a {x}", "take_{n}", "return {x} - {n}"),
    Kind("multiplies a {x} by {n}", "times_{n}", "return {x} * {n}"),
    Kind("divides a {x} by {n}", "divide_by_{n}", "return {x} / {n}"),
    Kind("says whether a {x} is above {n}", "is_above_{n}", "return {x} > {n}"),
    Kind("says whether a {x} is below {n}", "is_below_{n}", "return {x} < {n}"),
    Kind("says whether a {x} can be divided by {n}", "has_factor_{n}", "return {x} % {n} == 0"),
    Kind("returns the first {n} {x}", "first_{n}", "return {x}[:{n}]", many=True),
    Kind("returns the last {n} {x}", "last_{n}", "return {x}[-{n}:]", many=True),
    Kind("counts the {x}", "count", "return len({x})", many=True, bare=True),
    Kind("sorts the {x}", "sort", "return sorted({x})", many=True, bare=True),
    Kind("reverses the {x}", "reverse", "return {x}[::-1]", many=True, bare=True),
    Kind("adds up the {x}", "total", "return sum({x})", many=True, bare=True),
    Kind("prints the {x}", "show", "for item in {x}:\n        print(item)", many=True, bare=True),
    Kind(
        "prints the {x} that are above {n}",
        "show_above_{n}",
        "for item in {x}:\n        if item > {n}:\n            print(item)",
        many=True,
    ),
    Kind("prints a {x} {n} times", "print_{n}_times", "for turn in range({n}):\n        print({x})"),
)
PHRASINGS = (
    "Write a Python function that {asked}.",
    "Write a function that {asked}.",
    "A Python function that {asked}, please.",
    "In Python, write a function that {asked}.",
    "Show me a function that {asked}.",
    "Write some code that {asked}.",
    "I need a Python function that {asked}.",
    "Can you write a Python function that {asked}?",
    "Give me Python for this: a function that {asked}.",
    "Code a function that {asked}.",
    "How do I write a function that {asked}?",
)
HELD_OUT_PHRASINGS = ("Please write a Python function that {asked}.", "Write Python code that {asked}.")


def _draw(rng: random.Random, held: bool) -> tuple[Kind, str, int]:
    while True:
        kind = rng.choice(KINDS)
        thing = rng.choice(LISTS if kind.many else THINGS)
        number = rng.randint(2, 20)
        if held_out("code", kind.name, thing, 0 if kind.bare else number) == held:
            return kind, thing, number


def function(kind: Kind, thing: str, number: int) -> str:
    """Return the code of one function."""
    name, body = kind.name.format(n=number), kind.body.format(n=number, x=thing)
    return f"def {name}({thing}):\n    {body}\n"


def ask(rng: random.Random, held: bool = False) -> Exchange:
    """Return a request for a function; a held-out one has a combination and a wording never trained on."""
    kind, thing, number = _draw(rng, held)
    asked = kind.asked.format(n=number, x=thing)
    question = rng.choice(HELD_OUT_PHRASINGS if held else PHRASINGS).format(asked=asked)
    code = function(kind, thing, number)
    return Exchange("code", question, f"```python\n{code}```", "", "", (code,))


def _use(rng: random.Random, kind: Kind, number: int) -> str:
    given = (
        f"[{', '.join(str(rng.randint(1, 30)) for _ in range(3))}]" if kind.many else str(rng.randint(1, 99))
    )
    call = f"{kind.name.format(n=number)}({given})"
    return call if kind.name.startswith(("show", "print")) else f"print({call})"


def file(rng: random.Random, functions: int) -> str:
    """Return a small file of the training part: functions, each with a line that uses it."""
    parts: list[str] = []
    for _ in range(functions):
        kind, thing, number = _draw(rng, False)
        parts.append(f"{function(kind, thing, number)}\n\n{_use(rng, kind, number)}\n")
    return "\n\n".join(parts)
