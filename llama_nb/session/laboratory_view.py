"""What a page gets of the sampling laboratory, as JSON values: the place, the stages, the tokens, the draws.

Rows of tokens are the same before and after, so that bars stand side by side. Figures are rounded to five
digits: a page shows three.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from llama_nb.core.no_effect import no_effect
from llama_nb.core.sampling import STAGES, Sampling
from llama_nb.runtime import presets
from llama_nb.session import controls
from llama_nb.session.distribution import Distribution, Stage, TokenCount
from llama_nb.session.laboratory import DRAWS, Laboratory
from llama_nb.session.subject import Subject, chance

ROWS: Final = 12
# Stages that are shown when they are off: what the sliders that everybody sees turn on.
_ALWAYS: Final = ("repetition_penalty", "temperature", "top_k", "top_p", "min_p")
# The parameter that a stage is known by, where it has another name.
_NAMED_BY: Final[Mapping[str, str]] = {
    "dry": "dry_multiplier",
    "xtc": "xtc_probability",
    "mirostat": "mirostat_tau",
}
_WORDS: Final[Mapping[str, str]] = {
    "logits": "the model's own distribution",
    "grammar": "what the asked form allows",
    "greedy": "the likeliest token, always",
}
_NO_DISTRIBUTION: Final = "it only ends a reply"


def place_record(laboratory: Laboratory, *, newer: bool) -> dict[str, Any]:
    """Return what is walked through: its tokens as [text, special, probability, entropy], sent once."""
    subject = laboratory.subject
    return {
        "kind": subject.kind,
        "title": subject.title,
        "model": laboratory.model.name,
        "alive": laboratory.model.alive,
        "newer": newer,
        "first": subject.first,
        "tokens": token_rows(subject),
    }


def token_rows(subject: Subject) -> list[list[Any]]:
    """Return the tokens of a subject as a page gets them."""
    return [
        [token.text, token.special, chance(token.logprob), _round(token.entropy)] for token in subject.tokens
    ]


def controls_record(laboratory: Laboratory) -> dict[str, Any]:
    """Return the controls as they are at the start, and the presets; what moves comes with each view."""
    made = controls.controls(laboratory.sampling, laboratory.begun_with, controls.NUMERIC)
    return {
        "controls": [control for control in made if control["name"] != "seed"],
        "presets": presets.names(),
    }


def view_record(laboratory: Laboratory, *, draws: bool = False) -> dict[str, Any]:
    """Return what a change of place or parameters changes: one message a change."""
    with laboratory.lock:
        return _view(laboratory, draws)


def _view(laboratory: Laboratory, draws: bool) -> dict[str, Any]:
    found = laboratory.distribution
    if found is None or laboratory.position is None:
        return {}
    sampling = laboratory.sampling
    ids = row_ids(found)
    behind = [found.behind(stage)[ids].tolist() for stage in range(len(found.stages))]
    return {
        "place": found.place,
        "position": laboratory.position,
        "context": laboratory.subject.context(laboratory.position),
        "vocabulary": found.vocabulary,
        "chosen": found.chosen,
        "stages": stage_cards(found, sampling),
        "rows": _rows(found, ids, behind),
        "rest": _rest(found, ids, behind),
        "draws": draws_record(laboratory.draw(), ids) if draws else None,
        "values": {name: getattr(sampling, name) for name in controls.NUMERIC if name != "seed"},
        "idle": {**no_effect(sampling), "max_tokens": _NO_DISTRIBUTION},
        "line": laboratory.line(),
        "applied": laboratory.applied(),
        "changed": sampling != laboratory.begun_with,
        "mixed": 0 < sampling.xtc_probability < 1,
    }


def row_ids(found: Distribution, count: int = ROWS) -> list[int]:
    """Return the tokens to show: the likeliest ones before or after, and the one that stands there."""
    import numpy as np

    likeliest = np.maximum(found.before, found.after)
    count = min(count, len(likeliest))
    ids = np.argpartition(-likeliest, count - 1)[:count]
    ordered: list[int] = ids[np.lexsort((ids, -found.before[ids]))].tolist()
    if found.chosen is not None and found.chosen not in ordered:
        ordered.append(found.chosen)
    return ordered


def stage_cards(found: Distribution, sampling: Sampling) -> list[dict[str, Any]]:
    """Return a card a stage, in order: those that act with what they did, and those that could."""
    acting = {stage.name: (number, stage) for number, stage in enumerate(found.stages)}
    idle = no_effect(sampling)
    first = [name for name in ("logits", "grammar") if name in acting]
    last = [name for name in ("greedy",) if name in acting]
    known = {*acting, *_ALWAYS, *(name for name in STAGES if _is_set(name, sampling))}
    if sampling.greedy:
        known.discard("temperature")  # its card is that of the choice
    shown = [name for name in sampling.stages() if name in known]
    return [_card(name, acting.get(name), sampling, idle) for name in (*first, *shown, *last)]


def draws_record(counts: Iterable[TokenCount], ids: list[int]) -> dict[str, Any]:
    """Return how often the rows' tokens were drawn, and all others together."""
    by = {row.id: row.count for row in counts}
    listed = [by.get(token, 0) for token in ids]
    others = [count for token, count in by.items() if token not in ids]
    return {"n": DRAWS, "counts": listed, "others": sum(others), "distinct": len(by)}


def _card(
    name: str, acting: tuple[int, Stage] | None, sampling: Sampling, idle: Mapping[str, str]
) -> dict[str, Any]:
    parameter = _NAMED_BY.get(name, name)
    card = {
        "name": name,
        "label": controls.label(name) if name in STAGES else name,
        "value": _value(parameter, sampling),
        "movable": name in STAGES,
        "means": _WORDS.get(name, ""),
    }
    if acting is None:
        reason = idle.get(parameter, "") if _is_set(name, sampling) else ""
        return {**card, "state": "idle" if reason else "off", "reason": reason}
    number, stage = acting
    return {
        **card,
        "state": "on",
        "step": number,
        "kept": stage.kept,
        "removed": stage.removed,
        "lost": _round(stage.lost),
        "mass": _round(stage.mass),
        "entropy": _round(stage.entropy),
    }


def _rows(found: Distribution, ids: list[int], behind: list[list[float]]) -> list[dict[str, Any]]:
    return [
        {
            "id": token.id,
            "text": token.text,
            "special": token.special,
            "before": _round(token.before),
            "after": _round(token.after),
            "by": token.removed_by or "",
            "steps": [_round(step[place]) for step in behind],
        }
        for place, token in enumerate(map(found.token, ids))
    ]


def _rest(found: Distribution, ids: list[int], behind: list[list[float]]) -> dict[str, Any]:
    """The tail: how many tokens are not among the rows, and their share before, behind each stage, after."""
    return {
        "count": found.vocabulary - len(ids),
        "before": _share(1.0 - float(found.before[ids].sum(dtype=float))),
        "after": _share(1.0 - float(found.after[ids].sum())),
        "steps": [_share(1.0 - sum(step)) for step in behind],
    }


def _is_set(name: str, sampling: Sampling) -> bool:
    parameter = _NAMED_BY.get(name, name)
    return bool(getattr(sampling, parameter) != getattr(_OFF, parameter))


_OFF: Final = Sampling(temperature=1, top_p=1)


def _value(parameter: str, sampling: Sampling) -> str:
    value = getattr(sampling, parameter, None)
    return controls.as_typed(value) if parameter in controls.NUMERIC else ""


def _round(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _share(value: float) -> float:
    return float(f"{value:.5g}") if value > 1e-6 else 0.0
