"""Show or change the sampling parameters for the rest of the session.

An option on a chat's own line still comes first.
"""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Any, cast

from llama_nb.core.no_effect import no_effect, sentences
from llama_nb.core.sampling import GROUPS, RANGES, TEXTS, Sampling, check_names
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.verbs import Call
from llama_nb.runtime import presets, settings

EXAMPLES = (
    "%llama set temperature 0.2",
    "%llama set --preset creative",
    '%llama set --top-k 40 --logit-bias {"sun": -5}',
    "%llama set",
    "%llama set --reset temperature",
    "%llama set --reset",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare the words, --reset and an option for each parameter."""
    parser.add_argument("name", nargs="?", help="a parameter by its name: temperature")
    parser.add_argument("value", nargs="?", help="its value from now on")
    parser.add_argument("--reset", action="store_true", help="back to the default: NAME, or everything")
    generation.add_sampling_options(parser)
    parser.set_defaults(o=None)


def complete(words: Sequence[str]) -> list[str]:
    """Return the names of the settings."""
    return [] if words else names.settings()


def run(args: Namespace, call: Call) -> Shown:
    """Show, change or reset."""
    del call
    name = args.name.lstrip("-").replace("-", "_") if args.name else None
    given = generation.sampling_from(args)
    if args.reset and (args.value is not None or given):
        value = args.value if args.value is not None else ", ".join(given)
        raise CommandError(f"--reset takes no value, but there is {value!r}.", "%llama set --reset [NAME]")
    if args.reset:
        settings.clear_sampling(name)
        return Shown(
            f"{name} is back to the model's default." if name else "Every parameter is back to its default."
        )
    if name is not None and given:
        raise CommandError(
            f"There is a name, {name}, and options.", "%llama set --temperature 0.2 --top-k 40"
        )
    if given:
        return _change(presets.expand(given))
    if name is None:
        return _overview()
    check_names({name: None})
    if args.value is None:
        return Shown(f"{name} is {_current(name)}. To change it: %llama set {name} VALUE")
    return _change(generation.check_given({name: generation.as_given(name, args.value)}))


def _change(values: Mapping[str, Any]) -> Shown:
    for name, value in values.items():
        settings.set_sampling(name, value)
    current = settings.get_sampling_overrides()
    lines = [f"{name} is now {_shown(current[name])}, for every chat in this session." for name in values]
    return Shown("\n".join([*lines, *sentences(values, _sampling())]))


def _overview() -> Shown:
    overrides, idle = settings.get_sampling_overrides(), no_effect(_sampling())
    shown = None
    for title, members in GROUPS.items():
        rows = []
        for name in members:
            origin = "set here" if name in overrides else "default"
            if name in idle and (name in overrides or _is_on(name)):
                origin += f"; no effect: {idle[name]}"
            rows.append([name, _current(name), origin, _meaning(name)])
        group = Shown(f"{title}:") + table(["parameter", "value", "from", "meaning"], rows)
        shown = group if shown is None else shown + group
    assert shown is not None
    return shown


def _is_on(name: str) -> bool:
    return bool(getattr(_sampling(), name) != getattr(Sampling(), name))


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
