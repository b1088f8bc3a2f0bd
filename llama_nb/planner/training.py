"""What training takes beside the weights: adapters, gradients, AdamW's moments, activations of a step.

Counted tensor by tensor as autograd keeps them for peft's LoRA on transformers' Llama with sdpa; the counts
equal what torch's saved_tensors_hooks report (tests/planner/test_training.py).
"""

from collections.abc import Sequence
from typing import Final

from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.planner.job import Job, Target
from llama_nb.planner.shape import Shape
from llama_nb.planner.working import dequantised_bytes, packing_bytes

# peft keeps adapters in float32 whatever the base is in (autocast_adapter_dtype); AdamW has two moments.
_ADAPTER_WIDTH: Final = 4
_MOMENTS: Final = 8
_GRADIENT: Final = 4
# Code and buffers that a first step touches: 19 to 24 MB on stories260K, cria and 19 million parameters.
_FIRST_STEP: Final = 23_000_000
_ALL: Final = "all-linear"


def adapter_parameters(shape: Shape, targets: Sequence[str], rank: int) -> int:
    """Return LoRA's trainable parameters: rank x (in + out) for each linear layer that is adapted.

    Source: arXiv:2106.09685, section 4.2.
    """
    groups = [group for group in shape.groups() if group.name in targets]
    return sum(group.count * rank * (group.rows + group.columns) for group in groups)


def linear_layers(shape: Shape) -> tuple[str, ...]:
    """Return the names that LoRA can adapt: linear layers, without the head."""
    return tuple(group.name for group in shape.groups() if group.quantised and group.part != "experts")


def read_targets(shape: Shape, asked: str | Sequence[str]) -> tuple[str, ...]:
    """Return the layers to adapt; "all-linear" means all, "q_proj,v_proj" these.

    Raises
    ------
    LoadError
        If a name is none of the model's linear layers; the hint has the nearest.
    """
    known = linear_layers(shape)
    names = asked.split(",") if isinstance(asked, str) else list(asked)
    if names == [_ALL]:
        return known
    for name in names:
        if name not in known:
            near = did_you_mean(str(name), known)
            raise LoadError(
                f"target_modules names {str(name)[:40]!r}; linear layers are {', '.join(known)}.",
                near or f"Or {_ALL!r} for all of them.",
            )
    return tuple(dict.fromkeys(names))


def weights_bytes(job: Job, weights: int) -> int:
    """Return the bytes of the weights in training: in full fine-tuning they are kept in float32.

    A half-precision copy comes beside them then: 4 + 2 bytes a parameter ("Model training anatomy" of the
    transformers documentation).
    """
    if job.train != "full":
        return weights
    return job.shape.parameters * (4 + (job.width if job.width < 4 else 0))


def state_bytes(job: Job) -> dict[str, int]:
    """Return the bytes of adapter, gradients and optimiser."""
    if job.train == "full":
        count = job.shape.parameters
        return {"gradients": count * _GRADIENT, "optimizer": count * _MOMENTS}
    count = adapter_parameters(job.shape, job.targets, job.rank)
    return {
        "adapter": count * _ADAPTER_WIDTH,
        "gradients": count * _GRADIENT,
        "optimizer": count * _MOMENTS,
    }


def activation_bytes(job: Job, target: Target) -> int:
    """Return what one step keeps and passes through at its peak, on one device.

    That is when the loss goes back into the logits, or into the last layer: everything kept is still there.
    With checkpointing only each layer's input is kept, and one layer at a time is computed again.
    """
    shape, width = job.shape, job.width
    tokens = job.batch * job.context
    layer = tokens * _kept_per_token(job)
    kept = shape.layers * (tokens * shape.hidden * width if job.checkpointing else layer)
    back = tokens * (4 * _widest(shape) * width + 4 * shape.hidden * 4)
    last = (layer if job.checkpointing else 0) + back
    # Logits and their gradient in the model's dtype, log-probabilities and theirs in float32: 12 bytes each.
    logits = tokens * job.trained * (shape.vocabulary * 12 + shape.hidden * 4)
    kernels = _FIRST_STEP + packing_bytes(job) if target.kind == "cpu" else 0
    return round(kept + max(last, logits) + dequantised_bytes(job) + kernels)


def _kept_per_token(job: Job) -> float:
    """Bytes of one layer that autograd keeps for each token."""
    shape, width = job.shape, job.width
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = 2 * shape.hidden * 4  # their inputs, in float32
    attention = (2 * queries + 2 * keys) * width + shape.heads * 4  # q, k, v, the output, its logsumexp
    wide = _widest(shape)
    if job.train == "full":
        return norms + attention + (4 * shape.hidden + 4 * wide) * width
    return norms + attention + 3 * wide * width + _adapter_inputs(job)


def _adapter_inputs(job: Job) -> float:
    """What LoRA keeps: the inputs of its layers, cast for each one in half precision, and A's output."""
    per_layer = job.shape.layers
    inner = sum(job.rank * 4 * group.count / per_layer for group in job.adapted)
    if job.width < 4:
        return inner + sum(4 * group.columns * group.count / per_layer for group in job.adapted)
    # In float32 layers with the same input share it, and the attention's output is kept anyway.
    twins = {"k_proj": "q_proj", "v_proj": "q_proj", "up_proj": "gate_proj"}
    inputs = {twins.get(group.name, group.name): group for group in job.adapted if group.name != "o_proj"}
    return inner + sum(4 * group.columns * group.count / per_layer for group in inputs.values())


def _widest(shape: Shape) -> int:
    """Width of the feed-forward that one token goes through, on average over the layers."""
    experts = (shape.experts_per_token + int(shape.shared_expert)) * shape.expert_ffn * shape.expert_layers
    return round((experts + shape.ffn * (shape.layers - shape.expert_layers)) / shape.layers)
