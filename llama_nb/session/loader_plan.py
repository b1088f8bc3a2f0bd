"""How a chosen model would be loaded here: what each quantisation and context takes, and what to know before.

The record goes to the loader panel whole, so that its memory bar moves without asking the kernel. Knows
shapes, licences and this machine; loads nothing and imports no torch.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.licences import licence
from llama_nb.core.errors import LlamaError
from llama_nb.loading import hub_cache, quantize, source, stored
from llama_nb.loading.config import KINDS, read_config
from llama_nb.loading.weights import SMALL
from llama_nb.planner import fit, memory
from llama_nb.planner.formats import find_format
from llama_nb.planner.shape import Shape
from llama_nb.runtime import devices, hub_settings, usage
from llama_nb.session import registry
from llama_nb.session.model import short_count

Record = dict[str, Any]

# From the least loss to the most; what is not named here comes after.
QUANTS: Final = (
    "none", "int8", "int8-quanto", "int8-torchao", "nf4", "nf4-double", "fp4", "int4-quanto", "int4-torchao",
)  # fmt: skip
_PARTS: Final = (
    {"key": "weights", "label": "weights"},
    {"key": "kv_cache", "label": "KV cache"},
    {"key": "overhead", "label": "other"},
)
_FLOATS: Final = {"bfloat16": "bf16", "float16": "fp16"}
_TIGHT: Final = 0.9  # of the free memory: above it other programs are in danger
_FIRST_STOP: Final = 512
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
    config: Mapping[str, Any] | None = None
    try:
        config = read_config(here) if here is not None else card.config if card is not None else None
        shape = Shape.from_config(config) if config is not None else None
        ready_made = stored.find(config) if config is not None else None
    except LlamaError as error:
        record["refused"] = record["refused"] or error.message
        shape = ready_made = None
    if shape is None:
        if not record["refused"]:
            record["notes"] = [
                "Its config.json is not here, so what it takes is not known yet; "
                "loading looks at it before any weights are downloaded."
            ]
        return record
    record["facts"] = [f"{short_count(shape.parameters)} parameters"]
    return record | _measures(shape, device, _spare(found.name), ready_made)


def suggestion(plan: Record) -> Record:
    """Return the choice to begin with: the least lossy quantisation that fits, with the longest context."""
    runnable = [quant for quant in plan["quants"] if not quant["refused"]]
    for wanted in (("fits",), ("fits", "tight")):
        for quant in runnable:
            fitting = [stop for stop in quant["stops"] if stop["verdict"] in wanted]
            # A chat in less than this is none; a smaller format is the better answer.
            if fitting and fitting[-1]["context"] >= min(fit.SHORTEST_CONTEXT, quant["stops"][-1]["context"]):
                return _choice(plan, quant["quant"], fitting[-1]["context"])
    smallest = min(runnable, key=lambda quant: quant["stops"][0]["total"], default=None)
    if smallest is None:
        return _choice(plan, "none", None)
    return _choice(plan, smallest["quant"], smallest["stops"][0]["context"])


def offered(plan: Record, quant: object, context: object, device: object) -> Record | None:
    """Return the choice if `plan` offers it, else None; a plan without figures offers the model as it is."""
    known = {one["quant"]: one for one in plan["quants"]}
    names = [one["name"] for one in plan["devices"]] or ["auto"]
    if plan["refused"] or device not in names:
        return None
    if not known:
        return _choice(plan, "none", None) | {"device": device}
    one = known.get(quant) if isinstance(quant, str) else None
    if one is None or one["refused"] or context not in [stop["context"] for stop in one["stops"]]:
        return None
    return _choice(plan, one["quant"], context) | {"device": device}


def command(plan: Record, choice: Record) -> str:
    """Return the line that does in a cell what the panel would do."""
    words = ["%llama load", plan["argument"]]
    stops = next((one["stops"] for one in plan["quants"] if one["quant"] == choice["quant"]), [])
    if choice["quant"] != "none":
        words.append(f"--quant {choice['quant']}")
    if stops and choice["context"] != stops[-1]["context"]:
        words.append(f"--context {choice['context']}")
    if choice["device"] != "auto":
        words.append(f"--device {choice['device']}")
    return " ".join(words)


def sentence(plan: Record, choice: Record) -> str:
    """Return what the choice takes in one sentence, or why it cannot be loaded."""
    stops = [stop for one in plan["quants"] if one["quant"] == choice["quant"] for stop in one["stops"]]
    said = next((stop["sentence"] for stop in stops if stop["context"] == choice["context"]), "")
    return str(plan["refused"] or said)


def best_fit(shape: Shape, available: int, device: str) -> tuple[str, str]:
    """Return the verdict for a chat of 4,096 tokens, and the least lossy quantisation that has it."""
    context = min(shape.context or 4096, 4096)
    last = ("does not fit", "")
    for quant in _methods():
        if quant != "none" and _cannot(quant, device):
            continue
        dtype = _dtype(shape, quant, device)
        verdict = _verdict(_need(shape, quant, dtype, context).total, available)
        if verdict == "fits":
            return verdict, _label(quant, dtype)
        if verdict == "tight" and last[0] != "tight":
            last = (verdict, _label(quant, dtype))
    return last


def place(device: str = "auto") -> tuple[str, int]:
    """Return the device that "auto" means here, and the bytes that are free on it."""
    gpus = usage.gpus()
    kind, _, number = device.partition(":")
    if kind == "cpu" or not gpus:
        return "cpu", devices.available_memory("cpu")
    index = int(number) if number.isdigit() and int(number) < len(gpus) else 0
    return f"cuda:{index}" if number else "cuda", gpus[index].free


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
        "parts": list(_PARTS),
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
    if card is not None and card.kind in ("vision", "mixture", "classifier"):
        kind = {"vision": "reads images", "mixture": "is a mixture of experts"}.get(
            card.kind, "only classifies"
        )
        return f"{card.name} {kind}; this version loads text models of the kind {', '.join(KINDS)}."
    if not here and hub_settings.offline():
        return "It is not on this disk, and the environment forbids the network (HF_HUB_OFFLINE)."
    return ""


def _measures(shape: Shape, device: str, spare: int, ready_made: stored.Stored | None) -> Record:
    chosen, free = place(device)
    available = free + spare
    methods = ["none"] if ready_made else _methods()
    quants = []
    for quant in methods:
        dtype = _dtype(shape, quant, chosen)
        kept = find_format(quant, dtype)
        quants.append(
            {
                "quant": quant,
                "label": ready_made.label if ready_made else _label(quant, dtype),
                "title": kept.label,
                "bits": round(kept.weight_bits),
                "refused": "" if quant == "none" else _cannot(quant, chosen),
                "stops": [
                    _stop(shape, quant, dtype, context, available) for context in contexts(shape.context)
                ],
            }
        )
    notes = ["It is stored quantised already and is loaded as it is."] if ready_made else []
    return {"memory": available, "device": device, "quants": quants, "notes": notes}


def _spare(name: str) -> int:
    """The bytes that loading under this name gives back first."""
    old = registry.loaded().get(name)
    return old.bytes if old is not None else 0


def contexts(longest: int | None) -> list[int]:
    """Return the contexts that a slider stops at: powers of two up to the model's own."""
    longest = longest or fit.SHORTEST_CONTEXT
    stops = []
    context = _FIRST_STOP
    while context < longest:
        stops.append(context)
        context *= 2
    return [*stops, longest]


def _stop(shape: Shape, quant: str, dtype: str, context: int, available: int) -> Record:
    need = _need(shape, quant, dtype, context)
    verdict = _verdict(need.total, available)
    short = need.total - available
    said = f"{fit.gigabytes(short)} more than is free" if short > 0 else ""
    return {
        "context": context,
        "bytes": [need.weights, need.kv_cache, need.margin],
        "total": need.total,
        "verdict": verdict,
        "sentence": said,
    }


def _need(shape: Shape, quant: str, dtype: str, context: int) -> fit.Need:
    return fit.Need(
        name="",
        dtype=dtype,
        device="",
        weights=memory.quantised_bytes(shape, quant, dtype),
        kv_per_token=memory.kv_cache_bytes(shape, context, dtype) // context,
        context=context,
    )


def _verdict(total: int, available: int) -> str:
    if total > available:
        return "does not fit"
    return "tight" if total > _TIGHT * available else "fits"


def _dtype(shape: Shape, quant: str, device: str) -> str:
    """The dtype that loading takes by itself (`loading.weights.choose_dtype`)."""
    if quant == "none" and shape.parameters < SMALL:
        return "float32"
    return "float16" if device == "mps" else "bfloat16"


def _label(quant: str, dtype: str) -> str:
    return _FLOATS.get(dtype, dtype) if quant == "none" else quant


@functools.cache
def _methods() -> list[str]:
    known = ("none", *quantize.names())
    return sorted(known, key=lambda name: QUANTS.index(name) if name in QUANTS else len(QUANTS))


@functools.cache
def _cannot(quant: str, device: str) -> str:
    return quantize.refusal(quantize.find(quant), device) or ""


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


def _choice(plan: Record, quant: str, context: int | None) -> Record:
    return {"source": plan["source"], "quant": quant, "device": plan["device"], "context": context}
