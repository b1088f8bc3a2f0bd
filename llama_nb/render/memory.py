"""Memory in use: who takes how much of it and what is left, as a table in text and as bars in static HTML.

Takes plain figures, wherever they come from. The page draws the same records as live bars.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.render.bars import COLOURS, bar, swatch
from llama_nb.render.clean import clean_line
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, wall
from llama_nb.render.nodes import Element
from llama_nb.render.table import table_node
from llama_nb.render.units import size

# The looks of labextension/widgets/memory_bar.css, in the order of the colours of static bars.
LOOKS: Final = ("weights", "kv_cache", "activations", "overhead", "adapter", "gradients", "optimizer")
_ROOM: Final = "max-width:600px;margin:0.6em 0"
_LEGEND: Final = "display:inline-block;margin-right:14px"


@dataclass(frozen=True, slots=True)
class Share:
    """What one user takes of a memory: `bytes`, drawn as one of `LOOKS` or as "other"."""

    label: str
    bytes: int
    look: str = "other"


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """One memory: what it is called, its bytes, and who takes how many of them."""

    name: str
    capacity: int
    shares: tuple[Share, ...]

    @property
    def free(self) -> int:
        """Bytes that nobody takes."""
        return max(0, self.capacity - sum(share.bytes for share in self.shares))

    def to_record(self) -> dict[str, Any]:
        """Return the figures for the page's bar."""
        parts = [{"look": share.look, "label": share.label, "bytes": share.bytes} for share in self.shares]
        return {"name": self.name, "capacity": self.capacity, "parts": parts}


def memory_table(uses: Sequence[MemoryUse]) -> Element:
    """Return a table with a row for each memory."""
    rows = [[use.name, _takers(use), size(use.free), size(use.capacity)] for use in uses]
    return table_node(["memory", "taken by", "free", "of"], rows)


def memory_html(uses: Sequence[MemoryUse]) -> str:
    """Return a bar with its figures for each memory."""
    return wall("".join(_bar(use) for use in uses))


def _takers(use: MemoryUse) -> str:
    taken = [share for share in use.shares if share.bytes > 0]
    return ", ".join(f"{clean_line(share.label)} {size(share.bytes)}" for share in taken)


def _bar(use: MemoryUse) -> str:
    shares = [share for share in use.shares if share.bytes > 0]
    numbers = [LOOKS.index(share.look) if share.look in LOOKS else len(LOOKS) - 1 for share in shares]
    head = f"<strong>{escape(clean_line(use.name))}</strong> {size(use.free)} of {size(use.capacity)} free"
    items = [
        styled("span", _LEGEND, swatch(number) + escape(f"{clean_line(share.label)} {size(share.bytes)}"))
        for number, share in zip(numbers, shares, strict=True)
    ]
    label = f"{use.name}: {_takers(use)}; {size(use.free)} of {size(use.capacity)} free"
    drawn = _coloured(use, shares, numbers, label)
    legend = styled("div", f"{SMALL};{MUTED}", "".join(items))
    return styled("div", f"{_ROOM};{FIGURES}", styled("div", SMALL, head) + drawn + legend)


def _coloured(use: MemoryUse, shares: Sequence[Share], numbers: Sequence[int], label: str) -> str:
    colours = [COLOURS[number] for number in numbers] or COLOURS
    return bar([share.bytes for share in shares], use.capacity, label, colours=colours)
