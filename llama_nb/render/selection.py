"""A choice of a model as text and HTML: what was chosen, why, and what was not."""

from collections.abc import Mapping
from typing import Any

from llama_nb.render.html import to_html
from llama_nb.render.nodes import Node, element
from llama_nb.render.table import table_node
from llama_nb.render.text import to_text


def selection_bundle(view: Mapping[str, Any]) -> dict[str, str]:
    """Return a choice as a mime bundle.

    Parameters
    ----------
    view
        "title"; "reasons": sentences; "others": a row (name, format, memory, why not) for each model that
        was not chosen; "command": what to type next.
    """
    nodes: list[Node] = [
        element("p", element("strong", view["title"])),
        element("ul", *(element("li", *_with_code(reason)) for reason in view["reasons"])),
    ]
    if view["others"]:
        nodes.append(table_node(["not chosen", "in", "memory", "why"], view["others"]))
    nodes.append(element("p", "Next: ", element("code", view["command"])))
    return {"text/plain": to_text(nodes), "text/html": to_html(nodes)}


def _with_code(sentence: str) -> list[Node]:
    """Return a sentence in which what stands between backticks is code."""
    return [
        element("code", part) if index % 2 else part for index, part in enumerate(sentence.split("`")) if part
    ]
