"""An answer in a chat, as what another version of it is made from: its prompt, its tokens, its parameters.

The newest answers have their Reply with everything in it; of others there is the stored record, which is
untrusted and checked here. Sending the version is `session/version.py`'s business.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, SamplingError
from llama_nb.core.events import TokenEvent
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.session.chat import Chat, Node
from llama_nb.session.form import Form
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

_WHO: Final = {"user": "the user's", "assistant": "the assistant's", "tool": "a tool's"}
_RETOLD: Final = "The answer's own tokens are not known here, so its text was cut into tokens again."


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the message that it answers.

    Attributes
    ----------
    node
        The answer; None for a question that has none.
    asked
        What it answers: a message of the user or of a tool.
    reply
        The Reply that it comes from, if that is still in memory.
    """

    chat: Chat
    asked: Node
    node: Node | None = None
    reply: Reply | None = None

    @property
    def record(self) -> Mapping[str, Any]:
        """What was stored of its reply; empty where nothing was."""
        return (self.node.reply if self.node is not None else None) or {}

    @property
    def before(self) -> str | None:
        """Id of the answer before it; None for the first one."""
        for node in reversed(self.chat.path(self.asked.id)):
            if node.message.role == "assistant":
                return node.id
        return None

    @property
    def system(self) -> str | None:
        """The system prompt in force when the question was sent."""
        asked = [node for node in self.chat.path(self.asked.id) if node.message.role == "user"]
        return asked[-1].system if asked else self.chat.system

    @property
    def form(self) -> Form | None:
        """What it was held to, if that is still known."""
        return self.reply.form if self.reply is not None else None

    @property
    def finish(self) -> str:
        """Why it ended; "" where that is not known."""
        return str(self.record.get("finish", ""))

    def sampling(self, default: Sampling) -> Sampling:
        """Return the parameters that it was made with and its seed; `default` if they are not known."""
        if self.reply is not None:
            return self.reply.sampling.replace(seed=self.reply.seed)
        stored = self.record.get("sampling")
        if not isinstance(stored, dict):
            return default
        try:
            return Sampling(**stored).replace(seed=self.record.get("seed"))
        except (SamplingError, TypeError):
            return default

    def step(self, default: Sampling) -> int | None:
        """Return how many tokens it was allowed behind what it began with; None if the context decided."""
        if self.reply is None:
            return default.max_tokens
        limit = self.reply.sampling.max_tokens
        return None if limit is None else max(1, limit - len(self.reply.begun))

    def request(self) -> Request:
        """Return what was sent for it, or would have been: the conversation up to the question."""
        if self.reply is not None and self.reply.request is not None:
            return self.reply.request
        head = (Message("system", self.system),) if self.system else ()
        path = tuple(node.message for node in self.chat.path(self.asked.id))
        return Request((*head, *path), cache_key=self.chat.cache_key, purpose=f"chat {self.chat.name}")

    def tokens(self, engine: "Engine", fingerprint: str) -> tuple[TokenEvent, ...] | None:
        """Return its tokens; None where they are not those of the weights `fingerprint`, or not known."""
        if self.reply is not None:
            found = tuple(token for token in self.reply.tokens if token.id is not None)
            return found if found and self.reply.fingerprint == fingerprint else None
        return _stored_tokens(self.record, engine, fingerprint)

    def tokens_or_text(
        self, engine: "Engine", fingerprint: str
    ) -> tuple[tuple[TokenEvent, ...], tuple[str, ...]]:
        """Return its tokens, else those that its text is cut into, and then a sentence that says so."""
        found = self.tokens(engine, fingerprint)
        if found is not None:
            return found, ()
        text = self.node.message.content if self.node is not None else ""
        return tuple(TokenEvent("", token) for token in engine.tokenize(text)), (_RETOLD,)


def find_answer(chat: Chat, at: str | None, what: str) -> Answer:
    """Return the answer that `at` names, default the last one of the conversation.

    Raises
    ------
    MessageError
        If there is none, or `at` is no answer. `what` says what was to be done: "branch".
    LlamaError
        If no message of the chat has the id.
    """
    node = chat.find(at) if at is not None else _last(chat, ("assistant",), what)
    if node.message.role != "assistant":
        raise _unfit(node, what, "an answer")
    if node.parent is None:
        raise MessageError("This answer has no question before it.", f"Nothing can be sent to {what} it.")
    return Answer(chat, chat.nodes[node.parent], node, chat.reply(node.id))


def find_answered(chat: Chat, at: str | None, what: str) -> Answer:
    """Return what `find_answer` does, or the question that `at` names or the conversation ends with."""
    path = chat.path()
    node = chat.find(at) if at is not None else path[-1] if path else None
    if node is not None and node.message.role != "assistant":
        return Answer(chat, node)
    return find_answer(chat, at, what)


def find_question(chat: Chat, at: str | None, what: str) -> Node:
    """Return the user's message that `at` names, default the last one of the conversation."""
    node = chat.find(at) if at is not None else _last(chat, ("user",), what)
    if node.message.role != "user":
        raise _unfit(node, what, "a message of the user")
    return node


def _last(chat: Chat, roles: Sequence[str], what: str) -> Node:
    for node in reversed(chat.path()):
        if node.message.role in roles:
            return node
    missing = "message" if "user" in roles else "answer"
    raise MessageError(
        f"There is nothing to {what}: the conversation in chat {chat.name!r} has no {missing}.",
        'Ask something first: %llama chat "Hello"',
    )


def _unfit(node: Node, what: str, wanted: str) -> MessageError:
    whose = _WHO.get(node.message.role, node.message.role)
    return MessageError(
        f"The message {node.id} is {whose}; {what} takes {wanted}.", "%llama chats --tree shows the ids."
    )


def _stored_tokens(
    record: Mapping[str, Any], engine: "Engine", fingerprint: str
) -> tuple[TokenEvent, ...] | None:
    """Return the tokens of a stored reply, if they are this model's and say what the stored text says."""
    model, rows = record.get("model"), record.get("tokens")
    if not isinstance(model, dict) or model.get("fingerprint") != fingerprint or not isinstance(rows, list):
        return None
    # The last one of a stopped reply may have text alone.
    events = [_stored_token(row) for row in rows if not (isinstance(row, list) and row[:1] == [None])]
    found = tuple(event for event in events if event is not None)
    if len(found) != len(events) or not found:
        return None
    ids = tuple(event.id for event in found if event.id is not None)
    try:
        texts = engine.begun_texts(Request("", begun=ids))
    except MessageError:
        return None
    if not "".join(texts).startswith(str(record.get("text", "")).rstrip("\ufffd")):
        return None
    return tuple(dataclasses.replace(event, text=text) for event, text in zip(found, texts, strict=True))


def _stored_token(row: Any) -> TokenEvent | None:
    if not isinstance(row, list) or len(row) < 4 or isinstance(row[0], bool) or not isinstance(row[0], int):
        return None
    token, _, *figures = row
    logprob, entropy = (float(x) if isinstance(x, int | float) else None for x in figures[:2])
    return TokenEvent("", token, logprob, entropy)
