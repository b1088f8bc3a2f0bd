"""The loader panel for pages without widgets: what was loaded, what was chosen, the line that loads it."""

from collections.abc import Sequence
from dataclasses import dataclass

from llama_nb.render.clean import clean_line
from llama_nb.render.html import to_html as nodes_to_html
from llama_nb.render.nodes import Node, element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text as nodes_to_text


@dataclass(frozen=True, slots=True)
class LoaderTwin:
    """What the twin says.

    Attributes
    ----------
    models
        Name, a few words, and "current" or nothing, for each loaded model.
    command, sentence
        The line that loads what was chosen, and what that takes; empty when nothing was.
    """

    models: Sequence[tuple[str, str, str]]
    command: str
    sentence: str


def to_text(twin: LoaderTwin) -> str:
    """Return the twin as plain text."""
    return nodes_to_text(_nodes(twin))


def to_html(twin: LoaderTwin) -> str:
    """Return the twin as HTML with inline styles."""
    return nodes_to_html(_nodes(twin))


def _nodes(twin: LoaderTwin) -> list[Node]:
    nodes: list[Node] = []
    if twin.models:
        nodes.append(table_node(["loaded", "", ""], twin.models))
    else:
        nodes.append(element("p", "No model was loaded."))
    if twin.command:
        said = f": {clean_line(twin.sentence)}" if twin.sentence else ""
        nodes.append(element("p", "Chosen: ", element("code", clean_line(twin.command)), said))
    return nodes
