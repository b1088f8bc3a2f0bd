"""A plan as JSON values: the contract with the page, and with whoever reads a saved notebook."""

from typing import TYPE_CHECKING, Any, Final

from llama_nb.planner import plan as plans
from llama_nb.planner.options import command, on_each_gpu
from llama_nb.planner.speed import Speed
from llama_nb.render.units import figure

if TYPE_CHECKING:
    from llama_nb.planner.plan import Plan

SCHEMA: Final = 1
_MOST_GPUS: Final = 6


def record(plan: "Plan") -> dict[str, Any]:
    """Return a plan with the figures of every context and every quantisation."""
    job, target = plan.job, plan.target
    stops = [plan.at(context=context) for context in plans.contexts(job)]
    return {
        "schema": SCHEMA,
        "name": plan.name,
        "quant": job.quant,
        "quant_label": job.format.label,
        "dtype": job.dtype,
        "context": job.context,
        "batch": job.batch,
        "train": job.train,
        "device": {
            "name": target.name,
            "memory": None if target.quiet or target.memory is None else target.memory * target.count,
            "count": target.count,
        },
        "verdict": plan.verdict,
        "sentence": plan.sentence,
        "parts": [{"key": part.key, "label": part.label, "detail": part.detail} for part in plan.parts],
        "stops": [
            {"context": stop.job.context, **_amount(stop), "sentence": stop.sentence} for stop in stops
        ],
        "at": [stop.job.context for stop in stops].index(job.context),
        "quants": [_quant(other) for other in plan.each_quant()],
        "options": [{"what": one.what, "command": one.command, "bytes": one.bytes} for one in plan.options],
        "speed": _speeds(plan),
        "notes": list(plan.notes),
        "sources": [job.format.source] if job.format.kind != "float" else [],
    }


def _amount(plan: "Plan") -> dict[str, Any]:
    return {"bytes": [part.bytes for part in plan.parts], "total": plan.total_bytes, "verdict": plan.verdict}


def _quant(plan: "Plan") -> dict[str, Any]:
    name, chosen = plan.job.quant, plan.job.format
    loads = plans.loadable(name)
    return {
        "quant": name,
        "label": chosen.label,
        "bits": round(chosen.bits, 3),
        **_amount(plan),
        "command": command(plan) if loads else None,
    }


def _speeds(plan: "Plan") -> list[dict[str, str]]:
    """The target's bounds; without figures of it, those of the GPUs that hold the model, smallest first."""
    if plan.job.train:
        return []
    if plan.speed.decode or plan.speed.prefill:
        return _rows(plan.speed)
    fitting = [other for other in on_each_gpu(plan) if other.verdict in ("fits", "tight")]
    fitting.sort(key=lambda other: other.target.memory or 0)
    return [row for other in fitting[:_MOST_GPUS] for row in _rows(other.speed)]


def _rows(found: Speed) -> list[dict[str, str]]:
    rows = []
    if found.decode:
        value = f"at most {figure(found.decode)} tokens/s"
        rows.append({"label": found.name, "value": value, "detail": "bandwidth / bytes read per token"})
    if found.prefill and found.first_token_s:
        value = f"at most {figure(found.prefill)} prompt tokens/s"
        detail = f"FLOPs / operations per token; a full context takes {found.first_token_s:.3g} s or more"
        rows.append({"label": found.name, "value": value, "detail": detail})
    return rows
