"""Let the conversation end at another message: an earlier turn, or another branch. Nothing is lost.

A number is a turn of the conversation as it stands; `%llama chats --tree` shows every message with its id.
"""

from argparse import Namespace

from llama_nb.magics import names, places
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = ("%llama goto 1", "%llama chats --tree")


def add_arguments(parser: VerbParser) -> None:
    """Declare the message, and in which chat it is."""
    parser.add_argument("message", nargs="?", help="a turn's number, or the start of a message's id")
    parser.add_named("--chat", names.chats, "the conversation, when it is not the current one")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")


def run(args: Namespace, call: Call) -> Shown:
    """Go there and say where that is."""
    del call
    from llama_nb.session.conversation import beginning

    if args.message is None:
        raise CommandError("Which message?", "%llama goto 1, or an id that %llama chats --tree shows.")
    chat = places.find_chat(args)
    chat.goto(places.message_id(chat, args.message, "assistant"))
    node, turns = chat.path()[-1], chat.turn_count()
    count = f"{turns} {'turn' if turns == 1 else 'turns'}"
    return Shown(f"Chat {chat.name!r} has {count} now and ends with:\n{beginning(node.message)}")
