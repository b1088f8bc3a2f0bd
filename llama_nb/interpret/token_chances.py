"""How likely a model finds each token of a text, and how unsure it is there, in one pass.

The pass is cut into pieces, between which it can be stopped. Knows torch; knows no sampling and no sessions.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import torch
from transformers import DynamicCache

from llama_nb.engines.places import decoder_of

# 32 positions of logits at V = 128,256 are 16 MB in float32; a piece is what a stop may have to wait for.
_PIECE: Final = 32

Chance = tuple[float, float]


@torch.inference_mode()
def token_chances(
    module: Any,
    ids: Sequence[int],
    stopped: Callable[[], str | None],
    found: Callable[[list[Chance]], None],
) -> None:
    """Hand over the log-probability and the entropy (nats) of `ids[1:]`, in order, as they are computed.

    Parameters
    ----------
    module
        A causal language model of transformers.
    stopped
        Asked between pieces; a reason ends the work.
    found
        Gets those of the next tokens.
    """
    core, cache = decoder_of(module), DynamicCache(config=module.config)
    for start in range(0, len(ids) - 1, _PIECE):
        if stopped() is not None:
            return
        end = min(start + _PIECE, len(ids) - 1)
        inputs = torch.tensor([list(ids[start:end])], device=module.device)
        hidden = core(input_ids=inputs, past_key_values=cache, use_cache=True).last_hidden_state
        logprobs = torch.log_softmax(module.get_output_embeddings()(hidden[0]).float(), dim=-1)
        targets = torch.tensor(ids[start + 1 : end + 1], device=logprobs.device)
        likely = logprobs.gather(1, targets[:, None])[:, 0]
        entropy = torch.special.entr(logprobs.exp()).sum(1)
        found(list(zip(likely.tolist(), entropy.tolist(), strict=True)))
