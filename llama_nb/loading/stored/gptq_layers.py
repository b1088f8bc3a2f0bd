"""What GPTQ and AWQ checkpoints share: settings that make sense, and what is needed to run them.

Both are run by transformers through the gptqmodel library, on CUDA GPUs. There was no such GPU where this was
written: recognising, checking and refusing are tested, running them is not.
"""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from llama_nb.core.errors import LoadError
from llama_nb.loading.stored import Settings

if TYPE_CHECKING:
    from transformers import PreTrainedModel

INTEGERS: Final = frozenset({"I32"})
FLOATS: Final = frozenset({"F16", "BF16", "F32"})
_HEAD: Final = "lm_head"


def bits(settings: Settings, known: tuple[int, ...]) -> int:
    """Return the bits of a weight; LoadError when they are not among `known`."""
    found = settings.get("bits", settings.get("w_bit"))
    if type(found) is int and found in known:
        return found
    raise LoadError(
        f"config.json says that the weights are quantised in {str(found)[:20]} bits; known are "
        f"{', '.join(map(str, known))}.",
        "Get config.json again, or load the model that it was made from.",
    )


def groups(settings: Settings, columns: int) -> int:
    """Return how many groups of inputs have a scale of their own, in a layer of `columns` inputs."""
    size = settings.get("group_size", settings.get("q_group_size", 128))
    if type(size) is not int or size == 0 or size < -1:
        raise LoadError(
            f"config.json says that weights share scales in groups of {str(size)[:20]}.",
            "Get config.json again, or load the model that it was made from.",
        )
    return 1 if size == -1 else -(columns // -size)


def keeps(module_name: str, skipped: object, *, head: bool = False) -> bool:
    """Whether a layer is stored as floats: named in `skipped`, or the head unless it is quantised too."""
    names = skipped if isinstance(skipped, list) else []
    return (module_name == _HEAD and not head) or any(str(part) in module_name for part in names)


def refusal(label: str, device: str, libraries: Sequence[str]) -> str | None:
    """Return what is missing here for a checkpoint called `label` that is run by `libraries`."""
    needs = [] if device.startswith("cuda") else [f"a CUDA GPU (here: {device})"]
    missing = [name for name in libraries if not _installed(name)]
    if missing:
        packages = " ".join(name.partition(".")[0] for name in missing)
        needs.append(f"{' and '.join(missing)} (`pip install {packages}`)")
    return f"Weights in {label} need {', and '.join(needs)}." if needs else None


def _installed(library: str) -> bool:
    try:
        return importlib.util.find_spec(library) is not None
    except ImportError:
        return False


def finish(module: "PreTrainedModel") -> None:
    """Nothing is left to do: the library prepares its layers itself."""
    del module
