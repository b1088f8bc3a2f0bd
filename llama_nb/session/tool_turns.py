"""The turns of a conversation with tools: what is sent in each round, and how calls and results are kept.

Knows the chat's tree. Whether a call is run, and how, is the loop's business (`session/tool_loop.py`).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import UnsupportedError
from llama_nb.core.messages import Message, ToolCall
from llama_nb.core.request import Request
from llama_nb.session.asking import Question
from llama_nb.session.chat import Chat
from llama_nb.session.overflow import fit
from llama_nb.session.reply import Reply
from llama_nb.session.tool_calls import CALL_TAGS, Said, read_calls
from llama_nb.session.tool_function import Tool
from llama_nb.session.turns import note_prompt

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine, Prompt

# How a generation may end without a word and still be the model's answer.
_ANSWERED: Final = ("end", "stop_string", "length", "context")


@dataclass
class ToolTurn:
    """One round: a question, or the results of the calls before, and the reply to it.

    Attributes
    ----------
    asked
        Id of the message that is answered; None before the question is in the chat.
    session
        The chat's session when the conversation with tools began; in another one nothing is kept.
    said
        What the reply says: text, or calls.
    answer
        Id of the reply's message; None where nothing was kept.
    """

    chat: Chat
    reply: Reply
    tools: Sequence[Tool]
    question: Question
    overflow: str = "drop-oldest"
    asked: str | None = None
    session: str = ""
    said: Said = Said("")
    answer: str | None = None
    _first: str | None = None
    _tags: frozenset[int] = frozenset()

    def prepare(self, engine: "Engine") -> Request:
        """Fit the conversation into the context; put a new question into the chat."""
        chat, reply, question = self.chat, self.reply, self.question
        new = question.messages if self.asked is None else ()
        system = chat.system if question.system is None else question.system or None
        before = chat.head if self.asked is None else self.asked
        path = tuple(node.message for node in chat.path(before)) if before else ()
        head = (Message("system", system),) if system else ()
        request = Request(
            (*head, *path, *new),
            reply.sampling,
            cache_key=chat.cache_key,
            tools=tuple(tool.description for tool in self.tools),
            purpose=f"chat {chat.name}",
        )
        request, prompt, left_out = fit(engine, request, self.overflow)
        if not self.session:
            _check_seen(engine, request, prompt)
        note_prompt(reply, prompt, question, left_out)
        self._tags = _call_tags(engine)
        chat.system = system
        reply.system, reply.parent = system, before
        self.session = self.session or chat.session
        for message in new:
            self.asked = chat.add(message, parent=chat.head).id
            self._first = self._first or self.asked
        reply.asked, reply.reader = self.asked, self._read
        return request

    def settle(self) -> None:
        """Put the reply under what it answers, or take the question back if there is no reply."""
        chat, reply = self.chat, self.reply
        reason = reply.finish.reason if reply.finish else ""
        self.said = self._read(reply)
        if self.asked is None or not self.current:
            return
        if reply.text or reason in _ANSWERED:
            self.answer = chat.answer(reply, parent=self.asked, move=chat.head == self.asked).id
        elif self._first is not None and chat.withdraw(self.asked, chat.nodes[self._first].parent):
            reply.notes.append("Nothing was answered, so the message is not part of the chat.")

    @property
    def current(self) -> bool:
        """Whether the chat is still the one in which the conversation began: not cleared meanwhile."""
        return self.chat.session == self.session

    def keep_results(self, told: Sequence[str]) -> str | None:
        """Put the results under their calls, one call and one result at a time; return the last one's id.

        Templates of Llama take one call a message, so several calls of one reply become several messages.
        """
        if self.answer is None or not self.current:
            return None
        at = self.answer
        for number, (call, text) in enumerate(zip(self.said.calls, told, strict=True)):
            if number:
                asks = Message("assistant", "", (ToolCall(call.name, call.arguments),) * bool(call.name))
                at = self.chat.add(asks, parent=at, move=self.chat.head == at).id
            at = self.chat.add(Message("tool", text), parent=at, move=self.chat.head == at).id
        return at

    def _read(self, reply: Reply) -> Said:
        """Take a reply apart; of one that did not come to its end nothing is a call."""
        reason = reply.finish.reason if reply.finish else ""
        tag_at, at = None, 0
        for token in reply.tokens:
            at += len(token.text)
            if tag_at is None and token.id in self._tags:
                tag_at = at
        if reason == "end":
            said = read_calls(reply.text, tag_at)
            reply.calls = tuple(ToolCall(call.name, call.arguments) for call in said.calls if call.name)
            return said
        if tag_at is not None:
            reply.notes.append("The call was cut off before its end, so it was not run.")
        return Said(reply.text)


def _check_seen(engine: "Engine", request: Request, prompt: "Prompt") -> None:
    """Raise UnsupportedError if the model's template leaves the tools out."""
    if engine.prompt(dataclasses.replace(request, tools=())).text == prompt.text:
        raise UnsupportedError(
            f"The chat template of {engine.name} has no place for tools: the model would not know of them.",
            "Take a model that was trained with tools: Llama 3.1 and later, or `%llama load cria`.",
        )


def _call_tags(engine: "Engine") -> frozenset[int]:
    """Return the ids of `CALL_TAGS` in a model's vocabulary."""
    found = set()
    for name in CALL_TAGS:
        token = engine.prompt(Request(name)).ids[-1]
        if engine.is_special(token) and engine.token_texts([token]) == [name]:
            found.add(token)
    return frozenset(found)
