"""Markdown to a list of nodes, one for each top-level block, all at once or while the text still grows.

The stream parses only the unfinished end of the text again. A block is finished when enough of what follows
is there: a table's second line or the title of a link definition may change what is before it.
"""

import re
from functools import cache
from typing import Any, Final

from llama_nb.render.blocks import MOST_BLOCK_TOKENS, Block, Definitions, Memory, parse_blocks
from llama_nb.render.build import code_node, count_elements, definitions_used
from llama_nb.render.clean import (
    LIMIT,
    MOST_LINES,
    CleanStream,
    clean,
    line_ends,
    more_note,
    shorten,
    shown_length,
    size,
)
from llama_nb.render.nodes import Node, element

# All blocks together; the worst case is about 150 bytes of HTML for each element.
MOST_ELEMENTS: Final = 10_000
# How many whole lines of the next block must be there: a table is known by its second one.
_SETTLED_LINES: Final = 2
_MORE: Final = "\u2026 the rest is in reply.text"
# The beginning of code; with a "|" it may be the head of a table.
_FENCE: Final = re.compile(r"(`{3,}(?=[^`\n]*\n)|~{3,})([^|\n]*)\n")


def tree(text: str) -> list[Node]:
    """Return `text`, which is Markdown from anyone, as nodes: one for each top-level block.

    HTML in it is text. What is shown is bounded (`LIMIT` characters, `MOST_ELEMENTS`); a last paragraph says
    when there is more.
    """
    shown, note = shorten(text)
    definitions = Definitions()
    blocks, cut = parse_blocks(clean(shown), definitions, MOST_BLOCK_TOKENS)
    return _fitting(blocks, definitions, Memory(), note, cut=cut)


def plain(text: str) -> list[Node]:
    """Return `text` as it was typed: paragraphs between empty lines, line ends kept."""
    shown, note = shorten(text)
    nodes: list[Node] = []
    elements = 0
    for paragraph in re.split(r"\n[ \t]*\n", clean(shown).strip("\n")):
        lines = paragraph.split("\n")
        elements += len(lines)
        if elements > MOST_ELEMENTS:
            return [*nodes, element("p", _MORE)]
        pieces: list[Node] = [lines[0]]
        for line in lines[1:]:
            pieces += [element("br"), line]
        nodes.append(element("p", *pieces))
    return [*nodes, element("p", note)] if note else nodes


def _fitting(
    blocks: list[Block], definitions: Definitions, memory: Memory, note: str, *, cut: bool, elements: int = 0
) -> list[Node]:
    """Return the nodes of the blocks that fit after so many `elements`, and what is to say about the rest.

    Blocks that are not built yet are built; those that do not fit are left as they are.
    """
    nodes: list[Node] = []
    for block in blocks:
        if block.node is None:
            block.build(definitions, memory)
        elements += block.elements
        if elements > MOST_ELEMENTS or block.node is None:
            return [*nodes, element("p", _MORE)]
        nodes.append(block.node)
    if cut:
        return [*nodes, element("p", _MORE)]
    return [*nodes, element("p", note)] if note else nodes


class BlockStream:
    """The nodes of a Markdown text that arrives in pieces: at every moment what `tree` gives for the whole.

    Feed it what has come since the page was last told (every 33 to 250 ms), not each token alone: a call
    costs as much as parsing the unfinished block.
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._cleaner = CleanStream()
        self._room = (LIMIT, MOST_LINES)
        self._more = 0
        # Text that is not finished, what was parsed of it, and what helps to parse it again.
        self._tail = ""
        self._open: list[Block] = []
        self._cut = False
        self._memory = Memory()
        self._scanned = 0
        # Finished blocks, and the link definitions among them.
        self._done: list[Block] = []
        self._done_tokens = 0
        self._done_elements = 0
        self._settled: dict[str, Any] = {}
        self._definitions = Definitions()

    @property
    def nodes(self) -> list[Node]:
        """All blocks as they are now."""
        return list(self._nodes)

    def feed(self, delta: str) -> tuple[int, list[Node]]:
        """Add `delta` to the text; return the index of the first changed block and the blocks from there."""
        shown = self._take(delta)
        first = len(self._done)
        if shown:
            final, loose = self._cleaner.feed(shown)
            self._tail += final
            before, self._definitions = self._definitions, Definitions(self._settled)
            self._parse(self._tail + loose)
            if self._definitions != before:
                first = self._redefine()
        return self._show(first)

    def _take(self, delta: str) -> str:
        """Return what of `delta` is shown, and count the rest."""
        characters, lines = self._room
        end = shown_length(delta, characters, lines) if not self._more else 0
        shown = delta[:end]
        self._more += size(delta[end:])
        self._room = (characters - len(shown), lines - line_ends(shown))
        return shown

    def _parse(self, text: str) -> None:
        room = MOST_BLOCK_TOKENS - self._done_tokens
        code = self._open_fence(text) if room > 0 else None
        if code:
            self._open, self._cut = [code], False
        else:
            self._memory.next()
            self._open, self._cut = parse_blocks(text, self._definitions, room)

    def _open_fence(self, text: str) -> Block | None:
        """Return the block of a `text` that is code whose closing fence has not come, without parsing it."""
        opening = _FENCE.match(text)
        if opening is None:
            return None
        start = max(self._scanned, opening.end())
        if _closing(opening[1]).search(text, start):
            return None
        self._scanned = max(text.rfind("\n") + 1, opening.end())
        node = code_node(text[opening.end() :], opening[2], self._memory.pieces)
        return Block([], text, 0, text.count("\n") + 1, node, count_elements(node))

    def _redefine(self) -> int:
        """Forget finished blocks whose link definitions came or went; return the first one's index."""
        first = len(self._done)
        for index, block in enumerate(self._done):
            if block.node is not None and not definitions_used(block.asked, self._definitions):
                self._done_elements -= block.elements
                block.node, block.elements = None, 0
                first = min(first, index)
        return first

    def _show(self, first: int) -> tuple[int, list[Node]]:
        note = more_note(self._more) if self._more else ""
        # Elements of the finished blocks from `first` on are counted again, since some may have to be built.
        kept = self._done_elements - sum(block.elements for block in self._done[first:])
        if kept > MOST_ELEMENTS:
            first, kept = 0, 0
        blocks = [*self._done[first:], *self._open]
        now = _fitting(blocks, self._definitions, self._memory, note, cut=self._cut, elements=kept)
        before = self._nodes[first:]
        same = 0
        while same < min(len(now), len(before)) and now[same] == before[same]:
            same += 1
        self._nodes[first:] = now
        self._done_elements = kept + sum(block.elements for block in self._done[first:])
        self._settle()
        return first + same, now[same:]

    def _settle(self) -> None:
        """Move the blocks that no later text can change from the open ones to the finished ones."""
        whole = self._tail.count("\n")
        lines = self._tail.split("\n") if whole else [self._tail]
        count, cut = 0, 0
        for index, block in enumerate(self._open):
            following = self._open[index + 1 : index + 2]
            if _is_closed_fence(block, lines, whole):
                count, cut = index + 1, block.end
            elif following and _is_settled_by(following[0], lines, whole, last=index + 2 == len(self._open)):
                count, cut = index + 1, following[0].first
        if not count:
            return
        settled, self._open = self._open[:count], self._open[count:]
        self._done += settled
        self._done_elements += sum(block.elements for block in settled)
        self._done_tokens += sum(len(block.tokens) for block in settled)
        self._settled = self._definitions.before(cut)
        self._tail = "\n".join(lines[cut:])
        self._memory = Memory()
        self._scanned = 0


@cache
def _closing(mark: str) -> re.Pattern[str]:
    """The line that closes a fence opened with `mark`."""
    return re.compile(rf"^ {{0,3}}{mark[0]}{{{len(mark)},}}[ \t]*$", re.MULTILINE)


def _is_closed_fence(block: Block, lines: list[str], whole: int) -> bool:
    token = block.tokens[0] if block.tokens else None
    if token is None or token.type != "fence" or block.end > whole or block.end - block.first < 2:
        return False
    return _closing(token.markup).match(lines[block.end - 1]) is not None


def _is_settled_by(block: Block, lines: list[str], whole: int, *, last: bool) -> bool:
    """Whether the beginning of `block` ends the one before it for good.

    The lines of a paragraph may still become the title of a link definition that stands right before it,
    until the paragraph has ended (is not the `last` block) or unless an empty line is between.
    """
    if whole - block.first < _SETTLED_LINES:
        return False
    text = not block.tokens or block.tokens[0].type in {"paragraph_open", "heading_open"}
    return not (text and last) or not lines[block.first - 1].strip()
