"""How a chosen model would be loaded here: what each quantisation and context takes, and what to know before.

The record goes to the loader panel whole, so that its memory bar moves without asking the kernel. Knows
shapes, licences and this machine; loads nothing and imports no torch.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.licences import licence
from llama_nb.core.errors import LlamaError
from llama_nb.loading import hub_cache, quantize, source
from llama_nb.loading.config import KINDS, read_config
from llama_nb.loading.weights import SMALL
from llama_nb.planner import fit, plan
from llama_nb.planner.formats import find_format
from llama_nb.planner.job import Job, Target
from llama_nb.planner.shape import Shape
from llama_nb.render.units import number
from llama_nb.runtime import devices, hub_settings, usage
from llama_nb.session import registry
from llama_nb.session.plan_source import Described, describe

Record: TypeAlias = dict[str, Any]

# From the least loss to the most; what is not named here comes after.
QUANTS: Final = (
    "none", "int8", "int8-quanto", "int8-torchao", "nf4", "nf4-double", "fp4", "int4-quanto", "int4-torchao",
)  # fmt: skip
_PARTS: Final = {
    "weights": "weights", "kv_cache": "KV cache", "activations": "activations", "overhead": "overhead",
}  # fmt: skip
_FLOATS: Final = {"bfloat16": "bf16", "float16": "fp16"}
_USUAL_CONTEXT: Final = 4096  # of a chat, for the verdicts of the list
_PLAIN: Final = re.compile(r"[\w./~:-]+")


def plan_for(spec: str, device: str = "auto") -> Record:
    """Return everything about loading `spec` on `device`: the record of labextension/widgets/shapes.ts.

    What cannot be loaded has a plan too, with `refused` saying why.

    Raises
    ------
    LoadError
        If `spec` names nothing.
    """
    found = source.resolve(spec)
    card = catalog.find(found.name)
    here = hub_cache.complete_snapshot(found.name) if found.folder is None else found.folder
    record = _about(spec, found, card)
    record["refused"] = _refusal(card, here is not None)
    if record["refused"]:
        record.pop("gate", None)  # nobody should accept a licence for nothing
    if here is None and card is None:
        record["notes"] = [
            "Its config.json is not here, so what it takes is not known yet; loading looks at it before any "
            "weights are downloaded."
        ]
        return record
    try:
        if here is not None and here.is_dir():
            read_config(here)
        described = describe(spec)
        shape = Shape.from_config(described.config)
    except LlamaError as error:
        record["refused"] = record["refused"] or error.message
        return record
    record["facts"] = [f"{number(shape.parameters)} parameters"]
    return record | _measures(shape, described, device, _spare(found.name))


def suggestion(record: Record) -> Record:
    """Return the choice to begin with: the least lossy quantisation that fits, with the longest context."""
    runnable = [quant for quant in record["quants"] if not quant["refused"]]
    for wanted in (("fits",), ("fits", "tight")):
        for quant in runnable:
            fitting = [stop for stop in quant["stops"] if stop["verdict"] in wanted]
            # A chat in less than this is none; a smaller format is the better answer.
            if fitting and fitting[-1]["context"] >= min(fit.SHORTEST_CONTEXT, quant["stops"][-1]["context"]):
                return _choice(record, quant["quant"], fitting[-1]["context"])
    smallest = min(runnable, key=lambda quant: quant["stops"][0]["total"], default=None)
    if smallest is None:
        return _choice(record, "none", None)
    return _choice(record, smallest["quant"], smallest["stops"][0]["context"])


def offered(record: Record, quant: object, context: object, device: object) -> Record | None:
    """Return the choice if the plan offers it, else None. Without figures it offers the model as it is."""
    known = {one["quant"]: one for one in record["quants"]}
    names = [one["name"] for one in record["devices"]] or ["auto"]
    if record["refused"] or device not in names:
        return None
    if not known:
        return _choice(record, "none", None) | {"device": device}
    one = known.get(quant) if isinstance(quant, str) else None
    if one is None or one["refused"] or not isinstance(context, int):
        return None
    if context not in [stop["context"] for stop in one["stops"]]:
        return None
    return _choice(record, one["quant"], context) | {"device": device}


def command(record: Record, choice: Record) -> str:
    """Return the line that does in a cell what the panel would do."""
    words = ["%llama load", record["argument"]]
    stops: list[Record] = next(
        (one["stops"] for one in record["quants"] if one["quant"] == choice["quant"]), []
    )
    if choice["quant"] != "none":
        words.append(f"--quant {choice['quant']}")
    if stops and choice["context"] != stops[-1]["context"]:
        words.append(f"--context {choice['context']}")
    if choice["device"] != "auto":
        words.append(f"--device {choice['device']}")
    return " ".join(words)


def sentence(record: Record, choice: Record) -> str:
    """Return what the choice takes in one sentence, or why it cannot be loaded."""
    stops = [stop for one in record["quants"] if one["quant"] == choice["quant"] for stop in one["stops"]]
    said = next((stop["sentence"] for stop in stops if stop["context"] == choice["context"]), "")
    return str(record["refused"] or said)


def best_fit(shape: Shape, target: Target) -> tuple[str, str]:
    """Return the verdict for a chat of 4,096 tokens, and the least lossy quantisation that has it."""
    context = min(shape.context or _USUAL_CONTEXT, _USUAL_CONTEXT)

    def verdict(quant: str) -> str:
        job = Job(shape, quant, _dtype(shape, quant), context)
        return plan.verdict(sum(plan.part_bytes(job, target).values()), target)

    runnable = [quant for quant in _methods() if not _cannot(quant, _device(target))]
    # Most models of a long list fit in no way: one look tells.
    if verdict(runnable[-1]) == "does not fit" and verdict("nf4") == "does not fit":
        return "does not fit", ""
    found = {quant: verdict(quant) for quant in runnable}
    best = next((name for name in ("fits", "tight") if name in found.values()), "does not fit")
    quant = next((quant for quant in runnable if found[quant] == best), "none")
    return best, "" if best == "does not fit" else _label(quant, _dtype(shape, quant))


def place(device: str = "auto", spare: int = 0) -> Target:
    """Return where a model would run: what "auto" means here, with the free bytes and `spare` beside."""
    gpus = usage.gpus()
    kind, _, number = device.partition(":")
    if kind == "cpu" or not gpus:
        return Target("CPU", devices.available_memory("cpu") + spare, kind="cpu")
    gpu = gpus[int(number) if number.isdigit() and int(number) < len(gpus) else 0]
    return Target(gpu.name, gpu.free + spare, kind="gpu")


def _about(spec: str, found: source.Source, card: ModelCard | None) -> Record:
    record: Record = {
        "source": spec,
        "name": found.name if found.kind != "hub" or card is None else card.name,
        "argument": spec if _PLAIN.fullmatch(spec) else f'"{spec}"',
        "facts": [],
        "refused": "",
        "notes": [],
        "devices": _devices(),
        "device": "auto",
        "memory": None,
        "parts": [],
        "quants": [],
    }
    if card is None:
        return record
    terms = licence(card)
    record["licence"] = {
        "name": terms.name,
        "lines": [terms.summary],
        "command": f"%llama license {card.name}",
        "url": terms.url,
    }
    if card.gated and card.url and hub_cache.complete_snapshot(found.name) is None:
        record["gate"] = {
            "sentence": "accept the licence at",
            "url": card.url,
            "command": "%llama login",
        }
    return record


def _refusal(card: ModelCard | None, here: bool) -> str:
    if card is not None and not card.hub_id:
        return f"{card.name} is not published on the hub."
    if card is not None and card.kind in ("vision", "classifier"):
        kind = "reads images" if card.kind == "vision" else "only classifies"
        return f"{card.name} {kind}; this version loads text models of the kinds {', '.join(KINDS)}."
    if not here and hub_settings.offline():
        return "It is not on this disk, and the environment forbids the network (HF_HUB_OFFLINE)."
    return ""


def _measures(shape: Shape, described: Described, device: str, spare: int) -> Record:
    target = place(device, spare)
    unpacked = described.stored is not None  # a GGUF: loading makes floats of it
    ready_made = described.quant != "none" and not unpacked
    quants = []
    for quant in [described.quant] if ready_made else ["none"] if unpacked else _methods():
        dtype = _dtype(shape, quant)
        kept = find_format(quant, dtype)
        job = Job(shape, quant, dtype, shape.context or fit.SHORTEST_CONTEXT)
        quants.append(
            {
                "quant": "none" if ready_made else quant,
                "label": _label(quant, dtype),
                "title": kept.label,
                "bits": round(kept.weight_bits),
                "refused": "" if ready_made else _cannot(quant, _device(target)),
                "stops": [_stop(replace(job, context=context), target) for context in plan.contexts(job)],
            }
        )
    return {
        "memory": target.memory,
        "device": device,
        "parts": [{"key": key, "label": label} for key, label in _PARTS.items()],
        "quants": quants,
        "notes": list(described.notes[1:]),
    }


def _spare(name: str) -> int:
    """The bytes that loading under this name gives back first."""
    old = registry.loaded().get(name)
    return old.held if old is not None else 0


def _stop(job: Job, target: Target) -> Record:
    amounts = plan.part_bytes(job, target)
    total = sum(amounts.values())
    short = total - (target.memory or 0)
    return {
        "context": job.context,
        "bytes": [amounts[key] for key in _PARTS],
        "total": total,
        "verdict": plan.verdict(total, target),
        "sentence": f"{fit.gigabytes(short)} more than is free" if short > 0 else "",
    }


def _dtype(shape: Shape, quant: str) -> str:
    """The dtype that loading takes by itself (`loading.weights.choose_dtype`)."""
    return "float32" if quant == "none" and shape.parameters < SMALL else "bfloat16"


def _device(target: Target) -> str:
    return "cpu" if target.kind == "cpu" else "cuda"


def _label(quant: str, dtype: str) -> str:
    return _FLOATS.get(dtype, dtype) if quant == "none" else quant


@functools.cache
def _methods() -> list[str]:
    known = ("none", *quantize.names())
    return sorted(known, key=lambda name: QUANTS.index(name) if name in QUANTS else len(QUANTS))


def _cannot(quant: str, device: str) -> str:
    """Why a method does not run here, looked at anew: its library may have been installed meanwhile."""
    return "" if quant == "none" else quantize.refusal(quantize.find(quant), device) or ""


def _devices() -> Sequence[Mapping[str, str]]:
    """The devices to choose among; none where there is only the CPU."""
    gpus = usage.gpus()
    if not gpus:
        return []
    more = [(f"cuda:{index}", gpu) for index, gpu in enumerate(gpus)] if len(gpus) > 1 else []
    return [
        {"name": "auto", "label": f"auto: {gpus[0].name}, {fit.gigabytes(gpus[0].free)} free"},
        *(
            {"name": name, "label": f"{name}: {gpu.name}, {fit.gigabytes(gpu.free)} free"}
            for name, gpu in more
        ),
        {"name": "cpu", "label": f"cpu: {fit.gigabytes(devices.available_memory('cpu'))} free"},
    ]


def _choice(record: Record, quant: str, context: int | None) -> Record:
    return {"source": record["source"], "quant": quant, "device": record["device"], "context": context}
