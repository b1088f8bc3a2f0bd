"""The sampling laboratory for pages without widgets: its place's distribution, and the line that sets it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llama_nb.render import distribution
from llama_nb.render.clean import clean_line
from llama_nb.render.html import MUTED, escape, styled, wall
from llama_nb.render.tokens import visible_text


@dataclass(frozen=True, slots=True)
class LaboratoryTwin:
    """What the twin says.

    Attributes
    ----------
    title
        What is looked at: "reply in chat main of cria".
    record
        The distribution's record; None before there is one.
    before
        The text right before the place.
    line
        The line that sets the parameters; empty where they are the model's own.
    ahead
        The text that was written on from there; empty when nothing was.
    """

    title: str
    record: Mapping[str, Any] | None
    before: str = ""
    line: str = ""
    ahead: str = ""


def to_text(twin: LaboratoryTwin) -> str:
    """Return the twin as plain text."""
    parts = [f"Sampling laboratory: {clean_line(twin.title)}", *_said(twin)]
    if twin.record is not None:
        parts.append(distribution.bundle(twin.record, watched=True)["text/plain"])
    return "\n\n".join(parts)


def to_html(twin: LaboratoryTwin) -> str:
    """Return the twin as HTML with inline styles."""
    title = styled("div", "font-weight:bold", escape(f"Sampling laboratory: {clean_line(twin.title)}"))
    said = [styled("div", f"{MUTED};margin:0.2em 0", escape(line)) for line in _said(twin)]
    chart = "" if twin.record is None else distribution.bundle(twin.record, watched=True)["text/html"]
    return wall(styled("div", "", "".join([title, *said, chart])))


def _said(twin: LaboratoryTwin) -> list[str]:
    lines = []
    if twin.record is None:
        lines.append("No place was looked at.")
    if twin.before:
        lines.append(f"After: …{visible_text(twin.before)}")
    if twin.ahead:
        lines.append(f"Written on with these parameters: {visible_text(twin.ahead)}")
    if twin.line:
        lines.append(f"For a session: {clean_line(twin.line)}")
    return lines
