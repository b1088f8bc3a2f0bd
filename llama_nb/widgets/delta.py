"""The difference between two node trees of a growing text, as small as streaming needs.

A reply grows at its end, so the difference is one place in the last block: what stays before it, the text
added to what stays, and the nodes that follow. A long code block is not sent again for each of its tokens.
The page carries it out (labextension/widgets/delta.ts).
"""

from collections.abc import Sequence
from typing import Any, TypedDict

from llama_nb.render.nodes import Node


class Delta(TypedDict):
    """A change at the element that the child numbers in `path` lead to (none: the list of blocks itself).

    `keep` children stay, `grow` is added to the last of them (a text) and `add` follows.
    """

    path: list[int]
    keep: int
    grow: str
    add: list[Node]


def difference(old: Sequence[Node], new: Sequence[Node]) -> Delta | None:
    """Return what makes `new` out of `old`, or None when they are equal."""
    path: list[int] = []
    while True:
        keep = _equal_prefix(old, new)
        if keep == len(old) == len(new):
            return None
        grow = ""
        if keep < min(len(old), len(new)):
            before: Any = old[keep]
            after: Any = new[keep]
            if keep == len(new) - 1 and _same_element(before, after):
                path.append(keep)
                old, new = before.get("c", ()), after.get("c", ())
                continue
            if isinstance(before, str) and isinstance(after, str) and after.startswith(before):
                grow, keep = after[len(before) :], keep + 1
        return Delta(path=path, keep=keep, grow=grow, add=list(new[keep:]))


def _equal_prefix(old: Sequence[Node], new: Sequence[Node]) -> int:
    for index, (before, after) in enumerate(zip(old, new, strict=False)):
        if before != after:
            return index
    return min(len(old), len(new))


def _same_element(before: Node, after: Node) -> bool:
    return (
        isinstance(before, dict)
        and isinstance(after, dict)
        and before.get("t") == after.get("t")
        and before.get("a") == after.get("a")
    )
