"""Answer every row of a table, side by side.

The data is a DataFrame, Series or list of the notebook, or a CSV, TSV, JSONL or JSON file. --column says what
is asked; or the cell's body is a template in which {{ column }} is that row's value. With --out each answer
goes into a file as it comes, and the same line goes on where it was stopped.
"""

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from IPython.display import display

from llama_nb.core.errors import TemplateError
from llama_nb.magics import generation
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.template import expand, find_slots
from llama_nb.magics.verbs import Call

if TYPE_CHECKING:
    import pandas as pd

EXAMPLES = (
    "%llama batch questions.csv --column question --out answers.jsonl",
    "%%llama batch r << reviews --max-tokens 5 --temperature 0\nIs this review kind? {{ review }}",
    "r.to_frame(), r.errors",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the data, the column and the options of a generation."""
    parser.takes_text("data", "a variable, or a .csv, .tsv, .jsonl or .json file")
    parser.add_argument("--column", metavar="NAME", help="the column that is asked")
    parser.add_argument("--out", metavar="FILE", help="keep each answer in FILE (JSON lines); go on from it")
    parser.add_argument("--overwrite", action="store_true", help="replace what FILE holds")
    parser.add_argument("--limit", metavar="N", help="only the first N rows")
    parser.add_argument("--batch-size", metavar="N", help="at most N rows at once")
    parser.add_argument("--system", metavar="TEXT", help="the system prompt of every row")
    generation.add_options(parser)


def run(args: Namespace, call: Call) -> Any:
    """Answer the rows and return the BatchResult."""
    from llama_nb.session.batch_data import find_table, pick_column

    sampling = generation.sampling_from(args)
    if args.bg:
        raise CommandError("A batch has no --bg.", "It can be interrupted, and with --out it goes on later.")
    size = _count("--batch-size", args.batch_size)
    limit = _count("--limit", args.limit)
    table = find_table(args.data, call.namespace)
    if limit is not None:
        table = table.iloc[:limit]
    body = (call.body or "").strip()
    if body and args.column:
        raise CommandError("There is a --column and a template in the cell.", "Leave one of them out.")
    prompts = _filled(body, table, call, raw=args.raw) if body else pick_column(table, args.column, args.data)
    model = generation.choose_model(args.model)
    system = call.expand(args.system, raw=args.raw) if args.system is not None else None
    result = model.batch(
        prompts, system=system, out=args.out, overwrite=args.overwrite, batch_size=size, **sampling
    )
    if result.stopped:
        call.keep_value(result)
        call.shell.displayhook.update_user_ns(result)
        display(result)
        raise KeyboardInterrupt
    return result


def _filled(body: str, table: "pd.DataFrame", call: Call, *, raw: bool) -> "pd.Series":
    """Return the template with each row's values; a row whose value is missing has no prompt."""
    import pandas as pd

    if raw or not any(find_slots(body)):
        raise CommandError(
            "The cell's text has no {{ column }}: every row would ask the same.",
            f"Its columns: {', '.join(map(str, table.columns))}.",
        )
    prompts: list[str | None] = []
    for row in table.to_dict("records"):
        values = {str(column): value for column, value in row.items()}
        there = {column: value for column, value in values.items() if not _missing(value)}
        try:
            # An empty cell hides a variable of the same name: it must not be asked in the cell's place.
            outside = {name: value for name, value in call.namespace.items() if name not in values}
            prompts.append(expand(body, {**outside, **there}))
        except TemplateError:
            if len(there) == len(values) or not _fits(body, call.namespace, values):
                raise
            prompts.append(None)
    return pd.Series(prompts, index=table.index, dtype=object)


def _fits(body: str, namespace: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    """Whether the template fits `values` as they are, so that only empty cells were the reason."""
    try:
        expand(body, {**namespace, **values})
    except TemplateError:
        return False
    return True


def _missing(value: Any) -> bool:
    return value is None or (not isinstance(value, str | list | dict | tuple) and bool(value != value))


def _count(option: str, typed: str | None) -> int | None:
    if typed is None:
        return None
    if not typed.isdecimal() or not int(typed):
        raise CommandError(f"{option} is {typed!r}.", "It is a whole number from 1.")
    return int(typed)
