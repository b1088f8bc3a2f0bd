"""What a plan is asked about: a model in a format at a piece of work, and where it shall run."""

from dataclasses import dataclass
from typing import Final, Literal

from llama_nb.planner.formats import Format, find_format
from llama_nb.planner.memory import dtype_bytes
from llama_nb.planner.shape import Shape, TensorGroup

Train = Literal["lora", "qlora", "full"]
TRAINS: Final = ("lora", "qlora", "full")
# What LoRA began with (arXiv:2106.09685, section 4.2), and peft's choice for a Llama.
TARGETS: Final = ("q_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a model shall run.

    Attributes
    ----------
    memory, bandwidth, flops
        Of one device: bytes, bytes per second, floating-point operations per second at 16 bit; None where it
        is not known.
    count
        How many equal devices share the work.
    kind
        "cpu" keeps everything in the memory of this process; "gpu" has memory of its own.
    quiet
        Whether `memory` was measured just now where nobody watches: outputs that are compared do not name it.
    unified
        Whether a GPU's memory is the main memory: there is no other to move anything to.
    """

    name: str
    memory: int | None
    count: int = 1
    bandwidth: float | None = None
    flops: float | None = None
    kind: Literal["cpu", "gpu"] = "gpu"
    quiet: bool = False
    unified: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Attributes
    ----------
    context
        Tokens of each sequence.
    batch
        Sequences at once.
    cache_dtype
        Of the KV cache; None for the dtype of the model, as our engine has it.
    targets
        The linear layers that LoRA adapts, by name.
    stored
        Bytes of the weights where they are known, and not to be computed: those of a GGUF file.
    converted_from
        Bytes of the files when they hold another dtype than the model gets: both are there while it loads.
    chosen_dtype
        Whether the user chose the dtype: then the commands that a plan offers name it.
    trained
        The share of the tokens whose logits a training step computes: those that are learned.
    """

    shape: Shape
    quant: str = "none"
    dtype: str = "bfloat16"
    context: int = 8192
    batch: int = 1
    cache_dtype: str | None = None
    train: Train | None = None
    rank: int = 16
    targets: tuple[str, ...] = TARGETS
    checkpointing: bool = False
    stored: int | None = None
    converted_from: int | None = None
    chosen_dtype: bool = False
    trained: float = 1.0

    @property
    def format(self) -> Format:
        """The format of the weights."""
        return find_format(self.quant, self.dtype)

    @property
    def width(self) -> int:
        """Bytes of one number of the activations."""
        return dtype_bytes(self.dtype)

    @property
    def adapted(self) -> tuple[TensorGroup, ...]:
        """The groups of linear layers that LoRA adapts."""
        return tuple(group for group in self.shape.groups() if group.name in self.targets)
