"""Compare what a number of tokens a month costs: rented GPUs against providers.

Prices carry their dates and sources; --edit writes a copy of them to edit, and says where.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama cost --tokens-per-month 50M",
    "%llama cost --tokens-per-month 5B --model llama-3.1-8b-instruct --gpu L4 --utilisation 0.6",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the volume, the model, the GPU and the assumptions."""
    parser.add_argument("words", metavar="model", nargs="*", help="as after --model, in one word or several")
    parser.add_argument("--tokens-per-month", metavar="N", default="50M", help="such as 200k, 50M or 1.5B")
    parser.add_named("--model", _models, "a model of the catalogue; llama-3.3-70b-instruct without it")
    parser.add_named("--gpu", _gpus, "H100, or 2xH100 for two in each server; without it, every priced one")
    parser.add_argument(
        "--input-share", metavar="S", default="0.75", help="share of prompt tokens: 0.8 or 80%%"
    )
    parser.add_argument(
        "--utilisation", metavar="S", default="0.4", help="share of the bound reached over the rented hours"
    )
    parser.add_argument("--hours", metavar="H", default="730", help="rented hours a month")
    parser.add_argument("--tokens-per-s", metavar="N", help="measured tokens/s of one server, not the bound")
    parser.add_argument("--context", metavar="N", default="2048", help="tokens of each sequence")
    parser.add_argument("--batch", metavar="N", help="sequences at once; without it, 16 to 64 as they fit")
    parser.add_argument(
        "--quant", metavar="NAME", default="none", help="how weights are kept: none, int8, nf4"
    )
    parser.add_argument("--edit", action="store_true", help="write a copy of the prices to edit")


def run(args: Namespace, call: Call) -> Any:
    """Return the Cost, or say where the prices can be edited."""
    del call
    if args.edit:
        return _edit()
    from llama_nb.planner.cost import cost

    asked = {
        name: getattr(args, name)
        for name in (
            "input_share",
            "gpu",
            "hours",
            "utilisation",
            "tokens_per_s",
            "context",
            "batch",
            "quant",
        )
    }
    model = " ".join(filter(None, (args.model, *args.words)))
    return cost(args.tokens_per_month, model or "llama-3.3-70b-instruct", **asked)


def _edit() -> Shown:
    from llama_nb.catalog.prices import own_file, write_copy
    from llama_nb.runtime.environment import detect

    written = write_copy()
    # A path would differ on each machine, so it is left out where outputs are compared.
    where = str(own_file()) if detect().watched else "prices.json in llama-nb's own folder"
    if written:
        return Shown(f"A copy of the prices to edit: {where}. Its rows replace ours; delete those you leave.")
    return Shown(f"Your prices are there already, and stay as they are: {where}.")


def _models() -> list[str]:
    from llama_nb.catalog.prices import prices

    return sorted({price.model for price in prices().api})


def _gpus() -> list[str]:
    from llama_nb.catalog.prices import prices

    # A name without spaces needs no quotes.
    return sorted({rent.gpu.replace(" ", "-") for rent in prices().rents})
