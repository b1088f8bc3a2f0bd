"""A step of LoRA training: ours beside a plain loop, transformers' Trainer and trl's SFTTrainer.

Each way trains in a process of its own and begins with the same numbers on the same batches;
losses are compared step by step, so that no way is faster because it does less. See training_child.py.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import subjects
from benchmarks.attention_child import MARK
from benchmarks.report import Row

TITLE = "training: a LoRA step of rank 16 on random Llamas"
PEERS: Final = {"plain": "plain loop", "trainer": "transformers Trainer", "trl": "trl SFTTrainer"}
# With a large vocabulary and a quarter of the tokens trained; and elsewhere, where nothing is left out.
BUDGETS: Final = {"plain": 0.75, "trainer": 0.75, "trl": 0.4}
ELSEWHERE: Final = 1.0
# Losses of bfloat16 models differ in their fourth digit by the order of sums.
SAME_LOSS: Final = 2e-3
ROUNDS: Final = 1
WARM: Final = 2
DEVICE: Final = os.environ.get("LLAMA_NB_BENCHMARK_DEVICE", "cpu")

Measured = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """One training: a model of `benchmarks.training_subject`, and what it reads."""

    size: str
    vocabulary: int
    dtype: str
    share: float = 0.25
    steps: int = 6
    batch: int = 2
    tokens: int = 128

    @property
    def what(self) -> str:
        """What it is called in the table."""
        trained = "all" if self.share == 1 else f"{self.share:.0%}"
        shape = f"{self.batch} x {self.tokens} tokens, {trained} of them trained"
        return f"{self.size}, V = {self.vocabulary:,}, {self.dtype}, {shape}"

    @property
    def large(self) -> bool:
        """Whether the head is most of the work and most tokens are left out of it."""
        return self.vocabulary > 100_000 and self.share <= 0.25


def cases(*, half: bool) -> tuple[Case, ...]:
    """Return the trainings for a processor that computes in bfloat16, or for one that does not.

    There torch takes seconds for what float32 does in milliseconds; a short one shows how far that goes.
    """
    dtype = "bfloat16" if half else "float32"
    small = () if half else (
        Case("56 M", 8_000, "bfloat16", steps=4, tokens=16),
    )  # fmt: skip
    return (
        Case("56 M", 128_256, dtype),
        Case("56 M", 128_256, f"nf4 in {dtype}"),
        Case("110 M", 128_256, dtype),
        Case("110 M", 128_256, dtype, share=1.0),
        Case("110 M", 32_000, dtype),
        *small,
    )


def _computes_half() -> bool:
    import torch

    return DEVICE != "cpu" or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def train(case: Case, way: str) -> Measured:
    """Train in a fresh process and return what was measured."""
    with tempfile.TemporaryDirectory() as folder:
        work = {
            "way": way, "size": case.size, "vocabulary": case.vocabulary, "dtype": case.dtype,
            "share": case.share, "steps": case.steps, "batch": case.batch, "tokens": case.tokens,
            "device": DEVICE, "folder": folder,
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.training_child", json.dumps(work)],
            capture_output=True,
            text=True,
            cwd=subjects.ROOT,
            check=False,
        )
    line = next((line for line in done.stdout.splitlines() if line.startswith(MARK)), None)
    if line is None:
        raise RuntimeError(f"{case.what}, {way}: status {done.returncode}:\n{done.stderr[-2000:]}")
    found: Measured = json.loads(line.removeprefix(MARK))
    return found


def step_s(rounds: Sequence[Measured], key: str = "seconds") -> float:
    """Return the time of a step: the median of each round's, and of these the shortest.

    What else the machine does makes steps longer and never shorter.
    """
    return min(statistics.median(one[key][WARM:]) for one in rounds)


def worst_loss(ours: Measured, peer: Measured) -> float:
    """Return the largest difference of two loss curves, relative to the peer's."""
    pairs = zip(ours["losses"], peer["losses"], strict=True)
    return max(abs(one - other) / abs(other) for one, other in pairs)


def rows(case: Case, found: Mapping[str, Sequence[Measured]]) -> Iterator[Row]:
    """Yield the rows of a case from what each way measured in each round."""
    ours = found["ours"]
    own, memory = step_s(ours), max(one["memory"] for one in ours)
    tokens = case.batch * case.tokens
    for way, name in PEERS.items():
        peers = found[way]
        their, most = step_s(peers), max(one["memory"] for one in peers)
        budget = BUDGETS[way] if case.large else ELSEWHERE
        yield Row(
            f"{case.what}: a step",
            _step(own, tokens, step_s(ours, "worked_s")),
            f"{_step(their, tokens, step_s(peers, 'worked_s'))} ({name})",
            own / their,
            f"<= {budget:g}x",
            own / their <= budget,
        )
        yield Row(
            f"{case.what}: memory beside the model at its peak",
            f"{memory / 1e6:,.0f} MB",
            f"{most / 1e6:,.0f} MB ({name})",
            memory / most,
            "",
            None,
        )
        off = worst_loss(ours[0], peers[0])
        curve = f"{ours[0]['losses'][0]:.4f} to {ours[0]['losses'][-1]:.4f}"
        theirs = f"{peers[0]['losses'][0]:.4f} to {peers[0]['losses'][-1]:.4f} ({name})"
        equal = off <= SAME_LOSS
        yield Row(f"{case.what}: loss over {case.steps} steps", curve, theirs, None, "equal", equal)


def _step(seconds: float, tokens: int, worked: float) -> str:
    return f"{1000 * seconds:.0f} ms, {tokens / seconds:,.0f} tokens/s, {worked:.2f} s of the processor"


def run() -> list[Row]:
    """Measure every case, each way in its turn."""
    found: list[Row] = []
    for case in cases(half=_computes_half()):
        turns: dict[str, list[Measured]] = {way: [] for way in ("ours", *PEERS)}
        for _ in range(ROUNDS):
            for way, measured in turns.items():
                measured.append(train(case, way))
        found += rows(case, turns)
    return found
