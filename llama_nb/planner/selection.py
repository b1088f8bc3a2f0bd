"""`llama.select`: which model to take for what one has and needs, and why not the others.

Knows nothing of this machine: the memory is what the caller says.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from llama_nb.catalog.catalog import ModelCard
from llama_nb.catalog.licences import licence
from llama_nb.core.errors import SelectionError
from llama_nb.planner import fit, memory
from llama_nb.planner.candidates import (
    DTYPE,
    Candidate,
    context_of,
    judged,
    label,
    missing,
    possible,
    ranking,
    withheld_in_the_eu,
)
from llama_nb.planner.formats import LOADABLE, find_format
from llama_nb.planner.shape import Shape
from llama_nb.planner.wishes import Wishes, read_wishes

_BETTER_SHOWN: Final = 3
_NEXT_SHOWN: Final = 2
_HINTS: Final = 3
_NAMES: Final = {"mmlu": "MMLU", "mmlu-pro": "MMLU-Pro"}
_SHORTEST_CONTEXT: Final = 2048


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """A model that was not chosen, and why.

    Attributes
    ----------
    quant, total_bytes
        The way in which it would take least memory, or fit; None where no sourced shape is known.
    """

    card: ModelCard
    why: str
    quant: str | None = None
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """A choice with its reasons.

    Attributes
    ----------
    quant
        How to load it: "none", "int8", "nf4" ...
    context
        Tokens that the bytes are counted for.
    weights_bytes, kv_cache_bytes, total_bytes
        What it takes; the total has working memory besides. None where no sourced shape is known.
    reasons
        Sentences: why this model, in this format.
    runners_up
        The better ones that were not possible, and the next ones.
    """

    card: ModelCard
    quant: str
    context: int
    weights_bytes: int | None
    kv_cache_bytes: int | None
    total_bytes: int | None
    wishes: Wishes
    reasons: tuple[str, ...]
    runners_up: tuple[RunnerUp, ...]

    @property
    def command(self) -> str:
        """What to type next: load it, or plan what this version cannot load."""
        quant = "" if self.quant == "none" else f" --quant {self.quant}"
        loadable = self.card.kind == "text" and self.quant in LOADABLE
        return f"%llama {'load' if loadable else 'plan'} {self.card.name}{quant}"

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        from llama_nb.render.selection import selection_bundle

        others = [
            (
                each.card.name,
                each.quant and label(each.quant),
                each.total_bytes and fit.gigabytes(each.total_bytes),
                each.why,
            )
            for each in self.runners_up
        ]
        title = f"{self.card.name} in {label(self.quant)}"
        return selection_bundle(
            {"title": title, "reasons": self.reasons, "others": others, "command": self.command}
        )


def select(**wishes: Any) -> Selection:
    """Return the model that suits the wishes best, with reasons.

    Parameters
    ----------
    max_quality
        The most capable model, in 4 bits if it takes that to fit. The aim when `vram_gb` is given.
    balanced
        The most capable one in 16 or 8 bits, in 24 GB unless `vram_gb` says otherwise. The aim when nothing
        is said.
    on_device
        The most capable one in 4 GB (a phone, a laptop) unless `vram_gb` says otherwise.
    vram_gb
        The memory, in GB of 10^9 bytes, that weights, KV cache and working memory must fit into.
    context_tokens
        The context that must fit with it: 32768, "128k". Without it, 8,192 tokens.
    languages
        Codes or names that the model card must support: "German", ["de", "fr"].
    multimodal
        It must read images.
    commercial
        The use is commercial.
    eu
        You are domiciled in the European Union, or your company has its principal place of business there.

    Raises
    ------
    SelectionError
        If a wish is unknown or out of range, wishes contradict each other, or no model fulfils all of them:
        then the hint says what would.
    """
    asked = read_wishes(**wishes)
    candidates = judged(asked)
    found = possible(candidates)
    if not found and asked.vram_gb is None and asked.aim == "balanced":
        return _smallest(asked, candidates)
    if not found:
        raise _impossible(asked, candidates)
    return _selection(found[-1], asked, candidates, _why(found))


def _smallest(asked: Wishes, candidates: Sequence[Candidate]) -> Selection:
    """What takes least memory, where none of the possible ones fits into a memory that nobody asked for."""
    large = [candidate for candidate in candidates if candidate.too_large]
    if not large:
        raise _impossible(asked, candidates)
    least = min(large, key=lambda candidate: candidate.total or 0)
    budget = fit.gigabytes(asked.budget or 0)
    why = f"Nothing that can do this fits into {budget}; of those that can, it takes least memory."
    return _selection(least, replace(asked, aim="max_quality"), candidates, why)


def _selection(chosen: Candidate, asked: Wishes, candidates: Sequence[Candidate], why: str) -> Selection:
    context = context_of(chosen.card, asked)
    return Selection(
        card=chosen.card,
        quant=chosen.quant,
        context=context,
        weights_bytes=chosen.weights,
        kv_cache_bytes=chosen.kv_cache,
        total_bytes=chosen.total,
        wishes=asked,
        reasons=(why, *_memory_reasons(chosen, asked, context), *_other_reasons(chosen.card)),
        runners_up=_runners_up(chosen, asked, candidates),
    )


def _why(found: Sequence[Candidate]) -> str:
    count, card = len(found), found[-1].card
    among = "The only one that can do this" if count == 1 else f"The most capable of {count} that can do this"
    scores = [f"{_NAMES[key]} {score}" for key, score in card.scores.items()]
    return f"{among}: {' and '.join(scores)} on its model card." if scores else f"{among}."


def _memory_reasons(chosen: Candidate, asked: Wishes, context: int) -> list[str]:
    if chosen.weights is None or chosen.kv_cache is None or chosen.working is None:
        return ["How much memory it takes is not known: the catalogue has no sourced shape of it."]
    limit = f" of {fit.gigabytes(asked.budget)}" if asked.budget is not None else ""
    beside = " beside the process" if asked.aim == "on_device" else " with the GPU's own context"
    reasons = [
        f"Takes {fit.gigabytes(chosen.total or 0)}{limit}: weights in {label(chosen.quant)} "
        f"{fit.gigabytes(chosen.weights)}, KV cache for {context:,} tokens {fit.gigabytes(chosen.kv_cache)}, "
        f"working memory {fit.gigabytes(chosen.working)}{beside}."
    ]
    if chosen.quant != "none":
        reasons.append(_quant_reason(chosen))
    if chosen.card.active_parameters != chosen.card.parameters:
        active = round((chosen.card.active_parameters or 0) / 1e9)
        reasons.append(
            f"A mixture of experts: {active}B parameters work on each token, but all must lie in memory; the "
            "vision encoder comes on top."
        )
    return reasons


def _quant_reason(chosen: Candidate) -> str:
    full = memory.quantised_bytes(Shape.from_config(chosen.card.config), "none", DTYPE)
    found = find_format(chosen.quant)
    reason = (
        f"In {chosen.quant} ({found.bits:.3g} bits a weight), because the weights alone take "
        f"{fit.gigabytes(full)} in {DTYPE}"
    )
    if found.kind == "gguf":
        return f"{reason}; as GGUF, since bitsandbytes leaves experts that lie in one tensor as they are."
    if found.bits < 5:
        return f"{reason}; a larger model in 4 bits is better than a smaller one in 16 (arXiv:2212.09720)."
    return f"{reason}."


def _other_reasons(card: ModelCard) -> list[str]:
    gated = ", to be accepted on the hub first (gated)" if card.gated else ""
    reasons = [f"{licence(card).name}{gated}: `%llama license {card.name}`."]
    if card.context:
        reasons.insert(0, f"Its context is {card.context:,} tokens.")
    if withheld_in_the_eu(card):
        reasons.append("Not for those in the European Union: see its licence.")
    return reasons


def _runners_up(chosen: Candidate, asked: Wishes, candidates: Sequence[Candidate]) -> tuple[RunnerUp, ...]:
    """The nearest better ones, then the next ones that were possible; the best of each size only."""
    place = next(index for index, each in enumerate(candidates) if each.card is chosen.card)
    above, below = candidates[place + 1 :], candidates[:place]
    better = _best_of_each_size([each for each in reversed(above) if each.too_large], chosen)
    worse = _best_of_each_size([each for each in reversed(below) if not each.why_not], chosen)
    unknown = [
        each for each in below if each.why_not and each.card.shape is None and not missing(each.card, asked)
    ]
    shown = [(each, each.why_not) for each in better[-_BETTER_SHOWN:]]
    if asked.multimodal or asked.aim == "on_device":
        shown += [(each, each.why_not) for each in unknown[:_NEXT_SHOWN]]
    shown += [(each, _compared(each.card, chosen.card)) for each in worse[:_NEXT_SHOWN]]
    return tuple(
        RunnerUp(each.card, why, each.quant if each.total else None, each.total) for each, why in shown
    )


def _best_of_each_size(candidates: Sequence[Candidate], chosen: Candidate) -> list[Candidate]:
    """Return those whose size no earlier one has, and the chosen one has not."""
    first: dict[int | None, Candidate] = {}
    for each in candidates:
        if each.card.parameters != chosen.card.parameters:
            first.setdefault(each.card.parameters, each)
    return list(first.values())


def _compared(other: ModelCard, chosen: ModelCard) -> str:
    for key, name in _NAMES.items():
        if key in other.scores and key in chosen.scores:
            return f"possible, but {name} {other.scores[key]} against {chosen.scores[key]}"
    return "possible, but less capable" if other.scores else "possible, but its card has no score to compare"


def _impossible(asked: Wishes, candidates: Sequence[Candidate]) -> SelectionError:
    """The answer when no model does it all: what would, if one wish were another."""
    given = [name for name in asked.given() if name != "vram_gb"]
    large = [candidate for candidate in candidates if candidate.too_large]
    hints = []
    if large:
        least = min(large, key=lambda candidate: candidate.total or 0)
        hints.append(f"{_named(least)} in {fit.gigabytes(least.total or 0)} of memory")
    if asked.context_tokens is not None:
        hints += _with_less_context(asked, asked.context_tokens)
    for name in given:
        found = possible(judged(asked.without(name))) if name != "context_tokens" else []
        hints += [f"{_named(found[-1])} without {name}"] if found else []
    said_memory = asked.vram_gb is not None or asked.aim == "on_device"
    limit = f" in {fit.gigabytes(asked.budget)}" if said_memory and asked.budget is not None else ""
    wishes = ", ".join(f"{name} {_shown(getattr(asked, name))}" for name in given)
    message = f"No model does this{limit}: {wishes}." if wishes else f"No model fits{limit or ' here'}."
    return SelectionError(message, f"Nearest: {'; '.join(hints[:_HINTS])}." if hints else "")


def _with_less_context(asked: Wishes, wanted: int) -> list[str]:
    """Return the hint with the longest context of 2,048, 4,096 ... tokens that something could do."""
    longest = max((card for card in ranking() if card.context), key=lambda card: card.context or 0)
    hints = []
    if (longest.context or 0) < wanted:
        hints.append(f"the longest context of all is that of {longest.name}, {longest.context:,} tokens")
    tokens = 1 << (wanted - 1).bit_length()
    while tokens > _SHORTEST_CONTEXT:
        tokens //= 2
        if found := possible(judged(replace(asked, context_tokens=tokens))):
            return [*hints, f"{_named(found[-1])} with {tokens:,} tokens of context"]
    return hints


def _named(candidate: Candidate) -> str:
    return f"{candidate.card.name} in {label(candidate.quant)}"


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
