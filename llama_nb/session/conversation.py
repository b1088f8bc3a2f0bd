"""A chat as a page shows it: its messages as steps, their contents, tokens with alternatives, the tree.

JSON values made of a chat and of nothing else. What is in a chat may come out of a file, so nothing in the
records of its replies is believed. Knows neither widgets nor how a message is sent.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from llama_nb.core.messages import Message
from llama_nb.render import reply as rendered
from llama_nb.render.clean import LIMIT, clean_line
from llama_nb.render.conversation import Turn
from llama_nb.render.markdown import plain
from llama_nb.render.nodes import Node as Tree
from llama_nb.render.tools import call_nodes, calls_text
from llama_nb.session.chat import Chat, Node
from llama_nb.session.reply import Reply
from llama_nb.session.why import WhyToken, WhyView

SHORT: Final = 80  # characters of a message in the tree
MOST_ALTERNATIVES: Final = 10
MOST_TOKENS: Final = 4_000  # of a reply in the token view: about 1.2 MB
_MOST_NOTES: Final = 20
_NOT_ALLOWED: Final = "did not allow it"  # in what a model is told of a call that somebody refused

Notes = Mapping[str, Sequence[str]]


def steps(chat: Chat, notes: Notes | None = None) -> list[dict[str, Any]]:
    """Return the conversation, a record a message, without what the messages say.

    Parameters
    ----------
    notes
        Sentences to add to messages, by the messages' ids.
    """
    path = chat.path()
    return [
        _step(chat, node, path[place + 1 : place + 2], (notes or {}).get(node.id, ()))
        for place, node in enumerate(path)
    ]


def turns(chat: Chat, notes: Notes, model: str) -> list[Turn]:
    """Return the conversation as its twin shows it; `model` is named where a message names none."""
    return [_turn(chat, node, notes.get(node.id, ()), model) for node in chat.path()]


def contents(chat: Chat, ids: Iterable[str]) -> list[dict[str, Any]]:
    """Return what messages say, each as nodes and as text; ids that no message has are left out."""
    found = (chat.nodes.get(each) for each in ids)
    return [
        {"id": node.id, "nodes": nodes(node), "text": safe(node.message.content)[:LIMIT]}
        for node in found
        if node is not None
    ]


def nodes(node: Node) -> list[Tree]:
    """Return what a message says: Markdown, or what a tool gave as it is."""
    text = node.message.content
    if node.message.tool_calls and not text.strip():
        return []
    match node.message.role:
        case "assistant":
            return rendered.answer_nodes(text, _record(node).get("grammar"))
        case "user":
            return rendered.user_nodes(text, "chat")
    return plain(text)


def token_rows(reply: Reply) -> list[list[Any]]:
    """Return a reply's tokens as lists, short since there are many of them.

    Returns
    -------
    list of list
        [id, text, logprob, entropy, special, forbidden, alternatives]: natural-log probability and nats;
        special is 0 or 1; forbidden is the probability of all that the grammar ruled out. Each alternative is
        [id, text, logprob, sampled, special, forbidden]; what is null or 0 at its end is left out. Figures
        have four digits, those of alternatives three. At most the first 4,000 tokens.
    """
    return [_row(token) for token in WhyView(reply).tokens[:MOST_TOKENS]]


def tree(chat: Chat) -> list[dict[str, Any]]:
    """Return every message of the chat with its parent and its beginning, in the order they came."""
    path = {node.id for node in chat.path()}
    return [
        {
            "id": node.id,
            "parent": node.parent,
            "role": node.message.role,
            "text": beginning(node.message),
            "on_path": node.id in path,
        }
        for node in tuple(chat.nodes.values())
    ]


def beginning(message: Message) -> str:
    """Return the beginning of a message on one line; of one that only calls functions, their names."""
    text = message.content[: 4 * SHORT] or ", ".join(f"{call.name}()" for call in message.tool_calls)
    line = clean_line(safe(text))
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"


def safe(text: str) -> str:
    """Return a text that any encoder takes: halves of characters would stop the message that carries it."""
    return text.encode("utf-8", "replace").decode("utf-8")


def writer(node: Node) -> str:
    """Return the name of the model that wrote a message; empty where nobody knows."""
    model = _record(node).get("model")
    return rendered.model_name({"model": model}) if isinstance(model, Mapping) else ""


def fingerprint(node: Node) -> str:
    """Return which weights wrote a message; empty where nobody knows."""
    model = _record(node).get("model")
    return _text(model.get("fingerprint")) if isinstance(model, Mapping) else ""


def ended_by(node: Node) -> tuple[str, str]:
    """Return why an answer ended ("length"), and what is said of that; of other messages nothing."""
    record = _record(node)
    return _text(record.get("finish")), clean_line(_text(record.get("detail")))


def _step(chat: Chat, node: Node, following: Sequence[Node], notes: Sequence[str]) -> dict[str, Any]:
    record = _record(node)
    versions = [other.id for other in chat.versions(node.id)]
    finish, detail = ended_by(node)
    reply = chat.reply(node.id)
    said = record.get("notes")
    listed = [clean_line(_text(note)) for note in said[:_MOST_NOTES]] if isinstance(said, list) else []
    step = {
        "id": node.id,
        "role": node.message.role,
        "version": versions.index(node.id) + 1,
        "versions": len(versions),
        "siblings": versions,
        "model": writer(node),
        "finish": finish,
        "status": rendered.short_status(record) if record else "",
        "notes": [*filter(None, listed), *notes],
        "error": detail if finish == "error" else "",
        "tokens": rendered.token_count(record),
        "branchable": reply is not None and any(token.id is not None for token in reply.tokens),
    }
    if node.message.tool_calls:
        state = _state(following)
        step["calls"] = [
            {
                "name": clean_line(call.name),
                "arguments": safe(json.dumps(dict(call.arguments), ensure_ascii=False, default=str)),
                "state": state,
            }
            for call in node.message.tool_calls
        ]
    return step


def _turn(chat: Chat, node: Node, notes: Sequence[str], model: str) -> Turn:
    calls = [{"name": call.name, "arguments": call.arguments} for call in node.message.tool_calls]
    called, called_text = (call_nodes(calls), [calls_text(calls)]) if calls else ([], [])
    text = safe(node.message.content)[:LIMIT]
    versions = [other.id for other in chat.versions(node.id)]
    finish, detail = ended_by(node)
    return Turn(
        role=node.message.role,
        name=writer(node) or model,
        nodes=[*nodes(node), *called],
        text="\n".join([*filter(None, [text]), *called_text]),
        finish=finish,
        detail=detail,
        version=f"{versions.index(node.id) + 1} of {len(versions)}" if len(versions) > 1 else "",
        notes=notes,
    )


def _state(following: Sequence[Node]) -> str:
    """Return what became of a call: its result stands in the message that follows."""
    if not following or following[0].message.role != "tool":
        return "asked"
    told = following[0].message.content
    if not told.startswith('{"error": '):
        return "ran"
    return "refused" if _NOT_ALLOWED in told else "failed"


def _row(token: WhyToken) -> list[Any]:
    others = []
    for other, special in token.alternatives[:MOST_ALTERNATIVES]:
        figures = [_digits(other.logprob, 3), _digits(other.sampled, 3), int(special), int(other.forbidden)]
        others.append(_shortest([other.id, safe(other.text), *figures]))
    figures = [_digits(token.logprob), _digits(token.entropy), int(token.special), _digits(token.forbidden)]
    return [token.id, safe(token.text), *figures, others]


def _shortest(row: list[Any]) -> list[Any]:
    while not row[-1] and type(row[-1]) is not float:  # a probability of 1 has the logarithm 0.0
        row.pop()
    return row


def _digits(value: float | None, digits: int = 4) -> float | None:
    if value is None or not math.isfinite(value):  # no JSON has infinities
        return None
    return float(f"{round(value, 4):.{digits}g}")


def _record(node: Node) -> Mapping[str, Any]:
    return node.reply if isinstance(node.reply, Mapping) else {}


def _text(value: Any) -> str:
    return safe(value) if isinstance(value, str) else ""
