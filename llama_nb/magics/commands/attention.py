"""Show what each token of a text looks at: maps of the heads, links between tokens, parts to turn off.

In a cell the body is the text, taken as it is. On a line without a text: the last reply with its prompt, of
any chat or of --chat. With --live the body is a message, and the map grows while the model answers.
"""

import re
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.magics import generation, names, watching
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

if TYPE_CHECKING:
    from llama_nb.session.model import Model
    from llama_nb.widgets.attention_explorer import AttentionExplorer
    from llama_nb.widgets.growing_trace import GrowingView

EXAMPLES = (
    "%%llama attention\nAnna gave Tom the ball. Tom gave Anna the ball.",
    "%llama attention",
    '%llama attention --layer 3 --head 5 "Once upon a time"',
    "%%llama attention t << --layers 0-3\nThe cat sat on the mat.",
    "%%llama attention --live\nTell me of the sea.",
)
_RANGES: Final = "Examples: --layers 3, --layers 0-3, --layers 0,4-7. Layers count from 0."
_RANGE: Final = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?")


def add_arguments(parser: VerbParser) -> None:
    """Declare the text, and where to look."""
    parser.takes_text("text", "a text to look at instead of a reply")
    parser.add_argument("--layer", metavar="N", type=int, help="the layer that is shown first, from 0")
    parser.add_argument("--head", metavar="N", type=int, help="the head that is shown first, from 0")
    parser.add_argument("--layers", metavar="N-M", help="layers to keep: 0-3; default all")
    parser.add_named("--chat", names.chats, "the chat whose newest reply is looked at")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--live", action="store_true", help="the text is a message: watch its answer")
    parser.add_argument("--offload", action="store_true", help="keep queries and keys on the disk")
    parser.add_argument("--text", dest="as_text", action="store_true", help="a text, no widget")


def run(args: Namespace, call: Call) -> Any:
    """Capture the attention and return the trace, which is shown as the explorer."""
    text = generation.message_from(args.text, call, raw=False, verb="attention").strip("\n")
    layers = read_layers(args.layers)
    model = generation.choose_model(args.model)
    if args.live:
        return _live(model, text, layers, args, call)
    if text and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama attention "Once upon a time"')
    trace = model.attention(text or None, chat=args.chat, layers=layers, offload=args.offload)
    return _shown(trace, args, call)


def read_layers(typed: str | None) -> "list[int] | str":
    """Return the layers of "0,4-7" as numbers; "all" where none are named.

    Raises
    ------
    CommandError
        If that names no layers.
    """
    if typed is None or typed.strip() == "all":
        return "all"
    found: list[int] = []
    for part in typed.split(","):
        matched = _RANGE.fullmatch(part.strip())
        if matched is None or int(matched[2] or matched[1]) < int(matched[1]):
            raise CommandError(f"--layers is {typed!r}.", _RANGES)
        found += range(int(matched[1]), int(matched[2] or matched[1]) + 1)
    return found


def _shown(trace: Any, args: Namespace, call: Call) -> Any:
    """Return the trace, which is shown; where a head is named or a text is wanted, show that instead."""
    view = trace.view(args.layer, args.head)
    if call.keep is not None or (args.layer is None and args.head is None and not args.as_text):
        return trace
    from IPython.display import display

    call.shell.displayhook.update_user_ns(trace)
    display(Shown(view.text()) if args.as_text else view)
    return None


def _live(model: "Model", text: str, layers: "Sequence[int] | str", args: Namespace, call: Call) -> Any:
    """Ask the model, and show the map while it answers; where no page watches, the trace at the end."""
    watching.check_message(text, "attention")
    return watching.show(
        call,
        lambda follow: model.watch_attention(text, chat=args.chat, layers=layers, on_rows=follow),
        view=_growing(args) if watching.possible(args) else None,
        otherwise=lambda trace: _shown(trace, args, call),
    )


def _growing(args: Namespace) -> "GrowingView[AttentionExplorer]":
    from llama_nb.widgets.attention_explorer import growing

    return growing(args.layer, args.head)
