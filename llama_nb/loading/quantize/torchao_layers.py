"""What the methods of torchao share: their config, made so that nothing else in the process changes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LIBRARY: Final = "torchao"


def config(keep: Sequence[str], settings: Any) -> Any:
    """Return transformers' config for `settings`, one of torchao's own configs."""
    from transformers import TorchAoConfig

    # By default torchao sets torch's float32 matrix products to a lower precision, for every model here.
    settings.set_inductor_config = False
    return TorchAoConfig(settings, modules_to_not_convert=list(keep))


def finish(module: "PreTrainedModel") -> None:
    """Nothing is left to do: the tensors are frozen as they are read."""
    del module
