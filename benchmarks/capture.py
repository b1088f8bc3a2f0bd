"""What it costs to keep the queries and keys of a forward pass, beside passes that keep no attention.

Each pass has a process of its own, and they take turns; a ratio is the median of the turns' ratios. Time is
the processor's: how long one waits depends on who else is at work. Eager attention computes every weight and
keeps none here; with `output_attentions` it would keep all: layers x heads x T^2 x 4 bytes.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.attention_subject import HEADS, KV_HEADS, LAYERS, text_of, tokenizer_of, write_model
from benchmarks.attention_watch import NotFinished, run_child
from benchmarks.report import Row

TITLE = "Capture of attention: one forward pass"
TOKENS: Final = 4096
ROUNDS: Final = 3
MOST_TIME, MOST_EXTRA = 1.15, 1.5
MOST_S: Final = 400
MOST_MEMORY: Final = 12 * 10**9
SDPA: Final = "model(ids) with sdpa"

Passes = dict[str, dict[str, Any]]


def run() -> list[Row]:
    """Measure every way of a pass in turns, eager attention once."""
    with tempfile.TemporaryDirectory() as base:
        folder = write_model(Path(base) / "model")
        text = Path(base) / "text.txt"
        text.write_text(text_of(tokenizer_of(folder), TOKENS), encoding="utf-8")
        case = {"work": "forward", "folder": str(folder), "text": str(text)}

        def measure(way: str) -> dict[str, Any]:
            return run_child({**case, "way": way}, MOST_S, MOST_MEMORY)

        turns = [{way: measure(way) for way in ("sdpa", "capture", "offloaded")} for _ in range(ROUNDS)]
        try:
            eager: dict[str, Any] | str = measure("eager")
        except NotFinished as limit:
            eager = f"not finished: {limit}"
    return rows(turns, eager)


def rows(turns: list[Passes], eager: dict[str, Any] | str) -> list[Row]:
    """Return time and memory of what we keep, of the same in files, and of eager attention."""
    named = f"T = {TOKENS:,}, {LAYERS} layers of {HEADS} heads ({KV_HEADS} of keys), float32"
    found = []
    for way, what in (("capture", "all layers kept"), ("offloaded", "all layers kept in files")):
        found += _pair(turns, way, f"{named}: {what}")
    if isinstance(eager, str):
        return [*found, Row(f"{named}: eager attention, nothing kept", eager, "", None, "", None)]
    whole = [{**turn, "eager": eager} for turn in turns]
    budgets = (None, None)
    return [*found, *_pair(whole, "eager", f"{named}: eager attention, nothing kept", budgets)]


def _pair(
    turns: list[Passes],
    way: str,
    what: str,
    budgets: tuple[float | None, float | None] = (MOST_TIME, MOST_EXTRA),
) -> list[Row]:
    made = []
    for key, named, unit, budget in (
        ("worked_s", "processor time", "s", budgets[0]),
        ("anonymous", "extra memory", "MB", budgets[1]),
    ):
        scale = 1.0 if unit == "s" else 1e-6
        ours, peer = (scale * statistics.median(turn[each][key] for turn in turns) for each in (way, "sdpa"))
        ratio = statistics.median(turn[way][key] / turn["sdpa"][key] for turn in turns)
        made.append(
            Row(
                what=f"{what}: {named}",
                ours=f"{ours:,.1f} {unit}",
                peer=f"{peer:,.1f} {unit} ({SDPA})",
                ratio=ratio,
                budget=f"<= {budget}x" if budget else "",
                met=ratio <= budget if budget else None,
            )
        )
    return made
