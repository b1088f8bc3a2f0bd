"""What a model predicts on a text, whole or with parts of it turned off: one distribution and the loss.

The text goes through in pieces, and a stop is heard before every layer. Knows torch and token ids only.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import DynamicCache

from llama_nb.core.errors import Stopped
from llama_nb.core.intervention import Intervention
from llama_nb.engines.interventions import applied, hearing
from llama_nb.engines.places import decoder_of

_WHAT: Final = "The look at what changes"
_PIECE: Final = 256  # tokens that go through the layers at once
_SLICE: Final = 32  # positions whose logits stand in memory: 16 MB in float32 at V = 128,256


@dataclass(frozen=True, slots=True)
class Predicted:
    """What was predicted.

    Attributes
    ----------
    logprobs
        Of what follows one position, float32 on the CPU, shape (V,).
    loss
        Mean negative log-likelihood of all tokens but the first, in nats; None if there is only one.
    """

    logprobs: torch.Tensor
    loss: float | None


@torch.inference_mode()
def predict(
    module: Any,
    ids: Sequence[int],
    position: int,
    interventions: Sequence[Intervention] = (),
    *,
    prompt: Sequence[int] = (),
    stopped: Callable[[], str | None] = lambda: None,
) -> Predicted:
    """Return what `module` predicts on `ids`.

    Parameters
    ----------
    position
        Where the distribution of the next token is wanted.
    interventions, prompt
        What is turned off, and the text of the means that name none; see `applied`.
    stopped
        Asked before each layer and slice; a reason ends the work with `Stopped`.
    """
    likelihood, found = 0.0, torch.empty(0)
    with applied(module, interventions, prompt=prompt, stopped=stopped), hearing(module, stopped, _WHAT):
        cache = DynamicCache(config=module.config)
        for start in range(0, len(ids), _PIECE):
            piece = torch.tensor([list(ids[start : start + _PIECE])], device=module.device)
            output = decoder_of(module)(input_ids=piece, past_key_values=cache, use_cache=True)
            states = output.last_hidden_state[0]
            for first in range(start, start + len(states), _SLICE):
                if (reason := stopped()) is not None:
                    raise Stopped(f"{_WHAT} was stopped: {reason}.")
                logprobs = _logprobs(module, states[first - start : first - start + _SLICE])
                targets = torch.tensor(ids[first + 1 : first + 1 + len(logprobs)], dtype=torch.long)
                likelihood += float(logprobs[: len(targets)].gather(1, targets[:, None]).double().sum())
                if first <= position < first + len(logprobs):
                    found = logprobs[position - first].clone()
    return Predicted(found, -likelihood / (len(ids) - 1) if len(ids) > 1 else None)


def divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    """Return D(reference || other) in nats, of log-probabilities of shape (V,)."""
    terms = torch.where(reference == -torch.inf, 0.0, reference.exp() * (reference - other))
    return max(0.0, float(terms.double().sum()))


def _logprobs(module: Any, states: torch.Tensor) -> torch.Tensor:
    return torch.log_softmax(module.get_output_embeddings()(states).float(), dim=-1).cpu()
