"""A reply's record to what a notebook keeps of it: text, an HTML twin, and the record for our own page code.

It takes plain JSON values, never a model's objects, and believes nothing in them. Where nobody watches
(`watched=False`) no time, rate, cached count, drawn seed or path gets into any of the three, so that the same
words give the same output.
"""

import contextlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.render.clean import LIMIT, clean, clean_line, shorten
from llama_nb.render.html import FIGURES, MUTED, SMALL, escape, styled, to_html, wall
from llama_nb.render.markdown import plain, tree
from llama_nb.render.nodes import Node
from llama_nb.render.tools import MOST_CALLS, call_nodes, calls_text, saved_calls

MIME: Final = "application/vnd.llama-nb.reply+json"
# What a record keeps of a long reply; 20,000 tokens are about 0.6 MB.
MOST_TOKENS: Final = 20_000
_LONGEST_SYSTEM: Final = 400
_LONGEST_NAME: Final = 200
JSON_FENCE: Final = "```json\n"  # what makes Markdown of JSON that is still being written
_KEYS: Final = ("schema", "id", "parent", "chat", "kind", "finish")

SLATE: Final = "#64748b"
ACCENT: Final = "#c65d2e"
ROOT: Final = "max-width:76ch;line-height:1.55;overflow-wrap:break-word"
_SAID: Final = "padding:4px 12px;margin:0 0 8px"
USER_BOX: Final = f"border-left:3px solid {SLATE};background-color:rgba(100,116,139,0.09);{_SAID}"
SYSTEM_BOX: Final = f"border-left:3px dotted {SLATE};white-space:pre-wrap;{_SAID};{SMALL}"
ANSWER_BOX: Final = f"border-left:3px solid {ACCENT};padding:1px 12px"
_LABEL: Final = f"font-weight:600;{MUTED};{SMALL}"
FOOT: Final = f"padding-left:15px;margin:4px 0 0;{MUTED};{SMALL};{FIGURES}"
_STOPPED: Final = "font-weight:600"

_ENDS: Final = {
    "end": "end",
    "stop_string": "stop string",
    "length": "max_tokens reached",
    "context": "context full",
    "stopped": "stopped",
    "error": "error",
    "running": "running",
}
# How an answer that is not whole is marked below its last words.
_MARKS: Final = {
    "stopped": "\u25a0 stopped: this is the part that was written",
    "error": "\u25a0 ended by an error",
    "length": "\u2026 max_tokens reached",
    "context": "\u2026 the context is full",
}
_EMPTY: Final = "(empty reply)"
_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def bundle(record: Mapping[str, Any], *, watched: bool) -> dict[str, Any]:
    """Return the mime bundle of a reply.

    Parameters
    ----------
    record
        What `Reply.to_record` gives (schema 1).
    watched
        Whether somebody sees the output now; else it is compared or stored, and must not vary.
    """
    saved = saved_record(record, watched=watched)
    more = shorten(_string(record.get("text")))[1]
    return {"text/plain": _text(saved, more, watched=watched), "text/html": _html(saved), MIME: saved}


def saved_record(record: Mapping[str, Any], *, watched: bool) -> dict[str, Any]:
    """Return the record as it is saved: capped, with its nodes and status line, without what varies."""
    text, user = _string(record.get("text")), record.get("user")
    saved: dict[str, Any] = {key: _value(record.get(key)) for key in _KEYS}
    saved |= {
        "system": None if record.get("system") is None else _string(record["system"])[:LIMIT],
        "user": None if user is None else _string(user)[:LIMIT],
        "text": text[:LIMIT],
        "tokens": _tokens(record.get("tokens") or (), watched=watched),
        "sampling": {str(name): _value(value) for name, value in dict(record.get("sampling") or {}).items()},
        "seed": _value(record.get("seed")) if watched else _asked_seed(record),
        "model": {
            "name": model_name(record),
            "fingerprint": _string((record.get("model") or {}).get("fingerprint")),
        },
        "usage": _usage(record, watched=watched),
        "detail": clean_line(_string(record.get("detail"))),
        "notes": [clean_line(_string(note)) for note in record.get("notes") or ()],
        "nodes": answer_nodes(text, record.get("grammar"), record.get("calls")),
        "user_nodes": user_nodes(_string(user), str(record.get("kind"))),
        "status": status_line(record, watched=watched),
    }
    if begun := _begun(record):
        saved["begun"] = begun
    grammar = record.get("grammar")
    if isinstance(grammar, Mapping):
        names = {name: clean_line(_string(grammar.get(name)))[:_LONGEST_NAME] for name in ("kind", "name")}
        saved["grammar"] = {**names, "complete": grammar.get("complete") is True}
    for name, saved_as in (("calls", saved_calls), ("results", _results)):
        if record.get(name):
            saved[name] = saved_as(record[name])
    cut = {"characters": len(text) - LIMIT, "tokens": len(record.get("tokens") or ()) - MOST_TOKENS}
    if any(more > 0 for more in cut.values()):
        saved["cut"] = {name: max(0, more) for name, more in cut.items()}
    return saved


def answer_nodes(text: str, grammar: Any = None, calls: Any = None) -> list[Node]:
    """Return what the model wrote: Markdown, or what a grammar asked for, which is none, or calls.

    JSON is laid out over several lines once it is whole.
    """
    if calls:
        return call_nodes(calls)
    if not text or not isinstance(grammar, Mapping):
        return tree(text)
    if grammar.get("kind") != "json":
        return plain(text)
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    return tree(f"{JSON_FENCE}{text}")


def user_nodes(text: str, kind: str) -> list[Node]:
    """Return what the user sent: a message as Markdown, the beginning of a text to complete as it is."""
    if not text:
        return []
    return plain(text) if kind == "complete" else tree(text)


def model_name(record: Mapping[str, Any]) -> str:
    """Return the model's name, of a path its last part, and the adapters that wrote: "cria + persona"."""
    model = record.get("model") or {}
    name = clean_line(_string(model.get("name"))) or "model"
    if re.match(r"[/\\~.]|[A-Za-z]:[/\\]", name):
        name = re.split(r"[/\\]", name.rstrip("/\\"))[-1] or "model"
    adapter = adapter_name(record)
    return f"{name} + {adapter}" if adapter else name


def adapter_name(record: Mapping[str, Any]) -> str:
    """Return the adapters that wrote a reply, as one writes them; "" for the base alone."""
    model = record.get("model")
    return clean_line(_string(model.get("adapter")))[:_LONGEST_NAME] if isinstance(model, Mapping) else ""


def status_line(record: Mapping[str, Any], watched: bool) -> str:
    """Return the line below a reply: `cria · 12 → 37 tokens · 45.1 tokens/s · first token 80 ms · end`."""
    usage = _usage(record, watched=watched)
    parts = [model_name(record), f"{usage['prompt']:,} \u2192 {usage['completion']:,} tokens"]
    first, total, cached = usage["first_token_s"], usage["total_s"], usage["cached"]
    if first is not None and total is not None and total > first and usage["completion"] > 1:
        parts.append(f"{digits((usage['completion'] - 1) / (total - first))} tokens/s")
    if first is not None:
        parts.append(f"first token {seconds(first)}")
    if begun := _begun(record):
        parts.append(f"{begun:,} kept")
    if cached:
        parts.append(f"{cached:,} cached")
    seed = record.get("seed") if watched else _asked_seed(record)
    if isinstance(seed, int):
        parts.append(f"seed {seed}")
    return " \u00b7 ".join([*parts, _end(record)])


def short_status(record: Mapping[str, Any]) -> str:
    """Return a few words on a reply that was seen while it was written: `37 tokens · 0.82 s · seed 7`.

    The adapters that wrote it stand before them: `+ persona`.
    """
    count, total, seed = token_count(record), _usage(record, watched=True)["total_s"], record.get("seed")
    parts = [f"{count:,} {'token' if count == 1 else 'tokens'}"]
    if adapter := adapter_name(record):
        parts.insert(0, f"+ {adapter}")
    if total:
        parts.append(seconds(total))
    if type(seed) is int:
        parts.append(f"seed {seed}")
    if record.get("finish") not in (None, "end"):
        parts.append(_end(record))
    return " \u00b7 ".join(parts)


def token_count(record: Mapping[str, Any]) -> int:
    """Return how many tokens a reply has, those among them that it took over from another."""
    tokens = record.get("tokens")
    return len(tokens) if isinstance(tokens, list) else int(_usage(record, watched=True)["completion"])


def digits(value: float) -> str:
    """Write a number with three significant digits."""
    rounded = float(f"{value:.3g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{value:.3g}"


def seconds(value: float) -> str:
    """Write a time with three significant digits and its unit."""
    return f"{digits(value * 1000)} ms" if value < 1 else f"{digits(value)} s"


def _end(record: Mapping[str, Any]) -> str:
    finish = str(record.get("finish"))
    end = _ENDS.get(finish, "end")
    if finish == "stop_string" and record.get("detail"):
        return f"{end} {clean(_string(record['detail']))[:40]!r}"
    return end


def _text(saved: Mapping[str, Any], more: str, *, watched: bool) -> str:
    said = calls_text(saved["calls"]) if saved.get("calls") else clean(saved["text"]).rstrip("\n")
    lines = [said or _EMPTY, *([more] if more else [])]
    if watched:
        lines += [f"[{note}]" for note in saved["notes"]]
        lines.append(f"[{saved['status']}]")
    return "\n".join(lines)


def _html(saved: Mapping[str, Any]) -> str:
    pieces = []
    if saved["system"]:
        pieces.append(box(SYSTEM_BOX, "System prompt", escape(clean(saved["system"][:_LONGEST_SYSTEM]))))
    if saved["user_nodes"]:
        label = "Text to complete" if saved["kind"] == "complete" else "You"
        pieces.append(box(USER_BOX, label, to_html(saved["user_nodes"])))
    answer = to_html(saved["nodes"]) or styled("p", MUTED, _EMPTY)
    answer += end_mark(saved["finish"], saved["detail"])
    pieces.append(box(ANSWER_BOX, saved["model"]["name"], answer))
    pieces += [styled("div", FOOT, escape(f"note: {note}")) for note in saved["notes"]]
    pieces.append(styled("div", FOOT, escape(saved["status"])))
    return wall(styled("div", ROOT, "".join(pieces)))


def end_mark(finish: str, detail: str) -> str:
    """Return what stands below an answer that is not whole, as HTML; nothing below one that is."""
    mark = _MARKS.get(finish, "")
    said = f" ({detail})" if detail and detail != finish else ""
    return styled("p", f"{_STOPPED};{SMALL}", escape(mark + said)) if mark else ""


def box(style: str, label: str, inner: str) -> str:
    """Return `inner`, which is HTML, below a label."""
    return styled("div", style, styled("div", _LABEL, escape(label)) + inner)


def _usage(record: Mapping[str, Any], *, watched: bool) -> dict[str, Any]:
    usage = record.get("usage")
    usage = usage if isinstance(usage, Mapping) else {}
    counts = {name: int(_number(usage.get(name)) or 0) for name in ("prompt", "cached", "completion")}
    if not watched:
        return {**counts, "cached": None, "first_token_s": None, "total_s": None}
    return {**counts, **{name: _number(usage.get(name)) for name in ("first_token_s", "total_s")}}


def _begun(record: Mapping[str, Any]) -> int:
    """Return how many tokens a reply took over from another version of it."""
    return max(0, int(_number(record.get("begun")) or 0))


def _tokens(rows: Sequence[Any], *, watched: bool) -> list[list[Any]]:
    tokens = []
    for token, text, *figures in rows[:MOST_TOKENS]:
        numbers = [_number(figure, 4) if watched else None for figure in figures]
        tokens.append([_value(token), _string(text), *numbers])
    return tokens


def _results(results: Any) -> list[dict[str, str]]:
    return [
        {name: _string(result.get(name))[:LIMIT] for name in ("name", "text")}
        for result in results[:MOST_CALLS]
        if isinstance(result, Mapping)
    ]


def _asked_seed(record: Mapping[str, Any]) -> int | None:
    """Return the seed that was asked for; one that was drawn differs in each run."""
    seed = (record.get("sampling") or {}).get("seed")
    return seed if type(seed) is int else None


def _number(value: Any, places: int | None = None) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value if places is None else round(value, places)


def _string(value: Any) -> str:
    """Return a text that any encoder takes: halves of characters would stop the message that carries it."""
    return _SURROGATE.sub("\ufffd", value) if isinstance(value, str) else ""


def _value(value: Any) -> Any:
    """Return a JSON value of a record, made safe to encode."""
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value if isinstance(value, bool) else _number(value)
