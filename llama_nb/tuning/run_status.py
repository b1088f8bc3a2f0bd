"""How far a run is, in figures: its state, the last measurements, and how long it will take.

Computed from what stands in a run's folder; reads nothing itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from llama_nb.tuning.json_lines import Record
from llama_nb.tuning.run_folder import RunState

_RECENT: Final = 20  # steps whose time foretells that of the next ones


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One look at a run.

    Parameters
    ----------
    state
        "waiting", "running", "paused", "stopped", "finished", "failed", or "interrupted": whoever executed it
        is dead.
    step, steps
        Optimiser steps done, and in all.
    loss, validation
        The mean loss of a trained token in the last step, and in the last validation; None before one.
    best
        The lowest loss of a validation.
    lr, gradient_norm, memory
        Of the last step; memory in bytes.
    tokens_per_s, seconds, left_s
        Tokens a second lately; seconds of all steps; seconds that are left at the rate of the last steps.
    planned_memory, planned_s
        What the plan said, in bytes and seconds.
    """

    name: str
    state: str
    step: int
    steps: int
    executor: str
    loss: float | None = None
    validation: float | None = None
    best: float | None = None
    lr: float | None = None
    gradient_norm: float | None = None
    memory: int | None = None
    tokens_per_s: float | None = None
    seconds: float = 0.0
    left_s: float | None = None
    planned_memory: int | None = None
    planned_s: float | None = None
    serving: str = ""
    reason: str = ""
    error: str = ""
    hint: str = ""
    notes: tuple[str, ...] = ()

    @property
    def over(self) -> bool:
        """Whether nothing happens in it any more, unless somebody resumes it."""
        return self.state in ("stopped", "finished", "failed", "interrupted")

    def __str__(self) -> str:
        words = [f"{self.name}: {self.state}"]
        if self.steps:
            words.append(f"step {self.step:,} of {self.steps:,}")
        if self.loss is not None:
            words.append(f"loss {self.loss:.3f}")
        if self.validation is not None:
            words.append(f"validation {self.validation:.3f}")
        if self.error:
            words.append(self.error)
        return ", ".join(words)


def look(name: str, state: RunState, metrics: Sequence[Record], plan: Record) -> RunStatus:
    """Return the status that follows from a state, the lines of metrics.jsonl and plan.json."""
    steps = [each for each in metrics if "loss" in each]
    last: Record = steps[-1] if steps else {}
    validations = [loss for each in metrics if (loss := _number(each, "validation_loss")) is not None]
    step = max([state.step, *(int(_number(each, "step") or 0) for each in steps[-1:])])
    recent = steps[-_RECENT:]
    spent = sum(_number(each, "seconds") or 0.0 for each in recent)
    tokens = sum(_number(each, "tokens") or 0.0 for each in recent)
    per_step = spent / len(recent) if recent else None
    memory = _number(last, "memory")
    planned = _number(plan, "memory")
    return RunStatus(
        name=name,
        state=state.state,
        step=step,
        steps=state.steps,
        executor=state.executor,
        loss=_number(last, "loss"),
        validation=validations[-1] if validations else None,
        best=min(validations, default=None),
        lr=_number(last, "lr"),
        gradient_norm=_number(last, "gradient_norm"),
        memory=None if memory is None else round(memory),
        tokens_per_s=tokens / spent if spent else None,
        seconds=sum(_number(each, "seconds") or 0.0 for each in steps),
        left_s=max(0, state.steps - step) * per_step if per_step is not None and state.at_work else None,
        planned_memory=None if planned is None else round(planned),
        planned_s=_number(plan, "seconds"),
        serving=state.serving,
        reason=state.reason,
        error=state.error,
        hint=state.hint,
        notes=state.notes,
    )


def _number(record: Record, key: str) -> float | None:
    value: Any = record.get(key)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
