"""Train a LoRA on your data, and talk to the model while it learns.

The data is a file (JSONL, JSON, CSV, TSV, Parquet), a variable of the notebook, or the cell's body, one JSON
record a line. The run is a folder, runs/NAME: a panel shows its curves and answers, and the same line goes on
with a run that was left. --preview shows which tokens would be learned. pause, resume, stop, save, lr and
status are for the run that goes on, or the one that is named.

Several GPUs: --launch torchrun --gpus 4, --launch accelerate, or --launch ray://HEAD --workers 2 (a cluster);
--shard spreads a base that one GPU cannot hold. --export sbatch writes a job for another machine instead.
"""

import functools
from argparse import Namespace
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.magics import generation, launch_words, names, training_words
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.verbs import Call

if TYPE_CHECKING:
    from llama_nb.tuning.run import Run

EXAMPLES = (
    "%llama train persona.jsonl --preview",
    "%llama train persona.jsonl --rank 16 --epochs 3",
    "%llama train pause",
    "%llama train lr 1e-4",
    "%llama train resume",
    "%llama train stop",
    "%llama train --resume",
    '%%llama train --name greeting --steps 20\n{"prompt": "Hello!", "completion": "Ahoy!"}\n'
    '{"prompt": "Good morning!", "completion": "Ahoy, ahoy!"}',
)
ORDERS: Final = ("pause", "resume", "stop", "save", "lr", "status")
_LISTED: Final = ("sample_prompts",)


def add_arguments(parser: VerbParser) -> None:
    """Declare the data, the run, and an option for each parameter of a recipe."""
    from llama_nb.tuning.parameters import PARAMETERS

    parser.add_argument(
        "words", nargs="*", metavar="DATA", help=f"a file or a variable; or an order: {', '.join(ORDERS)}"
    )
    parser.add_argument("--preview", action="store_true", help="show what would be learned; train nothing")
    parser.add_argument("--name", metavar="NAME", help="what to call the run and its adapter")
    parser.add_argument("--format", metavar="NAME", help="how records are read; else it is recognised")
    parser.add_argument(
        "--resume", nargs="?", const="", metavar="NAME", help="go on with a run; without NAME, the last one"
    )
    parser.add_argument(
        "--process", action="store_true", help="in a process of its own: it survives a kernel restart"
    )
    parser.add_argument("--wait", action="store_true", help="wait for the end")
    launch_words.add_arguments(parser)
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")
    group = parser.add_argument_group("Recipe")
    for name, parameter in PARAMETERS.items():
        option = "--" + name.replace("_", "-")
        if name in _LISTED:
            group.add_argument(
                "--sample-prompts", metavar="TEXT", action="append", help=f"{parameter.help}; may be repeated"
            )
        else:
            metavar = "N" if parameter.limits else "WORD"
            group.add_argument(option, metavar=metavar, help=parameter.help)
            if parameter.choices:
                parser.names[option] = functools.partial(tuple, parameter.choices)
    parser.names["--resume"] = training_words.run_names
    parser.names["--format"] = training_words.format_names


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return orders and data files; behind an order the runs."""
    if not words:
        return (*ORDERS, *training_words.data_files())
    return training_words.run_names() if len(words) == 1 and words[0] in ORDERS else ()


def run(args: Namespace, call: Call) -> Any:
    """Do it and return the Run, or what a preview or an order has to say."""
    if args.resume is not None:
        return _resumed(args, call)
    if training_words.is_order(args.words):
        _refuse_recipe(args, f"%llama train {args.words[0]}")
        return training_words.obey(args.words)
    data, label = training_words.find_data(args.words, call)
    model = generation.choose_model(args.model)
    recipe = _recipe(args)
    if args.preview:
        return model.preview(data, format=args.format, command=_line(args, call, recipe), **recipe)
    wanted = args.name or label
    return training_words.shown(
        model.train(
            data,
            format=args.format,
            name=wanted,
            process=args.process,
            **launch_words.given(args),
            **recipe,
        ),
        call,
        wait=args.wait,
    )


def _line(args: Namespace, call: Call, recipe: dict[str, Any]) -> str:
    """Return the line that trains what was previewed."""
    words = ["%%llama train" if call.body else "%llama train", *args.words]
    for name, value in recipe.items():
        option = "--" + name.replace("_", "-")
        words += [word for each in (value if name in _LISTED else [value]) for word in (option, each)]
    for name in ("name", "format", "model"):
        words += [f"--{name}", given] if (given := getattr(args, name)) else []
    words += ["--process"] if args.process else []
    words += launch_words.line(args)
    return " ".join(f'"{word}"' if " " in word and not word.startswith("%") else word for word in words)


def _resumed(args: Namespace, call: Call) -> "Run | None":
    from llama_nb.session.resuming import resume

    if args.words or call.body:
        raise CommandError(
            "--resume goes on with a run that has its data.", "%llama train --resume NAME, without data"
        )
    _refuse_recipe(args, "--resume")
    launch_words.refuse(args, "--resume")
    found = training_words.left(args.resume)
    return training_words.shown(resume(found, process=args.process or None), call, wait=args.wait)


def _recipe(args: Namespace) -> dict[str, Any]:
    """Return the parameters on the line, as they were typed: the recipe checks them."""
    from llama_nb.tuning.parameters import PARAMETERS

    given = {name: getattr(args, name) for name in PARAMETERS}
    return {name: value for name, value in given.items() if value is not None}


def _refuse_recipe(args: Namespace, where: str) -> None:
    given = _recipe(args)
    if given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise CommandError(
            f"{where} takes no {option}: a run keeps its recipe.",
            "Only its learning rate can change: %llama train lr 1e-4. Another recipe is another run.",
        )
