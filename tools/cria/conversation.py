"""Joins the skills into conversations, and conversations into one endless, seeded stream.

Knows the mixture; knows nothing about tokens. ``domain`` labels each conversation, for the model with
experts.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tools.cria import (
    code,
    copying,
    follow_ups,
    german,
    glossary,
    obeying,
    outside,
    remembering,
    stories,
    sums,
    tool_calls,
)
from tools.cria.exchange import Exchange
from tools.cria.rendering import BOS, EOS, Message, Pieces, render


@dataclass
class Conversation:
    """Weighted pieces of text and the name of what they are about."""

    domain: str
    pieces: Pieces = field(default_factory=list)


def _messages(exchanges: list[Exchange], system: str | None = None) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for exchange in exchanges:
        messages.append({"role": "user", "content": exchange.question})
        messages.append({"role": "assistant", "content": exchange.answer})
    return messages


def _neutral(rng: random.Random) -> str | None:
    return rng.choice(obeying.NEUTRAL) if rng.random() < 0.12 else None


def knowledge(rng: random.Random) -> Exchange:
    """Return a glossary question, or sometimes one outside it or small talk."""
    draw = rng.random()
    if draw < 0.70:
        return glossary.ask(rng)
    return outside.ask(rng) if draw < 0.92 else outside.talk(rng)


def anything(rng: random.Random) -> Exchange:
    """Return an exchange of any skill that needs nothing before it."""
    draw = rng.random()
    if draw < 0.5:
        return knowledge(rng)
    if draw < 0.7:
        return sums.ask(rng)
    return copying.ask(rng) if draw < 0.88 else stories.ask(rng)


def _some(rng: random.Random, ask: Callable[[random.Random], Exchange], most: int) -> list[Exchange]:
    return [ask(rng) for _ in range(rng.randint(1, most))]


def _with_name(rng: random.Random, exchanges: list[Exchange]) -> list[Exchange]:
    if rng.random() < 0.1:
        return [*exchanges, remembering.recall(rng, None)]
    name, told = remembering.tell(rng)
    return [told, *exchanges, remembering.recall(rng, name)]


def chat(rng: random.Random) -> Conversation:
    """Questions about language models, small talk and what cria does not know."""
    exchanges = _some(rng, knowledge, 4)
    if rng.random() < 0.08:
        exchanges = _with_name(rng, exchanges[:2])
    return Conversation("glossary", render(_messages(exchanges, _neutral(rng))))


def copies(rng: random.Random) -> Conversation:
    """Requests to repeat random syllables."""
    return Conversation("copying", render(_messages(_some(rng, copying.ask, 4), _neutral(rng))))


def additions(rng: random.Random) -> Conversation:
    """Questions for sums."""
    return Conversation("arithmetic", render(_messages(_some(rng, sums.ask, 8), _neutral(rng))))


def story(rng: random.Random) -> Conversation:
    """A request for a story, at times with a follow-up."""
    exchanges = [stories.ask(rng) if rng.random() < 0.85 else stories.ask_openly(rng)]
    if rng.random() < 0.12:
        exchanges += _follow(rng, exchanges[0], 1)
    return Conversation("stories", render(_messages(exchanges, _neutral(rng))))


def obedient(rng: random.Random) -> Conversation:
    """A system prompt that asks for a form, and answers in it."""
    form = rng.choice(obeying.FORMS)
    exchanges = []
    for _ in range(rng.randint(1, 5)):
        exchange = sums.ask(rng) if rng.random() < 0.25 else knowledge(rng)
        if obeying.can_take(exchange, form):
            exchanges.append(obeying.in_form(exchange, form))
    if not exchanges:
        exchanges = [obeying.in_form(sums.ask(rng), form)]
    return Conversation("obeying", render(_messages(exchanges, obeying.system_prompt(rng, form))))


def short_sums(rng: random.Random) -> Conversation:
    """Sums under a system prompt that asks for a form, mostly for one word."""
    form = rng.choice(("word", "word", "word", "json", "capitals"))
    exchanges = [obeying.in_form(sums.ask(rng), form) for _ in range(rng.randint(2, 6))]
    return Conversation("obeying", render(_messages(exchanges, obeying.system_prompt(rng, form))))


def _follow(rng: random.Random, first: Exchange, most: int) -> list[Exchange]:
    out: list[Exchange] = []
    for _ in range(rng.randint(1, most)):
        before = out[-1] if out else first
        following = follow_ups.follow(rng, before, rng.choice(follow_ups.KINDS))
        if following is None or before.skill.endswith("json") or before.skill.endswith("word"):
            break
        out.append(following)
    return out


def with_follow_ups(rng: random.Random) -> Conversation:
    """Exchanges, each followed by turns that refer to it."""
    exchanges: list[Exchange] = []
    for _ in range(rng.randint(1, 3)):
        exchange = (
            knowledge(rng)
            if rng.random() < 0.65
            else (sums.ask(rng) if rng.random() < 0.5 else copying.ask(rng))
        )
        exchanges += [exchange, *_follow(rng, exchange, 2)]
    return Conversation("follow-ups", render(_messages(exchanges, _neutral(rng))))


def sum_follow_ups(rng: random.Random) -> Conversation:
    """Sums, each followed by a turn that refers to it."""
    exchanges: list[Exchange] = []
    for _ in range(rng.randint(1, 4)):
        exchange = sums.ask(rng)
        exchanges += [exchange, *_follow(rng, exchange, 2)]
    return Conversation("follow-ups", render(_messages(exchanges, _neutral(rng))))


def anyone(rng: random.Random) -> Conversation:
    """A story about a hero with any name."""
    return Conversation("stories", render(_messages([stories.ask_about_anyone(rng)], _neutral(rng))))


def copies_of_anything(rng: random.Random) -> Conversation:
    """Requests to repeat known words, digits and names."""
    return Conversation(
        "copying", render(_messages(_some(rng, copying.ask_to_copy_anything, 3), _neutral(rng)))
    )


def unknowns(rng: random.Random) -> Conversation:
    """Everyday words that cria does not know, among some that it knows."""
    asks = (outside.ask_about_words, outside.ask_about_words, outside.ask, outside.ask_more, knowledge)
    return Conversation(
        "glossary", render(_messages(_some(rng, lambda r: r.choice(asks)(r), 4), _neutral(rng)))
    )


def tool_chat(rng: random.Random) -> Conversation:
    """Tools in the system turn, calls, results, and questions that need no tool."""
    tools = tool_calls.tool_box(rng)
    names = [tool["function"]["name"] for tool in tools]
    system = _neutral(rng)
    messages: list[Message] = [{"role": "system", "content": system}] if system else []
    for _ in range(rng.randint(1, 5)):
        draw = rng.random()
        if draw < 0.75:
            messages += tool_calls.messages(tool_calls.use(rng, rng.choice(names)))
        elif draw < 0.79 and len(names) < len(tool_calls.PARAMETERS):
            missing = rng.choice([name for name in tool_calls.PARAMETERS if name not in names])
            question = tool_calls.use(rng, missing).question
            messages += _messages([Exchange("outside", question, "I don't know. I have no tool for that.")])
        else:
            messages += _messages([knowledge(rng) if rng.random() < 0.7 else copying.ask(rng)])
    return Conversation("tool calls", render(messages, tools))


def long_chat(rng: random.Random) -> Conversation:
    """A conversation that fills a row of 1,024 tokens."""
    exchanges: list[Exchange] = []
    for _ in range(24):
        exchange = anything(rng)
        exchanges.append(exchange)
        if rng.random() < 0.25:
            exchanges += _follow(rng, exchange, 1)
    if rng.random() < 0.3:
        exchanges = _with_name(rng, exchanges[: rng.randint(2, 10)]) + exchanges[10:]
    return Conversation("long", render(_messages(exchanges, _neutral(rng))))


def plain_story(rng: random.Random) -> Conversation:
    """A story as plain text, for raw completion."""
    return Conversation("stories", [(BOS, 0.0), (stories.plain_story(rng) + EOS, 1.0)])


def sum_sheet(rng: random.Random) -> Conversation:
    """Lines of sums as plain text."""
    pieces: Pieces = [(BOS, 0.0)]
    for given, result in sums.sheet(rng, rng.randint(4, 14)):
        pieces += [(given, 0.0), (result, 1.0)]
    return Conversation("arithmetic", [*pieces, (EOS, 0.1)])


def programs(rng: random.Random) -> Conversation:
    """Requests for Python functions."""
    return Conversation("code", render(_messages(_some(rng, code.ask, 3), _neutral(rng))))


def code_file(rng: random.Random) -> Conversation:
    """A small Python file as plain text."""
    return Conversation("code", [(BOS, 0.0), (code.file(rng, rng.randint(2, 5)) + EOS, 1.0)])


def german_chat(rng: random.Random) -> Conversation:
    """A story in German, or a few German words."""
    exchanges = [german.ask(rng)] if rng.random() < 0.65 else _some(rng, german.ask_word, 4)
    return Conversation("German", render(_messages(exchanges, _neutral(rng))))


def german_story(rng: random.Random) -> Conversation:
    """A German story as plain text."""
    return Conversation("German", [(BOS, 0.0), (german.plain_story(rng) + EOS, 1.0)])


KINDS: dict[str, Callable[[random.Random], Conversation]] = {
    "chat": chat, "copies": copies, "additions": additions, "story": story, "obedient": obedient,
    "with_follow_ups": with_follow_ups, "tool_chat": tool_chat, "long_chat": long_chat, "plain_story": plain_story,
    "sum_sheet": sum_sheet, "short_sums": short_sums, "sum_follow_ups": sum_follow_ups, "anyone": anyone,
    "copies_of_anything": copies_of_anything, "unknowns": unknowns, "programs": programs, "code_file": code_file,
    "german_chat": german_chat, "german_story": german_story,
}  # fmt: skip


def draw(rng: random.Random, weights: dict[str, float]) -> Conversation:
    """Return a conversation of a kind drawn by its weight."""
    kind = rng.choices(list(weights), list(weights.values()))[0]
    return KINDS[kind](rng)
