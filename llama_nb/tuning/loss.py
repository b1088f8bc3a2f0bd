"""The loss of a micro-batch: the decoder over all tokens, the head only where the next token is trained.

With a quarter of the tokens trained this leaves out three quarters of the head, which is most of a small
model with a large vocabulary. Knows modules and micro-batches; knows nothing of steps.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch

from llama_nb.engines.places import decoder_of
from llama_nb.tuning.head_loss import token_losses
from llama_nb.tuning.packing import MicroBatch, attention_mask_for

# Where transformers' configurations say how far a token sees; what it does not say, sees everything.
_WINDOWS: Final = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}


def trained_loss(module: Any, batch: MicroBatch) -> torch.Tensor:
    """Return the sum of the cross entropies of the trained tokens, float32, with gradients where wanted.

    Parameters
    ----------
    module
        A causal language model of transformers.
    batch
        On any device; what is needed goes to the module's.
    """
    return _losses(module, batch, _places(batch)).sum()


def row_losses(module: Any, batch: MicroBatch) -> torch.Tensor:
    """Return the sum of the cross entropies of the trained tokens for each line of the batch, shape (B,)."""
    places = _places(batch)
    losses = _losses(module, batch, places)
    lines = (places // (batch.ids.shape[1] - 1)).to(losses.device)
    return torch.zeros(batch.ids.shape[0], device=losses.device).index_add(0, lines, losses)


class Imitation:
    """Learning to say what the data say: the cross entropy of their trained tokens."""

    def loss(self, module: Any, batch: MicroBatch) -> torch.Tensor:
        """Return the loss of a batch, summed over what `weight` counts."""
        return trained_loss(module, batch)

    def weight(self, batch: MicroBatch) -> int:
        """Return how many terms the loss of the batch has."""
        return batch.trained_tokens

    def weight_of(self, batches: Any, number: int) -> int:
        """Return the weight of micro-batch `number`, without making it."""
        return int(batches.trained_tokens(number))


def validation_loss(
    module: Any,
    batches: Sequence[Any],
    between: Callable[[], object] | None = None,
    objective: Any = None,
) -> float:
    """Return the mean loss over `batches`, in eval mode and without gradients.

    The module's mode is as before afterwards. `between` is called after each batch; `objective` is an
    `Imitation` unless given.
    """
    aim = objective or Imitation()
    was_training = module.training
    total, weight = 0.0, 0
    for batch in batches:
        module.eval()
        with torch.no_grad():
            total += float(aim.loss(module, batch))
        module.train(was_training)
        weight += aim.weight(batch)
        if between is not None:
            between()
    return total / max(1, weight)


def _places(batch: MicroBatch) -> torch.Tensor:
    """Return where the next token is trained, as places in the lines without their last token."""
    # Found on the CPU: a GPU would have to be waited for.
    return batch.trained[:, 1:].flatten().nonzero().squeeze(-1)


def _losses(module: Any, batch: MicroBatch, places: torch.Tensor) -> torch.Tensor:
    device = module.device
    output = decoder_of(module)(
        input_ids=batch.ids.to(device),
        position_ids=batch.positions.to(device),
        attention_mask=_mask(module, batch),
        use_cache=False,
    )
    states = output.last_hidden_state  # on the last of several GPUs, where the head is
    hidden = states[:, :-1].flatten(0, 1)[places.to(states.device)]
    wanted = batch.ids[:, 1:].flatten()[places].to(states.device)
    cap = getattr(module.config.get_text_config(), "final_logit_softcapping", None)
    return token_losses(hidden, wanted, module.get_output_embeddings(), cap)


def _mask(module: Any, batch: MicroBatch) -> Any:
    """Return what the decoder takes as its mask: None (causal), [B, 1, T, T], or one for each kind of layer.

    transformers takes a mask of four dimensions as it is, so a sliding window or chunks must stand in it.
    """
    config = module.config.get_text_config()
    added = None if config._attn_implementation == "sdpa" else module.dtype
    mask = attention_mask_for(batch, added)
    if mask is None:
        return None
    mask = mask.to(module.device)
    width = mask.shape[-1]
    windows = {kind: getattr(config, name, None) or width for kind, name in _WINDOWS.items()}
    if min(windows.values()) >= width:
        return mask
    positions = batch.positions.to(module.device)
    row, column = positions[:, None, :, None], positions[:, None, None, :]
    chunk = windows["chunked_attention"]
    near = {
        "sliding_attention": row - column < windows["sliding_attention"],
        "chunked_attention": row // chunk == column // chunk,
    }
    masks = {kind: _narrowed(mask, allowed) for kind, allowed in near.items()}
    if getattr(config, "layer_types", None) is None:  # all layers alike, as Mistral's
        return masks["sliding_attention" if windows["sliding_attention"] < width else "chunked_attention"]
    return {"full_attention": mask, **masks}


def _narrowed(mask: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    if mask.dtype == torch.bool:
        return mask & allowed
    return mask.masked_fill(~allowed, torch.finfo(mask.dtype).min)
