"""The tree of a chat as lines of text: one message each, the conversation marked, deeper where it parts."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

_SHORTEST: Final = 5  # letters of an id
_MOST: Final = 400  # lines
_TEXT: Final = 60


def tree_text(name: str, rows: Sequence[Mapping[str, Any]], head: str | None) -> str:
    """Return the tree of chat `name`.

    Parameters
    ----------
    rows
        Its messages, as `session.conversation.tree` gives them.
    head
        Id of the message that the conversation ends with.
    """
    if not rows:
        return f"Chat {name!r} is empty."
    size = _id_length([row["id"] for row in rows])
    children: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        children[row["parent"]].append(row)
    lines = [f"Chat {name!r}: * is the conversation, > its end."]
    waiting = [(row, 0) for row in reversed(children[None])]
    while waiting and len(lines) <= _MOST:
        row, depth = waiting.pop()
        mark = ">" if row["id"] == head else "*" if row["on_path"] else " "
        text = row["text"] if len(row["text"]) <= _TEXT else f"{row['text'][: _TEXT - 1]}…"
        lines.append(f"{mark} {'  ' * depth}{row['id'][:size]} {row['role']}: {text}")
        following = children[row["id"]]
        waiting += [(child, depth + (len(following) > 1)) for child in reversed(following)]
    if len(rows) > _MOST:
        lines.append(f"... and {len(rows) - _MOST:,} more messages")
    return "\n".join(lines)


def _id_length(ids: Sequence[str]) -> int:
    """Return how many letters tell all ids apart."""
    size = _SHORTEST
    while size < max(map(len, ids)) and len({each[:size] for each in ids}) < len(ids):
        size += 1
    return size
