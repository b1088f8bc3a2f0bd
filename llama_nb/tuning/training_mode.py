"""A module made ready to be trained, kept so while others use it in between, and left as it was.

Train mode, gradients, threads, checkpointing and random numbers; nothing of losses or steps.
"""

import hashlib
import re
from types import TracebackType
from typing import Any, Final, Self

import psutil
import torch
from torch import nn

from llama_nb.core.errors import TrainingError
from llama_nb.tuning import guards
from llama_nb.tuning.random_state import random_states_kept
from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.wide_linear import WideLinears

# ".lora_A.adapter1.weight": what peft calls an adapter inside a module is no part of a checkpoint's names.
_OWN_NAME: Final = re.compile(r"(\.lora_[A-Za-z_]+)\.[^.]+(\.weight)?$")
_MAGNITUDE: Final = ".lora_magnitude_vector.weight"
_process: Final = psutil.Process()


def trained_parameters(module: Any) -> dict[str, nn.Parameter]:
    """Return the parameters that require gradients by the names that they have in checkpoints.

    These are the module's own, less the adapter's name, as in peft's files less "base_model.model.".

    Raises
    ------
    TrainingError
        If there are none.
    """
    found = {
        checkpoint_name(name): parameter
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    if not found:
        raise TrainingError(
            "No weight of the model is to be trained: it holds no adapter that is switched on for training.",
            "Make one with m.train(...) or %llama train.",
        )
    return found


def checkpoint_name(name: str) -> str:
    """Return the name of a parameter in checkpoints."""
    plain = _OWN_NAME.sub(r"\1\2", name)
    return plain.removesuffix(".weight") if plain.endswith(_MAGNITUDE) else plain


def memory_now(module: Any) -> int:
    """Return the bytes that are taken: allocated at most on the module's GPU, or resident."""
    if module.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(module.device))
    return int(_process.memory_info().rss)


class TrainingMode:
    """The state of a module and of torch while it is trained; a context manager.

    Parameters
    ----------
    module
        A transformers model.
    recipe
        Says whether every weight is trained, and what keeps memory small.
    threads
        How many threads compute, so that sums are made in the same order again; 0: as many as now.

    Raises
    ------
    TrainingError
        If the layers cannot be trained as they are.
    """

    def __init__(self, module: Any, recipe: Recipe, threads: int = 0) -> None:
        self._module = module
        self._recipe = recipe
        self._full = recipe.method == "full"
        self.threads = threads or torch.get_num_threads()
        self._threads_before = torch.get_num_threads()
        self._gradients_before: dict[nn.Parameter, bool] = {}
        self._trained: list[nn.Parameter] = []
        self._random = random_states_kept()
        self._wide = WideLinears(module)
        self._draws = False

    def __enter__(self) -> Self:
        guards.check_quantised(self._module)
        if self._full:
            _check_full(self._module)
        self._gradients_before = {each: each.requires_grad for each in self._module.parameters()}
        self._trained = [each for each, wanted in self._gradients_before.items() if wanted or self._full]
        self._draws = draws_random_numbers(self._module)
        self._random.__enter__()
        try:
            if self._recipe.checkpointing:
                _switch_checkpointing(self._module, "enable", {"use_reentrant": False})
            self._wide.__enter__()
            self.put_back()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave()

    def put_back(self) -> None:
        """Make everything ready to train again, whatever others did in between."""
        if not self._module.training:
            self._module.train()
        for each in self._trained:
            each.requires_grad_(True)
        if torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)

    def draw(self, number: int) -> None:
        """Draw the random numbers of micro-batch `number`: the same whenever and wherever it is computed."""
        if self._draws:
            text = f"{self._recipe.seed} {number}".encode()
            torch.manual_seed(int.from_bytes(hashlib.blake2b(text, digest_size=7).digest()))

    def _leave(self) -> None:
        self._wide.__exit__()
        if self._recipe.checkpointing:
            _switch_checkpointing(self._module, "disable")
        for each, wanted in self._gradients_before.items():
            each.requires_grad_(wanted)
        self._module.eval()
        torch.set_num_threads(self._threads_before)
        self._random.__exit__(None, None, None)


def draws_random_numbers(module: Any) -> bool:
    """Whether a forward pass in train mode throws dice: dropout of an adapter, or the model's own."""
    config = module.config.get_text_config()
    own = bool(getattr(config, "attention_dropout", 0.0))
    return own or any(isinstance(part, nn.Dropout) and part.p > 0 for part in module.modules())


def _switch_checkpointing(module: Any, word: str, *given: Any) -> None:
    """Have a module keep activations or compute them again; the methods' names changed in transformers 5."""
    name = f"activation_checkpointing_{word}"
    getattr(module, name if hasattr(module, name) else f"gradient_checkpointing_{word}")(*given)


def _check_full(module: Any) -> None:
    odd = next((each for each in module.parameters() if each.dtype != torch.float32), None)
    if odd is not None:
        raise TrainingError(
            f"Every weight is to be trained, and some are {str(odd.dtype).removeprefix('torch.')}: small "
            "steps would be rounded away.",
            "Load the model with --dtype float32 and unquantised, or train a LoRA (method lora).",
        )
