"""Switch, mix, save, load, merge or look at the adapters of a model.

Without a word: which there are, and which answers. An adapter changes what the model answers from the next
message on; the base stays as it is, and `off` gives it back exactly.
"""

from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import did_you_mean
from llama_nb.magics import generation, names
from llama_nb.magics.boundary import CommandError
from llama_nb.magics.parser import VerbParser
from llama_nb.magics.shown import Shown
from llama_nb.magics.verbs import Call
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.session.adapters import Adapters

EXAMPLES = (
    "%llama adapter",
    "%llama adapter load runs/persona",
    "%llama adapter use persona",
    "%llama adapter off",
    "%llama adapter mix persona:0.7 tone:0.3",
    "%llama adapter look persona",
    "%llama adapter save persona --out adapters/persona",
    "%llama adapter merge persona --out merged",
    "%llama adapter push persona --out you/persona",
    "%llama adapter delete persona",
)


def add_arguments(parser: VerbParser) -> None:
    """Declare what to do, and with which adapters."""
    parser.add_argument("action", nargs="?", help=f"one of: {', '.join(ACTIONS)}; without it, the list")
    parser.add_argument("names", nargs="*", help="the adapter; for mix: name:weight, as often as wanted")
    parser.add_argument("--out", metavar="PLACE", help="save, merge: the folder; push: the hub id")
    parser.add_argument("--name", help="load: what to call it here")
    parser.add_argument("--off", action="store_true", help="load: leave it switched off")
    parser.add_argument(
        "--force", action="store_true", help="load: put it on other weights than it was trained on"
    )
    parser.add_argument("--public", action="store_true", help="push: let everybody see it")
    parser.add_named("--model", names.loaded, "a loaded model other than the current one")


def complete(words: Sequence[str]) -> Iterable[str]:
    """Return the actions, then the adapters, or the runs that can be loaded."""
    if not words:
        return ACTIONS
    if words[0] == "load":
        from llama_nb.tuning.run_folder import RUNS, folders

        return () if len(words) > 1 else [f"{RUNS}/{folder.name}" for folder in folders()]
    there = names.adapters()
    return [f"{name}:" for name in there] if words[0] == "mix" else there if len(words) == 1 else ()


def run(args: Namespace, call: Call) -> Any:
    """Do it and say so; without an action, or for `look`, return what there is to see."""
    del call
    action = args.action or "list"
    if action not in ACTIONS:
        hint = did_you_mean(action, ACTIONS) or f"It does: {', '.join(ACTIONS)}."
        raise CommandError(f"%llama adapter cannot {action!r}.", hint)
    _refuse_idle(args, action)
    adapters = generation.choose_model(args.model).adapters
    return ACTIONS[action](adapters, args)


def _list(adapters: "Adapters", args: Namespace) -> "Adapters":
    _at_most(args, 0)
    return adapters


def _use(adapters: "Adapters", args: Namespace) -> Shown:
    return _said(adapters.use(_one(args, "use")))


def _off(adapters: "Adapters", args: Namespace) -> Shown:
    _at_most(args, 0)
    return _said(adapters.off())


def _mix(adapters: "Adapters", args: Namespace) -> Shown:
    return _said(adapters.mix(" ".join(args.names)))


def _save(adapters: "Adapters", args: Namespace) -> Shown:
    name = adapters.one(_maybe(args))
    folder = adapters.save(name, args.out)
    shown = folder if detect().watched else folder.name
    return Shown(f"Saved {name} to {shown}, in peft's format. Load it: %llama adapter load {shown}")


def _load(adapters: "Adapters", args: Namespace) -> Shown:
    source = _one(args, "load")
    name = adapters.load(source, args.name, force=args.force, use=not args.off)
    facts = next(each for each in adapters.list() if each.name == name)
    what = f"Loaded {name}: rank {facts.rank} on {facts.layers} layers."
    return Shown(f"{what} {_said(adapters).text}")


def _delete(adapters: "Adapters", args: Namespace) -> Shown:
    name = _one(args, "delete")
    return Shown(f"Took {name} out of the model. {_said(adapters.delete(name)).text}")


def _merge(adapters: "Adapters", args: Namespace) -> Any:
    if args.out is None:
        raise CommandError("Where to?", "%llama adapter merge persona --out merged")
    return adapters.merge(args.out, _maybe(args))


def _push(adapters: "Adapters", args: Namespace) -> Shown:
    if args.out is None:
        raise CommandError("Where to?", "%llama adapter push persona --out you/persona")
    name = adapters.one(_maybe(args))
    address = adapters.push(args.out, name, private=not args.public)
    seen = "everybody can see it" if args.public else "only you can see it"
    return Shown(f"Pushed {name} to {address}; {seen}.")


def _look(adapters: "Adapters", args: Namespace) -> Any:
    return adapters.look(_maybe(args))


ACTIONS: Final[Mapping[str, Callable[["Adapters", Namespace], Any]]] = {
    "list": _list,
    "use": _use,
    "off": _off,
    "mix": _mix,
    "save": _save,
    "load": _load,
    "delete": _delete,
    "merge": _merge,
    "push": _push,
    "look": _look,
}
# Which options an action heeds; the others are refused, so that none is ignored in silence.
_HEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "save": ("out",), "load": ("name", "off", "force"), "merge": ("out",), "push": ("out", "public"),
}  # fmt: skip


def _refuse_idle(args: Namespace, action: str) -> None:
    for option in ("out", "name", "off", "force", "public"):
        if getattr(args, option) and option not in _HEEDED.get(action, ()):
            heeds = [each for each, options in _HEEDED.items() if option in options]
            raise CommandError(
                f"%llama adapter {action} takes no --{option}.", f"--{option} is for {' and '.join(heeds)}."
            )


def _said(adapters: "Adapters") -> Shown:
    label, model = adapters.label, adapters.model_name
    return Shown(f"{model} answers with {label} from now on." if label else f"{model} answers alone.")


def _one(args: Namespace, action: str) -> str:
    if not args.names:
        raise CommandError("Which adapter?", f"%llama adapter {action} NAME")
    _at_most(args, 1)
    name: str = args.names[0]
    return name


def _maybe(args: Namespace) -> str | None:
    _at_most(args, 1)
    return args.names[0] if args.names else None


def _at_most(args: Namespace, count: int) -> None:
    if len(args.names) > count:
        raise CommandError(
            f"{args.names[count]!r} is one word too many.",
            "Several adapters at once: %llama adapter mix a:0.7 b:0.3",
        )
