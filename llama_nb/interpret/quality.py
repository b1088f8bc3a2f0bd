"""How far a model's next-token distributions on a text are from those of the model that it was made of.

Both models read the same tokens in one forward pass (teacher forcing). Logits are made in slices of the text,
so that a vocabulary of 128,256 never stands in memory for the whole of it. Knows torch; knows no methods of
quantisation and no sessions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from llama_nb.core.errors import Stopped
from llama_nb.engines.places import decoder_of

# 32 positions of logits at V = 128,256 are 16 MB in float32, and each slice needs a few copies.
_SLICE: Final = 32


@dataclass(frozen=True, slots=True)
class TextQuality:
    """How well a model predicts a text, and how near it is to its reference.

    Attributes
    ----------
    predicted
        How many tokens were predicted: all but the first.
    perplexity
        exp of the mean negative log-likelihood of the tokens.
    kl
        Kullback-Leibler divergence D(reference || model) of each prediction, in nats.
    agreement
        Share of the predictions whose likeliest token is the reference's, 0 to 1.
    """

    predicted: int
    perplexity: float
    kl: tuple[float, ...]
    agreement: float

    @property
    def mean_kl(self) -> float:
        """Mean divergence in nats per token."""
        return sum(self.kl) / len(self.kl)


@torch.inference_mode()
def measure(
    module: Any, reference: Any, ids: Sequence[int], stopped: Callable[[], str | None] = lambda: None
) -> TextQuality:
    """Return how `module` predicts `ids`, beside `reference`.

    Parameters
    ----------
    module, reference
        Causal language models of transformers with one vocabulary; they may be the same.
    ids
        At least two token ids, at most the context.
    stopped
        Asked between slices; a reason ends the work with `Stopped`.

    Notes
    -----
    Log-probabilities are computed in float32 from the logits in each model's own dtype, as its engine does.
    """
    hidden, base = _hidden(module, ids, stopped), _hidden(reference, ids, stopped)
    likelihood, agreed, found = 0.0, 0, []
    for start in range(0, len(ids) - 1, _SLICE):
        _check(stopped)
        end = min(start + _SLICE, len(ids) - 1)
        ours = _logprobs(module, hidden[start:end])
        theirs = _logprobs(reference, base[start:end])
        targets = torch.tensor(ids[start + 1 : end + 1])
        likelihood += float(ours.gather(1, targets[:, None]).double().sum())
        agreed += int((ours.argmax(1) == theirs.argmax(1)).sum())
        found += _divergences(theirs, ours)
    predicted = len(ids) - 1
    return TextQuality(
        predicted=predicted,
        perplexity=float(torch.exp(torch.tensor(-likelihood / predicted, dtype=torch.float64))),
        kl=tuple(found),
        agreement=agreed / predicted,
    )


@torch.inference_mode()
def predictions(
    module: Any, ids: Sequence[int], first: int, stopped: Callable[[], str | None] = lambda: None
) -> torch.Tensor:
    """Return the log-probabilities from which `ids[first:]` were to be predicted.

    Parameters
    ----------
    ids
        Token ids; the whole is read, since what stands before `first` decides too.
    first
        At least 1: nothing predicts the first token.

    Returns
    -------
    torch.Tensor
        Float32 on the CPU, shape (len(ids) - first, V).
    """
    hidden = _hidden(module, ids, stopped)[first - 1 : len(ids) - 1]
    return torch.cat([_logprobs(module, hidden[start : start + _SLICE]) for start in _starts(hidden)])


@torch.inference_mode()
def divergences(
    reference: torch.Tensor,
    module: Any,
    ids: Sequence[int],
    first: int,
    stopped: Callable[[], str | None] = lambda: None,
) -> tuple[float, ...]:
    """Return D(reference || module) in nats for each prediction of `ids[first:]`.

    `reference` is what `predictions` gave for the same ids, so that one model need be in memory at a time.
    """
    hidden = _hidden(module, ids, stopped)[first - 1 : len(ids) - 1]
    found: list[float] = []
    for start in _starts(hidden):
        _check(stopped)
        ours = _logprobs(module, hidden[start : start + _SLICE])
        found += _divergences(reference[start : start + _SLICE], ours)
    return tuple(found)


def _starts(hidden: torch.Tensor) -> range:
    return range(0, hidden.shape[0], _SLICE)


def _divergences(reference: torch.Tensor, ours: torch.Tensor) -> list[float]:
    """Sum p (ln p - ln q) over the vocabulary, for each row of log-probabilities."""
    # A token that the reference rules out adds nothing; one that only the model rules out adds infinity.
    terms = torch.where(reference == -torch.inf, 0.0, reference.exp() * (reference - ours))
    found: list[float] = terms.double().sum(1).clamp(min=0.0).tolist()
    return found


def _hidden(module: Any, ids: Sequence[int], stopped: Callable[[], str | None]) -> torch.Tensor:
    """The last hidden states, shape (tokens, hidden)."""
    _check(stopped)
    inputs = torch.tensor([list(ids)], device=module.device)
    states: torch.Tensor = decoder_of(module)(input_ids=inputs, use_cache=False).last_hidden_state[0]
    return states


def _logprobs(module: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Log-probabilities, shape (positions, V), in float32 on the CPU."""
    logits = module.get_output_embeddings()(hidden)
    return torch.log_softmax(logits.float(), dim=-1).cpu()


def _check(stopped: Callable[[], str | None]) -> None:
    if (reason := stopped()) is not None:
        raise Stopped(f"The measurement was stopped: {reason}.")
