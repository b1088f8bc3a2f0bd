"""What `Model.distribution` looks at: after a text, after a chat, or where a token of a reply was chosen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import MessageError, Stopped, UnsupportedError
from llama_nb.core.events import TokenEvent
from llama_nb.core.intervention import names
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session.asking import check_text
from llama_nb.session.chat import Chat
from llama_nb.session.distribution import Distribution
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.prompt_view import chat_request
from llama_nb.session.reply import Reply
from llama_nb.session.token_names import TokenNames

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

_SHOWN: Final = 40  # characters of a text in the name of a place


@dataclass(frozen=True, slots=True)
class Place:
    """Where a token is chosen.

    Attributes
    ----------
    request, after
        What the model reads: the request, then these tokens.
    name
        What the place is called: "token 3 of the reply".
    chosen
        The token that stands there; None at an end.
    reply
        The reply whose place it is.
    """

    request: Request
    after: tuple[int, ...]
    name: str
    chosen: int | None = None
    reply: Reply | None = None


def find_place(
    engine: "Engine", given: str | Reply | None, position: int | None, last: Reply | None, chat: Chat | None
) -> Place:
    """Return the place that a call names.

    Parameters
    ----------
    given
        A text, a reply or None: the chat, or with a `position` the last reply.
    chat
        The chat; with a text, only if that is to be its next message.

    Raises
    ------
    MessageError
        If there is no such place.
    """
    if isinstance(given, Reply) or (given is None and position is not None):
        return _in_reply(given or last, position)
    if given is not None and not isinstance(given, str):
        raise MessageError(f"distribution() takes a text or a Reply, not a {type(given).__name__}.")
    if chat is not None:
        if position is not None:
            raise MessageError("position counts the tokens of a reply or of a text, not those of a chat.")
        return Place(chat_request(chat, given, None), (), f"the next token of chat {chat.name}")
    assert given is not None
    return _in_text(engine, given, position)


def examine(
    engine: "Engine", place: Place, sampling: Sampling, head: int, stop: StopFlag | None = None
) -> Distribution:
    """Compute the distribution at a place; an interrupt stops that, and so does `stop`.

    Raises
    ------
    UnsupportedError
        If the engine does not show what it computes.
    Stopped
        If it was stopped before it was done.
    """
    if not engine.capabilities.introspect:
        raise UnsupportedError(
            f"The distribution needs the logits of {engine.name}, which are not in this kernel.",
            "Load a model into this kernel: %llama load cria",
        )
    if isinstance(head, bool) or not isinstance(head, int) or head < 1:
        raise MessageError(f"head is {head!r}; it must be a whole number, 1 or more.")
    flag = stop or StopFlag()
    with interrupt_stops(flag):
        found = engine.next_token(place.request, place.after, flag)
    if found is None:
        raise Stopped("The look at the next token was stopped.")
    if place.reply is not None and sampling.mirostat_tau == place.reply.sampling.mirostat_tau:
        tokens = [token for token in place.reply.tokens if token.id is not None]
        found = replace(found, surprise=surprise(place.reply.sampling, tokens[: len(place.after)]))
    off = place.request.interventions
    name = f"{place.name} with {names(off)}" if off else place.name
    return Distribution(found, sampling, TokenNames(engine), place=name, chosen=place.chosen, head=head)


def _in_reply(reply: Reply | None, position: int | None) -> Place:
    if reply is None:
        raise MessageError(
            "There is no reply yet.", 'Chat first, or name a text: m.distribution("Once upon a")'
        )
    tokens = [token.id for token in reply.tokens if token.id is not None]
    if reply.request is None or not tokens:
        raise MessageError("This reply has no tokens with ids.", "Another engine or another reply has.")
    if position is None:
        return Place(reply.request, tuple(tokens), "the token after the reply", None, reply)
    index = find_index(position, len(tokens), "The reply")
    return Place(reply.request, tuple(tokens[:index]), f"token {index} of the reply", tokens[index], reply)


def _in_text(engine: "Engine", text: str, position: int | None) -> Place:
    if not text:
        raise MessageError("There is no text to look at.", 'An example: m.distribution("Once upon a")')
    check_text(text, "The text")
    if position is None:
        shown = text if len(text) <= _SHOWN else "\u2026" + text[-_SHOWN + 1 :]
        return Place(Request(text), (), f"the next token after {shown!r}")
    ids = engine.prompt(Request(text)).ids
    index = find_index(position, len(ids), "The text")
    if index == 0:
        raise MessageError("Before token 0 of the text there is nothing to choose it from.")
    return Place(Request(ids[:index]), (), f"token {index} of the text", ids[index])


def surprise(sampling: Sampling, tokens: Sequence[TokenEvent]) -> float | None:
    """Return where mirostat stands behind a reply's first tokens, in bits; None where it is off.

    A token of which it is not known how likely it was after the sampler changes nothing.
    """
    if not sampling.mirostat_tau:
        return None
    stands = 2 * sampling.mirostat_tau
    for token in tokens:
        if token.sampled is not None:
            bits = -token.sampled / math.log(2)
            stands -= sampling.mirostat_eta * (bits - sampling.mirostat_tau)
    return stands


def find_index(position: int, count: int, what: str) -> int:
    """Return which of `count` tokens `position` names; raise MessageError if none."""
    if isinstance(position, bool) or not isinstance(position, int):
        raise MessageError(f"position is {position!r}; it must be a whole number.")
    if not -count <= position < count:
        raise MessageError(
            f"{what} has no token {position}: it has {count:,}, from 0 to {count - 1:,}.",
            "Negative positions count from the end.",
        )
    return position % count
