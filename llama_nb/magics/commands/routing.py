"""Show which experts each token goes through: their load, tokens coloured by expert, paths, what-ifs, costs.

In a cell the body is the text, taken as it is. On a line without a text: the last reply with its prompt, of
any chat or of --chat. A DataFrame or a CSV, TSV, JSONL or JSON file of texts is read with --column, and its
--label says which kind of text each is. With --live the body is a message: the tokens are coloured while the
model answers.
"""

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llama_nb.magics import generation, names, watching
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

if TYPE_CHECKING:
    from llama_nb.session.model import Model
    from llama_nb.widgets.growing_trace import GrowingView
    from llama_nb.widgets.routing_explorer import RoutingExplorer

EXAMPLES = (
    "%%llama routing\nAnna has 3 apples and buys 4 more.",
    "%llama routing",
    '%llama routing --layer 3 "Once upon a time"',
    "t = %llama routing texts --column text --label domain",
    "%llama routing texts.jsonl --label domain --save routing.safetensors",
    "%%llama routing --live\nTell me of the sea.",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text or table, and where to look."""
    parser.takes_text("text", "a text, or a variable or file with texts; default the last reply")
    parser.add_argument("--column", metavar="NAME", help="the column of the texts, of a table")
    parser.add_argument("--label", metavar="NAME", help="the column that says which kind of text each is")
    parser.add_argument("--layer", metavar="N", type=int, help="the layer that is shown first, from 0")
    parser.add_argument("--domain", metavar="LABEL", help="the label that is set against all others")
    parser.add_named("--chat", names.chats, "the chat whose newest reply is looked at")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--live", action="store_true", help="the text is a message: watch its answer")
    parser.add_argument("--save", metavar="FILE", help="keep the trace in FILE (safetensors)")
    parser.add_argument("--overwrite", action="store_true", help="replace what FILE holds")
    parser.add_argument("--text", dest="as_text", action="store_true", help="a text, no widget")


def run(args: Namespace, call: Call) -> Any:
    """Capture the routing and return the trace, which is shown as the explorer."""
    text = generation.message_from(args.text, call, raw=False, verb="routing").strip("\n")
    table = _table(text, args, call)
    _check_target(args)
    model = generation.choose_model(args.model)
    if args.live:
        return _live(model, text, table is not None, args, call)
    if text and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama routing "Once upon a time"')
    if table is None:
        trace = model.routing(text or None, chat=args.chat)
    else:
        trace = model.routing(table, column=args.column, label=args.label)
    _save(trace, args)
    return _shown(trace, args, call)


def _table(text: str, args: Namespace, call: Call) -> Any:
    """Return the table that the line names; None where it names a text."""
    from llama_nb.session.batch_data import find_table

    of_a_table = args.column is not None or args.label is not None
    if call.body is not None:
        if of_a_table:
            raise CommandError(
                "--column and --label are of a table, and the cell holds a text.",
                "Name the table on the line: %llama routing texts.csv --column text --label domain",
            )
        return None
    word = text.strip()
    if of_a_table or _names_a_table(word, call):
        return find_table(word, call.namespace)
    return None


def _names_a_table(word: str, call: Call) -> bool:
    from llama_nb.session.batch_data import SUFFIXES

    value = call.namespace.get(word)
    is_file = word.lower().endswith(SUFFIXES) and " " not in word
    return is_file or isinstance(value, list | tuple) or type(value).__name__ in ("DataFrame", "Series")


def _shown(trace: Any, args: Namespace, call: Call) -> Any:
    """Return the trace, which is shown; where a place is named or a text is wanted, show that instead."""
    view = trace.view(args.layer, args.domain)
    if call.keep is not None or (args.layer is None and args.domain is None and not args.as_text):
        return trace
    from IPython.display import display

    call.shell.displayhook.update_user_ns(trace)
    display(Shown(view.text()) if args.as_text else view)
    return None


def _check_target(args: Namespace) -> None:
    """Raise CommandError if the file that is wanted cannot be made: before anything is computed."""
    if args.save is None:
        return
    target = Path(args.save).expanduser()
    if target.exists() and not args.overwrite:
        raise CommandError(f"There is a file {target.name} already.", "Replace it with --overwrite.")
    if not target.parent.is_dir():
        raise CommandError(f"There is no folder {str(target.parent)!r}.", "Make it, or name another file.")


def _save(trace: Any, args: Namespace) -> None:
    if args.save is not None:
        trace.save(args.save, overwrite=args.overwrite)


def _live(model: "Model", text: str, is_table: bool, args: Namespace, call: Call) -> Any:
    """Ask the model, and show its experts while it answers; where no page watches, the trace at the end."""
    if is_table:
        raise CommandError("--live watches one answer, and there is a table.", "Leave --live out.")
    if args.domain is not None:
        raise CommandError("--live watches one answer, which has no --domain.", "Leave --domain out.")
    watching.check_message(text, "routing")

    def otherwise(trace: Any) -> Any:
        return _shown(trace, args, call)

    def ask(follow: watching.Follow) -> Any:
        reply, trace = model.watch_routing(text, chat=args.chat, on_tokens=follow)
        _save(trace, args)
        return reply, trace

    view = _growing(args) if watching.possible(args) else None
    return watching.show(call, ask, view=view, otherwise=otherwise)


def _growing(args: Namespace) -> "GrowingView[RoutingExplorer]":
    from llama_nb.widgets.routing_explorer import growing

    return growing(args.layer)
