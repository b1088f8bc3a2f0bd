"""Write the conversation into a file: to read, as notebook cells, for other programs, or to train on.

The end of the file's name says the format: .md, .ipynb, .json, .jsonl (one conversation a line, to train
on); `--format messages` writes JSON as OpenAI's interface takes it. In Markdown what was said stands as it
is, HTML too. Nothing in the file has been run.
"""

from argparse import Namespace
from typing import Final

from llama_nb.magics import names, places
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama export chat.md",
    "%llama export chat.ipynb --overwrite",
    "%llama export rows.jsonl --all",
    "%llama export messages.json --format messages",
)
FORMATS: Final = ("markdown", "json", "messages", "notebook", "rows")


def add_arguments(parser: VerbParser) -> None:
    """Declare the file, its format, and what goes into it."""
    parser.add_argument("file", help="where it goes")
    parser.add_argument("--format", choices=FORMATS, metavar="NAME", help=f"one of: {', '.join(FORMATS)}")
    parser.add_argument("--all", action="store_true", help="every branch, not only the conversation")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it is there")
    parser.add_named("--chat", names.chats, "the conversation, when it is not the current one")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")


def run(args: Namespace, call: Call) -> Shown:
    """Write the file and say what is in it."""
    del call
    chat = places.find_chat(args)
    file = chat.save(args.file, args.format, "all" if args.all else "path", overwrite=args.overwrite)
    turns = chat.turn_count()
    count = f"{turns} {'turn' if turns == 1 else 'turns'}"
    return Shown(f"{file.name}: chat {chat.name!r}, {'all branches' if args.all else count}.")
