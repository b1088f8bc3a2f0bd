"""Orders to a training run: lines in its folder that any process may append and the one that runs it reads.

Knows the file and what an order may be; obeying is the loop's business.
"""

import math
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

from llama_nb.core.errors import TrainingError, did_you_mean
from llama_nb.tuning.json_lines import Tail, append

FILE: Final = "control.jsonl"
Kind = Literal["pause", "resume", "stop", "save", "lr"]
_KINDS: Final = get_args(Kind)
HIGHEST_LR: Final = 10.0


@dataclass(frozen=True, slots=True)
class Order:
    """One order.

    Parameters
    ----------
    kind
        "pause", "resume", "stop" (with a checkpoint), "save" (a checkpoint now) or "lr".
    value
        The new peak learning rate of an "lr"; None else.
    reason
        Who or what wanted it, for the status: "the panel", "the model is unloaded".
    """

    kind: Kind
    value: float | None = None
    reason: str = ""


def check_order(kind: str, value: object = None, reason: str = "") -> Order:
    """Return the order that `kind` and `value` ask for; both may come from a page or a file.

    Raises
    ------
    TrainingError
        If there is no such order, or a learning rate is out of its range.
    """
    if kind not in _KINDS:
        near = did_you_mean(str(kind), _KINDS)
        raise TrainingError(
            f"{str(kind)[:40]!r} is no order; a run obeys {', '.join(_KINDS)}.",
            near or "Pause it, for one: %llama train pause",
        )
    if kind != "lr":
        return Order(cast("Kind", kind), None, str(reason)[:200])
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 0 <= number <= HIGHEST_LR:
        raise TrainingError(
            f"lr is {str(value)[:40]}; it must be a number from 0 to {HIGHEST_LR:g}.",
            "LoRA mostly learns well between 1e-5 and 1e-3: %llama train lr 1e-4",
        )
    return Order("lr", number, str(reason)[:200])


def append_order(folder: Path, kind: str, value: object = None, reason: str = "") -> Order:
    """Append an order to the run in `folder` and return it.

    Raises
    ------
    TrainingError
        If it is none that can be obeyed, or the folder cannot be written.
    """
    order = check_order(kind, value, reason)
    record = {"id": secrets.token_hex(4), "order": order.kind, "value": order.value, "reason": order.reason}
    try:
        append(folder / FILE, record)
    except OSError as error:
        raise TrainingError(
            f"The order {kind!r} cannot be written into the run {folder.name}: {error.strerror or error}.",
            "Free some disk space, or make the folder writable.",
        ) from error
    return order


def orders_end(folder: Path) -> int:
    """Return where the file of orders ends now, in bytes: what stands before it is of an earlier life."""
    try:
        return (folder / FILE).stat().st_size
    except OSError:
        return 0


class Orders:
    """What was ordered since the last look, as the process that trains reads it.

    Parameters
    ----------
    folder
        The run's folder.
    start
        The byte from which orders count; those before were for an earlier life of the run.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        self._tail = Tail(folder / FILE, start)

    @property
    def read(self) -> int:
        """The byte up to which orders were returned."""
        return self._tail.place

    def new(self) -> list[Order]:
        """Return the orders since the last call; a look costs one `open` and is cheap beside a step.

        Lines that are no order are passed over: the file may be written by anybody who may write the folder.
        """
        return [order for record in self._tail.new() if (order := _order(record)) is not None]


def _order(record: dict[str, Any]) -> Order | None:
    try:
        return check_order(
            str(record.get("order")), record.get("value"), reason=str(record.get("reason") or "")
        )
    except TrainingError:
        return None
