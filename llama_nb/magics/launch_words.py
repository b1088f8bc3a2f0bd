"""What stands on a `%llama train` line when several processes are to train the run."""

from argparse import Namespace
from typing import Any, Final

from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser

_OPTIONS: Final = ("launch", "export", "gpus", "workers", "nodes", "shard")


def add_arguments(parser: VerbParser) -> None:
    """Declare who starts the processes, or which job is written, and how many there are."""
    from llama_nb.tuning.job_files import KINDS
    from llama_nb.tuning.launching import LAUNCHERS

    group = parser.add_argument_group("Several processes")
    group.add_argument(
        "--launch", metavar="WHO", help=f"start them: {', '.join(LAUNCHERS)}, ray://HEAD:10001"
    )
    group.add_argument("--export", metavar="JOB", help=f"start nothing, write a job: {', '.join(KINDS)}")
    group.add_argument("--gpus", metavar="N", type=int, help="so many, with a GPU each")
    group.add_argument("--workers", metavar="N", type=int, help="so many, without GPUs where these are fewer")
    group.add_argument("--nodes", metavar="N", type=int, help="of a job: on so many machines")
    group.add_argument("--shard", action="store_true", help="spread the frozen base over them (FSDP)")
    parser.names["--launch"] = lambda: LAUNCHERS
    parser.names["--export"] = lambda: KINDS


def given(args: Namespace) -> dict[str, Any]:
    """Return what of it stands on the line, as `Model.train` takes it."""
    found = {name: getattr(args, name) for name in _OPTIONS}
    return {name: value for name, value in found.items() if value is not None and value is not False}


def line(args: Namespace) -> list[str]:
    """Return the words that ask for the same again."""
    return [
        word
        for name, value in given(args).items()
        for word in ((f"--{name}",) if value is True else (f"--{name}", str(value)))
    ]


def refuse(args: Namespace, where: str) -> None:
    """Raise CommandError if any of it stands beside `where`: a run goes on as it was launched."""
    if found := given(args):
        raise CommandError(
            f"{where} takes no --{next(iter(found))}: a run goes on as it was started.",
            "Leave it out; or start it from a terminal: torchrun ... -m llama_nb.tuning.launch runs/NAME",
        )
