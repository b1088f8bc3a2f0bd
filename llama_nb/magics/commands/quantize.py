"""Measure what each method of quantisation costs the model, on a text of yours.

For each method that runs here: bytes, tokens per second, perplexity, how far its predictions are from the
unquantised model's (KL divergence, same likeliest token), where greedy decoding parts, and the error of each
layer's weights. Each is loaded beside the model, measured and given back.
"""

from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import Any

from IPython.display import display

from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%%llama quantize\nA paragraph like the texts that your model will read, the longer the better.",
    "%%llama quantize report << --methods nf4,int8\nA paragraph ...",
    "report.to_frame()",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the text and what is measured."""
    parser.takes_text("words", "the text; in a cell its body")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    parser.add_argument("--methods", metavar="A,B", help="which methods, such as nf4,int8; default all")
    parser.add_argument("--tokens", metavar="N", help="read at most N tokens of the text (default 1024)")
    parser.add_argument("--raw", action="store_true", help="take {{ ... }} as typed")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return nothing: what stands there is a text."""
    del words
    return ()


def run(args: Namespace, call: Call) -> Any:
    """Measure and return the report."""
    from llama_nb.session.quantisations import TOKENS, compare_quantisations

    text = generation.message_from(args.words, call, raw=args.raw, verb="quantize").strip()
    if not text:
        raise CommandError(
            "There is no text to measure on.", "Put a paragraph into the cell below %%llama quantize."
        )
    methods = [name.strip() for name in args.methods.split(",") if name.strip()] if args.methods else None
    count = _count(args.tokens) if args.tokens is not None else TOKENS
    report = compare_quantisations(text, generation.choose_model(args.model), methods, tokens=count)
    if report.stopped:
        _show_what_there_is(report, call)
        raise KeyboardInterrupt
    return report


def _show_what_there_is(report: Any, call: Call) -> None:
    """Keep and show an interrupted report: the interrupt that is raised next leaves the cell no value."""
    call.keep_value(report)
    call.shell.displayhook.update_user_ns(report)
    display(report)


def _count(typed: str) -> int:
    if not typed.isdigit() or int(typed) < 4:
        raise CommandError(f"--tokens is {typed!r}.", "It is a whole number from 4.")
    return int(typed)
