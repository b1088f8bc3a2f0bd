"""What is done with a conversation that does not fit into the model's context."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

from llama_nb.core.errors import ContextOverflow, MessageError, did_you_mean
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.defaults import reply_room

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine, Prompt

WAYS = ("drop-oldest", "error")


def check_overflow(way: str) -> str:
    """Return `way` if it is one of `WAYS`, else raise MessageError."""
    if way not in WAYS:
        raise MessageError(
            f"overflow is {way!r}.", did_you_mean(str(way), WAYS) or f"It can be {' or '.join(WAYS)}."
        )
    return way


def fit(engine: "Engine", request: Request, way: str) -> tuple[Request, "Prompt", str]:
    """Return the request that is sent, its prompt, and a sentence on what was left out ("" if nothing).

    With "drop-oldest" whole turns go, oldest first, until prompt and reply fit (the reply's room is its
    `max_tokens`, at most a quarter of the context), and up to a quarter of the context more, so that the
    next turns drop no others. The system prompt and the last turn always stay.

    Raises
    ------
    ContextOverflow
        With the counts, when it does not fit and nothing may or can be left out.
    """
    prompt = engine.prompt(request)
    room = reply_room(engine.context, request.sampling.max_tokens)
    if len(prompt.ids) + room <= engine.context:
        return request, prompt, ""
    turns = _turns(request.input) if way == "drop-oldest" else ()
    if len(turns) < 2:
        _check(engine, prompt, way)
        return request, prompt, ""
    return _drop_oldest(engine, request, prompt, turns, room)


def _drop_oldest(
    engine: "Engine", request: Request, full: "Prompt", turns: tuple[tuple[Message, ...], ...], room: int
) -> tuple[Request, "Prompt", str]:
    system = tuple(
        message for message in request.input if isinstance(message, Message) and message.role == "system"
    )

    @functools.cache
    def without(count: int) -> "tuple[Request, Prompt]":
        return _without(engine, request, system, turns[count:])

    def dropped(count: int) -> int:
        return len(full.ids) - len(without(count)[1].ids)

    last = len(turns) - 1
    needed = _least(lambda count: len(without(count)[1].ids) + room <= engine.context, 1, last)
    # Going on to a multiple of a quarter of the context drops the same turns in the next rounds, too: what
    # is kept begins alike then and stands in the KV cache. Else each round would compute all of it again.
    block = max(1, engine.context // 4)
    goal = -(-dropped(needed) // block) * block
    count = _least(lambda count: dropped(count) >= goal, needed, last)
    shorter, prompt = without(count)
    _check(engine, prompt, "drop-oldest")
    what = f"{count} turns were" if count > 1 else "turn was"
    return (
        shorter,
        prompt,
        f"The oldest {what} left out ({dropped(count):,} tokens): the whole conversation has "
        f"{len(full.ids):,} tokens, and the context of {engine.name} is {engine.context:,}, {room:,} of them "
        "kept for the reply.",
    )


def _least(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Return the least number for which `holds`, `high` if there is none: rendering a prompt is expensive."""
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _without(
    engine: "Engine", request: Request, system: tuple[Message, ...], turns: tuple[tuple[Message, ...], ...]
) -> "tuple[Request, Prompt]":
    kept = tuple(message for turn in turns for message in turn)
    shorter = dataclasses.replace(request, input=(*system, *kept))
    return shorter, engine.prompt(shorter)


def _turns(sent: object) -> tuple[tuple[Message, ...], ...]:
    """Cut a conversation before each message of the user; the system prompt belongs to no turn."""
    if not isinstance(sent, tuple) or not sent or not isinstance(sent[0], Message):
        return ()
    turns: list[list[Message]] = []
    for message in sent:
        if message.role == "system":
            continue
        if message.role == "user" or not turns:
            turns.append([])
        turns[-1].append(message)
    return tuple(map(tuple, turns))


def _check(engine: "Engine", prompt: "Prompt", way: str) -> None:
    if len(prompt.ids) < engine.context:
        return
    what = "The prompt" if way == "error" else "The message alone"
    raise ContextOverflow(
        f"{what} has {len(prompt.ids):,} tokens, and the context of {engine.name} is {engine.context:,}: "
        f"{len(prompt.ids) - engine.context + 1:,} too many.",
        "Leave the oldest turns out with --overflow drop-oldest, or begin a new chat with --chat NAME."
        if way == "error"
        else "Shorten it, or load a model with a longer context.",
    )
