"""How far the models of a comparison are apart, token by token, though only one of them is in memory.

What the reference's model predicts along its own answers is kept until the others have read the same tokens.
The divergence itself is interpret's, and what is written into the cells `comparison` explains.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from llama_nb.core.errors import LlamaError, Stopped, UnsupportedError
from llama_nb.core.intervention import Intervention
from llama_nb.core.stop import StopFlag
from llama_nb.engines.recording import digest
from llama_nb.session.ablating import Work, without
from llama_nb.session.compare_cell import Cell
from llama_nb.session.measuring import measured
from llama_nb.session.model import Model
from llama_nb.session.record import remembered

# What is kept of all references together. At V = 128,256 a token takes 0.5 MB: 1,000 tokens of one reference.
KEPT_BYTES: Final = 512_000_000
T = TypeVar("T")
_PURPOSE: Final = "a comparison"


@dataclass(frozen=True, slots=True)
class _Kept:
    """Token ids from the prompt on, and what the reference's model predicts from `first` on."""

    ids: tuple[int, ...]
    first: int
    logprobs: Any  # a tensor, shape (len(ids) - first, V); None of a model that is played back


class Divergences:
    """Measures the cells of a comparison while their models come and go.

    Parameters
    ----------
    cells
        All cells of the comparison.
    flag
        Ends the measuring.
    """

    def __init__(self, cells: Sequence[Cell], flag: StopFlag) -> None:
        self._cells, self._flag = cells, flag
        self._kept: dict[int, _Kept] = {}
        self._vocabularies: dict[str, str | None] = {}
        self._several = len({cell.model for cell in cells}) > 1

    def know(self, label: str, model: Model) -> None:
        """Remember the vocabulary of a model, and which of its cells can be compared token by token."""
        if self._several:
            # Of a model that is played back it is known if it was compared when it was recorded.
            with contextlib.suppress(UnsupportedError):
                self._vocabularies[label] = remembered(
                    model.engine, "vocabulary", None, lambda: _vocabulary(model)
                )
        for cell in self._cells:
            if cell.model == label and cell.reference is not None:
                cell.same_tokens = self._same(cell, cell.reference)

    def measure(self, label: str, model: Model, begin: Callable[[Sequence[Cell]], None]) -> None:
        """Measure what can be measured with this model; `begin` is told of the cells for which that is done.

        What goes wrong is the note of the cells that it concerns.
        """
        own = [cell for cell in self._cells if cell.model == label]
        self._keep(own, model)
        waiting: dict[int, list[Cell]] = {}
        for cell in own:
            if cell.reference is not None and cell.reference.model != label:
                cell.divergence_note = self._unrecorded(cell) or self._obstacle(cell, cell.reference, model)
                if not cell.divergence_note:
                    waiting.setdefault(cell.reference.number, []).append(cell)
        for number, cells in waiting.items():
            begin(cells)
            try:
                found = self._divergence(self._kept[number], model, cells[0])
            except LlamaError as error:
                for cell in cells:
                    cell.divergence_note = error.message.rstrip(".")
            else:
                for cell in cells:
                    cell.divergence = found

    def _keep(self, own: Sequence[Cell], model: Model) -> None:
        """Keep what the model predicts along those of its answers that other models are compared with."""
        needed = {
            cell.reference.number: cell.reference
            for cell in self._cells
            if cell.reference is not None and cell.reference in own and cell.model != cell.reference.model
        }
        if not needed or not (model.engine.capabilities.introspect or model.replayed):
            return
        for number, cell in needed.items():
            if self._flag.is_set():
                return
            if cell.reply is None or cell.reply.request is None or not cell.reply.tokens:
                continue
            prompt = model.engine.prompt(cell.reply.request).ids
            if model.replayed:
                reply = [token.id for token in cell.reply.tokens if token.id is not None]
                self._kept[number] = _Kept((*prompt, *reply), len(prompt), None)
                continue
            most = max(1, KEPT_BYTES // (4 * model.loaded.module.config.vocab_size * len(needed)))
            reply = [token.id for token in cell.reply.tokens if token.id is not None][:most]
            ids = (*prompt, *reply)
            try:
                predicting = _as_answered(cell, model, prompt, _predicting(ids, len(prompt)))
                kept = measured(model.engine, self._flag, predicting, _PURPOSE)
            except Stopped:
                return
            self._kept[number] = _Kept(ids, len(prompt), kept)

    def _divergence(self, kept: _Kept, model: Model, cell: Cell) -> tuple[float, ...]:
        def work(module: Any, stopped: Callable[[], str | None]) -> tuple[float, ...]:
            from llama_nb.interpret.quality import divergences

            found: tuple[float, ...] = divergences(kept.logprobs, module, kept.ids, kept.first, stopped)
            return found

        adapter = _adapter(cell)
        changes = [*(each.record() for each in _off(cell)), *([] if adapter is None else [adapter])]
        asked = digest([kept.ids, kept.first, *changes])
        measure = _as_answered(cell, model, kept.ids[: kept.first], work)
        found: tuple[float, ...] = remembered(
            model.engine, "divergence", asked, lambda: measured(model.engine, self._flag, measure, _PURPOSE)
        )
        return tuple(found)

    def _same(self, cell: Cell, other: Cell) -> bool:
        if cell.model == other.model:
            return True
        vocabularies = [self._vocabularies.get(one.model) for one in (cell, other)]
        return vocabularies[0] is not None and vocabularies[0] == vocabularies[1]

    def _unrecorded(self, cell: Cell) -> str:
        if cell.model in self._vocabularies:
            return ""
        return f"{cell.model} is played back, and its predictions were not recorded"

    def _obstacle(self, cell: Cell, other: Cell, model: Model) -> str:
        """Say why there can be no divergence; "" where there can."""
        if other.model in self._vocabularies and not self._same(cell, other):
            return (
                f"the tokenizers of {cell.model} and {other.model} differ, so their predictions are about "
                "different tokens and KL is not comparable"
            )
        if self._flag.is_set():
            return "it was stopped before"
        if other.number not in self._kept:
            return f"cell {other.number} has no tokens to read, or its engine shows no predictions"
        if not (model.engine.capabilities.introspect or model.replayed):
            return f"{cell.model} runs elsewhere: its predictions cannot be read"
        tokens = len(self._kept[other.number].ids)
        if tokens > model.context:
            there = f"cell {other.number} has {tokens:,} tokens with its prompt"
            return f"{there}, and the context of {cell.model} is {model.context:,}"
        return ""


def _off(cell: Cell) -> tuple[Intervention, ...]:
    """Return what was turned off while a cell's model answered."""
    return cell.reply.interventions if cell.reply is not None else ()


def _adapter(cell: Cell) -> str | None:
    """Return the adapter that a cell's model was asked to answer with."""
    return cell.reply.asked_adapter if cell.reply is not None else None


def _as_answered(cell: Cell, model: Model, prompt: Sequence[int], work: Work[T]) -> Work[T]:
    """Return `work` with the model as it was when it answered: parts turned off, an adapter of its own."""
    changed, adapter = without(_off(cell), prompt, work), _adapter(cell)
    if adapter is None:
        return changed

    def adapted(module: Any, stopped: Callable[[], str | None]) -> T:
        with model.adapter_set().asked(adapter):
            return changed(module, stopped)

    return adapted


def _predicting(ids: tuple[int, ...], first: int) -> Callable[[Any, Callable[[], str | None]], Any]:
    def work(module: Any, stopped: Callable[[], str | None]) -> Any:
        from llama_nb.interpret.quality import predictions

        return predictions(module, ids, first, stopped)

    return work


def _vocabulary(model: Model) -> str | None:
    """Return a hash that is equal where token ids mean the same; None where nobody knows what they mean."""
    tokenizer = getattr(model.loaded, "tokenizer", None)
    if tokenizer is None:
        return None
    tokens = sorted(tokenizer.get_vocab().items())
    size = int(model.loaded.module.config.vocab_size)
    return hashlib.sha256(json.dumps([size, tokens]).encode()).hexdigest()
