"""Choose a model for the memory you have and what you need, with the reasons, and why not the others.

Without options: the most capable model in 16 or 8 bits that fits into 24 GB.
"""

from argparse import Namespace
from typing import TYPE_CHECKING

from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

if TYPE_CHECKING:
    from llama_nb.planner.selection import Selection

EXAMPLES = (
    "%llama select",
    "%llama select --vram-gb 8 --languages German",
    "%llama select --on-device",
    "%llama select --max-quality --context-tokens 128k --vram-gb 80",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the wishes."""
    parser.add_argument("--max-quality", action="store_true", help="the most capable, in 4 bits if need be")
    parser.add_argument("--balanced", action="store_true", help="the most capable in 16 or 8 bits")
    parser.add_argument("--on-device", action="store_true", help="for a phone or a laptop: 4 GB")
    parser.add_argument("--vram-gb", metavar="GB", help="the memory that it must fit into")
    parser.add_argument("--context-tokens", metavar="N", help="the context that is needed: 32768, 128k")
    parser.add_argument("--languages", metavar="LIST", help="that it must support: German,fr")
    parser.add_argument("--multimodal", action="store_true", help="it must read images")
    parser.add_argument("--commercial", action="store_true", help="the use is commercial")
    parser.add_argument(
        "--eu", action="store_true", help="you are, or your company is, in the European Union"
    )


def run(args: Namespace, call: Call) -> "Selection":
    """Return the choice."""
    del call
    from llama_nb.planner.selection import select

    return select(
        max_quality=args.max_quality,
        balanced=args.balanced,
        on_device=args.on_device,
        vram_gb=args.vram_gb,
        context_tokens=args.context_tokens,
        languages=args.languages or (),
        multimodal=args.multimodal,
        commercial=args.commercial,
        eu=args.eu,
    )
