"""Say what a model takes and whether it fits, before a byte of weights is read.

Weights, KV cache, activations and training part by part, bounds of its speed, and what would fit instead.
Without a model: the current one. Without --gpus: for this machine.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from llama_nb.core.errors import LoadError
from llama_nb.magics import names
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

_MOST_DIGITS = 12
EXAMPLES = (
    "%llama plan llama-3.3-70b --quant nf4",
    '%llama plan llama-3.1-8b --context 128k --gpus "RTX 4090"',
    "%llama plan llama-3.1-8b --train lora --rank 16 --gpus 2xH100",
    "%llama plan llama-4-scout --gpus 24GB --offload 4",
    "%llama plan cria --table",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the model, the work, and where it shall run."""
    parser.add_argument(
        "model",
        nargs="*",
        help="a name of the catalogue, a folder, a .gguf, a config.json or a cached hub id",
    )
    parser.add_named("--quant", _quants, "how weights are kept: none, int8, nf4, q4_k_m ...")
    parser.add_argument("--dtype", metavar="FORMAT", default="auto", help="of what is not quantised")
    parser.add_argument("--context", metavar="N", help="tokens of each sequence: 8192 or 128k")
    parser.add_argument("--batch", metavar="N", default="1", help="sequences at once")
    parser.add_argument("--train", metavar="HOW", help="lora, qlora or full")
    parser.add_argument("--rank", metavar="R", default="16", help="of LoRA")
    parser.add_argument(
        "--target-modules", metavar="NAMES", default="q_proj,v_proj", help="what LoRA adapts, or all-linear"
    )
    parser.add_argument("--checkpointing", action="store_true", help="compute activations again in training")
    parser.add_named("--gpus", _gpus, "where it shall run: RTX 4090, 2xH100 or 4x24GB")
    parser.add_argument("--here", action="store_true", help="plan for this machine")
    parser.add_argument(
        "--offload", metavar="N", help="routed experts in main memory, N of each layer on the GPU"
    )
    parser.add_argument(
        "--hit-rate", metavar="R", help="how many needed experts are among those: m.routing(text).cost()"
    )
    parser.add_argument("--bandwidth", metavar="GB/s", help="between main memory and GPU")
    parser.add_argument("--table", action="store_true", help="every quantisation in a table")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the names of the catalogue and what is found without a network."""
    from llama_nb.catalog import catalog

    return () if words else (*names.loadable(), *(card.name for card in catalog.cards() if card.shape))


def run(args: Namespace, call: Call) -> Any:
    """Return the Plan, or its table of quantisations."""
    del call
    from llama_nb.session.planning import plan

    found = plan(
        " ".join(args.model) or None,
        quant=args.quant,
        dtype=args.dtype,
        context=args.context,
        batch=_whole("batch", args.batch),
        train=args.train,
        rank=_whole("rank", args.rank),
        target_modules=args.target_modules,
        checkpointing=args.checkpointing,
        gpus=args.gpus,
        here=True if args.here else None,
        offload=None if args.offload is None else _whole("offload", args.offload, least=0),
        hit_rate=_figure("hit-rate", args.hit_rate),
        bandwidth=_figure("bandwidth", args.bandwidth, scale=1e9),
    )
    return Quantisations(found.to_record()) if args.table else found


class Quantisations:
    """The table of all quantisations of a plan."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from llama_nb.render.plan import quants_html, quants_text

        return {"text/plain": quants_text(self._record), "text/html": quants_html(self._record)}

    def __repr__(self) -> str:
        from llama_nb.render.plan import quants_text

        return quants_text(self._record)


def _whole(what: str, text: str, least: int = 1) -> int:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > _MOST_DIGITS:
        raise LoadError(
            f"{what} is {text[:40]!r}; it must be a whole number from {least} to {10**_MOST_DIGITS - 1:,}."
        )
    return int(text)


def _figure(what: str, text: str | None, scale: float = 1) -> float | None:
    if text is None:
        return None
    try:
        return scale * float(text)
    except ValueError:
        raise LoadError(f"{what} is {text[:40]!r}; it must be a number, such as 0.7 or 25.") from None


def _quants() -> Iterable[str]:
    from llama_nb.planner.formats import QUANTS

    return QUANTS


def _gpus() -> Iterable[str]:
    from llama_nb.catalog.gpus import gpus

    return [gpu.name for gpu in gpus()]
