"""One answer of a comparison: where it stands, what came, and where it leaves the answer it is compared with.

Knows replies; knows neither models nor how the grid is filled.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from llama_nb.core.errors import LlamaError
from llama_nb.core.events import TokenEvent
from llama_nb.core.sampling import Sampling
from llama_nb.interpret.difference import first_difference
from llama_nb.session.compare_grid import Slot
from llama_nb.session.reply import Reply

State = Literal["waiting", "loading", "writing", "measuring", "done", "failed", "skipped"]

_DIGITS: Final = 4  # significant ones that a record keeps of a divergence


@dataclass(frozen=True, slots=True)
class Parting:
    """Where an answer leaves that of its reference.

    Attributes
    ----------
    place
        The index of the first token that differs; None where all of both are equal, as far as both go.
    common, mark, rest
        The answer's text: what is equal, the token that differs, what follows. `mark` is "" where the answer
        ends and the reference goes on.
    """

    place: int | None
    common: str
    mark: str = ""
    rest: str = ""


class Cell:
    """One answer of a comparison.

    Attributes
    ----------
    number
        Its number in the grid, from 1.
    label
        What differs from the other cells.
    row, column, span
        Where it stands, from 0, and over how many rows.
    model
        What the grid calls its model.
    seed
        The seed of its sampling; None with greedy decoding.
    options
        The sampling parameters that were asked for.
    reply
        The answer with its tokens; None before it begins, or where the model could not be loaded.
    error
        Why there is none, or why it ended.
    reference
        The cell that it is compared with; None for that one itself.
    state
        "waiting", "loading", "writing", "measuring", "done", "failed", or "skipped" by a stop.
    detail
        What the model's load is doing, or what the cell waits for.
    same_tokens
        Whether its tokens are those of the reference's vocabulary, so that they are compared and not texts.
    divergence, divergence_note
        KL divergence from the reference, or why there is none; read it by `Comparison.kl`.
    """

    def __init__(self, slot: Slot) -> None:
        self.number, self.label, self.seed = slot.number, slot.label, slot.seed
        self.row, self.column, self.span = slot.row, slot.column, slot.span
        self.model = slot.subject.label
        self.options: Mapping[str, Any] = slot.variant.options
        self.reply: Reply | None = None
        self.error: LlamaError | None = None
        self.reference: Cell | None = None
        self.state: State = "waiting"
        self.detail = ""
        self.same_tokens = False
        self.divergence: tuple[float, ...] | None = None
        self.divergence_note = ""

    @property
    def text(self) -> str:
        """The answer so far."""
        return self.reply.text if self.reply is not None else ""

    @property
    def sampling(self) -> Sampling | None:
        """The parameters as they were used; None before the answer began."""
        return self.reply.sampling if self.reply is not None else None

    @property
    def parting(self) -> Parting:
        """Where the answer leaves its reference's; known as soon as the token that differs is there."""
        other = self.reference.reply if self.reference is not None else None
        if self.reply is None or other is None or not other.tokens:
            return Parting(None, self.text)
        return _by_tokens(self.reply, other) if self.same_tokens else _by_text(self.reply, other)

    @property
    def first_difference(self) -> int | None:
        """The index of its first token that is not the reference's; None where there is none."""
        return self.parting.place

    @property
    def answered(self) -> bool:
        """Whether there is an answer that nobody stopped and no error ended."""
        ended = self.reply is not None and self.reply.finish is not None
        return ended and self.error is None

    def __repr__(self) -> str:
        shown = self.text if len(self.text) <= 40 else f"{self.text[:39]}…"
        return f"Cell({self.number}: {self.label}, {self.state}, {shown!r})"


def cell_record(cell: Cell, *, pieces: bool) -> dict[str, Any]:
    """Return a cell as JSON values; with `pieces` the tokens of its answer."""
    parting, reply = cell.parting, cell.reply
    kl = cell.divergence
    usage = reply.usage if reply is not None else None
    record = {
        "number": cell.number,
        "label": cell.label,
        "row": cell.row,
        "column": cell.column,
        "span": cell.span,
        "state": cell.state,
        "detail": cell.detail,
        "common": parting.common,
        "mark": parting.mark,
        "rest": parting.rest,
        "place": parting.place,
        "reference": cell.reference.number if cell.reference is not None else None,
        "tokens": len(reply.tokens) if reply is not None else 0,
        "first_token_s": usage.first_token_s if usage is not None else None,
        "total_s": usage.total_s if usage is not None else None,
        "finish": finish_of(cell),
        "error": cell.error.message if cell.error is not None else "",
        "hint": cell.error.hint if cell.error is not None else "",
        "notes": list(reply.notes) if reply is not None else [],
        "kl": [_rounded(value) for value in kl] if kl is not None else None,
        "mean_kl": _rounded(sum(kl) / len(kl)) if kl else None,
        "kl_note": cell.divergence_note,
    }
    if pieces and reply is not None:
        record["pieces"] = [
            [_shown(token), token.id in reply.special] for token in reply.tokens if token.id is not None
        ]
    return record


def _shown(token: TokenEvent) -> str:
    """Return what a token is by itself; to the text a control token or half of a character adds nothing."""
    return next((other.text for other in token.alternatives if other.id == token.id), token.text)


def finish_of(cell: Cell) -> str:
    """Return why the answer ended; "" where it has not."""
    finish = cell.reply.finish if cell.reply is not None else None
    return finish.reason if finish is not None else ""


def _rounded(value: float) -> float | None:
    """Return a divergence with few digits; None stands for infinity, which JSON has not."""
    return float(f"{value:.{_DIGITS}g}") if value != float("inf") else None


def _by_tokens(reply: Reply, reference: Reply) -> Parting:
    tokens = reply.tokens
    ids, others = ([token.id for token in one.tokens] for one in (reply, reference))
    place = first_difference(ids, others)
    if place is None or place == min(len(ids), len(others)):  # the model's own end is a token, too
        return Parting(None, reply.text)
    # A token may add nothing to the text (half of a character): what the next one adds is the difference.
    end = place + 1
    while end < len(tokens) and not any(token.text for token in tokens[place:end]):
        end += 1
    texts = [token.text for token in tokens]
    return Parting(place, *map("".join, (texts[:place], texts[place:end], texts[end:])))


def _by_text(reply: Reply, reference: Reply) -> Parting:
    ours, theirs = reply.text, reference.text
    equal = first_difference(ours, theirs)
    shorter = [one for one in (reply, reference) if equal == len(one.text)]
    if equal is None or any(not _ended(one) for one in shorter):
        return Parting(None, ours)
    length = 0
    for place, token in enumerate(reply.tokens):
        length += len(token.text)
        if length > equal:
            return Parting(place, ours[:equal], ours[equal:length], ours[length:])
    return Parting(len(reply.tokens), ours)


def _ended(reply: Reply) -> bool:
    """Whether the model itself ended the answer."""
    return reply.finish is not None and reply.finish.reason in ("end", "stop_string")
