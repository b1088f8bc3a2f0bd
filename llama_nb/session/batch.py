"""Many prompts through one model: what is asked, what is there already, and the rows as they come.

How rows go side by side is the engine's business, the file of results that of `batch_file`.
"""

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import BatchError, LlamaError, MessageError
from llama_nb.core.events import Note, Progress, publish
from llama_nb.core.intervention import Intervention, names
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session.asking import check_text, read_question
from llama_nb.session.batch_file import BatchFile, prompt_key, sampling_key
from llama_nb.session.batch_result import BatchResult, BatchRow
from llama_nb.session.generation import interrupt_stops

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine

# The engine gets so many rows at a time: it keeps their tokens, and in between others get a turn.
_AT_ONCE: Final = 256


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt, read: what is sent, or why it cannot be."""

    shown: str
    input: tuple[Message, ...] | str | None
    error: str = ""

    @property
    def key(self) -> str | None:
        """Tells it from other prompts; None if there is nothing to send."""
        return prompt_key(self.input) if self.input is not None else None


def read_prompts(
    prompts: Iterable[Any], system: str | None, *, template: bool
) -> tuple[list[Asked], tuple[Any, ...] | None]:
    """Read texts, conversations or a pandas Series; return them with the Series' index.

    Without a chat `template` texts are sent as they are. What is wrong with one prompt is its row's error.

    Raises
    ------
    MessageError
        If there are none, or `prompts` is no collection.
    """
    if isinstance(prompts, str | bytes | Mapping) or not isinstance(prompts, Iterable):
        raise MessageError(
            f"A batch takes many prompts, not one {type(prompts).__name__}.",
            'Give a list: m.batch(["...", "..."]). For one message there is m.chat.',
        )
    if hasattr(prompts, "columns"):
        raise MessageError(
            "A batch takes one column, not a whole DataFrame.",
            f'Choose one: m.batch(data["{next(iter(prompts.columns), "column")}"]).',
        )
    index = tuple(prompts.index) if hasattr(prompts, "iloc") and hasattr(prompts, "index") else None
    asked = [_read(prompt, system, template=template) for prompt in prompts]
    if not asked:
        raise MessageError("There are no prompts: the data is empty.")
    return asked, index


def _read(prompt: Any, system: str | None, *, template: bool) -> Asked:
    if prompt is None or (isinstance(prompt, float) and math.isnan(prompt)) or str(prompt) in _EMPTY:
        return Asked("", None, "Nothing to send: the cell is empty.")
    if isinstance(prompt, int | float) or type(prompt).__module__ == "numpy":
        prompt = str(prompt)
    try:
        if not template and isinstance(prompt, str):
            check_text(prompt, "The text")
            return Asked(prompt, prompt or None, "" if prompt else "Nothing to send: the text is empty.")
        question = read_question(prompt, system)
        head = (Message("system", question.system),) if question.system else ()
        return Asked(question.text, (*head, *question.messages))
    except LlamaError as error:
        return Asked(prompt if isinstance(prompt, str) else "", None, error.message)


_EMPTY: Final = ("<NA>", "NaT")


def run_batch(
    engine: "Engine",
    asked: Sequence[Asked],
    sampling: Sampling,
    *,
    name: str,
    fingerprint: str,
    index: tuple[Any, ...] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    batch_size: int | None = None,
    stop: StopFlag | None = None,
    interventions: tuple[Intervention, ...] = (),
    adapter: str = "",
) -> BatchResult:
    """Answer every prompt that has no answer in `out` yet; an interrupt or `stop` keeps what is done.

    `adapter` names the adapters that are on, as one writes them.

    Raises
    ------
    BatchError
        If `out` is another batch's, or cannot be written.
    EngineError
        If the engine fails as a whole; what came before is in the file.
    """
    flag = stop or StopFlag()
    made_by = sampling_key(sampling, interventions, adapter)
    file = BatchFile(out, fingerprint, made_by, [each.key for each in asked]) if out else None
    rows = file.restore(overwrite=overwrite) if file is not None else {}
    run = _Run(engine, asked, sampling, file, rows, interventions)
    if run.restored:
        publish(Note(f"{run.restored:,} of {len(asked):,} rows are in the file already: not computed again."))
    if sampling.seed is not None and len(asked) > 1:
        publish(Note("With a seed, rows run one at a time: beside others their sums are rounded otherwise."))
    if interventions:
        publish(Note(f"While these are answered: {names(interventions)}. Rows run one at a time."))
    began = time.monotonic()
    with interrupt_stops(flag):
        try:
            run.answer(batch_size, flag)
        finally:
            if file is not None:
                file.flush()
    return BatchResult(
        model=name,
        rows=tuple(rows.get(row, BatchRow(row, each.shown)) for row, each in enumerate(asked)),
        index=index,
        seconds=time.monotonic() - began,
        restored=run.restored,
        computed_tokens=run.tokens,
        stopped=flag.is_set(),
        out=str(out) if out else None,
    )


class _Run:
    """The rows of one batch on their way."""

    def __init__(
        self,
        engine: "Engine",
        asked: Sequence[Asked],
        sampling: Sampling,
        file: BatchFile | None,
        rows: dict[int, BatchRow],
        interventions: tuple[Intervention, ...],
    ) -> None:
        self._interventions = interventions
        self._engine, self._asked, self._sampling, self._file = engine, asked, sampling, file
        self._rows = rows
        self._began = time.monotonic()
        self.restored = len(rows)
        self.tokens = 0

    def answer(self, batch_size: int | None, flag: StopFlag) -> None:
        waiting = []
        for row, each in enumerate(self._asked):
            if each.input is None:
                self._keep(BatchRow(row, each.shown, finish="error", error=each.error))
            elif row not in self._rows:
                waiting.append(row)
        self._tell()
        for start in range(0, len(waiting), _AT_ONCE):
            if flag.is_set():
                break
            self._stream(waiting[start : start + _AT_ONCE], batch_size, flag)
        self._tell(ended=True)

    def _stream(self, numbers: Sequence[int], batch_size: int | None, flag: StopFlag) -> None:
        purpose = f"a batch of {len(self._asked):,} prompts"
        requests = [
            Request(given, self._sampling, alternatives=0, interventions=self._interventions, purpose=purpose)
            for number in numbers
            if (given := self._asked[number].input) is not None
        ]
        texts: dict[int, list[str]] = {}
        for event in self._engine.stream_many(requests, flag, batch_size=batch_size):
            texts.setdefault(event.row, []).append(event.event.text)
            self.tokens += event.event.id is not None
            finish = event.event.finish
            if finish is None:
                continue
            number = numbers[event.row]
            text = "".join(texts.pop(event.row))
            if finish.reason == "stopped":
                continue  # half an answer is none: it is computed when the batch goes on
            error = event.error.message if event.error is not None else ""
            self._keep(
                BatchRow(
                    number,
                    self._asked[number].shown,
                    None if error else text,
                    finish.reason,
                    finish.usage.completion_tokens,
                    finish.seed,
                    error,
                )
            )
            self._tell()

    def _keep(self, row: BatchRow) -> None:
        self._rows[row.row] = row
        if self._file is not None:
            self._file.add(row)

    def _tell(self, *, ended: bool = False) -> None:
        spent = time.monotonic() - self._began
        speed = f"{self.tokens / spent:,.0f} tokens/s" if self.tokens and spent > 0 else ""
        total = len(self._asked)
        publish(
            Progress(
                f"Answering {total:,} prompts", len(self._rows), total, "rows", ended=ended, detail=speed
            )
        )


def check_size(batch_size: int | None) -> int | None:
    """Return `batch_size` if it can be one; raise BatchError else."""
    if batch_size is None or (
        isinstance(batch_size, int) and not isinstance(batch_size, bool) and batch_size > 0
    ):
        return batch_size
    raise BatchError(
        f"batch_size is {batch_size!r}.", "It is a whole number from 1; None lets the memory decide."
    )
