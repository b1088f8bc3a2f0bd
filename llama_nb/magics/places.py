"""Which chat and which of its messages a verb is about: `--chat`, `--at`, and turns by number."""

from argparse import Namespace
from typing import Any, Final

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

_DIGITS: Final = 3  # a number as long as this is a turn; ids are longer


def add_place(parser: VerbParser, what: str) -> None:
    """Declare the options of a verb that is about one message; `what` says which it is by default."""
    parser.add_named("--chat", names.chats, "the conversation, when it is not the current one")
    parser.add_argument("--at", metavar="ID", help=f"the turn's number or a message's id (default: {what})")


def place(args: Namespace, role: str) -> dict[str, Any]:
    """Return the chat and the message on the line, as `Model.retry` and its like take them."""
    chosen: dict[str, Any] = {} if args.chat is None else {"chat": args.chat}
    if args.at is not None:
        chosen["at"] = message_id(find_chat(args), args.at, role)
    return chosen


def find_chat(args: Namespace) -> Any:
    """Return the chat on the line, which must exist."""
    from llama_nb.session.chat import unknown_chat

    chats = generation.choose_model(args.model).chats
    name = chats.current if args.chat is None else args.chat
    if name not in chats:
        raise unknown_chat(name, chats)
    return chats[name]


def message_id(chat: Any, given: str, role: str) -> str:
    """Return the id that is meant by a turn's number, or by the start of an id.

    Parameters
    ----------
    role
        Which message of a turn is meant: the "user" one or the "assistant" one.
    """
    if not (given.isdecimal() and len(given) <= _DIGITS):
        return str(chat.find(given).id)
    path = chat.path()
    begins = [place for place, node in enumerate(path) if node.message.role == "user"]
    number = int(given)
    if not 1 <= number <= len(begins):
        count = f"{len(begins)} {'turn' if len(begins) == 1 else 'turns'}"
        raise CommandError(
            f"There is no turn {number}: the conversation in chat {chat.name!r} has {count}.",
            "%llama chats --tree shows every message with its id.",
        )
    turn = path[begins[number - 1] : begins[number] if number < len(begins) else None]
    hits = [node for node in turn if node.message.role == role]
    if not hits:
        raise CommandError(
            f"Turn {number} has no answer yet.", f"To have it answered: %llama retry --at {turn[0].id}"
        )
    return str(hits[-1].id)


def refuse_body(call: Call, verb: str) -> None:
    """Raise CommandError if the cell has a text that nothing would come of."""
    if call.body:
        raise CommandError(
            f"%%llama {verb} sends no text, and there is one in the cell.",
            f"Write it on a line of its own: %llama {verb}. Other words are sent by %%llama edit.",
        )
