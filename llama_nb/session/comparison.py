"""What a comparison brought, or has brought so far: a grid of answers, and where they part.

Running one is `compare`'s business, showing it render's and the widgets'.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import MessageError, UnsupportedError
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import cell as notebook
from llama_nb.session.compare_cell import Cell, cell_record, finish_of
from llama_nb.session.compare_grid import Grid
from llama_nb.session.reply import Reply

if TYPE_CHECKING:
    import pandas as pd

SCHEMA: Final = 1


class Comparison:
    """Answers to one message, side by side. Made by `llama_nb.compare`; it can be read while it grows.

    Attributes
    ----------
    message, system
        What all cells were asked.
    columns, rows
        The names of the grid's columns and rows; "" where nothing differs.
    cells
        The answers, in the order of their numbers.
    notes
        Sentences for the reader.
    done
        Whether nothing will change any more.
    stop_flag
        Set by `stop` and by interrupts.
    """

    def __init__(self, message: str, system: str | None, grid: Grid) -> None:
        self.message, self.system = message, system
        self.columns, self.rows = grid.columns, grid.rows
        self.cells = tuple(map(Cell, grid.slots))
        self.notes = list(grid.notes)
        self.done = False
        self.stop_flag = Relay()
        self._shown_in: int | None = None
        for cell, slot in zip(self.cells, grid.slots, strict=True):
            other = grid.reference_of(slot)
            cell.reference = self.cells[other.number - 1] if other is not None else None

    @property
    def stopped(self) -> bool:
        """Whether somebody stopped it before the end."""
        return self.stop_flag.is_set()

    @property
    def models(self) -> tuple[str, ...]:
        """What the grid calls its models."""
        return tuple(dict.fromkeys(cell.model for cell in self.cells))

    def cell(self, number: int) -> Cell:
        """Return the cell with this number; they begin with 1.

        Raises
        ------
        MessageError
            If there is none.
        """
        if isinstance(number, int) and 1 <= number <= len(self.cells):
            return self.cells[number - 1]
        raise MessageError(
            f"There is no cell {number!r}.", f"Cells are numbered from 1 to {len(self.cells)}."
        )

    def kl(self, cell: Cell | int) -> tuple[float, ...]:
        """Return how far a cell's model is from its reference's, along the reference's answer.

        For token t of that answer y, which follows the prompt x, it is D(p || q) in nats: the sum over the
        whole vocabulary of p(v) (ln p(v) - ln q(v)). Here p(v) = p(v | x, y[:t]) is what the reference's
        model predicts and q(v) = q(v | x, y[:t]) what the cell's model does, before any sampling. Both read
        the same token ids (teacher forcing), so it says what the weights predict, whatever was drawn. A cell
        of the reference's own model has 0 everywhere: its answer differs by the sampling alone.

        Raises
        ------
        UnsupportedError
            If it is not there: the vocabularies differ, the answer was not computed, or it was stopped.
        """
        cell = self.cell(cell) if isinstance(cell, int) else cell
        other = cell.reference
        if other is None:
            raise UnsupportedError(f"Cell {cell.number} is the reference: the others are compared with it.")
        if cell.divergence is not None:
            return cell.divergence
        if cell.model == other.model and other.reply is not None:
            return (0.0,) * sum(token.id is not None for token in other.reply.tokens)
        raise UnsupportedError(
            f"There is no KL divergence of cell {cell.number} from cell {other.number}: "
            f"{cell.divergence_note or 'nothing was measured'}."
        )

    def to_frame(self) -> "pd.DataFrame":
        """Return one row a cell, by number.

        Columns: model, the sampling parameters that differ, seed, text, tokens, finish, reference (a number),
        first_difference (a token's index), mean_kl (nats), error.
        """
        import pandas as pd

        given = {name: {repr(cell.options.get(name)) for cell in self.cells} for name in _options(self.cells)}
        varied = [name for name, values in given.items() if len(values) > 1]
        rows = []
        for cell in self.cells:
            kl = cell.divergence
            rows.append(
                {
                    "number": cell.number,
                    "model": cell.model,
                    **{name: cell.options.get(name) for name in varied},
                    "seed": cell.seed,
                    "text": cell.text if cell.reply is not None else None,
                    "tokens": len(cell.reply.tokens) if cell.reply is not None else None,
                    "finish": finish_of(cell),
                    "reference": cell.reference.number if cell.reference is not None else None,
                    "first_difference": cell.first_difference,
                    "mean_kl": sum(kl) / len(kl) if kl else None,
                    "error": cell.error.message if cell.error is not None else "",
                }
            )
        frame = pd.DataFrame(rows).set_index("number")
        whole = ("seed", "tokens", "reference", "first_difference")
        return frame.astype(dict.fromkeys(whole, "Int64")).astype({"mean_kl": "Float64"})

    def to_record(self) -> dict[str, Any]:
        """Return it as JSON values: what is shown and saved of it."""
        return {
            "schema": SCHEMA,
            "message": self.message,
            "system": self.system,
            "models": list(self.models),
            "columns": list(self.columns),
            "rows": list(self.rows),
            "cells": [self.cell_record(cell) for cell in self.cells],
            "notes": list(self.notes),
            "done": self.done,
            "stopped": self.stopped,
        }

    def cell_record(self, cell: Cell) -> dict[str, Any]:
        """Return a cell as JSON values; with the tokens of its answer if a divergence goes along them."""
        measured = any(other.reference is cell and other.divergence is not None for other in self.cells)
        return cell_record(cell, pieces=measured)

    def stop(self, reason: str = "stopped") -> None:
        """End it; what is there is kept. Harmless when it is done."""
        if not self.done:
            self.stop_flag.set(reason)

    @property
    def displayed(self) -> bool:
        """Whether a live view showed it in the cell that runs now; set by that view."""
        return self._shown_in is not None and self._shown_in == notebook.number()

    @displayed.setter
    def displayed(self, value: bool) -> None:
        self._shown_in = notebook.number() if value else None

    @property
    def _ipython_display_(self) -> Any:
        # IPython prints a value's text even when its mime bundle is empty; only this hook shows nothing.
        return self._show_nothing if self.displayed else None

    def _show_nothing(self) -> None:
        self._shown_in = None

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.compare import bundle
        from llama_nb.runtime.environment import detect

        return bundle(self.to_record(), watched=detect().watched)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    def __repr__(self) -> str:
        answered = sum(cell.answered for cell in self.cells)
        return f"Comparison({', '.join(self.models)}: {answered} of {len(self.cells)} answered)"


class Relay(StopFlag):
    """Stops a comparison, and with it the answer that is being written."""

    def __init__(self) -> None:
        super().__init__()
        self._reply: Reply | None = None

    def set(self, reason: str = "stopped") -> None:
        """Ask for the stop of both."""
        super().set(reason)
        if self._reply is not None:
            self._reply.stop(reason)

    def follow(self, reply: Reply | None) -> None:
        """Stop this reply, too, from now on."""
        self._reply = reply
        if reply is not None and self.is_set():
            reply.stop(self.reason)


def _options(cells: Sequence[Cell]) -> dict[str, None]:
    return dict.fromkeys(name for cell in cells for name in cell.options)
