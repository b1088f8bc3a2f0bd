"""Stored chats and saved notebooks, read back into a chat.

What is read is untrusted: anybody may have written the file. It becomes text in checked roles and nothing
else; what cannot be understood is left out and counted, and no tool in it is ever run.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from llama_nb.core.errors import ChatStoreError
from llama_nb.core.events import Note, publish
from llama_nb.core.messages import Message
from llama_nb.session.chat import Chat, Node
from llama_nb.session.reply import MIME, content_id
from llama_nb.session.store import SCHEMA
from llama_nb.session.tool_calls import stored_calls

LARGEST_FILE: Final = 256 * 2**20
LONGEST_LINE: Final = 8 * 2**20
_HINT: Final = "A chat is also in the notebook that was saved with it: %llama chat --from FILE.ipynb"
_ROLES: Final = ("user", "assistant", "tool")


@dataclass
class StoredChat:
    """A conversation as it was found: messages in order, where it ends, and what could not be read."""

    nodes: list[Node] = field(default_factory=list)
    head: str | None = None
    session: str = ""
    skipped: int = 0


def restore_into(chat: Chat, path: Path, *, own: bool = False) -> None:
    """Put a stored conversation in the place of what `chat` holds, and say what was restored.

    `own` says that it is the chat's own file: what is in it need not be written again.

    Raises
    ------
    ChatStoreError
        If the file is missing, is too large, or holds no conversation.
    """
    stored = from_notebook(path) if path.suffix == ".ipynb" else restore(path, other_than=chat.session)
    chat.fill(stored.nodes, head=stored.head, session=stored.session if own else "")
    unanswered = _without_unanswered(chat)
    turns = chat.turn_count()
    what = f"{turns} turn{'' if turns == 1 else 's'}{' and its system prompt' if chat.system else ''}"
    skipped = _left_out(stored.skipped)
    publish(Note(f"Chat {chat.name!r}: {what} restored from {path.name}{skipped}.{unanswered}"))


def _without_unanswered(chat: Chat) -> str:
    """Leave out a last message that the model never answered, and say which it was."""
    nodes = chat.path()
    if not nodes or nodes[-1].message.role != "user" or chat.children(nodes[-1].id):
        return ""
    chat.withdraw(nodes[-1].id, nodes[-1].parent)
    line = " ".join(nodes[-1].message.content.split())
    return (
        f" Its last message got no answer and is left out: {line if len(line) <= 80 else f'{line[:79]}…'!r}"
    )


def _left_out(lines: int) -> str:
    if not lines:
        return ""
    return f"; {lines} unreadable line{' was' if lines == 1 else 's were'} left out"


def restore(path: Path, *, other_than: str = "") -> StoredChat:
    """Read the newest conversation of a chat's file, except the session `other_than`."""
    chats: dict[str, StoredChat] = {}
    skipped = 0
    for line in _read_text(path).split("\n"):
        if not line.strip():
            continue
        record = _parse_line(line)
        session = record.get("session") if record else None
        if record is None or not isinstance(session, str) or record.get("schema") != SCHEMA:
            skipped += 1
            continue
        chat = chats.pop(session, None) or StoredChat(session=session)
        chats[session] = chat  # the newest is the last
        if not _take(chat, record):
            skipped += 1
    found = [chat for chat in chats.values() if chat.nodes and chat.session != other_than]
    if not found:
        unreadable = f" {skipped} lines could not be read." if skipped else ""
        raise ChatStoreError(f"There is no earlier conversation in {path.name}.{unreadable}", _HINT)
    found[-1].skipped = skipped
    return found[-1]


def from_notebook(path: Path, chat: str | None = None) -> StoredChat:
    """Read the replies that a saved notebook shows: those of `chat`, default the chat of the last reply."""
    records = [record for record in _reply_records(path) if record["kind"] == "chat" and record["chat"]]
    wanted = chat or (records[-1]["chat"] if records else None)
    stored = StoredChat()
    known: set[str] = set()
    for record in records:
        if record["chat"] != wanted:
            continue
        # Where the output of the turn before was deleted, the reply before in the notebook takes its place.
        parent = record["parent"] if record["parent"] is None or record["parent"] in known else stored.head
        asked, system = record["user"], record["system"]
        if asked is None and stored.head is None:
            continue  # results of a call whose own output was deleted
        if asked is None:
            user = _add_results(stored, record["results"])
        else:
            user = content_id(parent, "user", asked, system)
            stored.nodes.append(Node(user, parent, Message("user", asked), system))
        calls = stored_calls(record["calls"]) or () if record.get("calls") else ()
        message = Message("assistant", "" if calls else record["text"], calls[:1])
        stored.nodes.append(Node(record["id"], user, message, None, record))
        stored.head = record["id"]
        known.add(record["id"])
    if not stored.nodes:
        raise ChatStoreError(
            f"{path.name} holds no replies of a chat.", "Save the notebook first, then restore."
        )
    return stored


def _add_results(stored: StoredChat, results: Sequence[Any]) -> str | None:
    """Put the results of calls under the reply that asked for them; return the last one's id.

    Several calls of one reply are several messages (see `ToolTurn.keep_results`).
    """
    at = stored.head
    before = stored.nodes[-1].reply if stored.nodes else None
    calls = stored_calls(before["calls"]) or () if before and before.get("calls") else ()
    for number, result in enumerate(results):
        text = result.get("text") if isinstance(result, dict) else None
        if 0 < number < len(calls):
            asks = Message("assistant", "", calls[number : number + 1])
            stored.nodes.append(Node(content_id(at, "assistant", "", None), at, asks))
            at = stored.nodes[-1].id
        if isinstance(text, str):
            stored.nodes.append(Node(content_id(at, "tool", text, None), at, Message("tool", text)))
            at = stored.nodes[-1].id
    return at


def _take(chat: StoredChat, record: Mapping[str, Any]) -> bool:
    """Add one record to a conversation; return whether it was understood."""
    head = record.get("head")
    if record.get("type") not in ("message", "head") or not isinstance(head, str | None):
        return False
    if record["type"] == "message":
        key, parent, role, text = (record.get(name) for name in ("id", "parent", "role", "text"))
        system, reply = record.get("system"), record.get("reply")
        if not (isinstance(key, str) and isinstance(parent, str | None) and isinstance(text, str)):
            return False
        if role not in _ROLES:
            return False
        system = system if isinstance(system, str) else None
        calls = stored_calls(record.get("tool_calls", []))
        if calls is None or (calls and role != "assistant"):
            return False
        chat.nodes.append(
            Node(key, parent, Message(role, text, calls), system, reply if isinstance(reply, dict) else None)
        )
    chat.head = head
    return True


def _reply_records(path: Path) -> Iterator[dict[str, Any]]:
    try:
        notebook = json.loads(_read_text(path))
        cells = notebook["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs") or ()]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ChatStoreError(
            f"{path.name} is not a notebook.", "Give the path of a saved .ipynb file."
        ) from None
    for output in outputs:
        data = output.get("data") if isinstance(output, dict) else None
        record = _reply_record(data.get(MIME)) if isinstance(data, dict) else None
        if record is not None:
            yield record


def _reply_record(value: Any) -> dict[str, Any] | None:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        value = "".join(value)
    record = _parse_line(value) if isinstance(value, str) else value
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        return None
    # What answers the results of calls has no message of a user.
    answers_results = record.get("user") is None and isinstance(record.get("results"), list)
    needed = ("id", "kind", "text") if answers_results else ("id", "kind", "user", "text")
    if not all(isinstance(record.get(key), str) for key in needed):
        return None
    for key in ("parent", "system", "chat"):
        if not isinstance(record.get(key), str):
            record[key] = None
    return record


def _parse_line(line: str) -> dict[str, Any] | None:
    if len(line) > LONGEST_LINE:
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ChatStoreError(f"{path.name} is larger than {LARGEST_FILE // 2**20} MB; it was not read.")
        return path.read_bytes().decode("utf-8", "replace")
    except FileNotFoundError:
        raise ChatStoreError(
            f"{path.name} does not exist: nothing was stored for this chat.", _HINT
        ) from None
    except OSError as error:
        raise ChatStoreError(f"{path.name} cannot be read: {error.strerror}.") from None
