"""What `accelerate estimate-memory` says of a model, beside our plan for one GPU, from the same config.

Its own code computes its figures; only its question to the hub is answered here. Ours are `Plan`s. Both are
given in GB of 10^9 bytes; its table divides by 1024 and says GB, too.
"""

import json
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest import mock

from benchmarks.report import Row
from llama_nb.catalog import catalog
from llama_nb.planner.job import Target
from llama_nb.planner.plan import Plan, estimate
from llama_nb.planner.shape import Shape

TITLE = "Planning figures beside accelerate estimate-memory"
MODELS: Final = ("llama-3.2-1b", "llama-3.1-8b", "llama-3.3-70b-instruct")
CONTEXTS: Final = (8192, 131_072)
# Its names, and ours.
FORMATS: Final[Mapping[str, str]] = {"float16": "none", "int8": "int8", "int4": "nf4"}


def theirs(shape: Mapping[str, Any]) -> dict[str, float]:
    """Return the "Total Size" of estimate-memory in bytes by its dtypes, for a Llama of this shape."""
    from accelerate.commands import estimate as command

    known = SimpleNamespace(config={"model_type": "llama"}, library_name="transformers")
    with tempfile.TemporaryDirectory() as folder:
        config = {key: value for key, value in shape.items() if key != "parameters"}
        config |= {"architectures": ["LlamaForCausalLM"]}
        (Path(folder) / "config.json").write_text(json.dumps(config), encoding="utf-8")
        asked = Namespace(
            model_name=folder, library_name="transformers", trust_remote_code=False, dtypes=list(FORMATS)
        )
        with mock.patch.object(command, "verify_on_hub", return_value=known):
            return {dtype: total for dtype, _, total, _ in command.gather_data(asked)}


def ours(shape: Mapping[str, Any], name: str, quant: str, context: int) -> Plan:
    """Return our plan for one GPU, in float16 where it is not quantised."""
    target = Target("a GPU", None)
    return estimate(
        Shape.from_config(shape), name=name, device=target, quant=quant, dtype="float16", context=context
    )


def left_out(plan: Plan, total: float) -> dict[str, float]:
    """Return, in bytes, what is in a plan and not in a total of weights alone.

    Of the weights that is the head, which it does not build, and for quantised models the scales, and what
    stays in half precision.
    """
    return {
        "weights": max(0, plan.weights_bytes - total),
        "KV cache": plan.kv_cache_bytes,
        "working memory": plan.activation_bytes,
        "driver": plan.overhead_bytes,
    }


def row(name: str, dtype: str, plan: Plan, total: float) -> Row:
    """Return a row: both totals, and what theirs leaves out."""
    parts = ", ".join(f"{what} {size / 1e9:.2f}" for what, size in left_out(plan, total).items())
    quant = f" ({plan.job.quant})" if dtype == "int4" else ""
    return Row(
        f"{name}, {dtype}{quant}, {plan.job.context:,} tokens",
        f"{plan.total_bytes / 1e9:.2f} GB",
        f"{total / 1e9:.2f} GB; left out in GB: {parts}",
        plan.total_bytes / total,
        "",
        None,
    )


def run() -> list[Row]:
    """Compare for each model, format and context."""
    table = []
    for name in MODELS:
        card = catalog.find(name)
        if card is None or card.shape is None:
            raise RuntimeError(f"the catalogue has no shape of {name}")
        totals = theirs(card.shape)
        for dtype, quant in FORMATS.items():
            for context in CONTEXTS:
                plan = ours(card.config, name, quant, context)
                table.append(row(name, dtype, plan, totals[dtype]))
    return table
