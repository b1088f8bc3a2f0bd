"""Memory given back: measured as RSS, in a fresh process, with a notebook's references still held."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.models import write_random_llama

# As in a notebook: Out, _ and a traceback hold the model while it is released.
PROBE = """
import ctypes, gc, json, os, sys
import psutil, torch
from llama_nb.loading.open import load_checked
from llama_nb.loading.weights import release

folder, cycles, small = sys.argv[1], int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
rss = lambda: psutil.Process().memory_info().rss
ids = torch.arange(8)[None]

def use(spec):
    loaded = load_checked(spec, dtype="float32")
    with torch.no_grad():
        loaded.module(ids)
    return loaded

warm = use(small)
Out, rows = {}, []
for cycle in range(cycles):
    Out[cycle] = _ = use(folder)
    try:
        raise RuntimeError(_)
    except RuntimeError as error:
        kept = error
    used = rss()
    said = release(_)
    rows.append([used, rss(), said, _.bytes])
print(json.dumps(rows))
"""


def measure(folder: Path, cycles: int, small: Path) -> list[list[int]]:
    """Return RSS in use, RSS after the release, bytes said and bytes of the weights, for each cycle."""
    command = [sys.executable, "-c", PROBE, str(folder), str(cycles), str(small)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    return json.loads(answer.stdout)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Path:
    """About 100 MB of float32 weights."""
    folder = tmp_path_factory.mktemp("large") / "model"
    return write_random_llama(folder, tokenizer_from=stories260k, layers=8, hidden=512, heads=8, kv_heads=8)


def test_95_percent_of_the_weights_come_back(model: Path, stories260k: Path) -> None:
    [[used, after, said, weights]] = measure(model, 1, stories260k)
    assert weights > 95_000_000
    assert said == weights
    assert used - after >= 0.95 * weights


@pytest.mark.full
def test_50_cycles_do_not_grow(model: Path, stories260k: Path) -> None:
    rows = measure(model, 50, stories260k)
    after = [row[1] for row in rows]
    assert max(after[10:]) - after[9] < 0.05 * rows[0][3]
    assert all(used - left >= 0.9 * weights for used, left, _, weights in rows)
