"""Routing: what watching costs while a model writes, corpora of 10^4 to 10^6 tokens, and the explorer's page.

Decoding is timed in turns with and without a watcher, from the first token on; a ratio is the median of the
turns' ratios. A corpus is read in a process of its own, into a file; its ratio is of processor time. The
explorer stands in a JupyterLab with a kernel and is timed from the start of the cell that shows a captured
text.
"""

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.attention_subject import text_of, tokenizer_of
from benchmarks.attention_watch import run_child
from benchmarks.report import Row
from benchmarks.routing_lab import Seen, look
from benchmarks.routing_subject import DECODED, DECODED_SIZES, EXPERTS, LAYERS, WIDE, write_mixture
from benchmarks.subjects import ROOT

TITLE = "Routing: capture, corpora, and the explorer"
TOKENS: Final = 96
ROUNDS: Final = 9
MESSAGE: Final = "Tell me a long story about a llama on a hill."
MOST_OVERHEAD: Final = 1.05
CORPORA: Final = (10_000, 100_000, 1_000_000)
PLAIN_UP_TO: Final = 100_000  # beyond it the plain passes only take time
MOST_GROWTH: Final = 1.5
CORPUS_S: Final = 3000
SHOWN: Final = 4096
INTERACTIVE_S, OPENED_BYTES = 1.0, 2_000_000

Corpora = dict[int, dict[str, dict[str, Any]]]


def run() -> list[Row]:
    """Measure decoding, corpora and the page."""
    with tempfile.TemporaryDirectory() as base:
        folders = {
            name: write_mixture(Path(base) / str(number), **DECODED_SIZES | config)
            for number, (name, config) in enumerate(DECODED.items())
        }
        wide = write_mixture(Path(base) / "wide", **WIDE)
        text = Path(base) / "text.txt"
        text.write_text(text_of(tokenizer_of(wide), SHOWN), encoding="utf-8")
        known = _bundled() | folders
        found = [row for name, folder in known.items() for row in decoding(name, turns(folder))]
        name, folder = next(iter(known.items()))
        found += corpora(name, _corpora(folder))
        return [*found, *explorer(look(wide, text, len(os.sched_getaffinity(0))))]


def _bundled() -> dict[str, Path]:
    folder = ROOT / "llama_nb" / "bundled" / "cria-moe"
    return {"cria-moe": folder} if (folder / "model.safetensors").is_file() else {}


def turns(folder: Path) -> list[tuple[float, float]]:
    """Return the tokens per second of each turn: watched, and not; which is first takes turns, too."""
    import llama_nb as llama

    model = llama.load(str(folder), dtype="float32")
    chats = iter(range(10**6))

    def watched() -> Any:
        chat = f"chat {next(chats)}"
        reply, _ = model.watch_routing(
            MESSAGE, chat=chat, on_tokens=lambda _: None, temperature=0, max_tokens=TOKENS
        )
        return reply

    def plain() -> Any:
        return model.chat(MESSAGE, chat=f"chat {next(chats)}", temperature=0, max_tokens=TOKENS)

    watched(), plain()
    found = []
    for turn in range(ROUNDS):
        order: tuple[Callable[[], Any], ...] = (watched, plain) if turn % 2 else (plain, watched)
        speeds = {work.__name__: _speed(work().usage) for work in order}
        found.append((speeds["watched"], speeds["plain"]))
    model.unload()
    return found


def _speed(usage: Any) -> float:
    """Tokens per second behind the first token."""
    return float((usage.completion_tokens - 1) / (usage.total_s - usage.first_token_s))


def decoding(name: str, found: list[tuple[float, float]]) -> list[Row]:
    """Return how much longer a watched token takes."""
    ratio = statistics.median(plain / watched for watched, plain in found)
    ours, peer = (statistics.median(each[way] for each in found) for way in (0, 1))
    return [
        Row(
            what=f"{name}: {TOKENS} tokens decoded, their routing watched",
            ours=f"{ours:,.0f} tokens/s",
            peer=f"{peer:,.0f} tokens/s (not watched)",
            ratio=ratio,
            budget=f"<= {MOST_OVERHEAD}x time",
            met=ratio <= MOST_OVERHEAD,
        )
    ]


def _corpora(folder: Path) -> Corpora:
    found: Corpora = {}
    for tokens in CORPORA:
        for way in ("capture", "plain"):
            if way == "plain" and tokens > PLAIN_UP_TO:
                continue
            case = {"folder": str(folder), "tokens": tokens, "way": way}
            found.setdefault(tokens, {})[way] = run_child(case, CORPUS_S, module="benchmarks.routing_child")
    return found


def corpora(model: str, found: Corpora) -> list[Row]:
    """Return speed and memory of each size of corpus."""
    rows = []
    least = found[min(found)]["capture"]["anonymous"]
    for tokens, ways in found.items():
        ours, peer = ways["capture"], ways.get("plain")
        said = {way: _pace(each) for way, each in ways.items()}
        named = f"corpus of {tokens:,} tokens, {model}"
        rows += [
            Row(
                what=f"{named}: captured into a file",
                ours=said["capture"],
                peer=f"{said['plain']} (the decoder alone)" if peer else "",
                ratio=ours["worked_s"] / peer["worked_s"] if peer else None,
                budget="",
                met=None,
            ),
            Row(
                what=f"{named}: extra memory at its peak, beside a file of {ours['kept'] / 1e6:,.0f} MB",
                ours=f"{ours['anonymous'] / 1e6:,.0f} MB",
                peer=f"{peer['anonymous'] / 1e6:,.0f} MB (the decoder alone)" if peer else "",
                ratio=ours["anonymous"] / least if tokens > min(found) else None,
                budget=f"<= {MOST_GROWTH}x of {min(found):,} tokens" if tokens > min(found) else "",
                met=ours["anonymous"] <= MOST_GROWTH * least if tokens > min(found) else None,
            ),
        ]
    return rows


def _pace(read: dict[str, Any]) -> str:
    return f"{read['tokens'] / read['seconds']:,.0f} tokens/s, {read['worked_s']:,.1f} s of the processor"


def explorer(seen: Seen) -> list[Row]:
    """Return bytes, seconds and memory of the explorer's page."""
    named = f"explorer, {seen.read['tokens']:,} tokens x {LAYERS} layers x {EXPERTS} experts"
    return [
        _row(f"{named}: time to interactive", seen.interactive_s, "s", INTERACTIVE_S),
        _row(f"{named}: bytes to the page, code and style included", seen.bytes / 1e6, "MB",
             OPENED_BYTES / 1e6),
        _row(f"{named}: scores of all experts, from pointing at a token on", seen.scores_s, "s"),
        _row(f"{named}: memory of the page", seen.page / 1e6, "MB"),
        _row(f"{named}: memory of the kernel to show it", seen.kernel / 1e6, "MB"),
        _row(f"{named}: capture", seen.read["seconds"], "s"),
        _row(f"{named}: the trace, all scores included", seen.read["bytes"] / 1e6, "MB"),
    ]  # fmt: skip


def _row(what: str, ours: float, unit: str, budget: float | None = None) -> Row:
    return Row(
        what=what,
        ours=f"{ours:,.3g} {unit}",
        peer="",
        ratio=None,
        budget=f"<= {budget:g} {unit}" if budget is not None else "",
        met=ours <= budget if budget is not None else None,
    )
