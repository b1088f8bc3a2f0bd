"""How much memory comes back after an unload while a notebook's names still hold the model.

The peer is what a user does without llama-nb: `del model` and `gc.collect()`, which the same names defeat.
"""

import gc
import tempfile
from pathlib import Path
from typing import Any

import psutil

from benchmarks.report import Row
from llama_nb.loading.source import resolve

TITLE = "Memory back after unload"
CYCLES = 50
BUDGET = 0.95


def _rss() -> int:
    return psutil.Process().memory_info().rss


def _random_model(folder: Path) -> Path:
    """Write about 100 MB of float32 weights with the bundled tokenizer."""
    from tests.models import write_random_llama

    tokenizer = resolve("cria").folder
    assert tokenizer is not None
    return write_random_llama(
        folder, tokenizer_from=tokenizer, layers=8, hidden=512, heads=8, kv_heads=8, context=1024
    )


def _use(folder: Path | str) -> Any:
    import llama_nb as llama

    model = llama.load(folder, dtype="float32", name="subject")
    model.complete("A token is", max_tokens=2)
    return model


def run() -> list[Row]:
    """Measure RSS around one unload, around `del`, and over many cycles."""
    with tempfile.TemporaryDirectory() as place:
        folder = _random_model(Path(place) / "model")
        _use("cria").unload()
        kept = {0: _use(folder)}  # as a notebook's Out keeps it
        model = kept[0]
        used = _rss()
        del model
        gc.collect()
        deleted = used - _rss()
        released = kept[0].unload()
        freed = used - _rss()
        sizes = []
        for cycle in range(CYCLES):
            kept[cycle] = _use(folder)
            kept[cycle].unload()
            sizes.append(_rss())
    grown = max(sizes[10:]) - sizes[9]
    return [
        Row(
            f"RSS back after unloading {released / 1e6:.0f} MB that are still referred to",
            f"{freed / 1e6:.0f} MB",
            f"{deleted / 1e6:.0f} MB (del and gc.collect)",
            freed / released,
            f">= {BUDGET:.0%} of the weights",
            freed >= BUDGET * released,
        ),
        Row(
            f"RSS growth from cycle 10 to {CYCLES} of load, use, unload",
            f"{grown / 1e6:.1f} MB",
            "",
            None,
            "under 10 % of the weights in all",
            grown < 0.1 * released,
        ),
    ]
