"""Text to top-level blocks: markdown-it with HTML off, and with bounds on what hostile text can make it do.

A bound depends on what stands before the place where it applies, never on what follows, so that a text that
grows keeps the blocks it has.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock, lheading, paragraph, reference, table
from markdown_it.token import Token

from llama_nb.render.build import build_block, build_inline, code_node, definitions_used
from llama_nb.render.clean import clean
from llama_nb.render.nodes import Node

# Lists and quotes may nest this deep; a block that goes deeper is shown as it was written.
NESTING: Final = 60
# Brackets deeper than this are text: looking for the ends of links costs their number times this.
_INLINE_NESTING: Final = 20
# What is parsed of one text, in tokens of blocks (three for a paragraph); the rest is left out.
MOST_BLOCK_TOKENS: Final = 12_000
# Longer ones are cut in two, since the last one is parsed again whenever the text grows.
_PARAGRAPH_LINES: Final = 1_000
_TABLE_ROWS: Final = 400
_TABLE_COLUMNS: Final = 100
# A paragraph or cell longer than this is shown without inline Markdown: parsing brackets is quadratic.
_LONGEST_INLINE: Final = 10_000
_MOST_DEFINITIONS: Final = 200

_Rule = Callable[[StateBlock, int, int, bool], bool]
_Inline = tuple[list[Node], int]


class Definitions(dict[str, Any]):
    """The link definitions of a text; the first of a name counts. Remembers which names were asked for."""

    def __init__(self, known: "dict[str, Any] | None" = None) -> None:
        super().__init__(known or {})
        self.asked: dict[str, Any] = {}
        self._lines: dict[str, int] = {}

    def __setitem__(self, label: str, definition: Any) -> None:
        if len(self) < _MOST_DEFINITIONS:
            super().__setitem__(label, {"href": definition["href"], "title": ""})
            self._lines[label] = definition["map"][0]

    def before(self, line: int) -> dict[str, Any]:
        """Return the definitions that stand before this line of the text parsed last."""
        return {label: found for label, found in self.items() if self._lines.get(label, -1) < line}

    def get(self, label: str, default: Any = None) -> Any:
        """Look a name up, as markdown-it does for each bracket that may be a link."""
        found = super().get(label, default)
        self.asked[label] = found
        return found


class Memory:
    """What need not be parsed again while a block grows: texts of its items or cells, pieces of its code."""

    def __init__(self) -> None:
        self.pieces: dict[str, list[Node]] = {}
        self._now: dict[str, tuple[_Inline, dict[str, Any]]] = {}
        self._before: dict[str, tuple[_Inline, dict[str, Any]]] = {}

    def next(self) -> None:
        """Begin to parse a longer text; what it does not use again is forgotten."""
        self._before, self._now = self._now, {}

    def inline(self, text: str, definitions: Definitions) -> _Inline:
        """Return the nodes of a text with inline Markdown and the number of elements in them."""
        known = self._now.get(text) or self._before.get(text)
        if known is None or not definitions_used(known[1], definitions):
            outer, definitions.asked = definitions.asked, {}
            known = _parse_inline(text, definitions), definitions.asked
            definitions.asked = outer
        definitions.asked |= known[1]
        self._now[text] = known
        return known[0]


@dataclass(slots=True)
class Block:
    """A top-level block: where it stands, its tokens, and what `build` made of them.

    `node` is None until then. `asked` are the link definitions that it looked for.
    """

    tokens: list[Token]
    source: str
    first: int
    end: int
    node: Node | None = None
    elements: int = 0
    asked: dict[str, Any] = field(default_factory=dict)

    def build(self, definitions: Definitions, memory: Memory) -> None:
        """Make the node, with these definitions."""
        definitions.asked = {}
        if any(token.level >= NESTING - 1 for token in self.tokens):
            self.node, self.elements = code_node(self.source, ""), 2
        else:
            self.node, self.elements = build_block(
                self.tokens, lambda text: memory.inline(text, definitions), memory.pieces
            )
        self.asked = definitions.asked


def parse_blocks(text: str, definitions: Definitions, room: int) -> tuple[list[Block], bool]:
    """Parse clean text into blocks that are not yet built, adding its link definitions to `definitions`.

    Parameters
    ----------
    room
        How many tokens of blocks may be made.

    Returns
    -------
    The blocks, and whether the text went on when there was no more room.
    """
    tokens: list[Token] = []
    parser = _parser()
    env = {"references": definitions, "room": room, "cut": False}
    parser.block.parse(text, parser, env, tokens)
    lines = text.split("\n")
    blocks: list[Block] = []
    start = 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.nesting <= 0:
            first, end = tokens[start].map or (0, 0)
            blocks.append(Block(tokens[start : index + 1], "\n".join(lines[first:end]), first, end))
            start = index + 1
    return blocks, bool(env["cut"])


def _parse_inline(text: str, definitions: Definitions) -> _Inline:
    if len(text) > _LONGEST_INLINE:
        return [clean(text)], 0
    tokens: list[Token] = []
    parser = _inline_parser()
    parser.inline.parse(text, parser, {"references": definitions}, tokens)
    return build_inline(tokens)


@cache
def _inline_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": _INLINE_NESTING})
    parser.enable("strikethrough")
    return _with_any_address(parser)


@cache
def _parser() -> MarkdownIt:
    parser = _with_any_address(MarkdownIt("commonmark", {"html": False, "maxNesting": NESTING}))
    rules = parser.block.ruler
    rules.enable("table")
    rules.before("table", "room", _stop_without_room)
    rules.at("table", _bounded_table, {"alt": ["paragraph", "reference"]})
    for name, rule in (("reference", reference), ("lheading", lheading), ("paragraph", paragraph)):
        rules.at(name, _bounded(rule))
    return parser


def _with_any_address(parser: MarkdownIt) -> MarkdownIt:
    """Let every address be one: build.py decides, and a refused one must not bring its source text back."""
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005
    return parser


def _stop_without_room(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    del start
    if silent or len(state.tokens) < state.env["room"]:
        return False
    state.env["cut"] = True
    state.line = end
    return True


def _bounded(rule: _Rule) -> _Rule:
    """Let a rule that looks for the end of a paragraph see only so many lines."""

    def bounded(state: StateBlock, start: int, end: int, silent: bool) -> bool:
        most, state.lineMax = state.lineMax, min(state.lineMax, start + _PARAGRAPH_LINES)
        try:
            return rule(state, start, min(end, state.lineMax), silent)
        finally:
            state.lineMax = most

    return bounded


def _bounded_table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """Parse a table; rows beyond the bound become one that says so, a head too wide is text."""
    if state.src.count("|", state.bMarks[start], state.eMarks[start]) > _TABLE_COLUMNS + 1:
        return False
    bound, opening = start + 2 + _TABLE_ROWS, len(state.tokens)
    if not table(state, start, min(end, bound), silent):
        return False
    if not silent and state.line == bound:
        while (
            state.line < end and not state.isEmpty(state.line) and state.sCount[state.line] >= state.blkIndent
        ):
            state.line += 1
        if state.line > bound:
            _add_row(state, f"\u2026 {state.line - bound:,} more lines are in reply.text")
            state.tokens[opening].map = [start, state.line]
    return True


def _add_row(state: StateBlock, text: str) -> None:
    """Put a row with one cell at the end of the table that was just parsed."""
    level = state.tokens[-2].level + 1
    row = [
        Token("tr_open", "tr", 1, level=level),
        Token("td_open", "td", 1, level=level + 1),
        Token("inline", "", 0, level=level + 2, content=text, children=[]),
        Token("td_close", "td", -1, level=level + 1),
        Token("tr_close", "tr", -1, level=level),
    ]
    state.tokens[-2:-2] = row
