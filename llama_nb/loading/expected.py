"""What a checkpoint must hold by its config.json: names and shapes, from the architecture itself.

The architecture is built by transformers on torch's meta device: no memory, no weights, no random numbers.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from llama_nb.core.errors import LoadError
from llama_nb.loading.config import KINDS
from llama_nb.loading.stored import Stored
from llama_nb.loading.turn import undisturbed

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, slots=True)
class Expected:
    """The tensors of a checkpoint.

    Attributes
    ----------
    shapes
        By name; None where any shape will do.
    tied
        Names that may be absent because they are tied to another.
    linear
        (out, in) features of the linear layers by module name.
    routers
        Those of the linear layers that choose experts: a class of their own, which nothing may replace.
    experts
        Parameters of experts that lie in one tensor for all of a layer.
    dtypes
        The safetensors dtypes of tensors that are not float weights.
    optional
        Other names that may be absent.
    wrong
        Checks of the content of small tensors: what is wrong with their bytes, or None.
    """

    shapes: Mapping[str, tuple[int, ...] | None]
    tied: frozenset[str]
    linear: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    routers: frozenset[str] = frozenset()
    experts: int = 0
    dtypes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    wrong: Mapping[str, Callable[[bytes], str | None]] = field(default_factory=dict)


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


def attention_of(config: Mapping[str, Any]) -> str:
    """Return how attention is computed: by torch's fused kernel where the kind has it, GPT-OSS' sinks not."""
    import transformers

    kind = getattr(transformers, KINDS[str(config["model_type"])])
    return "sdpa" if kind._supports_sdpa else "eager"


def expected_tensors(config: Mapping[str, Any]) -> Expected:
    """Return the tensors that a checkpoint of this config holds.

    Raises
    ------
    LoadError
        If the numbers in the config make no model.
    """
    import torch

    settings = build_config({key: value for key, value in config.items() if key != "quantization_config"})
    models, attention = import_models(), attention_of(config)
    from transformers.core_model_loading import revert_weight_conversion

    try:
        with quiet_transformers(), undisturbed(), torch.device("meta"):
            model = models.from_config(settings, attn_implementation=attention)
    except Exception as error:  # noqa: BLE001 - whatever a nonsensical config makes torch raise
        raise LoadError(
            f"config.json describes no model that can be built: {_cause(error, config)}.",
            "Correct config.json or download it again.",
        ) from None
    # transformers reads the experts of a layer into one tensor; in most files each has tensors of its own.
    stored = revert_weight_conversion(model, model.state_dict())
    shapes = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    tied = frozenset(model.all_tied_weights_keys) if settings.tie_word_embeddings else frozenset()
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    return Expected(
        shapes,
        tied,
        linear={name: (module.out_features, module.in_features) for name, module in linear.items()},
        routers=frozenset(name for name, module in linear.items() if type(module) is not torch.nn.Linear),
        experts=sum(each.numel() for each in model.parameters() if each.ndim == 3),
    )


def as_stored(expected: Expected, stored: Stored) -> Expected:
    """Return what a checkpoint that is quantised as `stored` says holds in place of float weights."""
    shapes, dtypes, optional = dict(expected.shapes), dict(expected.dtypes), set(expected.optional)
    wrong = {}
    for module, shape in expected.linear.items():
        weight = f"{module}.weight"
        if weight in expected.tied or stored.reader.keeps(module, stored.settings):
            continue
        del shapes[weight]
        for name, tensor in stored.reader.tensors(module, shape, stored.settings).items():
            shapes[name], dtypes[name] = tensor.shape, tensor.dtypes
            optional.update({name} if tensor.optional else ())
            if tensor.wrong is not None:
                wrong[name] = tensor.wrong
    return replace(expected, shapes=shapes, dtypes=dtypes, optional=frozenset(optional), wrong=wrong)


def _cause(error: Exception, config: Mapping[str, Any]) -> str:
    """Name the entry of the config that transformers looked up in vain, else quote the error's first line."""
    if isinstance(error, KeyError) and error.args:
        entries = {**config, **(config.get("rope_parameters") or config.get("rope_scaling") or {})}
        for key, value in entries.items():
            if value == error.args[0]:
                return f"{key} {value!r} is unknown"
    first = str(error).strip().splitlines()[:1] or [type(error).__name__]
    return first[0][:200]


def import_models() -> Any:
    """Return transformers' AutoModelForCausalLM without the lines that are logged when it is first imported.

    It imports torchao where that is installed, which tells everybody what of it is for other machines.
    """
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        import transformers.modeling_utils  # noqa: F401 - the import that is quiet here
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silence transformers' log lines and progress bars inside the block, and put both back."""
    from transformers.utils import logging as talk

    level, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
    talk.set_verbosity(talk.CRITICAL)
    talk.disable_progress_bar()
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bars:
            talk.enable_progress_bar()
