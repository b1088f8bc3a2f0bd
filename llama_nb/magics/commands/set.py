"""Show or change the sampling parameters for the rest of the session.

An option on a chat's own line still comes first.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import cast

from llama_nb.core.sampling import FIELDS, RANGES, TEXTS, Sampling, check_names
from llama_nb.magics import names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.verbs import Call
from llama_nb.runtime import settings

EXAMPLES = (
    "%llama set temperature 0.2",
    "%llama set",
    "%llama set --reset temperature",
    "%llama set --reset",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the words and --reset."""
    parser.add_argument("name", nargs="?", help=f"one of: {', '.join(FIELDS)}")
    parser.add_argument("value", nargs="?", help="its value from now on")
    parser.add_argument("--reset", action="store_true", help="back to the default: NAME, or everything")


def complete(words: Sequence[str]) -> list[str]:
    """Return the names of the settings."""
    return [] if words else names.settings()


def run(args: Namespace, call: Call) -> Shown:
    """Show, change or reset."""
    del call
    name = args.name.lstrip("-").replace("-", "_") if args.name else None
    if args.reset and args.value is not None:
        raise CommandError(
            f"--reset takes no value, but there is {args.value!r}.", "%llama set --reset [NAME]"
        )
    if args.reset:
        settings.clear_sampling(name)
        return Shown(
            f"{name} is back to the model's default." if name else "Every parameter is back to its default."
        )
    if name is None:
        return _overview()
    if args.value is None:
        check_names({name: None})
        return Shown(f"{name} is {_current(name)}. To change it: %llama set {name} VALUE")
    settings.set_sampling(name, [args.value] if name == "stop" else args.value)
    value = _shown(settings.get_sampling_overrides()[name])
    return Shown(f"{name} is now {value}, for every chat in this session.")


def _overview() -> Shown:
    overrides = settings.get_sampling_overrides()
    rows = [
        [name, _current(name), "set here" if name in overrides else "default", _meaning(name)]
        for name in FIELDS
    ]
    return table(["parameter", "value", "from", "meaning"], rows)


def _current(name: str) -> str:
    return _shown(getattr(_sampling(), name))


def _shown(value: object) -> str:
    if value is None or value == ():
        return "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _sampling() -> Sampling:
    registry = sys.modules.get("llama_nb.session.registry")
    if registry is not None and registry.loaded():
        return cast("Sampling", registry.current().sampling)
    return Sampling(**settings.get_sampling_overrides())


def _meaning(name: str) -> str:
    return RANGES[name].meaning if name in RANGES else TEXTS[name]
