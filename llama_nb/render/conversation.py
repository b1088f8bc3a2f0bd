"""A whole conversation for pages without widgets and for who opens the notebook later: text and static HTML.

Takes texts and node trees; knows neither chats nor models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from llama_nb.render import reply
from llama_nb.render.clean import LIMIT, clean, clean_line
from llama_nb.render.html import MUTED, escape, styled, wall
from llama_nb.render.html import to_html as nodes_to_html
from llama_nb.render.nodes import Node

_LONGEST_SYSTEM: Final = 400
_ANSWER: Final = f"{reply.ANSWER_BOX};margin:0 0 12px"
_LABELS: Final = {"user": "You", "tool": "Result of the call"}


@dataclass(frozen=True, slots=True)
class Turn:
    """One message.

    Attributes
    ----------
    role
        "user", "assistant" or "tool".
    name
        Of the model that wrote it.
    nodes, text
        What it says.
    finish, detail
        Why an answer ended, and what is said of that.
    version
        "2 of 3" where there are others in its place.
    notes
        Sentences that stand below it.
    """

    role: str
    name: str
    nodes: Sequence[Node]
    text: str
    finish: str = ""
    detail: str = ""
    version: str = ""
    notes: Sequence[str] = ()

    @property
    def label(self) -> str:
        """Who says it."""
        who = _LABELS.get(self.role) or self.name or "model"
        return clean_line(f"{who} · version {self.version}" if self.version else who)


@dataclass(frozen=True, slots=True)
class ConversationTwin:
    """What the twin says: the chat's and the model's name, the system prompt, the messages."""

    chat: str
    model: str
    system: str
    turns: Sequence[Turn]


def to_text(twin: ConversationTwin) -> str:
    """Return the conversation as plain text: the newest messages, up to 200,000 characters."""
    shown, left_out = _newest(twin)
    lines = [_title(twin)]
    if left_out:
        lines.append(left_out)
    if twin.system:
        lines.append(f"System prompt: {clean_line(twin.system[:_LONGEST_SYSTEM])}")
    for turn in shown:
        lines.append(f"\n{turn.label}:\n{clean(turn.text).rstrip()}")
        lines += [f"[{clean_line(note)}]" for note in turn.notes]
    return "\n".join(lines)


def to_html(twin: ConversationTwin) -> str:
    """Return the same as HTML with inline styles."""
    shown, left_out = _newest(twin)
    pieces = [styled("div", reply.FOOT, escape(_title(twin)))]
    if left_out:
        pieces.append(styled("div", reply.FOOT, escape(left_out)))
    if twin.system:
        system = escape(clean(twin.system[:_LONGEST_SYSTEM]))
        pieces.append(reply.box(reply.SYSTEM_BOX, "System prompt", system))
    for turn in shown:
        style = _ANSWER if turn.role == "assistant" else reply.USER_BOX
        said = nodes_to_html(turn.nodes) or styled("p", MUTED, "(empty)")
        mark = reply.end_mark(turn.finish, clean_line(turn.detail))
        pieces.append(reply.box(style, turn.label, said + mark))
        pieces += [styled("div", reply.FOOT, escape(f"note: {clean_line(note)}")) for note in turn.notes]
    return wall(styled("div", reply.ROOT, "".join(pieces)))


def _title(twin: ConversationTwin) -> str:
    count = sum(turn.role == "user" for turn in twin.turns)
    turns = "no messages yet" if not twin.turns else f"{count} {'turn' if count == 1 else 'turns'}"
    return clean_line(f"Chat {twin.chat} with {twin.model} · {turns}")


def _newest(twin: ConversationTwin) -> tuple[Sequence[Turn], str]:
    """Return the last messages that fit, and a sentence about those before them."""
    room, first = LIMIT, len(twin.turns)
    while first and (room := room - len(twin.turns[first - 1].text)) >= 0:
        first -= 1
    if first == 0:
        return twin.turns, ""
    first = min(first, len(twin.turns) - 1)
    return twin.turns[first:], f"{first:,} earlier messages are not shown here."
