"""What a verb answers when it is not a reply or a model: a text, or tables with an HTML twin."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_nb.render.nodes import Node


class Shown:
    """A text to read; where it has tables, with an HTML twin."""

    def __init__(self, text: str, nodes: "Sequence[Node]" = ()) -> None:
        self.text = text
        self.nodes = tuple(nodes)

    def __add__(self, other: "Shown") -> "Shown":
        """Put `other` below."""
        return Shown(f"{self.text}\n\n{other.text}", [*self.as_nodes(), *other.as_nodes()])

    def as_nodes(self) -> "Sequence[Node]":
        """Return its nodes; a text alone is a paragraph."""
        from llama_nb.render.nodes import element

        return self.nodes or [element("p", self.text)]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        if not self.nodes:
            return {"text/plain": self.text}
        from llama_nb.render.html import to_html

        return {"text/plain": self.text, "text/html": to_html(self.nodes)}

    def __repr__(self) -> str:
        return self.text


def table(headings: Sequence[str], rows: Sequence[Sequence[str | int | None]]) -> Shown:
    """Return rows under headings."""
    from llama_nb.render.table import table_node
    from llama_nb.render.text import to_text

    nodes = [table_node(headings, rows)]
    return Shown(to_text(nodes), nodes)
