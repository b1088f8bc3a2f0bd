"""Ask several models the same, or one with several samplings and seeds, and see where the answers part.

The words on the line are models: loaded ones, sources as for load, and sources with a quantisation behind a
colon; of a loaded one with an adapter behind a plus, or +off. What has commas is varied. Answers stream side
by side; the first token that differs from the first cell of the row is marked, and with equal tokenizers each
token has its KL divergence. What is not loaded is loaded in turn and given back.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any, Final

from llama_nb.core.errors import MessageError
from llama_nb.core.sampling import FIELDS, RANGES
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser, cut
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama compare --temperature 0,0.7,1.2 --seeds 3 --max-tokens 40\nTell me of the sea.",
    "%%llama compare c << cria cria:int8 --temperature 0\nWhat is a token?",
    '%llama compare cria cria:nf4 "What is attention?"',
    '%llama compare cria cria+off "Who are you?"',
    "c.to_frame()",
    "c.kl(2)",
)
_SEEDS: Final = "--seeds 3 is 1, 2 and 3; --seeds 7,8 is 7 and 8."


def add_arguments(parser: VerbParser) -> None:
    """Declare the models and what is varied."""
    parser.takes_text("models", "models; on a line the message behind them, in quotes")
    parser.add_argument("--seeds", metavar="N", help="the seeds 1 to N; or several, with commas")
    parser.add_argument("--reference", metavar="N", help="compare all cells with cell N")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt of every cell")
    parser.add_argument("--raw", action="store_true", help="send {{ ... }} as typed")
    generation.add_sampling_options(parser)
    parser.add_argument(
        "-o", nargs=2, metavar=("KEY", "VALUE"), action="append", help="any sampling parameter by name"
    )


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return models that may follow."""
    return [name for name in dict.fromkeys([*names.loaded(), *names.loadable()]) if name not in words]


def run(args: Namespace, call: Call) -> Any:
    """Compare, and return the Comparison."""
    from llama_nb.session.compare import compare

    models, typed = _words(args.models, call)
    text = call.expand(typed, raw=args.raw).strip("\n").rstrip()
    if not text:
        raise MessageError(
            "Nothing to send: the message is empty.",
            "Write it into the cell's body below %%llama compare, or in quotes behind the models.",
        )
    result = compare(
        text,
        models or None,
        seeds=_seeds(args.seeds),
        system=call.expand(args.system, raw=args.raw) if args.system is not None else None,
        reference=_number("--reference", args.reference),
        **_sampling(args),
    )
    if result.stopped:
        call.keep_value(result)
        call.shell.displayhook.update_user_ns(result)
        raise KeyboardInterrupt
    return result


def _words(typed: str, call: Call) -> tuple[list[str], str]:
    """Return the models and the message: the cell's body, or on a line what stands in quotes at its end."""
    words = list(cut(typed))
    if call.body is not None:
        return [word.text for word in words], call.body
    if not words or not words[-1].quoted:
        return [], ""
    return [word.text for word in words[:-1]], words[-1].text


def _sampling(args: Namespace) -> dict[str, Any]:
    """Return the sampling parameters on the line; what has commas is a list."""
    several: dict[str, list[Any]] = {}
    rest = Namespace(**vars(args))
    for name in (*FIELDS, "preset"):
        value = getattr(args, name)
        if name not in (*RANGES, "preset") or not isinstance(value, str) or "," not in value:
            continue
        parts = [part.strip() for part in value.split(",") if part.strip()]
        several[name] = [
            part if name == "preset" else generation.check_given({name: part})[name] for part in parts
        ]
        setattr(rest, name, None)
    return {**generation.sampling_from(rest), **several}


def _seeds(typed: str | None) -> int | list[int] | None:
    if typed is None:
        return None
    parts = [part.strip() for part in typed.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise CommandError(f"--seeds is {typed!r}.", _SEEDS)
    return [int(part) for part in parts] if "," in typed else int(typed)


def _number(option: str, typed: str | None) -> int | None:
    if typed is not None and not typed.isdecimal():
        raise CommandError(f"{option} is {typed!r}.", "It is the number of a cell.")
    return int(typed) if typed is not None else None
