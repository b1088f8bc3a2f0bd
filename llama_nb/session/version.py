"""One more answer to a message that is in the chat already: a rerun, a retry, a branch, a reply that goes on.

A Turn of `session/generation.py`. Which answer it is made from, and what it begins with, is said by a Start.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import ContextOverflow
from llama_nb.core.events import TokenEvent
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.session.chat import Chat
from llama_nb.session.form import Form
from llama_nb.session.next_token import surprise
from llama_nb.session.overflow import fit
from llama_nb.session.reply import Reply
from llama_nb.session.turns import ANSWERED

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine, Prompt

_SAME: Final = "It is word for word a version that was there already, so there is no new one."


@dataclass(frozen=True, slots=True)
class Start:
    """Where a version begins.

    Attributes
    ----------
    asked
        Id of the message that it answers; None outside of a chat.
    request
        The prompt.
    sampling
        The parameters of the whole reply: what it begins with counts for `max_tokens`.
    user, system, parent, results
        Of the Reply.
    begun
        The tokens that it begins with.
    form
        What it is held to.
    reader
        Takes apart what it says (see `Reply.reader`).
    notes
        Sentences for who reads it.
    sent
        Whether `request` was sent before as it is: then it fits, and another prompt would give other words.
    room
        How many tokens must have room behind what it begins with.
    """

    asked: str | None
    request: Request
    sampling: Sampling
    user: str | None
    system: str | None
    parent: str | None
    begun: tuple[TokenEvent, ...] = ()
    form: Form | None = None
    reader: Callable[[Reply], object] | None = None
    results: tuple[tuple[str, str], ...] = ()
    notes: Sequence[str] = ()
    sent: bool = True
    room: int = 0


@dataclass
class Version:
    """The turn of a version.

    Parameters
    ----------
    chat
        Where it is kept; None for an answer that belongs to no chat.
    reply
        Is filled.
    start
        Says where it begins, when the chat's turn is taken: answers that come before it are there then.
    move
        Let the conversation end with it from its beginning on; else it stays where it is.
    """

    chat: Chat | None
    reply: Reply
    start: "Callable[[Engine], Start]"
    move: bool = True
    _session: str = ""
    _came_from: str | None = None
    _known: set[str] = field(default_factory=set)

    def prepare(self, engine: "Engine") -> Request:
        """Fill in what is known of the reply, and let the conversation end with its question."""
        start, reply = self.start(engine), self.reply
        ids = tuple(event.id for event in start.begun if event.id is not None)
        request = dataclasses.replace(
            start.request,
            sampling=start.sampling,
            grammar=start.form.grammar if start.form else None,
            begun=ids,
            surprise=surprise(start.sampling, start.begun),
        )
        request, prompt, left_out = _fitted(engine, request, start)
        if ids:
            reply.begun = _retold(engine, request, start.begun)
        reply.prompt_tokens = len(prompt.ids)
        reply.sampling, reply.form, reply.reader = start.sampling, start.form, start.reader
        reply.user, reply.system, reply.parent = start.user, start.system, start.parent
        reply.results = start.results
        reply.notes += [*start.notes, *([left_out] if left_out else [])]
        reply.asked = start.asked
        if self.chat is not None and start.asked is not None:
            self._session, self._came_from = self.chat.session, self.chat.head
            self._known = {node.id for node in self.chat.children(start.asked)}
            if self.move:
                self.chat.turn_to(start.asked)
        return request

    def settle(self) -> None:
        """Put the version beside the others; if nothing came, the conversation ends where it did."""
        chat, reply = self.chat, self.reply
        if reply.reader is not None:
            reply.reader(reply)
        asked = reply.asked
        if chat is None or asked is None or chat.session != self._session or asked not in chat.nodes:
            return  # not sent, or the chat was cleared meanwhile
        reason = reply.finish.reason if reply.finish else "error"
        if self._has_come(reason):
            if reply.id in self._known and self.move:
                reply.notes.append(_SAME)
            chat.answer(reply, parent=asked, move=self.move and chat.head == asked)
        elif self.move:
            chat.withdraw(asked, self._came_from)
            reply.notes.append("Nothing was answered, so the conversation is as it was.")

    def _has_come(self, reason: str) -> bool:
        """Whether there is a version: some words, and not only those it began with before an error."""
        new = len(self.reply.tokens) > len(self.reply.begun)
        return reason in ANSWERED or (bool(self.reply.text) and (new or reason != "error"))


def _retold(engine: "Engine", request: Request, begun: Sequence[TokenEvent]) -> tuple[TokenEvent, ...]:
    """Return the tokens that a reply begins with, each with the text that it adds to this one."""
    texts = engine.begun_texts(request)
    return tuple(
        dataclasses.replace(event, text=text, elapsed_s=0.0, finish=None)
        for event, text in zip(begun, texts, strict=True)
    )


def _fitted(engine: "Engine", request: Request, start: Start) -> "tuple[Request, Prompt, str]":
    """Return the request as it fits into the context, its prompt, and a sentence on what was left out."""
    left_out = ""
    if not start.sent:
        fitting, _, left_out = fit(engine, dataclasses.replace(request, begun=()), "drop-oldest")
        request = dataclasses.replace(request, input=fitting.input)
    prompt = engine.prompt(request)
    if len(prompt.ids) + start.room <= engine.context:
        return request, prompt, left_out
    try:
        return fit(engine, request, "drop-oldest")
    except ContextOverflow:
        raise ContextOverflow(
            f"There is no room to go on: with its question the answer fills the context of {engine.name}, "
            f"{engine.context:,} tokens.",
            "Ask for the rest in a new message, or load a model with a longer context.",
        ) from None
