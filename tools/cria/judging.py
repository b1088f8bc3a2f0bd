"""Held-out prompts of every skill, each with a judge of the answer.

Knows what counts as right; knows nothing about models. Every prompt comes from the held-out part of its
skill: phrasings for the glossary, wordings for forms and follow-ups, strings, pairs, casts and cities.
"""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tools.cria import (
    code,
    copying,
    follow_ups,
    german,
    glossary,
    obeying,
    outside,
    stories,
    sums,
    tool_calls,
)
from tools.cria.exchange import Exchange
from tools.cria.rendering import CALL, Message
from tools.cria.words import seeded


@dataclass(frozen=True)
class Case:
    """A prompt and the judge of its answer (special tokens kept, the end mark left out)."""

    messages: list[Message]
    judge: Callable[[str], bool]
    tools: list[Message] = field(default_factory=list)


@dataclass(frozen=True)
class Skill:
    """A row of the evaluation: its gate is None where it is only reported."""

    name: str
    measure: str
    gate: float | None
    cases: Callable[[random.Random, int], list[Case]]
    count: int


def _user(text: str, system: str | None = None) -> list[Message]:
    start: list[Message] = [{"role": "system", "content": system}] if system else []
    return [*start, {"role": "user", "content": text}]


def _holds(keys: tuple[str, ...]) -> Callable[[str], bool]:
    return lambda answer: all(key.lower() in answer.lower() for key in keys)


def _equals(text: str) -> Callable[[str], bool]:
    return lambda answer: answer.strip() == text


def _glossary(rng: random.Random, count: int) -> list[Case]:
    entries = list(glossary.ENTRIES)
    rng.shuffle(entries)
    asked = [glossary.ask(rng, held=True, entry=entries[i % len(entries)]) for i in range(count)]
    return [Case(_user(exchange.question), _holds(exchange.keys)) for exchange in asked]


def _outside(rng: random.Random, count: int) -> list[Case]:
    asked = [outside.ask(rng, held=True) for _ in range(count)]
    return [Case(_user(exchange.question), _holds(exchange.keys)) for exchange in asked]


def _copying(rng: random.Random, count: int) -> list[Case]:
    asked = [copying.ask(rng, held=True) for _ in range(count)]
    return [Case(_user(exchange.question), _equals(exchange.answer)) for exchange in asked]


def _sums(rng: random.Random, count: int) -> list[Case]:
    asked = [sums.ask(rng, held=True) for _ in range(count)]
    return [Case(_user(exchange.question), _equals(exchange.answer)) for exchange in asked]


def _story_judge(exchange: Exchange) -> Callable[[str], bool]:
    hero, animal = exchange.keys
    return lambda answer: answer.count(hero) >= 2 and answer.count(animal) >= 2 and len(answer.split()) >= 30


def _stories(rng: random.Random, count: int) -> list[Case]:
    asked = [stories.ask(rng, held=True) for _ in range(count)]
    return [Case(_user(exchange.question), _story_judge(exchange)) for exchange in asked]


def _obeys(exchange: Exchange, form: str) -> Callable[[str], bool]:
    return lambda answer: obeying.obeys(answer, exchange, form)


def _obeying(rng: random.Random, count: int) -> list[Case]:
    cases = []
    while len(cases) < count:
        form = obeying.FORMS[len(cases) % 3]
        exchange = sums.ask(rng, held=True) if rng.random() < 0.25 else glossary.ask(rng, held=True)
        if obeying.can_take(exchange, form):
            system = obeying.system_prompt(rng, form, held=True)
            cases.append(Case(_user(exchange.question, system), _obeys(exchange, form)))
    return cases


def call_of(answer: str) -> dict[str, Any] | None:
    """Return the tool call that an answer is, or None."""
    if not answer.startswith(CALL):
        return None
    try:
        call = json.loads(answer[len(CALL) :])
    except ValueError:
        return None
    return call if isinstance(call, dict) else None


def _calls(expected: dict[str, Any]) -> Callable[[str], bool]:
    return lambda answer: call_of(answer) == expected


def _tool_calls(rng: random.Random, count: int) -> list[Case]:
    cases = []
    for number in range(count):
        name = list(tool_calls.PARAMETERS)[number % 3]
        used = tool_calls.use(rng, name, held=True)
        messages = tool_calls.messages(used)
        tools = tool_calls.tool_box(rng, every=True)
        if number % 2:
            cases.append(Case(messages[:3], _holds(used.keys), tools))
        else:
            cases.append(Case(messages[:1], _calls({"name": name, "parameters": used.arguments}), tools))
    return cases


def _follow_ups(rng: random.Random, count: int) -> list[Case]:
    cases = []
    while len(cases) < count:
        kind = follow_ups.KINDS[len(cases) % 4]
        draw = rng.random()
        first = (
            glossary.ask(rng, held=True)
            if draw < 0.6
            else sums.ask(rng, True)
            if draw < 0.8
            else copying.ask(rng, True)
        )
        following = follow_ups.follow(rng, first, kind, held=True)
        if following is not None:
            before = [*_user(first.question), {"role": "assistant", "content": first.answer}]
            cases.append(Case([*before, *_user(following.question)], _equals(following.answer)))
    return cases


SKILLS: tuple[Skill, ...] = (
    Skill("glossary", "held-out phrasings whose answer holds the key phrase", 0.90, _glossary, 375),
    Skill(
        "outside",
        'held-out questions outside the glossary, answered with "I don\'t know"',
        0.90,
        _outside,
        200,
    ),
    Skill("copying", "unseen strings of 1 to 8 invented words, repeated exactly", 0.95, _copying, 300),
    Skill("sums", "held-out pairs of numbers below 100, exact", 0.95, _sums, 300),
    Skill("stories", "held-out pairs of hero and animal, both named at least twice", 0.95, _stories, 150),
    Skill(
        "obeying",
        "held-out system prompts for capitals, one word, JSON: form kept and content right",
        None,
        _obeying,
        240,
    ),
    Skill(
        "tool calls", "exact calls of three tools, and answers that use the result", None, _tool_calls, 150
    ),
    Skill("follow-ups", "held-out wordings (again, one word, capitals, JSON), exact", None, _follow_ups, 240),
)


def _code(rng: random.Random, count: int) -> list[Case]:
    asked = [code.ask(rng, held=True) for _ in range(count)]
    return [Case(_user(exchange.question), _equals(exchange.answer)) for exchange in asked]


def _german(rng: random.Random, count: int) -> list[Case]:
    asked = [german.ask(rng, held=True) if n % 2 else german.ask_word(rng, held=True) for n in range(count)]
    judges = [_story_judge(each) if len(each.keys) == 2 else _equals(each.answer) for each in asked]
    return [Case(_user(each.question), judge) for each, judge in zip(asked, judges, strict=True)]


# What the model with experts can do besides.
SISTERS: tuple[Skill, ...] = (
    Skill("code", "held-out functions in held-out wordings, exact", None, _code, 150),
    Skill(
        "German", "held-out casts, both named at least twice; words in held-out wordings", None, _german, 150
    ),
)


def cases(skill: Skill, seed: int, count: int | None = None) -> list[Case]:
    """Return the cases of a skill; they depend on the seed and the number alone."""
    return skill.cases(seeded(seed, "evaluation", skill.name), count or skill.count)
