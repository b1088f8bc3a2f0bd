"""Random small JSON schemas, for tests that hold texts to them: objects, lists, choices, ranges, options."""

import random
from typing import Any

WORDS = ("title", "minutes", "kind", "steps", "animal", "näme", 'a "b"', "x", "is it?", "no_2")


def random_schema(dice: random.Random, depth: int = 2) -> dict[str, Any]:
    """Return a schema whose values are short, so that a model that knows nothing comes to their end."""
    leaves = (_text, _whole, _decimal, _choice, _constant, _flag, _pattern)
    nodes = (_thing, _thing, _list, _either, _pair)
    kind = dice.choice(nodes if depth > 0 and dice.random() < 0.7 else leaves)
    return kind(dice, depth)


def _text(dice: random.Random, _: int) -> dict[str, Any]:
    least = dice.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + dice.randint(0, 8)}


def _whole(dice: random.Random, _: int) -> dict[str, Any]:
    least = dice.randint(-1000, 1000)
    schema = {"type": "integer", "minimum": least, "maximum": least + dice.randint(0, 500)}
    if dice.random() < 0.2:
        schema["exclusiveMaximum"] = schema.pop("maximum") + 1
    return schema


def _decimal(dice: random.Random, _: int) -> dict[str, Any]:
    least = round(dice.uniform(-5, 5), 2)
    return {"type": "number", "minimum": least, "maximum": least + dice.choice((0.5, 1, 20))}


def _choice(dice: random.Random, _: int) -> dict[str, Any]:
    return {"enum": dice.sample(["soup", "cake", 7, None, True, "", "tea\n", 2.5], dice.randint(1, 4))}


def _constant(dice: random.Random, _: int) -> dict[str, Any]:
    return {"const": dice.choice(["llama", 3, False, [1, 2], {"a": 1}])}


def _flag(_: random.Random, __: int) -> dict[str, Any]:
    return {"type": "boolean"}


def _pattern(dice: random.Random, _: int) -> dict[str, Any]:
    return {"type": "string", "pattern": dice.choice(("^[a-c]{2,4}$", "^[0-9]{3}-[0-9]$", "^(yes|no)$"))}


def _thing(dice: random.Random, depth: int) -> dict[str, Any]:
    names = dice.sample(WORDS, dice.randint(1, 3))
    return {
        "type": "object",
        "properties": {name: random_schema(dice, depth - 1) for name in names},
        "required": [name for name in names if dice.random() < 0.7],
        "additionalProperties": False,
    }


def _list(dice: random.Random, depth: int) -> dict[str, Any]:
    least = dice.randint(0, 2)
    items = random_schema(dice, depth - 1)
    return {"type": "array", "items": items, "minItems": least, "maxItems": least + dice.randint(0, 2)}


def _pair(dice: random.Random, depth: int) -> dict[str, Any]:
    parts = [random_schema(dice, depth - 1) for _ in range(2)]
    return {"type": "array", "prefixItems": parts, "minItems": 2, "maxItems": 2}


def _either(dice: random.Random, depth: int) -> dict[str, Any]:
    return {"anyOf": [random_schema(dice, depth - 1), {"type": "null"}]}
