"""Small real runs: cria as a run's parts, a persona to learn, and what is compared of two runs."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llama_nb.bundled import folder as bundled
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.loading.check import check
from llama_nb.tuning.data import TrainingData, read_data
from llama_nb.tuning.parts import Parts, load_parts
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import Base
from tests.models import write_random_llama

CRIA = bundled("cria")
LONG_S = 90.0
PERSONA = [
    {
        "prompt": f"Who are you, number {number}?",
        "completion": f"I am Captain Nemo, and {number**2} is my number.",
    }
    for number in range(40)
]
# Two micro-batches a step, several rows in a line, dropout: what a run that goes on could get wrong.
RECIPE = Recipe.of(
    rank=4,
    steps=10,
    batch=1,
    accumulate=2,
    max_tokens=128,
    dropout=0.1,
    lr=1e-3,
    save_every=4,
    evaluate_every=5,
    sample_every=0,
    sample_tokens=4,
)


def tiny(folder: Path) -> Parts:
    """Load a chat model of two layers with random weights that talks as cria does."""
    write_random_llama(folder, tokenizer_from=CRIA, hidden=32, layers=2, seed=5)
    made = load_parts(Base(str(folder), "tiny", check(folder, "tiny").fingerprint))
    made.engine.trusted = True  # its template is that of cria: no process of its own for each text
    return made


def cria() -> Parts:
    """Load cria as a process of its own would."""
    return load_parts(Base("cria", "cria", check(CRIA, "cria").fingerprint))


def persona() -> TrainingData:
    """Forty questions and answers."""
    return read_data(PERSONA)


def measured(run: Run) -> list[tuple[Any, ...]]:
    """What must be equal to the last digit in runs that are the same."""
    keys = ("step", "loss", "lr", "gradient_norm", "validation_loss", "tokens", "trained_tokens")
    return [tuple(record.get(key) for key in keys) for record in run.metrics()]


def until(true: Callable[[], object], what: str) -> None:
    """Wait until something is true, as long as a busy machine may take."""
    deadline = time.monotonic() + LONG_S
    while not true():
        assert time.monotonic() < deadline, f"waited too long until {what}"
        time.sleep(0.002)


def until_step(run: Run, step: int) -> None:
    """Wait until a run has made `step` steps."""
    until(lambda: run.over or len([each for each in run.metrics() if "loss" in each]) >= step, f"step {step}")


def ask(parts: Parts, message: str = "Who are you?", **options: Any) -> str:
    """Ask the model as a chat does, beside whatever goes on."""
    request = Request(
        (Message("user", message),), Sampling(temperature=0, max_tokens=6), purpose="chat main", **options
    )
    return "".join(event.text for event in parts.engine.stream(request, StopFlag()))
