"""The scores that heads have: what each is called, what it says, where it was described. Knows no torch."""

from dataclasses import dataclass
from typing import Final

from llama_nb.core.errors import MessageError, did_you_mean

WINDOW: Final = 8  # tokens of the local window, the query among them


@dataclass(frozen=True, slots=True)
class ScoreKind:
    """One of the scores.

    Attributes
    ----------
    name, label
        What it is called in code and on lines, and in texts.
    meaning
        What a large score says.
    source
        The paper that describes it.
    share
        Whether it is a share of the attention, 0 to 1; entropy is in nats.
    """

    name: str
    label: str
    meaning: str
    source: str
    share: bool = True


KINDS: Final = (
    ScoreKind(
        "induction",
        "induction",
        "how much a token that came before reads of what followed it then",
        "Olsson et al. 2022, https://arxiv.org/abs/2209.11895",
    ),
    ScoreKind(
        "previous",
        "previous token",
        "how much each token reads of the one before it",
        "Clark et al. 2019, https://arxiv.org/abs/1906.04341",
    ),
    ScoreKind(
        "duplicate",
        "duplicate token",
        "how much a token that came before reads of where it stood then",
        "Wang et al. 2022, https://arxiv.org/abs/2211.00593",
    ),
    ScoreKind(
        "sink",
        "sink",
        "how much each token reads of the first one",
        "Xiao et al. 2023, https://arxiv.org/abs/2309.17453",
    ),
    ScoreKind(
        "local",
        "local window",
        f"how much each token reads of itself and the {WINDOW - 1} before it",
        "Beltagy et al. 2020, https://arxiv.org/abs/2004.05150",
    ),
    ScoreKind(
        "entropy",
        "entropy",
        "over how many tokens the reading is spread, in nats",
        "Clark et al. 2019, https://arxiv.org/abs/1906.04341",
        share=False,
    ),
)
NAMES: Final = tuple(kind.name for kind in KINDS)


def find_kind(name: str) -> ScoreKind:
    """Return the score of that name; raise MessageError, with the nearest one, if there is none."""
    for kind in KINDS:
        if name in {kind.name, kind.label}:
            return kind
    hint = f"{did_you_mean(str(name), NAMES)} One of: {', '.join(NAMES)}.".strip()
    raise MessageError(f"There is no score {name!r} of heads.", hint)
