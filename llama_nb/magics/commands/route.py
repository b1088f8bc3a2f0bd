"""Route tokens to other experts and see what that changes: the next token, the loss, how the text goes on.

3.2 is expert 2 of layer 3; both count from 0, and %llama routing shows which there are. In a cell the body is
the text, on a line it is the last reply. For a block of code there is `with m.route(ban=[(3, 2)]):`.
"""

import re
from argparse import Namespace
from collections.abc import Iterable
from typing import Any, Final

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama route --ban 3.2\nOnce upon a time, Ida lived in a quiet village.",
    "%%llama route --force 3.1 --drop-shared 5\nWhat is 12 + 7?",
    "%%llama route --top-k 2\nWhat is 12 + 7?",
    "%llama route --ban 1.0,3.2 --drop-shared",
)
_EXPERT: Final = re.compile(r"L?(\d{1,4})[. ]E?(\d{1,4})", re.IGNORECASE)
_ALL: Final = "all"


def add_arguments(parser: VerbParser) -> None:
    """Declare what is changed and where to look."""
    parser.add_argument("parts", nargs="*", help="parts to turn off besides: 5.attn, 3.mlp; see ablate")
    for name, meaning in (("ban", "is never chosen"), ("force", "is given every token")):
        parser.add_argument(
            f"--{name}",
            metavar="L.E",
            action="append",
            default=[],
            help=f"an expert that {meaning}: 3.2, or several: 3.2,5.1",
        )
    parser.add_argument(
        "--drop-shared",
        metavar="L",
        nargs="?",
        const=_ALL,
        help="layers whose shared expert adds nothing: 3, or 3,5; alone: all of them",
    )
    parser.add_argument("--top-k", metavar="K", type=int, help="how many experts every router chooses")
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
    if not (args.parts or args.ban or args.force or args.drop_shared or args.top_k is not None):
        raise CommandError("Nothing is named that could be changed.", "An expert: %llama route --ban 3.2")
    ban, force = _experts("--ban", args.ban), _experts("--force", args.force)
    drop_shared = _layers(args.drop_shared)
    text = call.expand(call.body, raw=args.raw).rstrip("\n") if call.body is not None else None
    return generation.choose_model(args.model).routing_effect(
        text,
        *args.parts,
        chat=args.chat,
        ban=ban,
        force=force,
        drop_shared=drop_shared,
        top_k=args.top_k,
        position=args.position,
        tokens=args.tokens,
    )


def _experts(option: str, given: Iterable[str]) -> list[tuple[int, int]]:
    """Read "3.2" and "3.2,5.1"."""
    found = []
    for written in _items(given):
        expert = _EXPERT.fullmatch(written)
        if expert is None:
            raise CommandError(f"{option} is {written!r}.", f"{option} 3.2 is expert 2 of layer 3.")
        found.append((int(expert[1]), int(expert[2])))
    return found


def _layers(given: str | None) -> bool | list[int]:
    """Read "3", "3,5" and "[3, 5]"; True for the option alone."""
    if given is None or given == _ALL:
        return given == _ALL
    found = _items([given.strip("[]")])
    wrong = [each for each in found if not each.isdecimal()]
    if wrong or not found:
        raise CommandError(
            f"--drop-shared is {given!r}.", "Layers: --drop-shared 3,5. Alone it takes all of them."
        )
    return [int(each) for each in found]


def _items(given: Iterable[str]) -> list[str]:
    return [each.strip() for written in given for each in written.split(",") if each.strip()]
