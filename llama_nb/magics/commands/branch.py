"""Put another token into an answer, and let the model go on from there; the old answer stays.

Tokens are counted from 0 (`%llama why` shows them), from the end with a minus. The other token is named by
its rank among those that could have come (1 is the likeliest), by its text, or by its id; without one the
model chooses anew. What stands before it is kept and is not computed again.
"""

from argparse import Namespace
from typing import Any

from llama_nb.magics import generation, places
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

EXAMPLES = (
    "%llama branch 3 --rank 2",
    '%llama branch 0 --token "No"',
    "%llama branch 2",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the position, the other token, which answer, and the options of a generation."""
    parser.add_argument("position", type=int, help="which token of the answer")
    parser.add_argument("--rank", type=int, metavar="N", help="the token that was the N-th likeliest there")
    parser.add_argument("--token", metavar="TEXT", help='the text of a token: " the", with its space')
    parser.add_argument("--id", type=int, metavar="N", help="the id of a token")
    places.add_place(parser, "the last answer")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Go on from the other token and return the Reply."""
    places.refuse_body(call, "branch")
    model = generation.choose_model(args.model)
    token = args.id if args.token is None else args.token
    options = {**places.place(args, "assistant"), **generation.sampling_from(args)}
    return generation.generate(
        call,
        args,
        lambda: model.branch(args.position, token, rank=args.rank, background=args.bg, **options),
    )
