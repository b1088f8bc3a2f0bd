"""How a model's attention is captured: what is read, whether there is room, and the work on its worker.

Knows models and readings; what is captured and what can be asked of it is `interpret`'s business.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import FitError, MessageError
from llama_nb.core.intervention import names
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import size
from llama_nb.runtime.devices import available_memory
from llama_nb.session.ablating import active
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.known_traces import identify
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading
from llama_nb.session.reading_progress import ReadingProgress

if TYPE_CHECKING:
    from llama_nb.interpret.attention import AttentionTrace
    from llama_nb.interpret.attention_layer import CapturedAttention
    from llama_nb.session.model import Model

_WHAT: Final = "reading the attention"

Layers = Sequence[int] | str


def capture(
    model: "Model",
    readings: Sequence[Reading],
    *,
    layers: Layers = "all",
    offload: bool = False,
    stop: StopFlag | None = None,
) -> "list[AttentionTrace]":
    """Return one trace a reading; several go through the model side by side. See `Looker.attention`."""
    engine, fingerprint, off = model.engine, model.fingerprint, active(model)
    tokens = max(map(len, readings)) * len(readings)
    progress = ReadingProgress(_WHAT, tokens)

    def work(module: Any, stopped: Any) -> "list[CapturedAttention]":
        from llama_nb.engines.batch import batchable
        from llama_nb.interpret.capture import (
            attention_cost,
            capture_attention,
            capture_batch,
            find_layers,
            padded,
        )
        from llama_nb.interpret.interventions import applied

        chosen = find_layers(module, layers)
        cost = attention_cost(module, tokens, chosen)
        check_room(cost, tokens, len(chosen), str(module.device), offload=offload)
        how: dict[str, Any] = {
            "layers": chosen,
            "stopped": stopped,
            "told": progress.told,
            "offload": offload,
        }
        if len(readings) > 1 and not off and batchable(module, max(map(len, readings))):
            return capture_batch(module, *padded([reading.ids for reading in readings]), **how)
        found = []
        for reading in readings:  # a part at its mean has another mean in every text
            with applied(module, off, prompt=reading.ids[: reading.prompt], stopped=stopped):
                found.append(capture_attention(module, reading.ids, **how))
        return found

    flag = stop or StopFlag()
    with interrupt_stops(flag), progress:
        found = measured(engine, flag, work, _WHAT)
    return [
        trace_of(reading, captured, model=model.name, fingerprint=fingerprint, off=names(off))
        for reading, captured in zip(readings, found, strict=True)
    ]


def trace_of(
    reading: Reading, captured: "CapturedAttention", *, model: str, fingerprint: str, off: str = ""
) -> "AttentionTrace":
    """Return what was captured of a reading, with its tokens."""
    from llama_nb.interpret.attention import AttentionTrace

    trace = AttentionTrace(
        captured,
        model=model,
        fingerprint=fingerprint,
        title=reading.title,
        ids=reading.ids,
        texts=reading.texts,
        special=reading.special,
        prompt=reading.prompt,
        off=off,
    )
    identify(trace)  # from now on an explorer of another one can be asked to compare with it
    return trace


def check_room(cost: int, tokens: int, layers: int, device: str, *, offload: bool = False) -> None:
    """Raise FitError if `cost` bytes of queries and keys are more than half of what is free."""
    if offload:
        free, where = _free_disk(), "in the temporary folder"
    else:
        free, where = available_memory(device), "of memory"
    if 2 * cost <= free:
        return
    options = [] if layers == 1 else ["fewer layers (layers=[0, 1])"]
    options += ["a shorter text", *(() if offload else ("offload=True, which keeps them in files",))]
    raise FitError(
        f"The queries and keys of {tokens:,} tokens on {layers} layers are {size(cost)}; {size(free)} "
        f"{where} are free, and half of that may be used.",
        f"What helps: {', '.join(options)}.",
    )


def _free_disk() -> int:
    import shutil
    import tempfile

    return shutil.disk_usage(tempfile.gettempdir()).free


def check_texts(texts: Sequence[object]) -> list[str]:
    """Return a list of texts as it is.

    Raises
    ------
    MessageError
        If it is empty, or one of them is no text.
    """
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise MessageError(f"texts[{index}] is a {type(text).__name__}, not text.")
    if not texts:
        raise MessageError("There are no texts to look at.")
    return [text for text in texts if isinstance(text, str)]
