"""One message to several models, quantisations, samplings and seeds: a grid of answers.

Models that are not loaded are loaded one after the other, beside what is loaded, and given back; no two of
them are ever in memory. So a cell that fails, or a model that does not fit, is an error of its own and the
others go on.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from llama_nb.core import events
from llama_nb.core.errors import EngineError, LlamaError, LoadCancelled
from llama_nb.core.events import ComparisonChanged, publish
from llama_nb.runtime.secrets import redact
from llama_nb.runtime.settings import get_sampling_overrides
from llama_nb.session.asking import Asked, read_question
from llama_nb.session.beside import open_beside
from llama_nb.session.compare_cell import Cell, State
from llama_nb.session.compare_grid import Given, Slot, Subject, read_grid
from llama_nb.session.compare_kl import Divergences
from llama_nb.session.comparison import Comparison
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.model import Model
from llama_nb.session.stream import TokenStream

LONGEST: Final = 128  # tokens of an answer, unless the call or the session says otherwise
_TELL_EVERY_S: Final = 0.2  # of a load
_RANGES: Final = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")

_log = logging.getLogger("llama_nb")


def compare(
    message: Asked,
    models: Given | Iterable[Given] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    system: str | None = None,
    reference: int | None = None,
    **sampling: Any,
) -> Comparison:
    """Ask several models the same, or one model with several samplings, and see where the answers part.

    Parameters
    ----------
    message
        A text, or a list of messages. Each cell is a conversation of its own; a base model, which has no chat
        template, goes on with the text.
    models
        Loaded models or their names, sources as `load` takes them, and sources with a quantisation or a dtype
        ("cria:int8", "./folder:bfloat16"); a loaded one with an adapter or without any ("cria+persona",
        "cria+off"). Default the current model.
    seeds
        How many: 3 stands for the seeds 1, 2 and 3, so that the same call gives the same answers again. Or a
        list of seeds. Greedy decoding is done once, since seeds change nothing there.
    system
        The system prompt of all cells.
    reference
        The number of the cell that the others are compared with. Cells are numbered row by row; without it
        each cell is compared with the first one of its row.
    **sampling
        Parameters of `Sampling`, or `preset`. What is given as a list (`temperature=[0, 0.7]`) is varied: the
        grid is the product of all lists. Answers have at most 128 tokens unless `max_tokens` says otherwise.

    Returns
    -------
    Comparison
        When an interrupt or `Comparison.stop` ended it, with what was done by then.

    Raises
    ------
    MessageError, SamplingError, PresetError, LoadError
        If something asked for cannot be; nothing is sent then.
    LlamaError
        If no cell could be answered: the first one's error.
    """
    question = read_question(message, system)
    grid = read_grid(models, seeds, sampling, reference)
    comparison = Comparison(question.text, question.system, grid)
    run = _Run(comparison, message, system, grid.slots)
    with interrupt_stops(comparison.stop_flag):
        run.answer(grid.subjects)
    failed = [cell.error for cell in comparison if cell.error is not None]
    if failed and not comparison.stopped and not any(cell.answered for cell in comparison):
        raise failed[0]
    return comparison


class _Run:
    """A comparison on its way."""

    def __init__(
        self, comparison: Comparison, message: Asked, system: str | None, slots: Sequence[Slot]
    ) -> None:
        self._comparison, self._message, self._system = comparison, message, system
        self._variants = {slot.number: slot.variant for slot in slots}
        self._adapters = {slot.number: slot.subject.adapter for slot in slots}
        self._flag = comparison.stop_flag
        self._divergences = Divergences(comparison.cells, self._flag)

    def answer(self, subjects: Sequence[Subject]) -> None:
        """Answer all cells, a model after the other, that of the references first."""
        publish(ComparisonChanged(self._comparison))
        referred = {cell.reference.model for cell in self._comparison if cell.reference is not None}
        try:
            for subject in sorted(subjects, key=lambda subject: subject.label not in referred):
                if self._flag.is_set():
                    break
                self._ask(subject, [cell for cell in self._comparison if cell.model == subject.label])
        finally:
            self._end()

    def _ask(self, subject: Subject, cells: Sequence[Cell]) -> None:
        try:
            with self._model(subject, cells) as model:
                self._divergences.know(subject.label, model)
                if not model.engine.has_chat_template:
                    unused = " The system prompt is not used." if self._system else ""
                    self._note(f"{subject.label} is a base model: it goes on with the text.{unused}")
                for cell in cells:
                    if not self._flag.is_set():
                        self._write(cell, model)
                self._divergences.measure(subject.label, model, self._measuring)
                for cell in cells:
                    if cell.state == "measuring":
                        self._change(cell, "done")
        except LoadCancelled as cancelled:
            self._flag.set(str(cancelled))
        except LlamaError as error:
            self._fail(cells, error)
        except Exception as error:  # noqa: BLE001 - it ends this model's cells and not the others'
            _log.exception("%s cannot be compared", subject.label)
            self._fail(cells, EngineError(redact(f"{type(error).__name__}: {error}".rstrip(": "))))

    def _write(self, cell: Cell, model: Model) -> None:
        """Answer one cell; what goes wrong is the cell's."""
        options = dict(self._variants[cell.number].options)
        if cell.seed is not None:
            options["seed"] = cell.seed
        if "max_tokens" not in {**options, **get_sampling_overrides()}:
            options["max_tokens"] = min(LONGEST, model.sampling.max_tokens or LONGEST)
        try:
            adapter = self._adapters[cell.number]
            stream = TokenStream(model.one_off(self._message, self._system, options, adapter))
            cell.reply = stream.reply
            self._flag.follow(cell.reply)
            running = model.engine.busy()
            cell.detail = f"waits for {running}" if running is not None else ""
            self._change(cell, "writing")
            for _ in stream:
                cell.detail = ""
                publish(ComparisonChanged(self._comparison, cell))
            self._change(cell, "done")
        except LlamaError as error:
            self._fail([cell], error)
        finally:
            self._flag.follow(None)
        finish = cell.reply.finish if cell.reply is not None else None
        if finish is not None and finish.reason == "stopped":
            # The engine takes interrupts for itself while it waits for a token.
            self._flag.set(finish.detail or "stopped")

    @contextlib.contextmanager
    def _model(self, subject: Subject, cells: Sequence[Cell]) -> Iterator[Model]:
        """The loaded model, or one that is loaded for the time of the block."""
        if subject.model is not None:
            yield subject.model
            return
        for cell in cells:
            self._change(cell, "loading")
        with events.captured(_Loading(cells, self._change, self._note)):
            engine, loaded = open_beside(
                subject.source,
                self._flag,
                device=subject.device,
                dtype=subject.dtype,
                quant=subject.quant,
                name=subject.label,
            )
        model = Model(subject.label, engine, loaded, source=subject.source)
        for cell in cells:
            cell.detail = ""
            self._change(cell, "waiting")
        try:
            yield model
        finally:
            model.unload(force=True)

    def _measuring(self, cells: Sequence[Cell]) -> None:
        for cell in cells:
            if cell.state == "done":
                self._change(cell, "measuring")

    def _fail(self, cells: Sequence[Cell], error: LlamaError) -> None:
        for cell in cells:
            if cell.state not in ("measuring", "done", "failed"):
                cell.error, cell.detail = error, ""
                self._change(cell, "failed")

    def _end(self) -> None:
        for cell in self._comparison:
            if cell.state not in ("done", "failed"):
                cell.state, cell.detail = "skipped", ""
        self._note(_own_defaults(self._comparison.cells))
        self._comparison.done = True
        publish(ComparisonChanged(self._comparison))

    def _note(self, sentence: str) -> None:
        if sentence and sentence not in self._comparison.notes:
            self._comparison.notes.append(sentence)

    def _change(self, cell: Cell, state: State) -> None:
        cell.state = state
        publish(ComparisonChanged(self._comparison, cell))


class _Loading:
    """Watches a load for the cells that wait for it."""

    def __init__(
        self,
        cells: Sequence[Cell],
        change: Callable[[Cell, State], None],
        note: Callable[[str], None],
    ) -> None:
        self._cells, self._change, self._note = cells, change, note
        self._due = 0.0

    def __call__(self, event: events.Event) -> None:
        if isinstance(event, events.Note):
            self._note(event.text)
        elif isinstance(event, events.Progress) and time.monotonic() >= self._due:
            self._due = time.monotonic() + _TELL_EVERY_S
            share = f" {event.done / event.total:.0%}" if event.total else ""
            for cell in self._cells:
                cell.detail = f"{event.what}{share}"
                self._change(cell, "loading")


def _own_defaults(cells: Sequence[Cell]) -> str:
    """Say so where models sample differently because their own defaults do."""
    found: dict[str, set[tuple[str, Any]]] = {name: set() for name in _RANGES}
    for cell in cells:
        if cell.sampling is None or "preset" in cell.options:
            continue
        for name in _RANGES:
            if name not in cell.options:
                found[name].add((cell.model, getattr(cell.sampling, name)))
    differing = {name: pairs for name, pairs in found.items() if len({value for _, value in pairs}) > 1}
    if not differing:
        return ""
    said = "; ".join(
        f"{name} {', '.join(f'{value:g} ({model})' for model, value in sorted(pairs))}"
        for name, pairs in differing.items()
    )
    return f"By their own defaults the models sample differently: {said}."
