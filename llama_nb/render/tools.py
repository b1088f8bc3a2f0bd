"""Calls of functions as a reader sees them: what the model asks for, and what came of it.

It takes plain JSON values. Names, arguments and results are text of strangers: shown as code, nothing else.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import clean, clean_line
from llama_nb.render.highlight import highlight
from llama_nb.render.html import MONO, MUTED, SMALL, escape, styled, to_html, wall, without_math
from llama_nb.render.nodes import Node, element
from llama_nb.render.text import to_text

MOST_CALLS: Final = 16  # of one reply that are kept
LONGEST_CALL: Final = 4_000  # characters of a call that are shown
LONGEST_RESULT: Final = 4_000
_BOX: Final = (
    "max-width:76ch;border-left:3px solid #64748b;padding:1px 12px;margin:2px 0 6px;"
    "line-height:1.55;overflow-wrap:break-word"
)
_CODE: Final = f"{MONO};font-size:0.92em;white-space:pre-wrap;margin:2px 0;max-height:200px;overflow:auto"
_LABEL: Final = f"font-weight:600;{MUTED};{SMALL}"
# What is said of a call beside its name, in each state.
_STATES: Final = {
    "waiting": "waits",
    "asking": "waits for your answer",
    "running": "is running",
    "ran": "returned",
    "refused": "was not run",
    "failed": "failed",
    "invalid": "was not run",
}


def call_text(name: Any, arguments: Any) -> str:
    """Return a call as it would be written in Python, cleaned, cut where it is endless."""
    shown = clean_line(str(name)) or "a call that cannot be read"
    if not name or not isinstance(arguments, Mapping):
        return shown
    text = f"{shown}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    return _cut(clean(text), LONGEST_CALL)


def call_nodes(calls: Sequence[Any]) -> list[Node]:
    """Return what stands in the place of a reply's text where it asks for calls."""
    lines = [
        call_text(call.get("name"), call.get("arguments")) for call in calls if isinstance(call, Mapping)
    ]
    return [element("pre", element("code", *highlight("\n".join(lines), "python")))]


def calls_text(calls: Sequence[Any]) -> str:
    """Return the text twin of `call_nodes`."""
    return to_text(call_nodes(calls))


def saved_calls(calls: Sequence[Any]) -> list[dict[str, Any]]:
    """Return calls as a saved record keeps them: names and JSON values that any encoder takes."""
    kept = []
    for call in calls[:MOST_CALLS]:
        if isinstance(call, Mapping) and isinstance(call.get("arguments"), Mapping):
            text = json.dumps([str(call.get("name")), call["arguments"]], ensure_ascii=False, default=str)
            name, arguments = json.loads(text.encode("utf-8", "replace"))
            kept.append({"name": name, "arguments": arguments})
    return kept


def call_bundle(record: Mapping[str, Any]) -> dict[str, str]:
    """Return one call with what came of it as a mime bundle (see `FunctionCall.to_record`)."""
    heading, body = _heading(record), _body(record)
    if record.get("state") == "ran":
        code = highlight(body, "json" if body.startswith(("{", "[")) else "")
        html = styled("div", _LABEL, escape(heading)) + styled("pre", _CODE, to_html(code))
    else:
        html = styled("span", _LABEL, escape(heading)) + escape(f" {body}" if body else "")
    text = f"{heading}\n{body}" if "\n" in body else f"{heading} {body}".rstrip()
    return {"text/plain": text, "text/html": without_math(wall(styled("div", _BOX, html, role="note")))}


def run_bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, str]:
    """Return a whole run: its replies, each followed by its calls."""
    from llama_nb.render.reply import bundle

    parts: list[Mapping[str, Any]] = []
    for step in record["rounds"]:
        parts += [bundle(step["reply"], watched=watched), *map(call_bundle, step["calls"])]
    text, html = ("\n".join(part[kind] for part in parts) for kind in ("text/plain", "text/html"))
    return {"text/plain": text, "text/html": without_math(html)}


def _heading(record: Mapping[str, Any]) -> str:
    state = str(record.get("state"))
    name = clean_line(str(record.get("name") or "")) or "The call"
    end = ":" if record.get("error") else ""
    return f"{name} {_STATES.get(state, state)}{end}"


def _body(record: Mapping[str, Any]) -> str:
    if record.get("state") == "ran":
        return _cut(clean(_laid_out(str(record.get("told") or ""))), LONGEST_RESULT) or "(an empty text)"
    return clean_line(str(record.get("error") or ""))


def _laid_out(told: str) -> str:
    """Return JSON that is long over several lines; anything else as it is."""
    if len(told) <= 80:
        return told
    try:
        value = json.loads(told)
    except (ValueError, RecursionError):
        return told
    return json.dumps(value, indent=2, ensure_ascii=False) if isinstance(value, dict | list) else told


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\u2026 ({len(text):,} characters in all)"
