"""What each method of quantisation costs a model, measured on a text: bytes, speed, quality, errors.

The reference is the model as it is loaded without quantisation; every method is loaded from the same source
beside it, measured, and given back. How figures are computed is interpret's, how they are shown is render's.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llama_nb.core.errors import LoadCancelled, LoadError, MessageError, Stopped, UnsupportedError
from llama_nb.core.events import Progress, publish, quiet
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.session import registry
from llama_nb.session.ablating import refuse_in_block
from llama_nb.session.beside import given_back, open_beside
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured
from llama_nb.session.model import Model
from llama_nb.session.quantisation_report import Difference, Measured, QuantisationReport

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.interpret.quality import TextQuality
    from llama_nb.loading.weights import Loaded

TOKENS: Final = 1024
CONTINUATION: Final = 48
_LONGEST_START: Final = 256
HALF: Final = "bfloat16"
_WORK: Final = "Measuring each method"
_SHOWN: Final = 12  # tokens of each text where greedy decoding parts

T = TypeVar("T")


def compare_quantisations(
    text: str,
    model: Model | None = None,
    methods: Sequence[str] | None = None,
    *,
    tokens: int = TOKENS,
    continuation: int = CONTINUATION,
    stop: StopFlag | None = None,
) -> QuantisationReport:
    """Measure what each method of quantisation costs `model` on `text`.

    Parameters
    ----------
    text
        What the models read; the more it is like your own texts, the more the figures say.
    model
        A loaded model; default the current one. Where it is quantised itself, the reference is loaded
        beside it in bfloat16.
    methods
        Names of `--quant`, and "bfloat16"; default all that run here.
    tokens
        How many tokens of the text are read at most.
    continuation
        How many tokens greedy decoding writes after the first half of the text.
    stop
        Ends the work; what was measured by then is in the report. An interrupt does so, too.

    Raises
    ------
    Stopped
        If it was stopped before the reference was measured.
    MessageError
        If the text has fewer than four tokens.
    LoadError
        If a method is unknown.
    """
    model = model or registry.current()
    if not model.engine.capabilities.introspect:
        raise UnsupportedError(
            f"Comparing quantisations needs the weights of {model.name}, which are not in this kernel.",
            "Load it here: %llama load ...",
        )
    refuse_in_block(model, "Comparing quantisations")
    flag = stop or StopFlag()
    wanted = _methods(methods, model)
    ids = model.engine.prompt(Request(text)).ids[: min(tokens, model.context)] if text else ()
    if len(ids) < 4:
        raise MessageError(
            f"The text has {len(ids)} tokens, too few to measure anything.",
            "A paragraph is a good beginning.",
        )
    with interrupt_stops(flag), _reference(model, flag) as (engine, loaded):
        bench = _Bench(engine, loaded, ids, continuation, flag)
        rows = [bench.reference()]
        refused: list[tuple[str, str]] = []
        for number, method in enumerate(wanted):
            if flag.is_set():
                break
            publish(Progress(_WORK, number, len(wanted), "methods"))
            try:
                rows.append(bench.measure(method, model.source))
            except (LoadCancelled, Stopped):
                break
            except LoadError as error:
                refused.append((method, error.message))
        publish(Progress(_WORK, len(rows) - 1, len(wanted), "methods", ended=True))
    return QuantisationReport(
        model=model.name,
        reference=rows[0].method,
        tokens=len(ids),
        start=len(bench.start),
        continuation=continuation,
        rows=tuple(rows),
        refused=tuple(refused),
        stopped=flag.is_set(),
    )


class _Bench:
    """The reference, the tokens, and what is measured of each candidate."""

    def __init__(
        self, engine: "Engine", loaded: "Loaded", ids: Sequence[int], continuation: int, flag: StopFlag
    ) -> None:
        self._engine, self._loaded, self._flag = engine, loaded, flag
        self._ids = tuple(ids)
        self.start = self._ids[: min(max(1, len(ids) // 2), _LONGEST_START)]
        self._sampling = Sampling(temperature=0, max_tokens=continuation)
        self._written, self._speed = self._decode(engine)

    def reference(self) -> Measured:
        """Return the reference's own row."""
        loaded = self._loaded
        return Measured(loaded.dtype, loaded.bytes, self._speed, self._quality(loaded.module), None)

    def measure(self, method: str, source: str) -> Measured:
        """Load the model by `method`, measure it and give it back; LoadError says why it cannot be loaded."""
        from llama_nb.interpret import weight_error
        from llama_nb.loading.quantize.dequantise import dequantised

        with _loaded(source, self._loaded, method, self._flag) as (engine, loaded):
            written, speed = self._decode(engine)
            matrices = self._examine(
                lambda reference, stopped: weight_error.compare(
                    loaded.module, reference, dequantised, stopped
                )
            )
            return Measured(
                method=method,
                bytes=loaded.bytes,
                tokens_per_s=speed,
                quality=self._quality(loaded.module),
                difference=self._difference(written),
                matrices=matrices,
                notes=loaded.quant_notes,
            )

    def _quality(self, module: Any) -> "TextQuality":
        from llama_nb.interpret.quality import measure

        def work(reference: Any, stopped: Callable[[], str | None]) -> "TextQuality":
            found: TextQuality = measure(module, reference, self._ids, stopped)
            return found

        return self._examine(work)

    def _examine(self, work: Callable[[Any, Callable[[], str | None]], T]) -> T:
        """Run `work` on the reference's worker: nothing else runs on the model meanwhile."""
        return measured(self._engine, self._flag, work, "a measurement")

    def _decode(self, engine: "Engine") -> tuple[tuple[int, ...], float | None]:
        """Return what greedy decoding writes after the start, and its tokens per second."""
        request = Request(self.start, self._sampling, alternatives=0, purpose="a measurement")
        flag = StopFlag()
        events = list(engine.stream(request, flag))
        finish = events[-1].finish if events else None
        if finish is not None and finish.reason == "stopped":
            self._flag.set(flag.reason)
        usage = finish.usage if finish is not None else None
        written = tuple(event.id for event in events if event.id is not None)
        if usage is None or usage.first_token_s is None or len(written) < 2:
            return written, None
        return written, (len(written) - 1) / max(usage.total_s - usage.first_token_s, 1e-9)

    def _difference(self, written: tuple[int, ...]) -> Difference | None:
        from llama_nb.interpret.difference import first_difference

        place = first_difference(written, self._written)
        if place is None:
            return None
        texts = (
            "".join(self._engine.token_texts(ids[place : place + _SHOWN])) for ids in (written, self._written)
        )
        return Difference(place, *texts)


@contextlib.contextmanager
def _reference(model: Model, flag: StopFlag) -> "Iterator[tuple[Engine, Loaded]]":
    """The model itself where it is not quantised, else its source in bfloat16, for the time of the block."""
    if model.quant is None:
        yield model.engine, model.loaded
        return
    with _loaded(model.source, model.loaded, HALF, flag) as pair:
        yield pair


@contextlib.contextmanager
def _loaded(source: str, like: "Loaded", method: str, flag: StopFlag) -> "Iterator[tuple[Engine, Loaded]]":
    """`source` loaded by `method` where `like` lies, outside of the registry, for the time of the block."""
    dtype, quant = (HALF, None) if method == HALF else ("auto", method)
    with quiet():  # what is loaded and dropped again is nobody's news
        pair = open_beside(source, flag, device=like.device, dtype=dtype, quant=quant)
    with given_back(pair):
        yield pair


def _methods(asked: Sequence[str] | None, model: Model) -> tuple[str, ...]:
    """What to measure: what was asked; else every method, and bfloat16 where the model is not so loaded."""
    from llama_nb.loading import quantize

    if asked is None:
        half = () if model.quant is None and model.dtype in (HALF, "float16") else (HALF,)
        return (*half, *quantize.names())
    names = tuple(dict.fromkeys(asked))
    for name in names:
        if name != HALF:
            quantize.find(name)
    return names
