"""Show what the model would say behind each of its layers: the logit lens, as a grid of layers and tokens.

In a cell the body is the text, taken as it is. On a line without a text: the last reply with its prompt, of
any chat or of --chat. With --tuned each layer is read through a tuned lens.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama lens\nOnce upon a time there was a llama who lived",
    "%llama lens",
    '%llama lens --top 10 "Once upon a time"',
    "%llama lens --chat main --positions 64",
    "%%llama lens t << --tuned ./my-lens\nThe cat sat on the",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text, and how it is looked at."""
    parser.takes_text("text", "a text to look at instead of a reply")
    parser.add_argument("--top", metavar="N", type=int, default=5, help="tokens that are kept of each cell")
    parser.add_argument("--positions", metavar="N", type=int, help="look at the last N; default 512")
    parser.add_argument("--tuned", metavar="PATH", help="a tuned lens: its folder or safetensors file")
    parser.add_named("--chat", names.chats, "the chat whose newest reply is looked at")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--text", dest="as_text", action="store_true", help="a text, no widget")


def run(args: Namespace, call: Call) -> Any:
    """Look through the lens and return the trace, which is shown as a grid."""
    text = generation.message_from(args.text, call, raw=False, verb="lens").strip("\n")
    if text and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama lens "Once upon a time"')
    if args.positions is not None and args.positions < 1:
        raise CommandError(f"--positions is {args.positions}.", "The last 64 positions: --positions 64")
    trace = generation.choose_model(args.model).lens(
        text or None,
        chat=args.chat,
        top=args.top,
        positions=None if args.positions is None else slice(-args.positions, None),
        tuned=args.tuned,
    )
    if call.keep is not None or not args.as_text:
        return trace
    from IPython.display import display

    call.shell.displayhook.update_user_ns(trace)
    display(Shown(trace._repr_mimebundle_()["text/plain"]))
    return None
