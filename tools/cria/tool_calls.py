"""Skill 6: calls of three described tools, and answers from their results.

Knows the tools, questions that need them and how a result is told. Cities and questions are split
into a training and a held-out part.
"""

import json
import random
from dataclasses import dataclass
from typing import Any

from tools.cria.words import choose, invented_word

CITIES = """Oslo Paris Rome Berlin London Madrid Lima Cairo Tokyo Delhi Vienna Prague Athens Dublin Bern Riga Quito Accra Hanoi
Seoul Boston Chicago Toronto Havana Nairobi Lagos Tunis Warsaw Lisbon Hamburg Munich Milan Naples Geneva Zurich Bergen
Turin Porto Seville Lyon Nice Ghent Malmo Turku Krakow Split Izmir Doha Dubai Mumbai Osaka Kyoto Perth Sydney Dallas
Denver Austin Miami Seattle""".split()
SKIES = ("sunny", "cloudy", "rainy", "foggy", "windy", "snowy", "clear", "stormy")

DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "weather": (
        "Get the weather in a city.",
        "Returns the present weather of a city.",
        "The weather in a place.",
    ),
    "calculator": (
        "Evaluate an arithmetic expression.",
        "Compute an expression.",
        "A calculator for numbers.",
    ),
    "clock": ("Get the time in a city.", "Returns the local time of a city.", "The time of day in a place."),
}
PARAMETERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "weather": ("city", ("The name of the city.", "City name", "The city")),
    "calculator": (
        "expression",
        ("The expression, such as 2 * 3.", "An arithmetic expression", "What to compute"),
    ),
    "clock": ("city", ("The name of the city.", "City name", "The city")),
}
QUESTIONS: dict[str, tuple[str, ...]] = {
    "weather": (
        "What is the weather in {c}?", "How is the weather in {c}?", "Is it warm in {c}?", "Tell me the weather in {c}.", "What's the weather like in {c}?",
        "Is it raining in {c}?", "weather in {c}", "Weather in {c}?", "Do I need an umbrella in {c}?", "How cold is it in {c}?", "Check the weather in {c}.",
    ),
    "calculator": (
        "What is {e}?", "Compute {e}.", "Calculate {e}", "How much is {e}?", "Use the calculator: {e}", "{e} = ?", "Please compute {e}.", "Work out {e}.",
    ),
    "clock": (
        "What time is it in {c}?", "What is the time in {c}?", "Tell me the time in {c}.", "How late is it in {c}?", "time in {c}",
        "Time in {c}?", "Do you know the time in {c}?", "Check the clock in {c}.", "What's the time in {c}?",
    ),
}  # fmt: skip
HELD_OUT_QUESTIONS: dict[str, tuple[str, ...]] = {
    "weather": (
        "Please tell me the weather in {c}.",
        "Is it cold in {c}?",
        "What is the weather like in {c}?",
    ),
    "calculator": ("Please calculate {e}.", "Can you compute {e}?", "Tell me {e}."),
    "clock": (
        "Please tell me the time in {c}.",
        "Can you tell me the time in {c}?",
        "What time is it now in {c}?",
    ),
}


@dataclass(frozen=True)
class ToolUse:
    """A question, the call that it needs, a result and the answer from it."""

    question: str
    name: str
    arguments: dict[str, str]
    result: str
    answer: str
    keys: tuple[str, ...]


def describe(rng: random.Random, name: str) -> dict[str, Any]:
    """Return a tool as transformers' ``get_json_schema`` writes it."""
    parameter, texts = PARAMETERS[name]
    properties = {parameter: {"type": "string", "description": rng.choice(texts)}}
    return {
        "type": "function",
        "function": {
            "name": name,
            "description": rng.choice(DESCRIPTIONS[name]),
            "parameters": {"type": "object", "properties": properties, "required": [parameter]},
        },
    }


def tool_box(rng: random.Random, every: bool = False) -> list[dict[str, Any]]:
    """Return some or all tools in random order."""
    names = list(PARAMETERS)
    rng.shuffle(names)
    if not every and rng.random() < 0.3:
        names = names[: rng.randint(1, 2)]
    return [describe(rng, name) for name in names]


def use(rng: random.Random, name: str, held: bool = False) -> ToolUse:
    """Return a use of one tool."""
    if name == "calculator":
        return _calculate(rng, held)
    city = choose(rng, CITIES, held, "city")
    if not held and rng.random() < 0.3:
        city = invented_word(rng).capitalize()
    question = rng.choice((HELD_OUT_QUESTIONS if held else QUESTIONS)[name]).format(c=city)
    if name == "weather":
        degrees, sky = rng.randint(-9, 38), rng.choice(SKIES)
        result: dict[str, Any] = {"city": city, "temperature": degrees, "sky": sky}
        if rng.random() < 0.5:
            del result["city"]
        answer = f"It is {degrees} degrees and {sky} in {city}."
        return ToolUse(
            question, name, {"city": city}, json.dumps(result), answer, (f" {degrees} ", sky, city)
        )
    time = f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
    text = json.dumps({"city": city, "time": time}) if rng.random() < 0.5 else json.dumps({"time": time})
    return ToolUse(question, name, {"city": city}, text, f"It is {time} in {city}.", (time, city))


def _calculate(rng: random.Random, held: bool) -> ToolUse:
    a, b, sign = rng.randint(2, 999), rng.randint(2, 999), rng.choice("*-/*-+")
    if sign == "+":
        a += 100
    value = {"*": a * b, "-": a - b, "/": round(a / b, 2), "+": a + b}[sign]
    expression = f"{a} {sign} {b}"
    question = rng.choice((HELD_OUT_QUESTIONS if held else QUESTIONS)["calculator"]).format(e=expression)
    text = json.dumps({"result": value}) if rng.random() < 0.6 else str(value)
    return ToolUse(
        question, "calculator", {"expression": expression}, text, f"{expression} = {value}.", (f"= {value}.",)
    )


def messages(tool_use: ToolUse) -> list[dict[str, Any]]:
    """Return the four messages of one use: question, call, result, answer."""
    call = {"type": "function", "function": {"name": tool_use.name, "arguments": tool_use.arguments}}
    return [
        {"role": "user", "content": tool_use.question},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "ipython", "content": tool_use.result},
        {"role": "assistant", "content": tool_use.answer},
    ]
