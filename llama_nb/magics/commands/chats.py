"""List the conversations with a model; make, choose, clear or delete one.

A cleared chat begins anew; a deleted one is also removed from the disk. With --tree every message of a chat
is shown with its id, on whatever branch it is.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any, Final

from llama_nb.core.errors import did_you_mean
from llama_nb.magics import generation, names, places
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.chat_tree import tree_text
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama chats",
    "%llama chats --tree",
    "%llama chats new ideas",
    "%llama chats use main",
    "%llama chats clear ideas",
    "%llama chats delete ideas",
)
ACTIONS: Final = ("new", "use", "clear", "delete")


def add_arguments(parser: VerbParser) -> None:
    """Declare what to do, and with which chat."""
    parser.add_argument("action", nargs="?", help=f"one of: {', '.join(ACTIONS)}; without it, the list")
    parser.add_argument("name", nargs="?", help="the chat; clear without it means the current one")
    parser.add_argument("--tree", action="store_true", help="show a chat's messages with all branches")
    parser.add_named("--chat", names.chats, "whose tree; default the current one")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the actions, then the chats."""
    return ACTIONS if not words else names.chats() if len(words) == 1 and words[0] != "new" else ()


def run(args: Namespace, call: Call) -> Shown:
    """Do it and say so; without an action, return the table."""
    del call
    if args.tree:
        return _tree(args)
    if args.action is not None and args.action not in ACTIONS:
        hint = did_you_mean(args.action, ACTIONS) or f"It does: {', '.join(ACTIONS)}."
        raise CommandError(f"%llama chats cannot {args.action!r}.", hint)
    if args.name is None and args.action in {"new", "use", "delete"}:
        raise CommandError("Which chat?", f"%llama chats {args.action} NAME")
    book = generation.choose_model(args.model).chats
    if args.action is None:
        return _list(book)
    return Shown(_do(book, args.action, args.name))


def _tree(args: Namespace) -> Shown:
    from llama_nb.session.conversation import tree

    if args.action is not None:
        raise CommandError("--tree does nothing else.", "%llama chats --tree --chat NAME")
    chat = places.find_chat(args)
    return Shown(tree_text(chat.name, tree(chat), chat.head))


def _do(book: Any, action: str, name: str | None) -> str:
    if action == "new":
        if name in book:
            raise CommandError(
                f"There is a chat {name!r} already.", f"To go on with it: %llama chats use {name}"
            )
        book.open(name)
        book.use(name)
        return f"New chat {name!r}; %%llama goes there from now on."
    if action == "use":
        book.use(name)
        return f"%%llama goes to chat {name!r} from now on."
    if action == "clear":
        return f"Chat {book.clear(name).name!r} is empty again."
    book.delete(name)
    return f"Deleted chat {name!r}. The current chat is {book.current!r}."


def _list(book: Any) -> Shown:
    rows = [
        [name, "current" if name == book.current else "", str(chat.turn_count()), (chat.system or "")[:60]]
        for name, chat in book.items()
    ]
    return table(["chat", "", "turns", "system prompt"], rows)
