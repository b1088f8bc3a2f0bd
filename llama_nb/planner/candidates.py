"""Each model of the catalogue against a person's wishes: in which format it does, or what speaks against it.

Ranks by the accuracies on Meta's own model cards and fits by the planner's bytes. Choosing is `selection`'s.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from llama_nb.catalog import catalog
from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.licences import licence
from llama_nb.planner import fit, working
from llama_nb.planner.job import Job, Target
from llama_nb.planner.plan import part_bytes
from llama_nb.planner.shape import Shape
from llama_nb.planner.wishes import Aim, Wishes

# Tokens of context of a usual chat, when none are asked for.
USUAL_CONTEXT: Final = 8192
DTYPE: Final = "bfloat16"
# From what costs no accuracy to what costs most. A larger model in 4 bits is better than a smaller one in 16
# that takes the same memory: Dettmers and Zettlemoyer, arXiv:2212.09720.
_QUANTS: Final[dict[Aim, tuple[str, ...]]] = {
    "max_quality": ("none", "int8", "nf4", "nf4-double"),
    "balanced": ("none", "int8"),
    "on_device": ("none", "int8", "nf4", "nf4-double"),
}
# bitsandbytes leaves experts that lie in one tensor as they are; GGUF does not.
_QUANTS_OF_MIXTURES: Final = ("none", "q8_0", "q4_k_m")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A card with the format that suits the wishes best, and what speaks against it ("" for nothing).

    The bytes are the plan's; `working` is what it takes beside weights and cache. None without a shape.
    """

    card: ModelCard
    quant: str = "none"
    weights: int | None = None
    kv_cache: int | None = None
    working: int | None = None
    why_not: str = ""
    too_large: bool = False

    @property
    def total(self) -> int | None:
        """Bytes of weights, cache and working memory; None without a shape."""
        if self.weights is None or self.kv_cache is None or self.working is None:
            return None
        return self.weights + self.kv_cache + self.working


@functools.cache
def ranking() -> tuple[ModelCard, ...]:
    """Return the models that answer messages, the most capable last.

    By 5-shot MMLU of the tuned model; those whose cards have only MMLU-Pro stand where that puts them among
    the ones that have both. What has neither (Code Llama, vision models) comes first: its place is unknown.
    """
    cards = [card for card in catalog.cards() if card.chats]
    ranked = sorted((card for card in cards if "mmlu" in card.scores), key=lambda card: card.scores["mmlu"])
    newer = [card for card in cards if "mmlu-pro" in card.scores and card not in ranked]
    for card in sorted(newer, key=lambda card: card.scores["mmlu-pro"]):
        below = [
            index
            for index, other in enumerate(ranked)
            if other.scores.get("mmlu-pro", 100.0) < card.scores["mmlu-pro"]
        ]
        ranked.insert(max(below) + 1, card)
    return (*(card for card in cards if not card.scores), *ranked)


def label(quant: str) -> str:
    """Return what to call a format: "bfloat16" for none, else its name."""
    return DTYPE if quant == "none" else quant


def judged(asked: Wishes) -> list[Candidate]:
    """Return every model that answers messages with the format that suits the wishes, the best last."""
    return [_judge(card, asked) for card in ranking()]


def possible(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Return those that nothing speaks against, in their order."""
    return [candidate for candidate in candidates if not candidate.why_not]


def _judge(card: ModelCard, asked: Wishes) -> Candidate:
    why_not = missing(card, asked)
    if why_not:
        return Candidate(card, why_not=why_not)
    context = context_of(card, asked)
    budget = asked.budget
    if card.shape is None:
        why = "" if budget is None else "no sourced shape, so nobody can say whether it fits"
        return Candidate(card, why_not=why)
    shape = Shape.from_config(card.config)
    quants = _QUANTS_OF_MIXTURES if card.kind == "mixture" else _QUANTS[asked.aim]
    tried = [_counted(card, Job(shape, quant, DTYPE, context), asked) for quant in quants]
    fitting = [each for each in tried if budget is None or (each.total or 0) <= budget]
    if fitting:
        return fitting[0]
    least = min(tried, key=lambda each: each.total or 0)
    needs = f"needs {fit.gigabytes(least.total or 0)} in {label(least.quant)}"
    return replace(least, why_not=f"{needs} with {context:,} tokens of context", too_large=True)


def _counted(card: ModelCard, job: Job, asked: Wishes) -> Candidate:
    """Return a candidate with the plan's bytes: on a GPU, or for a device on its CPU beside the process."""
    target = Target("", None, kind="cpu" if asked.aim == "on_device" else "gpu")
    parts = part_bytes(job, target)
    working_memory = parts["activations"] + parts["overhead"]
    if target.kind == "cpu":
        working_memory -= working.process_bytes(job, target)
    return Candidate(card, job.quant, parts["weights"], parts["kv_cache"], working_memory)


def missing(card: ModelCard, asked: Wishes) -> str:
    """Return which wish, other than memory, the card does not fulfil; "" if it fulfils them."""
    names = catalog.languages()
    without = [names[code] for code in asked.languages if code not in card.languages]
    tokens = asked.context_tokens or 0
    reasons = {
        f"its card does not support {' and '.join(without)}": bool(without),
        "reads no images": asked.multimodal and not card.multimodal,
        "its licence allows no commercial use": asked.commercial and not licence(card).commercial,
        "its Acceptable Use Policy withholds multimodal models from those in the European Union": asked.eu
        and withheld_in_the_eu(card),
        "its card does not say its context": tokens > 0 and card.context is None,
        f"its context is {card.context or 0:,} tokens": card.context is not None and card.context < tokens,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def withheld_in_the_eu(card: ModelCard) -> bool:
    """Whether the card's licence, with its Acceptable Use Policy, withholds it in the European Union."""
    return any(item.applies == "eu" for item in licence(card).applying(card))


def context_of(card: ModelCard, asked: Wishes) -> int:
    """Return the tokens of context to count: those asked for, else a usual chat's."""
    return asked.context_tokens or min(card.context or USUAL_CONTEXT, USUAL_CONTEXT)
