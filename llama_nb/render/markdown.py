"""Markdown to a list of nodes, one for each top-level block, all at once or while the text still grows.

HTML is not read: a tag is text. What becomes of each Markdown token is decided in build.py. The stream parses
only the unfinished end of the text again; a block is finished when enough of what follows it is there (a
table's second line or the title of a link definition may change what is before).
"""

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from llama_nb.render.build import build_block, build_inline, code_node, count_elements, definitions_used
from llama_nb.render.clean import LIMIT, CleanStream, clean, more_note, shorten
from llama_nb.render.nodes import Node, element

# Lists and quotes may nest this deep; a block that goes deeper is shown as it was written.
_NESTING: Final = 60
# A paragraph or cell longer than this is shown without inline Markdown: parsing brackets is quadratic.
_LONGEST_INLINE: Final = 20_000
_MOST_DEFINITIONS: Final = 200
# All blocks together; the worst case is about 100 bytes of HTML for each element.
MOST_ELEMENTS: Final = 16_000
# How many whole lines of the next block must be there: a table is known by its second one.
_SETTLED_LINES: Final = 2
_MORE: Final = "\u2026 the rest is in reply.text"
# With a "|" it may be the head of a table.
_FENCE: Final = re.compile(r"(`{3,}(?=[^`\n]*\n)|~{3,})([^|\n]*)\n")

Inline = tuple[list[Node], int]


class _Definitions(dict[str, Any]):
    """The link definitions of a text; the first of a name counts. Remembers which names were asked for."""

    def __init__(self, known: "dict[str, Any] | None" = None) -> None:
        super().__init__(known or {})
        self.asked: dict[str, Any] = {}
        self.lines: dict[str, int] = {}

    def __setitem__(self, label: str, definition: Any) -> None:
        if len(self) < _MOST_DEFINITIONS:
            super().__setitem__(label, {"href": definition["href"], "title": ""})
            self.lines[label] = definition["map"][0]

    def before(self, line: int) -> dict[str, Any]:
        """Return the definitions that stand before this line of the text parsed last."""
        return {label: found for label, found in self.items() if self.lines.get(label, -1) < line}

    def get(self, label: str, default: Any = None) -> Any:
        found = super().get(label, default)
        self.asked[label] = found
        return found


@cache
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _NESTING})
    parser.enable(["table", "strikethrough"])
    # Every address is read as one, and build.py decides; a refused one must not bring its source text back.
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005
    return parser


@dataclass(slots=True)
class _Block:
    """A top-level block: its tokens, lines, and what they became with the definitions it asked for."""

    tokens: list[Token]
    source: str
    first: int
    end: int
    node: Node = ""
    elements: int = 0
    asked: dict[str, Any] = field(default_factory=dict)

    def build(self, definitions: _Definitions, memory: "_Memory") -> None:
        definitions.asked = {}
        if any(token.level >= _NESTING - 1 for token in self.tokens):
            self.node, self.elements = code_node(self.source, ""), 2
        else:
            self.node, self.elements = build_block(
                self.tokens, lambda text: memory.inline(text, definitions), memory.pieces
            )
        self.asked = definitions.asked


class _Memory:
    """What need not be parsed again while a block grows: texts of its items or cells, pieces of its code."""

    def __init__(self) -> None:
        self._inline: dict[str, tuple[Inline, dict[str, Any]]] = {}
        self.pieces: dict[str, list[Node]] = {}

    def inline(self, text: str, definitions: _Definitions) -> Inline:
        known = self._inline.get(text)
        if known is not None and definitions_used(known[1], definitions):
            definitions.asked |= known[1]
            return known[0]
        outer, definitions.asked = definitions.asked, {}
        made = _parse_inline(text, definitions)
        self._inline[text] = (made, definitions.asked)
        definitions.asked = outer | definitions.asked
        return made


def _parse_inline(text: str, definitions: _Definitions) -> Inline:
    if len(text) > _LONGEST_INLINE:
        return [clean(text)], 0
    tokens: list[Token] = []
    parser = _parser()
    parser.inline.parse(text, parser, {"references": definitions}, tokens)
    return build_inline(tokens)


def _parse_blocks(text: str, definitions: _Definitions) -> list[_Block]:
    """Parse `text` into blocks that are not yet built, adding its link definitions to `definitions`."""
    tokens: list[Token] = []
    parser = _parser()
    parser.block.parse(text, parser, {"references": definitions}, tokens)
    lines = text.split("\n")
    blocks: list[_Block] = []
    start = 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            first, end = tokens[start].map or (0, 0)
            blocks.append(_Block(tokens[start : index + 1], "\n".join(lines[first:end]), first, end))
            start = index + 1
    return blocks


def tree(text: str) -> list[Node]:
    """Return `text`, which is Markdown from anyone, as nodes: one for each top-level block.

    At most `LIMIT` characters are shown; a last paragraph says how much more there is.
    """
    shown, note = shorten(text)
    definitions = _Definitions()
    blocks = _parse_blocks(clean(shown), definitions)
    for block in blocks:
        block.build(definitions, _Memory())
    return _capped([block.node for block in blocks], [block.elements for block in blocks], note)


def plain(text: str) -> list[Node]:
    """Return `text` as it was typed: paragraphs between empty lines, line ends kept."""
    shown, note = shorten(text)
    nodes: list[Node] = []
    for paragraph in re.split(r"\n[ \t]*\n", clean(shown).strip("\n")):
        pieces: list[Node] = []
        for line in paragraph.split("\n"):
            pieces += [element("br"), line] if pieces else [line]
        nodes.append(element("p", *pieces))
    return _capped(nodes, [len(node.get("c", ())) for node in nodes if not isinstance(node, str)], note)


def _capped(nodes: list[Node], elements: list[int], note: str) -> list[Node]:
    """Return the blocks that fit into `MOST_ELEMENTS`, and the note about what is not shown."""
    total = 0
    for index, count in enumerate(elements):
        total += count
        if total > MOST_ELEMENTS:
            return [*nodes[:index], element("p", _MORE)]
    return [*nodes, element("p", note)] if note else nodes


class BlockStream:
    """The nodes of a Markdown text that arrives in pieces: at every moment what `tree` gives for the whole.

    Feed it what has come since the page was last told (every 33 to 250 ms), not each token alone: a call
    costs as much as parsing the unfinished block.
    """

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self._cleaner = CleanStream()
        self._room = LIMIT
        self._more = 0
        self._tail = ""
        self._memory = _Memory()
        self._scanned = 0
        self._done: list[_Block] = []
        self._done_elements = 0
        self._open: list[_Block] = []
        self._settled: dict[str, Any] = {}
        self._definitions = _Definitions()

    @property
    def nodes(self) -> list[Node]:
        """All blocks as they are now."""
        return list(self._nodes)

    def feed(self, delta: str) -> tuple[int, list[Node]]:
        """Add `delta` to the text; return the index of the first changed block and the blocks from there."""
        shown, rest = delta[: self._room], delta[self._room :]
        self._room -= len(shown)
        self._more += len(rest.encode("utf-8", "surrogatepass"))
        first = len(self._done)
        if shown:
            final, loose = self._cleaner.feed(shown)
            self._tail += final
            self._parse(self._tail + loose)
            first = min(first, self._redefine())
            self._settle()
        return self._show(first)

    def _parse(self, text: str) -> None:
        self._definitions, before = _Definitions(self._settled), self._definitions
        self._changed = False
        code = self._open_fence(text)
        if code:
            self._open = [code]
        else:
            self._open = _parse_blocks(text, self._definitions)
            for block in self._open:
                block.build(self._definitions, self._memory)
        self._changed = self._definitions != before

    def _open_fence(self, text: str) -> _Block | None:
        """Return the block of a `text` that is code whose closing fence has not come, without parsing it."""
        opening = _FENCE.match(text)
        if opening is None:
            return None
        start = max(self._scanned, opening.end())
        if _closing(opening[1]).search(text, start):
            return None
        self._scanned = max(text.rfind("\n") + 1, opening.end())
        node = code_node(text[opening.end() :], opening[2], self._memory.pieces)
        return _Block([], text, 0, text.count("\n") + 1, node, count_elements(node))

    def _redefine(self) -> int:
        """Build finished blocks again whose link definitions came or went; return the first one's index."""
        first = len(self._done)
        if self._changed:
            for index, block in enumerate(self._done):
                if not definitions_used(block.asked, self._definitions):
                    self._done_elements -= block.elements
                    block.build(self._definitions, _Memory())
                    self._done_elements += block.elements
                    first = min(first, index)
        return first

    def _settle(self) -> None:
        """Move the blocks that no later text can change from the open ones to the finished ones."""
        whole = self._tail.count("\n")
        lines = self._tail.split("\n") if len(self._open) > 1 or whole else [self._tail]
        count, cut = 0, 0
        for index, block in enumerate(self._open):
            following = self._open[index + 1 : index + 2]
            if _is_closed_fence(block, lines, whole):
                count, cut = index + 1, block.end
            elif following and _is_settled_by(following[0], lines, whole, last=index + 2 == len(self._open)):
                count, cut = index + 1, following[0].first
        if not count:
            return
        self._done += self._open[:count]
        self._done_elements += sum(block.elements for block in self._open[:count])
        self._open = self._open[count:]
        self._settled = self._definitions.before(cut)
        self._tail = "\n".join(lines[cut:])
        self._memory = _Memory()
        self._scanned = 0

    def _show(self, first: int) -> tuple[int, list[Node]]:
        blocks = [*self._done[first:], *self._open]
        note = more_note(self._more) if self._more else ""
        if self._done_elements + sum(block.elements for block in self._open) > MOST_ELEMENTS:
            first, blocks = 0, [*self._done, *self._open]
        now = _capped([block.node for block in blocks], [block.elements for block in blocks], note)
        before = self._nodes[first:]
        same = 0
        while same < min(len(now), len(before)) and now[same] == before[same]:
            same += 1
        self._nodes[first:] = now
        return first + same, now[same:]


@cache
def _closing(mark: str) -> re.Pattern[str]:
    """The line that closes a fence opened with `mark`."""
    return re.compile(rf"^ {{0,3}}{mark[0]}{{{len(mark)},}}[ \t]*$", re.MULTILINE)


def _is_closed_fence(block: _Block, lines: list[str], whole: int) -> bool:
    token = block.tokens[0] if block.tokens else None
    if token is None or token.type != "fence" or block.end > whole or block.end - block.first < 2:
        return False
    return _closing(token.markup).match(lines[block.end - 1]) is not None


def _is_settled_by(block: _Block, lines: list[str], whole: int, *, last: bool) -> bool:
    """Whether the beginning of `block` ends the one before it for good.

    The lines of a paragraph may still become the title of a link definition that stands right before it,
    until the paragraph has ended (is not the `last` block) or unless an empty line is between.
    """
    if whole - block.first < _SETTLED_LINES:
        return False
    text = not block.tokens or block.tokens[0].type in {"paragraph_open", "heading_open"}
    return not (text and last) or not lines[block.first - 1].strip()
