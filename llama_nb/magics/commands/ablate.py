"""Turn parts of the model off and see what that changes: the next token, and how the text goes on.

3.5 is head 5 of layer 3, 3.attn and 3.mlp are its attention and its MLP, 3 is the whole layer; all of them
count from 0. In a cell the body is the text, on a line it is the last reply. For a block of code there is
`with m.ablate("3.5"):`.
"""

from argparse import Namespace
from typing import Any, Final

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

MODES: Final = ("zero", "mean")
EXAMPLES = (
    "%%llama ablate 5.attn\nOnce upon a time, Ida lived in a quiet village.",
    "%%llama ablate 0.3 0.mlp --mode mean\nOnce upon a time, Ida lived in a quiet village.",
    "%llama ablate 4",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the parts and where to look."""
    parser.add_argument("parts", nargs="*", help="what is turned off: 3.5 (a head), 3.attn, 3.mlp, 3")
    parser.add_argument(
        "--mode",
        choices=MODES,
        metavar="HOW",
        default=MODES[0],
        help="what stands there instead: zero, or the mean of what the part adds to a text",
    )
    parser.add_argument("--over", metavar="TEXT", help="the text of that mean; default the prompt")
    parser.add_argument(
        "--position", metavar="N", type=int, help="look behind this token: 0 is the first, -1 the last"
    )
    parser.add_argument(
        "--tokens", metavar="N", type=int, default=24, help="how far both texts go on (default 24)"
    )
    parser.add_named("--chat", names.chats, "the chat whose newest reply is looked at")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")


def run(args: Namespace, call: Call) -> Any:
    """Return the effect."""
    if not args.parts:
        raise CommandError("Nothing is named that could be turned off.", "A head: %llama ablate 3.5")
    text = call.expand(call.body, raw=args.raw).rstrip("\n") if call.body is not None else None
    model = generation.choose_model(args.model)
    options = {"chat": args.chat, "mode": args.mode, "position": args.position, "tokens": args.tokens}
    return model.ablation(text, *args.parts, over=args.over, **options)
