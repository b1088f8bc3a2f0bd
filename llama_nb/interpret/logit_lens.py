"""What each layer of a model would say: hidden states through final norm and unembedding, the logit lens.

It is nostalgebraist's (2020, "interpreting GPT: the logit lens"); with the translators of a tuned lens
(Belrose et al. 2023, https://arxiv.org/abs/2303.08112) each state is first carried to the last layer's basis.
Logits are made in slices of positions: a vocabulary of 128,256 never stands in memory for a whole text. Knows
torch; knows no sessions and no tokenizers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from llama_nb.core.errors import Stopped, UnsupportedError
from llama_nb.engines.places import decoder_of
from llama_nb.interpret.finite import check_finite

Floats = npt.NDArray[np.float32]
Whole = npt.NDArray[np.int32]

# 32 positions of logits at V = 128,256 are 16 MB in float32; a slice needs about a dozen copies.
_SLICE: Final = 32
_COPIES: Final = 12
# Longer texts go through in pieces with a cache, so that activations stay small.
_PIECE: Final = 1024
# Nats between what the lens and what the model itself says at the last position: rounding in half precision
# stays far below, a head that does more than multiply (soft-capping, scaling) does not.
_SAME_HEAD: Final = 0.005

Stop = Callable[[], str | None]
Told = Callable[[int, int], None]


class Translators(Protocol):
    """What carries a hidden state to the basis of the last layer."""

    def __call__(self, states: torch.Tensor, depth: int) -> torch.Tensor:
        """Return `states` of shape (n, hidden), found at `depth`, as the last layer would have them."""


@dataclass(frozen=True, slots=True, eq=False)
class Depths:
    """What a model would say at every depth and position.

    Depth 0 is what enters the first layer (the embedding), depth k what layer k - 1 leaves behind. Arrays are
    float32 or int32 of shape (depths, positions), or (depths, positions, n).

    Attributes
    ----------
    ids, chances
        The likeliest tokens and their probabilities, most likely first.
    final, final_rank
        Probability and rank (1 is the likeliest) of the token that is likeliest behind the last layer.
    next, next_rank
        Those of the token that comes next in the text; NaN and 0 where none does.
    entropy
        Of the distribution, in nats.
    kl
        How far the last layer's distribution p is from this one, q: sum p (ln p - ln q), in nats.
    tracked
        Probabilities of the tokens that were asked for.
    """

    ids: Whole
    chances: Floats
    final: Floats
    final_rank: Whole
    next: Floats
    next_rank: Whole
    entropy: Floats
    kl: Floats
    tracked: Floats


@dataclass(frozen=True, slots=True)
class Stack:
    """The parts of a decoder that the lens needs."""

    layers: tuple[Any, ...]
    norm: Any
    head: Any


def find_stack(module: Any) -> Stack:
    """Return the layers, the final norm and the unembedding of a causal language model.

    Raises
    ------
    UnsupportedError
        If it is not built that way.
    """
    decoder, head = decoder_of(module), module.get_output_embeddings()
    norm = getattr(decoder, "norm", None)
    if norm is None or head is None:
        raise UnsupportedError(
            f"A {type(module).__name__} has no norm and unembedding behind its layers.",
            "The lens reads decoders that are built as Llama is.",
        )
    return Stack(tuple(decoder.layers), norm, head)


def lens_cost(module: Any, tokens: int, positions: int) -> int:
    """Return about how many bytes `read_depths` takes beside the weights."""
    config = module.config.get_text_config()
    width = torch.finfo(module.dtype).bits // 8
    states = (len(find_stack(module).layers) + 1) * positions * config.hidden_size * width
    slices = _COPIES * min(_SLICE, positions) * config.vocab_size * 4
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    cache = 2 * config.num_hidden_layers * heads * size * tokens * width if tokens > _PIECE else 0
    return int(states + slices + cache)


@torch.inference_mode()
def read_depths(
    module: Any,
    ids: Sequence[int],
    positions: Sequence[int],
    *,
    top: int = 5,
    tracked: Sequence[int] = (),
    translators: Translators | None = None,
    stopped: Stop = lambda: None,
    told: Told = lambda _done, _all: None,
) -> Depths:
    """Return what the model would say at each depth and position.

    Parameters
    ----------
    module
        A causal language model of transformers, in eval mode.
    ids
        Token ids of one text.
    positions
        Which of them are looked at, in ascending order.
    top
        How many of the likeliest tokens are kept.
    tracked
        Tokens whose probability is kept everywhere.
    translators
        Those of a tuned lens; None: the logit lens.
    stopped
        Asked before every layer and every slice; a reason ends the work with `Stopped`.
    told
        Gets how many of all positions are done.

    Raises
    ------
    EngineError
        If hidden states are not finite.
    UnsupportedError
        If the model does more behind its last layer than norm and unembedding.
    """
    stack = find_stack(module)
    states, own = _hidden(module, stack, ids[: positions[-1] + 1], positions, stopped)
    _check_finite(states)
    ends = torch.tensor([ids[at + 1] if at + 1 < len(ids) else -1 for at in positions], device=states.device)
    follow = torch.tensor(list(tracked), dtype=torch.long, device=states.device)
    found = _empty(len(states), len(positions), min(top, own.shape[-1]), len(tracked))
    for start in range(0, len(positions), _SLICE):
        part = slice(start, start + _SLICE)
        last = _logprobs(stack, states[-1, part])
        if part.stop >= len(positions):
            _check_head(own, last[-1], module)
        final = _Final(last.argmax(1, keepdim=True), last, last.exp())
        for depth in range(len(states)):
            _check(stopped)
            said = last if depth == len(states) - 1 else _said(stack, states, depth, part, translators)
            _fill(found, depth, part, said, final, ends[part], follow)
        told(min(part.stop, len(positions)), len(positions))
    return found


class _Final(NamedTuple):
    """What the last layer says: its tokens, shape (n, 1), log-probabilities and probabilities (n, V)."""

    tokens: torch.Tensor
    logprobs: torch.Tensor
    chances: torch.Tensor


def _empty(depths: int, positions: int, top: int, tracked: int) -> Depths:
    """Room for all figures.

    Tensors that stay between those of one logit a token keep the allocator from using their room again: with
    results kept as tensors until the end a vocabulary of 128,256 took gigabytes.
    """
    shape = (depths, positions)

    def floats(*more: int) -> Floats:
        return np.empty((*shape, *more), dtype=np.float32)

    def whole(*more: int) -> Whole:
        return np.empty((*shape, *more), dtype=np.int32)

    return Depths(
        ids=whole(top),
        chances=floats(top),
        final=floats(),
        final_rank=whole(),
        next=floats(),
        next_rank=whole(),
        entropy=floats(),
        kl=floats(),
        tracked=floats(tracked),
    )


def _said(
    stack: Stack, states: torch.Tensor, depth: int, part: slice, translators: Translators | None
) -> torch.Tensor:
    found = states[depth, part]
    return _logprobs(stack, found if translators is None else translators(found, depth))


def _logprobs(stack: Stack, states: torch.Tensor) -> torch.Tensor:
    """Log-probabilities in float32, shape (n, V), computed as the model does: in its own dtype until here."""
    logits = stack.head(stack.norm(states))
    return torch.log_softmax(logits.to(states.device).float(), dim=-1)


def _fill(
    found: Depths,
    depth: int,
    part: slice,
    said: torch.Tensor,
    final: _Final,
    ends: torch.Tensor,
    follow: torch.Tensor,
) -> None:
    """Write the figures of log-probabilities `said`, shape (n, V), at one depth and some positions."""
    top, ids = said.topk(found.ids.shape[2])
    final_p, final_rank = _chance(said, final.tokens)
    next_p, next_rank = _chance(said, ends.clamp(min=0)[:, None])
    for array, values in (
        (found.ids, ids),
        (found.chances, top.exp()),
        (found.final, final_p),
        (found.final_rank, final_rank),
        (found.next, next_p.masked_fill(ends < 0, torch.nan)),
        (found.next_rank, next_rank.masked_fill(ends < 0, 0)),
        (found.entropy, -_expected(said.exp(), said)),
        (found.kl, _expected(final.chances, final.logprobs - said).clamp(min=0.0)),
        (found.tracked, said[:, follow].exp()),
    ):
        array[depth, part] = values.cpu().numpy()


def _expected(chances: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Sum chances times values over the vocabulary; what has no chance adds nothing, infinite or not."""
    found = torch.linalg.vecdot(chances, values)
    return found if found.isfinite().all() else (chances * values).nansum(1)


def _chance(found: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The probability and the rank of one token a row."""
    own = found.gather(1, tokens)
    return own[:, 0].exp(), (found > own).sum(1) + 1


def _hidden(
    module: Any, stack: Stack, ids: Sequence[int], positions: Sequence[int], stopped: Stop
) -> tuple[torch.Tensor, torch.Tensor]:
    """The states of shape (depths, positions, hidden), and the model's own logits at the last position."""
    wanted = torch.tensor(list(positions))
    whole = len(ids) <= _PIECE
    cache = None if whole else DynamicCache(config=module.config.get_text_config())
    pieces: list[torch.Tensor] = []
    logits = torch.empty(0)
    for start in range(0, len(ids), _PIECE):
        piece = list(ids[start : start + _PIECE])
        inside = wanted[(wanted >= start) & (wanted < start + len(piece))] - start
        with _keeping(stack, inside, stopped) as kept:
            output = module(
                input_ids=torch.tensor([piece], device=module.device),
                past_key_values=cache,
                use_cache=not whole,
                logits_to_keep=1,
            )
        logits = output.logits[0, -1]
        pieces.append(torch.stack(kept))
    return torch.cat(pieces, dim=1), logits


@contextmanager
def _keeping(stack: Stack, inside: torch.Tensor, stopped: Stop) -> Iterator[list[torch.Tensor]]:
    """Keep what enters each layer and the final norm during a forward pass, at the positions `inside`.

    What enters the next module is what the layer left, whatever was done to it in between.
    """
    kept: list[torch.Tensor] = []

    def keep(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        _check(stopped)
        states = args[0] if args else kwargs["hidden_states"]
        place = states.device if not kept else kept[0].device
        kept.append(states[0, inside.to(states.device)].to(place))

    modules = (*stack.layers, stack.norm)
    hooks = [module.register_forward_pre_hook(keep, with_kwargs=True) for module in modules]
    try:
        yield kept
    finally:
        for hook in hooks:
            hook.remove()


def _check(stopped: Stop) -> None:
    if (reason := stopped()) is not None:
        raise Stopped(f"The lens was stopped: {reason}.")


def _check_finite(states: torch.Tensor) -> None:
    for depth, left in enumerate(states):
        check_finite(left, f"What layer {depth - 1} leaves" if depth else "What the embedding gives")


def _check_head(own: torch.Tensor, last: torch.Tensor, module: Any) -> None:
    """Compare the model's own logits at the last position with the lens behind the last layer."""
    said = torch.log_softmax(own.float(), dim=-1).to(last.device)
    if float((said.exp() * (said - last)).sum()) > _SAME_HEAD:
        raise UnsupportedError(
            f"A {type(module).__name__} does more behind its last layer than a norm and an unembedding.",
            "The lens would not show what this model says.",
        )
