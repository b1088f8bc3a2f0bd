"""What a change in the sampling laboratory costs the kernel: stages, rows, 1,000 draws, the message."""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.report import Row
from benchmarks.subjects import llama3_tokenizer

if TYPE_CHECKING:
    from llama_nb.session.laboratory import Laboratory

TITLE = "The sampling laboratory at V = 128,256: kernel time of one change"
BUDGET_S = 0.05
MOST_BYTES = 12_000
ROUNDS = 15
TOKENS = 2000
CHANGES: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.8},
    "top_k, top_p and min_p": {"temperature": 1.3, "top_k": 60, "top_p": 0.9, "min_p": 0.02},
    "typical_p and penalties": {"typical_p": 0.9, "repetition_penalty": 1.2, "presence_penalty": 0.5},
    "top_p 0.99 at temperature 2": {"temperature": 2.0, "top_p": 0.99},
}


def run() -> list[Row]:
    """Measure on a natural distribution (a power law) and on a random model's, which is flat."""
    import llama_nb as llama
    from llama_nb.core.stop import StopFlag
    from llama_nb.session.laboratory import Laboratory
    from llama_nb.session.subject import find_subject
    from tests.models import write_random_llama

    tokenizer = llama3_tokenizer()
    if tokenizer is None:
        return []
    with tempfile.TemporaryDirectory() as folder:
        write_random_llama(Path(folder) / "random", tokenizer_from=tokenizer, context=4096, tie=True)
        model = llama.load(str(Path(folder) / "random"))
        text = " ".join(f"number {count}" for count in range(TOKENS // 3))
        laboratory = Laboratory(model, find_subject(model, text))
        laboratory.look(None, StopFlag())
        rows = _changes(laboratory, "flat")
        rows.append(_looks(laboratory))
        _make_natural(laboratory)
        rows = [*_changes(laboratory, "natural"), *rows]
        model.unload()
    return rows


def _changes(laboratory: "Laboratory", shape: str) -> list[Row]:
    from llama_nb.session.laboratory_view import view_record

    rows = []
    for what, values in CHANGES.items():

        def change(values: dict[str, Any] = values) -> dict[str, Any]:
            laboratory.reset()
            laboratory.change(values)
            return view_record(laboratory, draws=True)

        middle, worst = _timed(change, resets=laboratory.reset)
        size = len(json.dumps(change()))
        rows.append(
            Row(
                f"{what}, {shape} distribution",
                f"{1000 * middle:.1f} ms (at most {1000 * worst:.1f}), {size / 1000:.1f} kB",
                "",
                None,
                f"<= {1000 * BUDGET_S:.0f} ms, {MOST_BYTES / 1000:.0f} kB",
                middle <= BUDGET_S and size <= MOST_BYTES,
            )
        )
    return rows


def _timed(work: Callable[[], Any], resets: Callable[[], None]) -> tuple[float, float]:
    """Median and largest seconds of a change; going back first is not part of it."""
    work()
    took = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        resets()
        back = time.perf_counter()
        work()
        took.append(time.perf_counter() - back - (back - started))
    return statistics.median(took), max(took)


def _looks(laboratory: "Laboratory") -> Row:
    """Looks at places of a long text that were not looked at before, each behind more than 1,000 tokens."""
    from llama_nb.core.stop import StopFlag

    end = len(laboratory.subject.tokens)
    took = []
    for place in range(end - ROUNDS, end):
        started = time.perf_counter()
        laboratory.look(place, StopFlag())
        took.append(time.perf_counter() - started)
    middle = statistics.median(took)
    what = f"another place behind {end - ROUNDS:,} tokens (2 layers of 64)"
    return Row(what, f"{1000 * middle:.1f} ms", "", None, f"<= {1000 * BUDGET_S:.0f} ms", middle <= BUDGET_S)


def _make_natural(laboratory: "Laboratory") -> None:
    """Put logits there whose probabilities fall with the rank as words' frequencies do."""
    import numpy as np

    found = laboratory.distribution
    assert found is not None
    ranks = np.random.default_rng(0).permutation(found.vocabulary) + 1
    logits = (-1.6 * np.log(ranks)).astype(np.float32)
    found.logits[:] = logits
    laboratory.reset()


if __name__ == "__main__":
    for row in run():
        print(row)
