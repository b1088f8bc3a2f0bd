"""What a Generation does before and after the engine works: the turn of a chat, a one-off, a completion.

`prepare` says what to send and changes the chat only when that is sure to be sendable; `settle` keeps what
came of it. A turn that brought nothing leaves the conversation as it was. The engine is handed in and never
kept: a Reply that can be run again must not hold the tokenizer of an unloaded model.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from llama_nb.core.errors import ContextOverflow
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.session.asking import Question
from llama_nb.session.chat import Chat
from llama_nb.session.overflow import fit
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine, Prompt

# How a generation may end without a word and still be the model's answer.
ANSWERED: Final = ("end", "stop_string", "length", "context")


class Turn(Protocol):
    """The two ends of a generation."""

    def prepare(self, engine: "Engine") -> Request:
        """Return what to send; raise if that cannot be sent, with nothing changed."""

    def settle(self) -> None:
        """Keep what came of it."""


@dataclass
class ChatTurn:
    """One turn of a chat: the question goes behind a message, by default the last one, the reply under it."""

    chat: Chat
    question: Question
    reply: Reply
    overflow: str
    follows: Callable[[Chat], str | None] = lambda chat: chat.head
    _session: str = ""
    _came_from: str | None = None

    def prepare(self, engine: "Engine") -> Request:
        """Fit the conversation with the question into the context, then put the question into the chat."""
        chat, question = self.chat, self.question
        system = chat.system if question.system is None else question.system or None
        head = (Message("system", system),) if system else ()
        before = self.follows(chat)
        path = tuple(node.message for node in chat.path(before)) if before else ()
        request = Request(
            (*head, *path, *question.messages),
            self.reply.sampling,
            cache_key=chat.cache_key,
            grammar=self.reply.grammar,
            purpose=f"chat {chat.name}",
        )
        request, prompt, left_out = fit(engine, request, self.overflow)
        note_prompt(self.reply, prompt, question, left_out)
        chat.system = system
        self.reply.system, self.reply.parent = system, before
        self._session, self._came_from = chat.session, chat.head
        for message in question.messages:
            before = self.reply.asked = chat.add(message, parent=before).id
        return request

    def settle(self) -> None:
        """Put the reply under the question, or take the question back if there is none."""
        chat, reply = self.chat, self.reply
        if reply.asked is None or chat.session != self._session:
            return  # not sent, or the chat was cleared meanwhile
        if reply.text or (reply.finish and reply.finish.reason in ANSWERED):
            chat.answer(reply, parent=reply.asked, move=chat.head == reply.asked)
        elif chat.withdraw(reply.asked, self._came_from):
            reply.notes.append("Nothing was answered, so the message is not part of the chat.")


@dataclass
class OneOff:
    """A conversation that belongs to no chat."""

    question: Question
    reply: Reply
    overflow: str

    def prepare(self, engine: "Engine") -> Request:
        """Fit the conversation into the context."""
        head = (Message("system", self.question.system),) if self.question.system else ()
        request = Request(
            (*head, *self.question.messages),
            self.reply.sampling,
            grammar=self.reply.grammar,
            purpose="a one-off chat",
        )
        request, prompt, left_out = fit(engine, request, self.overflow)
        note_prompt(self.reply, prompt, self.question, left_out)
        return request

    def settle(self) -> None:
        """Keep nothing."""


@dataclass
class Completion:
    """Raw text that the model goes on with."""

    text: str
    reply: Reply

    def prepare(self, engine: "Engine") -> Request:
        """Check that the text fits."""
        request = Request(self.text, self.reply.sampling, grammar=self.reply.grammar, purpose="complete")
        prompt = engine.prompt(request)
        if len(prompt.ids) >= engine.context:
            raise ContextOverflow(
                f"The text has {len(prompt.ids):,} tokens, and the context of {engine.name} is "
                f"{engine.context:,}: {len(prompt.ids) - engine.context + 1:,} too many.",
                "Shorten it, or load a model with a longer context.",
            )
        self.reply.prompt_tokens = len(prompt.ids)
        return request

    def settle(self) -> None:
        """Keep nothing."""


def note_prompt(reply: Reply, prompt: "Prompt", question: Question, left_out: str) -> None:
    """Write into the reply what its reader should know about the prompt."""
    reply.prompt_tokens = len(prompt.ids)
    if left_out:
        reply.notes.append(left_out)
    typed = "\n".join(message.content for message in question.messages)
    literal = [token for token in prompt.literal if token in typed]
    if literal:
        names = ", ".join(f"`{token}`" for token in literal)
        reply.notes.append(
            f"{names} in your message {'is' if len(literal) == 1 else 'are'} shown to the model as text."
        )
