"""The difference between two node trees of a growing text, as small as streaming needs.

A reply grows at its end, so the difference is one place in the last block: what stays before it, the text
added to what stays, and the nodes that follow. A long code block is not sent again for each of its tokens.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

Node = Any  # a string, or a dict with "t" (tag), "a" (attributes) and "c" (children)


class Delta(TypedDict):
    """At the element reached by the child numbers in `path` (empty: the list of blocks itself):

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
            before, after = old[keep], new[keep]
            if keep == len(new) - 1 and _same_element(before, after):
                path.append(keep)
                old, new = before.get("c", ()), after.get("c", ())
                continue
            if isinstance(before, str) and isinstance(after, str) and after.startswith(before):
                grow, keep = after[len(before) :], keep + 1
        return Delta(path=path, keep=keep, grow=grow, add=list(new[keep:]))


def apply(blocks: Sequence[Node], delta: Delta) -> list[Node]:
    """Return `blocks` with the delta carried out; what does not change is shared, nothing is changed in place."""
    return _applied(blocks, delta, 0)


def _applied(nodes: Sequence[Node], delta: Delta, depth: int) -> list[Node]:
    if depth < len(delta["path"]):
        at = delta["path"][depth]
        inner = {**nodes[at], "c": _applied(nodes[at].get("c", ()), delta, depth + 1)}
        return [*nodes[:at], inner]
    kept = list(nodes[: delta["keep"]])
    if delta["grow"]:
        kept[-1] += delta["grow"]
    return [*kept, *delta["add"]]


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
