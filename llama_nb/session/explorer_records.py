"""What a page gets of the attention explorer, as JSON values. Their TypeScript is in widgets/shapes.ts."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.render.units import size
from llama_nb.session.explorer import Explorer

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.head_scores import HeadScores

MOST_TOKENS: Final = 1_024  # in one window
_LONGEST: Final = 200  # characters of a token
_BEGINNING: Final = 32  # characters of a text by which it is known in a list


def head_record(
    explorer: Explorer, *, scores: Sequence[dict[str, Any]] = (), scored: str = "none"
) -> dict[str, Any]:
    """Return what is looked at: it changes with the model's state, with scores and while the trace grows."""
    from llama_nb.interpret.tiles import LEGEND

    trace = explorer.trace
    return {
        "id": explorer.id,
        "model": trace.model,
        "title": f"{trace.title}, {trace.off}" if trace.off else trace.title,
        "alive": explorer.model() is not None,
        "layers": list(trace.layers),
        "kinds": [trace.kind(layer) for layer in trace.layers],
        "heads": trace.heads,
        "kv_heads": trace.kv_heads,
        "tokens": explorer.length,
        "prompt": trace.prompt,
        "scores": list(scores),
        "scored": scored,
        "growing": explorer.growing,
        "others": [_other(name, other) for name, other in explorer.others().items()],
        "bytes": size(trace.nbytes),
        "legend": LEGEND,
    }


def view_record(explorer: Explorer, off: Sequence[Sequence[Any]], changed: int) -> dict[str, Any]:
    """Return where one looks."""
    place = explorer.other
    return {
        "layer": explorer.layer,
        "head": explorer.head,
        "rows": list(explorer.rows),
        "cols": list(explorer.cols),
        "query": explorer.query,
        "other": None if place is None else {"trace": place.trace, "layer": place.layer, "head": place.head},
        "mode": explorer.mode,
        "off": [list(part) for part in off],
        "changed": changed,
    }


def tokens_record(trace: "AttentionTrace", start: int, end: int) -> dict[str, Any]:
    """Return a window of the tokens, cut to those that there are and to MOST_TOKENS."""
    start = max(0, min(start, trace.length - 1))
    end = max(start, min(end, trace.length, start + MOST_TOKENS))
    texts, special = trace.texts[start:end], trace.special[start:end]
    return {
        "start": start,
        "texts": [text[:_LONGEST] for text in texts],
        "special": [start + place for place, marked in enumerate(special) if marked],
    }


def token_records(trace: "AttentionTrace", positions: list[int]) -> list[list[Any]]:
    """Return single tokens: each one's position, its text, and whether it is a control token."""
    return [[at, trace.texts[at][:_LONGEST], bool(trace.special[at])] for at in positions]


def score_records(scores: "HeadScores") -> list[dict[str, Any]]:
    """Return the scores of all heads, three digits each."""
    return [
        {
            "name": kind.name,
            "label": kind.label,
            "meaning": kind.meaning,
            "values": [[_three(value) for value in row] for row in scores.scores[kind.name].tolist()],
        }
        for kind in scores.kinds
    ]


def _three(value: float) -> float | None:
    return float(f"{value:.3g}") if value == value else None


def _other(name: str, trace: "AttentionTrace") -> dict[str, Any]:
    words = _beginning(trace)
    return {
        "id": name,
        "title": words if trace.title == "text" else f"{trace.title}: {words}",
        "layers": list(trace.layers),
        "heads": trace.heads,
        "tokens": trace.length,
    }


def _beginning(trace: "AttentionTrace") -> str:
    """The first words, of a reply its own, for a list of traces."""
    start = trace.prompt if trace.prompt < trace.length else 0
    texts, special = trace.texts[start : start + 20], trace.special[start : start + 20]
    words = " ".join("".join(text for text, marked in zip(texts, special, strict=True) if not marked).split())
    whole = len(words) <= _BEGINNING and start + 20 >= trace.length
    return f"\u201c{words}\u201d" if whole else f"\u201c{words[:_BEGINNING].rstrip()} \u2026\u201d"
