"""What would make a plan fit, cheapest first.

Another format, less to keep, less context, a smaller model, more GPUs; each with the line that does it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from llama_nb.catalog.gpus import gpus
from llama_nb.planner import plan as plans
from llama_nb.planner.candidates import ranking
from llama_nb.planner.fit import Option
from llama_nb.planner.formats import LOADABLE
from llama_nb.planner.job import TARGETS, Target
from llama_nb.planner.shape import Shape

_COUNTS: Final = (2, 4, 8, 16)
_SHORTEST: Final = 512
_MOST: Final = 6
_FITTING: Final = ("fits", "tight")


def options(plan: "plans.Plan") -> tuple[Option, ...]:
    """Return what fits instead of `plan`, cheapest first."""
    known = plan.job.shape.context
    if known is not None and plan.job.context > known:  # what it does not know is not offered
        plan = plan.at(context=known)
        if plan.verdict in _FITTING:
            return (_option(plan, f"{known:,} tokens of context, all that it knows"),)
    found = [*_formats(plan), *_less(plan), *_contexts(plan), *_smaller(plan), *_more_gpus(plan)]
    return tuple(found[:_MOST])


def on_each_gpu(plan: "plans.Plan") -> Iterator["plans.Plan"]:
    """Yield the plan on one of each GPU of the catalogue."""
    for gpu in gpus():
        target = Target(gpu.name, gpu.memory, 1, gpu.bandwidth, gpu.bf16_flops)
        yield plans.make(plan.name, plan.spec, plan.job, target, offers=False)


def command(plan: "plans.Plan") -> str:
    """Return the line that loads a plan's model so, or that plans it where that is all that can be done."""
    job, target = plan.job, plan.target
    context = min(job.context, job.shape.context or job.context)
    words = [f"--quant {job.quant}"] if job.quant != "none" else []
    words += [f"--dtype {job.dtype}"] if job.chosen_dtype else []
    loads = not job.train and job.batch == 1 and target.kind == "cpu"
    if loads and plans.loadable(job.quant):
        return " ".join(["%llama load", quoted(plan.spec), *words, f"--context {context}"])
    if job.train:
        words = [f"--train {job.train}", f"--rank {job.rank}", *words]
        words += [f"--target-modules {','.join(job.targets)}"] if job.targets != TARGETS else []
        words += ["--checkpointing"] if job.checkpointing else []
    words.append(f"--context {context}")
    words += [f"--batch {job.batch}"] if job.batch > 1 else []
    words += [f'--gpus "{target.name}"'] if target.kind == "gpu" and target.memory else []
    return " ".join(["%llama plan", quoted(plan.spec), *words])


def quoted(spec: str) -> str:
    """Return a model's name as one word of a line."""
    return f'"{spec}"' if any(char.isspace() for char in spec) else spec


def _formats(plan: "plans.Plan") -> list[Option]:
    """The two formats that fit and lose least; QLoRA in place of LoRA on plain weights."""
    if plan.job.train == "full" or plan.job.quant != "none":
        return []
    names = [name for name in LOADABLE if name != "none"]
    if plan.job.train == "lora":
        names = ["nf4", "nf4-double"]
    fitting = _fitting(plan.at(quant=name, stored=None, converted_from=None) for name in names)
    by_bits: dict[int, plans.Plan] = {}
    for other in fitting:
        by_bits.setdefault(round(other.job.format.bits), other)
    most = sorted(by_bits, reverse=True)[:2]
    return [_option(by_bits[bits], f"the same in {by_bits[bits].job.format.label}") for bits in most]


def _less(plan: "plans.Plan") -> list[Option]:
    """Training that keeps less, each step on top of the ones before it, as far as the first that fits."""
    job = plan.job
    steps: list[tuple[str, dict[str, Any]]] = []
    if job.train and not job.checkpointing:
        steps.append(("activations computed again", {"checkpointing": True}))
    if job.train and job.batch > 1:
        steps.append(("one sequence at a time", {"batch": 1}))
    if job.train == "full":
        steps.append(("an adapter instead of all weights (LoRA)", {"train": "lora"}))
    if job.train in ("full", "lora"):
        steps.append(("4-bit weights under the adapter (QLoRA)", {"train": "qlora", "quant": "nf4-double"}))
    changed: dict[str, Any] = {}
    for count, (_, change) in enumerate(steps, 1):
        changed |= change
        other = plan.at(**changed)
        if other.verdict in _FITTING:
            return [_option(other, ", ".join(what for what, _ in steps[:count]))]
    return []


def _contexts(plan: "plans.Plan") -> list[Option]:
    """The longest shorter context."""
    stops = [stop for stop in plans.contexts(plan.job) if _SHORTEST <= stop < plan.job.context]
    for stop in reversed(stops):
        other = plan.at(context=stop)
        if other.verdict in _FITTING:
            return [_option(other, f"{stop:,} tokens of context")]
    return []


def _smaller(plan: "plans.Plan") -> list[Option]:
    """The most capable smaller model of the catalogue that fits so."""
    for card in reversed(ranking()):
        if card.shape is None or not 0 < (card.parameters or 0) < plan.job.shape.parameters:
            continue
        shape = Shape.from_config(card.config)
        context = min(plan.job.context, card.context or plan.job.context)
        job = replace(plan.job, shape=shape, context=context, stored=None, converted_from=None)
        other = plans.make(card.name, card.name, job, plan.target, offers=False)
        if other.verdict in _FITTING:
            return [_option(other, card.name)]
    return []


def _more_gpus(plan: "plans.Plan") -> list[Option]:
    """The smallest number of the same GPUs."""
    target = plan.target
    if target.kind != "gpu":
        return []
    one = target.name.removeprefix(f"{target.count}x ")
    for count in _COUNTS:
        if count <= target.count:
            continue
        several = replace(target, count=count, name=f"{count}x {one}")
        other = plans.make(plan.name, plan.spec, plan.job, several, offers=False)
        if other.verdict in _FITTING:
            return [_option(other, several.name)]
    return []


def _fitting(found: Iterator["plans.Plan"]) -> list["plans.Plan"]:
    return [plan for plan in found if plan.verdict in _FITTING]


def _option(plan: "plans.Plan", what: str) -> Option:
    return Option(what, command(plan), plan.total_bytes)
