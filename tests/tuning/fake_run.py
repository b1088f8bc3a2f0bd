"""Run folders without a training: what somebody who executes a run would write, in the order he would."""

from pathlib import Path
from typing import Any

from llama_nb.tuning.json_lines import replace_json
from llama_nb.tuning.process import this_process
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.run import Run
from llama_nb.tuning.run_folder import Base, RunState, create

BASE = Base(source="cria", name="cria", fingerprint="0123456789abcdef")
DATA = {"format": "openai", "source": "persona.jsonl", "rows": 38, "validation_rows": 2}
DATA |= {"tokens": 4000, "trained": 1000}


class FakeRun:
    """A run that somebody executes, step by step, without a model."""

    def __init__(self, root: Path, name: str = "persona", *, base: Base = BASE, **recipe: Any) -> None:
        wanted = Recipe.of(**{"steps": 200, "sample_prompts": ("Who are you?",), **recipe})
        self.files = create(root, name, wanted, base, lambda files: replace_json(files.data_file, DATA))
        self.run = Run(self.files)
        self.done = 0
        self.files.write_plan({"memory": 512_000_000, "seconds": 60.0, "parameters": 98_304})
        self.say("waiting")

    def say(self, state: str, **more: Any) -> None:
        """Write the state."""
        found = {"state": state, "step": self.done, "steps": 200, "process": this_process(), **more}
        self.files.write_state(RunState(**found))

    def train(self, steps: int, loss: float = 4.0, **more: Any) -> None:
        """Do some steps; the loss falls by a hundredth in each."""
        for _ in range(steps):
            self.done += 1
            self.files.append_metrics(
                {
                    "step": self.done,
                    "loss": loss - self.done / 100,
                    "lr": 2e-4,
                    "gradient_norm": 1.5,
                    "tokens": 400,
                    "trained_tokens": 100,
                    "seconds": 0.5,
                    "memory": 300_000_000 + self.done,
                    **more,
                }
            )
        self.say("running")

    def validate(self, loss: float) -> None:
        """Measure on what was held back."""
        self.files.append_metrics({"step": self.done, "validation_loss": loss})

    def answer(self, text: str, prompt: str = "Who are you?", *, adapter: bool = True) -> None:
        """Answer a fixed prompt."""
        self.files.append_sample(self.done, prompt, text, adapter=adapter)

    def save(self) -> None:
        """Leave a checkpoint's folder."""
        (self.files.checkpoints / f"step-{self.done:06d}").mkdir()
