"""List the presets of sampling parameters, and keep your own.

A preset is used by its name: %%llama --preset creative, or %llama set --preset creative for the session.
"""

from argparse import Namespace

from llama_nb.core.errors import PresetError
from llama_nb.core.presets import PRESETS, Preset
from llama_nb.magics import names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown, table
from llama_nb.magics.verbs import Call
from llama_nb.runtime import presets, settings

EXAMPLES = (
    "%llama presets",
    "%llama set --temperature 0.9 --min-p 0.05\n%llama presets --save mine",
    "%%llama --preset mine\nTell me of the sea.",
    "%llama presets --delete mine",
)
# What a preset leaves alone or turns off needs no words in a list.
_OFF = {"top_k": 0, "top_p": 1.0, "min_p": 0.0, "repetition_penalty": 1.0}


def add_arguments(parser: VerbParser) -> None:
    """Declare --save and --delete."""
    parser.add_argument("--save", metavar="NAME", help="keep what was set for this session under a name")
    parser.add_named(
        "--delete", lambda: [name for name in names.presets() if name not in PRESETS], "forget it"
    )


def run(args: Namespace, call: Call) -> Shown:
    """List, save or delete."""
    del call
    if args.save is not None and args.delete is not None:
        raise CommandError("--save and --delete are two things to do.", "One line each.")
    if args.save is not None:
        return _save(args.save)
    if args.delete is not None:
        presets.delete(args.delete)
        return Shown(f"Your preset {args.delete} is deleted.")
    return _list()


def _save(name: str) -> Shown:
    chosen = settings.get_sampling_overrides()
    if not chosen:
        raise CommandError(
            "Nothing is set for this session, so there is nothing to save.",
            "For example: %llama set --temperature 0.9 --min-p 0.05",
        )
    replaced = presets.save(name, chosen)
    saved = ", ".join(f"{key} {_shown(value)}" for key, value in chosen.items())
    return Shown(f"{'Replaced' if replaced else 'Saved'} preset {name}: {saved}. To use it: --preset {name}")


def _list() -> Shown:
    damage = ""
    try:
        own = presets.user_presets()
    except PresetError as error:
        own, damage = {}, error.message
    rows = [[preset.name, _values(preset), preset.source] for preset in [*PRESETS.values(), *own.values()]]
    shown = table(["preset", "parameters", "from"], rows)
    return shown + Shown(damage) if damage else shown


def _values(preset: Preset) -> str:
    on = {key: value for key, value in preset.values.items() if key not in _OFF or value != _OFF[key]}
    return ", ".join(f"{key} {_shown(value)}" for key, value in on.items())


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
