"""Open the sampling laboratory: why this word, what each stage does to the distribution, what else comes.

It stands on the newest reply, of any chat or of --chat; with a text, on that text. Where no page watches, the
distribution at that place is shown as tables.
"""

from argparse import Namespace
from typing import Any

from llama_nb.core.errors import MessageError
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

EXAMPLES = (
    "%llama sampling",
    '%llama sampling "Once upon a time"',
    "%llama sampling --position 3",
    "%llama sampling --chat main",
    "%%llama sampling\nThe three primary colours are",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text and where to look."""
    parser.takes_text("text", "a text to look at instead of a reply")
    parser.add_argument("--position", metavar="N", type=int, help="which token: 0 is the first, -1 the last")
    parser.add_named("--chat", names.chats, "the chat whose newest reply is looked at")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--text", dest="as_text", action="store_true", help="tables, no widget")


def run(args: Namespace, call: Call) -> Any:
    """Show the laboratory, or the distribution."""
    from llama_nb.session.subject import find_subject

    text = generation.message_from(args.text, call, raw=False, verb="sampling").rstrip("\n")
    if text and args.chat:
        raise CommandError("There is a text and a chat.", 'Give one: %llama sampling "Once upon a time"')
    model = generation.choose_model(args.model)
    subject = find_subject(model, text, chat=args.chat)
    position = subject.check(args.position)
    environment = detect()
    if args.as_text or not (environment.watched and environment.widgets):
        return _distribution(model, subject, position)
    from llama_nb.widgets import sampling_lab

    sampling_lab.show(model, subject, position)
    return None


def _distribution(model: Any, subject: Any, position: int) -> Any:
    from llama_nb.core.stop import StopFlag
    from llama_nb.session.laboratory import Laboratory

    laboratory = Laboratory(model, subject)
    try:
        if not laboratory.look(position, StopFlag()):
            raise MessageError("The look at the next token was stopped.")
        return laboratory.distribution
    finally:
        laboratory.close()
