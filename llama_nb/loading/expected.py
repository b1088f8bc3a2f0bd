"""What a checkpoint must hold by its config.json: names and shapes, from the architecture itself.

The architecture is built by transformers on torch's meta device: no memory, no weights, no random numbers.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import LoadError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Expected:
    """Shapes by tensor name, and the names that may be absent because they are tied to another."""

    shapes: Mapping[str, tuple[int, ...]]
    tied: frozenset[str]


def build_config(config: Mapping[str, Any]) -> "PreTrainedConfig":
    """Make transformers' config object; LoadError with its first sentence when a value is refused."""
    from transformers import AutoConfig

    values = {key: value for key, value in config.items() if key != "model_type"}
    try:
        with quiet_transformers():
            return AutoConfig.for_model(str(config["model_type"]), **values)
    except Exception as error:  # noqa: BLE001 - validators of config classes raise many kinds
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise LoadError(
            f"config.json is refused: {' '.join(lines)[:300] or type(error).__name__}", "Correct config.json."
        ) from None


def expected_tensors(config: Mapping[str, Any]) -> Expected:
    """Return the tensors that a checkpoint of this config holds.

    Raises
    ------
    LoadError
        If the numbers in the config make no model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    settings = build_config(config)
    try:
        with quiet_transformers(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(settings, attn_implementation="sdpa")
    except Exception as error:  # noqa: BLE001 - whatever a nonsensical config makes torch raise
        raise LoadError(
            f"config.json describes no model that can be built: {_cause(error, config)}.",
            "Correct config.json or download it again.",
        ) from None
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = frozenset(model.all_tied_weights_keys) if settings.tie_word_embeddings else frozenset()
    return Expected(shapes, tied)


def _cause(error: Exception, config: Mapping[str, Any]) -> str:
    """Name the entry of the config that transformers looked up in vain, else quote the error's first line."""
    if isinstance(error, KeyError) and error.args:
        entries = {**config, **(config.get("rope_parameters") or config.get("rope_scaling") or {})}
        for key, value in entries.items():
            if value == error.args[0]:
                return f"{key} {value!r} is unknown"
    first = str(error).strip().splitlines()[:1] or [type(error).__name__]
    return first[0][:200]


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' log lines and progress bars inside the block, and put both back."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
