"""A chat: a tree of messages over a model, of which one path is the conversation.

Knows nothing of engines and files; `journal` is told what happens, so that a store can keep it.
"""

import contextlib
import dataclasses
import secrets
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from llama_nb.core.errors import LlamaError, MessageError, did_you_mean
from llama_nb.core.events import ChatChanged, publish
from llama_nb.core.messages import Message
from llama_nb.session.reply import Reply, content_id
from llama_nb.session.turn_lock import TurnLock

if TYPE_CHECKING:
    from llama_nb.session.export import Branches, Format

LONGEST_NAME = 64
# Tokens of the newest replies that stay in memory with their alternatives: some 2 kB each.
TOKENS_HELD: Final = 20_000


@dataclass(frozen=True, slots=True)
class Node:
    """One message in the tree.

    `system` is the system prompt in force when a user's message was sent; `reply` is the record of the
    Reply that an assistant's message comes from (see `Reply.to_record`).
    """

    id: str
    parent: str | None
    message: Message
    system: str | None = None
    reply: Mapping[str, Any] | None = None


class Journal(Protocol):
    """Is told what happens to a chat, in order (see `session/store.py`)."""

    def message(self, chat: "Chat", node: Node) -> None:
        """`node` was added."""

    def head(self, chat: "Chat") -> None:
        """The conversation now ends at another message."""

    def file(self, chat: "Chat") -> Path:
        """Return where the chat is kept."""

    def delete(self, chat: "Chat") -> None:
        """The chat is to be forgotten."""


class Chat:
    """A conversation with its branches.

    Whatever changes it is told as `ChatChanged`, when nothing is locked any more.

    Parameters
    ----------
    name
        At most 64 printable characters.
    journal
        Where each message is kept; None keeps the chat in memory.

    Attributes
    ----------
    head
        Id of the message that the conversation ends with; None when it is empty.
    session
        Tells this conversation from others of the same name in the chat's file; never shown.
    cache_key
        Names the KV cache that the chat's replies share.
    """

    def __init__(self, name: str, journal: Journal | None = None) -> None:
        self.name = check_chat_name(name)
        self.journal = journal
        self._system: str | None = None
        self.head: str | None = None
        self.session = secrets.token_hex(4)
        self.cache_key = f"{name}-{self.session}"
        self.turn = TurnLock()
        self._nodes: dict[str, Node] = {}
        self._children: dict[str | None, list[Node]] = {}
        self._visited: dict[str | None, str] = {}  # through which child the conversation went last
        self._replies: dict[str, Reply] = {}
        self._lock = threading.RLock()
        self._changes = 0

    @property
    def system(self) -> str | None:
        """The system prompt for the turns to come.

        Setting it replaces the one before for the whole conversation that is sent; earlier turns stay as
        they are.
        """
        return self._system

    @system.setter
    def system(self, text: str | None) -> None:
        if text != self._system:
            with self._changing():
                self._system = text

    @property
    def nodes(self) -> Mapping[str, Node]:
        """Every message of the tree by id, in the order in which they came."""
        return MappingProxyType(self._nodes)

    def path(self, head: str | None = None) -> tuple[Node, ...]:
        """Return the messages from the first one to `head` (default: the chat's head)."""
        nodes: list[Node] = []
        at = self.head if head is None else self.find(head).id
        while at is not None:
            nodes.append(self._nodes[at])
            at = self._nodes[at].parent
        return tuple(reversed(nodes))

    def messages(self) -> tuple[Message, ...]:
        """Return the conversation as it is sent to the model, the system prompt first."""
        system = (Message("system", self.system),) if self.system else ()
        return (*system, *(node.message for node in self.path()))

    def children(self, node_id: str | None) -> tuple[Node, ...]:
        """Return the versions that follow a message (None: the first messages), in the order they came."""
        return tuple(self._children.get(node_id, ()))

    def versions(self, node_id: str) -> tuple[Node, ...]:
        """Return the message and those that stand in its place on other branches, in the order they came.

        A question that got no answer is none of them, unless the conversation ends with it.
        """
        node = self.find(node_id)
        return tuple(other for other in self.children(node.parent) if other is node or self._leads_on(other))

    def tip(self, node_id: str) -> str:
        """Return the id of the message at the end of the branch beneath `node_id`.

        Where it parts, the way is the one that the conversation took last, else the newest.
        """
        at = self.find(node_id).id
        while ways := [child.id for child in self.children(at) if self._leads_on(child)]:
            visited = self._visited.get(at)
            at = visited if visited in ways else ways[-1]
        return at

    def reply(self, node_id: str) -> Reply | None:
        """Return the Reply that a message comes from, if its tokens and alternatives are still in memory.

        The newest replies are, of some 20,000 tokens together; of others the node has the record.
        """
        return self._replies.get(self.find(node_id).id)

    def find(self, node_id: str) -> Node:
        """Return the message that has this id; the start of one is enough.

        Raises
        ------
        LlamaError
            If none has it, or several do.
        """
        if node_id in self._nodes:
            return self._nodes[node_id]
        hits = [node for key, node in self._nodes.items() if key.startswith(node_id)] if node_id else []
        if len(hits) == 1:
            return hits[0]
        found = f"{len(hits)} messages begin with it" if hits else "no message has it"
        there = "%llama chats --tree shows the ids." if self._nodes else "The chat is empty."
        raise LlamaError(
            f"{node_id!r} is not the id of a message in chat {self.name!r}: {found}.",
            did_you_mean(node_id, self._nodes) or there,
        )

    def turn_count(self) -> int:
        """Return how many messages of the conversation are the user's."""
        return sum(node.message.role == "user" for node in self.path())

    def goto(self, node_id: str) -> None:
        """Let the conversation end at another message; nothing is lost. The start of an id is enough."""
        with self._changing():
            self._move(self.find(node_id).id)
            if self.journal:
                self.journal.head(self)

    # --- as a document ------------------------------------------------------------------------------

    def export(
        self,
        format: "Format" = "markdown",  # noqa: A002 - what users call it
        branches: "Branches" = "path",
    ) -> str:
        """Return the chat as a text.

        Parameters
        ----------
        format
            "markdown" to read: what stands in the messages stays as it is, HTML too. "json": the messages
            with the records of the replies. "messages": a list as OpenAI's interface takes it. "notebook":
            cells with the answers as outputs, nothing of which has run. "rows": see `to_rows`, as JSON lines.
        branches
            "path" for the conversation as it stands, "all" for every branch.

        Raises
        ------
        MessageError
            If there is no such format.
        """
        from llama_nb.session.export import export

        return export(self, format, branches)

    def save(
        self,
        path: str | Path,
        format: "Format | None" = None,  # noqa: A002
        branches: "Branches" = "path",
        *,
        overwrite: bool = False,
    ) -> Path:
        """Write what `export` returns into a file, as a whole, and return its path.

        Without a format the end of the name says it: .md, .json, .ipynb, or .jsonl (rows).

        Raises
        ------
        ChatStoreError
            If the file is there already and `overwrite` is not given, or cannot be written.
        MessageError
            If there is no such format.
        """
        from llama_nb.session.export import save

        return save(self, path, format, branches, overwrite=overwrite)

    def to_rows(self, branches: "Branches" = "path") -> list[dict[str, Any]]:
        """Return conversations to train an adapter on: `{"messages": [...]}`, as OpenAI's interface has it.

        A conversation ends before its first answer that was cut off: stopped, at max_tokens, by an error.
        """
        from llama_nb.session.export import to_rows

        return to_rows(self, branches)

    # --- how it changes -----------------------------------------------------------------------------

    def clear(self) -> None:
        """Begin anew: no messages, no system prompt. What was stored stays stored."""
        with self._changing():
            for kept in (self._nodes, self._children, self._visited, self._replies):
                kept.clear()
            self.head, self.system = None, None
            self.session = secrets.token_hex(4)

    def fill(self, nodes: Iterable[Node], *, head: str | None, session: str = "") -> None:
        """Take over a tree that was stored; without a `session` it is written anew as one of this chat.

        A message whose parent did not come before it becomes a first message, so no file can make a loop.
        """
        with self._changing():
            self.clear()
            for node in nodes:
                known = node.parent is None or node.parent in self._nodes
                if node.id not in self._nodes:
                    self._put(node if known else dataclasses.replace(node, parent=None))
            self._move(head if head is None or head in self._nodes else next(reversed(self._nodes), None))
            systems = [node.system for node in self.path() if node.message.role == "user"]
            self.system = systems[-1] if systems else None
            self.session = session or self.session
            if self.journal and not session:
                for node in self._nodes.values():
                    self.journal.message(self, node)

    def add(
        self,
        message: Message,
        *,
        parent: str | None,
        node_id: str | None = None,
        reply: Mapping[str, Any] | None = None,
        move: bool = True,
    ) -> Node:
        """Put a message under `parent`; with `move`, let the conversation end there.

        A message that is there already (same id) is not added again.
        """
        with self._changing():
            system = self.system if message.role == "user" else None
            made = node_id or content_id(parent, message.role, message.content, system)
            node = self._nodes.get(made)
            if node is not None and node.parent != parent:  # the same words in another place
                made = content_id(parent, made)
                node = self._nodes.get(made)
            if node is None:
                node = Node(made, parent, message, system, reply)
                self._put(node)
                if move:
                    self._move(made)
                if self.journal:
                    self.journal.message(self, node)
            elif move and self.head != made:
                self.goto(made)
            return node

    def answer(self, reply: Reply, *, parent: str, move: bool = True) -> Node:
        """Put a reply under the message that it answers, and hold its tokens (see `reply`)."""
        with self._changing():
            record = reply.to_record()
            node = self.add(reply.message, parent=parent, node_id=reply.id, reply=record, move=move)
            before = self._replies.pop(node.id, None)
            # Of two that are the same the first one, whose parameters the record tells of. Other tokens can
            # have the same text: then those that came last.
            same = before is not None and _ids(before) == _ids(reply)
            self._replies[node.id] = before if before and same else reply
            held = sum(len(reply.tokens) for reply in self._replies.values())
            while held > TOKENS_HELD and len(self._replies) > 1:
                held -= len(self._replies.pop(next(iter(self._replies))).tokens)
            return node

    def turn_to(self, node_id: str) -> None:
        """Let the conversation end at a message while it is answered; the answer is what is stored."""
        with self._changing():
            self._move(node_id)

    def withdraw(self, node_id: str, to: str | None) -> bool:
        """Let the conversation end at `to` if it ends at a message of which nothing came; return whether."""
        if self.head != node_id:
            return False
        with self._changing():
            self._move(to)
            if self.journal:
                self.journal.head(self)
        return True

    def _put(self, node: Node) -> None:
        self._nodes[node.id] = node
        self._children.setdefault(node.parent, []).append(node)

    def _move(self, head: str | None) -> None:
        self.head = head
        for node in self.path():
            self._visited[node.parent] = node.id

    def _leads_on(self, node: Node) -> bool:
        """Whether something came of a message: all but a question without an answer."""
        return node.message.role != "user" or node.id == self.head or node.id in self._children

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Lock the tree; when the outermost change is done and nothing is locked, tell of it."""
        with self._lock:
            self._changes += 1
            try:
                yield
            finally:
                self._changes -= 1
                done = not self._changes
        if done:
            publish(ChatChanged(self))

    def __len__(self) -> int:
        return len(self.path())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        turns = self.turn_count()
        branches = len(self._nodes) - len(self.path())
        more = f", {branches} messages on other branches" if branches else ""
        return f"Chat({self.name!r}: {turns} turn{'' if turns == 1 else 's'}{more})"


def _ids(reply: Reply) -> list[int | None]:
    return [token.id for token in reply.tokens]


def check_chat_name(name: str) -> str:
    """Return `name` if a chat can be called that, else raise MessageError."""
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise MessageError(
            f"{name!r} cannot be the name of a chat.", f"A name has 1 to {LONGEST_NAME} printable characters."
        )
    return name


def unknown_chat(name: str, known: Mapping[str, Chat]) -> LlamaError:
    """Return the error for a chat that does not exist."""
    there = f"The chats are: {', '.join(known)}." if known else "There are no chats yet."
    return LlamaError(f"There is no chat {name!r}.", did_you_mean(name, known) or there)
