"""Spreads a frozen base over the processes that train an adapter on it together (FSDP).

Each process keeps its part of every layer's weights and fetches a layer whole while it computes it. Adapters,
embeddings, head and norms stay whole everywhere, so checkpoints, optimiser and adapter files are as ever.
"""

from typing import Any

from llama_nb.core.errors import TrainingError
from llama_nb.engines.places import decoder_of
from llama_nb.tuning.ranks import Ranks

_NO_PARTS = ("Linear8bitLt",)  # their scales hang on the weight itself, which is taken apart


def shard_base(module: Any, ranks: Ranks, device: str = "cpu") -> int:
    """Spread the decoder's frozen weights over all processes; return how many weights are spread.

    Weights are cut row by row and one by one (torch's `fully_shard`), so 4-bit ones may stay in whatever they
    are stored in: nothing is flattened into one tensor of floats.

    Parameters
    ----------
    module
        A transformers model with an adapter, whose parameters are the only ones that require gradients.
    device
        Where each process computes: "cpu" or "cuda:N".

    Raises
    ------
    TrainingError
        If there is nothing frozen (every weight is trained), or the weights cannot be taken apart.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if ranks.world == 1:
        return 0
    decoder = decoder_of(module)
    _check(module, decoder)
    layers = list(decoder.layers)
    sharded = {id(each) for each in decoder.layers.parameters() if not each.requires_grad}
    whole = {each for each in module.parameters() if id(each) not in sharded}
    mesh = init_device_mesh(device.partition(":")[0], (ranks.world,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=whole)
    # The decoder itself has no part of its own to fetch; as the root it fetches each layer ahead of time.
    fully_shard(decoder, mesh=mesh, ignored_params=whole)
    # What was spread is on the device by now; what stays whole follows.
    for tensor in (*whole, *module.buffers()):
        tensor.data = tensor.data.to(device)
    return len(sharded)


def _check(module: Any, decoder: Any) -> None:
    if all(parameter.requires_grad for parameter in decoder.layers.parameters()):
        raise TrainingError(
            "Sharding spreads a frozen base, and with the method full every weight is trained.",
            "Train a LoRA, or leave --shard out.",
        )
    kinds = {type(part).__name__ for part in module.modules()}
    if found := kinds.intersection(_NO_PARTS):
        raise TrainingError(
            f"The base has int8 layers ({', '.join(sorted(found))}), which cannot be sharded.",
            "Load it with --quant nf4, or unquantised.",
        )
