"""How a model's routing is captured: what is read, whether there is room, and the work on its worker.

Knows models and readings; what is captured and what can be asked of it is `interpret`'s business.
"""

import contextlib
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.errors import FitError, MessageError
from llama_nb.core.intervention import Intervention, names
from llama_nb.core.mixture import no_experts
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import size
from llama_nb.runtime.devices import available_memory
from llama_nb.session.ablating import active
from llama_nb.session.chat import Chat
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured
from llama_nb.session.reading import Reading, check_weights, find_reading
from llama_nb.session.reading_progress import OnProgress, ReadingProgress
from llama_nb.session.reply import Reply
from llama_nb.session.routing_texts import read_corpus, read_table

if TYPE_CHECKING:
    from llama_nb.interpret.mixture import Mixture
    from llama_nb.interpret.passages import Passages
    from llama_nb.interpret.routing import RoutingTrace
    from llama_nb.interpret.routing_file import About
    from llama_nb.session.model import Model

_WHAT: Final = "reading the routing"
_LOGITS: Final = 64_000_000  # bytes of logits that are kept unasked


def capture(
    model: "Model",
    given: Any,
    *,
    chat: str | None = None,
    label: str | None = None,
    column: str | None = None,
    keep_logits: bool | None = None,
    path: str | Path | None = None,
    on_progress: OnProgress | None = None,
    stop: StopFlag | None = None,
) -> "RoutingTrace":
    """Return the experts that something went through; see `Looker.routing`."""
    mixture = wanted_mixture(model)
    work = _Work(model, mixture, path, on_progress, stop or StopFlag())
    if _is_table(given):
        texts, labels = read_table(given, column, label)
    elif isinstance(given, list | tuple) or type(given).__name__ == "Series":
        texts, labels = list(given), None
    else:
        _check_kind(given)
        reading = find_reading(model, given, chat=chat, what="routing")
        _refuse_columns(column, label)
        return work.text(reading, keep_logits=keep_logits)
    if chat is not None:
        raise MessageError("routing: there are texts, and a chat.", "Give one of them.")
    if labels is None:
        _refuse_columns(column, label)
    return work.corpus(read_corpus(model.engine, texts, labels), keep_logits=keep_logits)


def wanted_mixture(model: "Model") -> "Mixture":
    """Return what kind of mixture a model is.

    Raises
    ------
    UnsupportedError
        If its weights are not in this kernel, it has no experts, or its routers are not known.
    """
    check_weights(model.engine, "routing")
    from llama_nb.interpret.mixture import mixture_of

    found = mixture_of(model.loaded.module)
    if found is None:
        raise no_experts(model.name)
    return found


def chosen_count(off: Sequence[Intervention], mixture: "Mixture") -> int:
    """Return how many experts each token goes through, with what is changed."""
    return next((each.top_k for each in off if each.top_k is not None), mixture.top_k)


class _Work:
    """One call: what of the model is changed meanwhile, where the trace goes, who hears, who may stop it."""

    def __init__(
        self,
        model: "Model",
        mixture: "Mixture",
        path: str | Path | None,
        on_progress: OnProgress | None,
        flag: StopFlag,
    ) -> None:
        self._model, self._mixture, self._flag = model, mixture, flag
        self._off = active(model)
        self._top_k = chosen_count(self._off, mixture)
        self._path, self._on_progress = path, on_progress
        self._fingerprint = model.fingerprint
        if path is not None:
            from llama_nb.interpret.routing_file import check_target

            check_target(path, overwrite=False)

    def text(self, reading: Reading, *, keep_logits: bool | None) -> "RoutingTrace":
        """Capture one text; it stays in memory."""
        from llama_nb.interpret.passages import Passages
        from llama_nb.interpret.routing import Routing

        passages = Passages.of_text(reading.ids, reading.texts, reading.special)
        logits = self._logits(len(reading), keep_logits)
        self._check_memory(len(reading), logits=logits)
        progress = ReadingProgress(_WHAT, len(reading), self._on_progress)

        def work(module: Any, stopped: Callable[[], str | None]) -> Any:
            from llama_nb.engines.interventions import applied
            from llama_nb.interpret.routing_capture import capture_routing

            with applied(module, self._off, prompt=reading.ids[: reading.prompt], stopped=stopped):
                return capture_routing(
                    module,
                    reading.ids,
                    top_k=self._top_k,
                    keep_logits=logits,
                    stopped=stopped,
                    told=progress.told,
                )

        with interrupt_stops(self._flag), progress:
            captured = measured(self._model.engine, self._flag, work, _WHAT)
        routing = Routing(captured.routes, passages, captured.mass[None])
        trace = self._trace(routing, self._about(reading.title, reading.prompt))
        if self._path is not None:
            trace.save(self._path)
        return trace

    def corpus(self, passages: "Passages", *, keep_logits: bool | None) -> "RoutingTrace":
        """Capture many texts into a file, which goes with the trace unless it was given a name."""
        from llama_nb.interpret.routing_corpus import Corpus
        from llama_nb.interpret.routing_file import load_trace, writing

        tokens, texts = len(passages), len(passages.starts) - 1
        logits = self._logits(tokens, keep_logits)
        about = self._about("1 text" if texts == 1 else f"{texts:,} texts", tokens)
        corpus = Corpus(
            passages,
            keep_logits=logits,
            top_k=self._top_k,
            changed=self._changed if self._off else None,
            alone=any(each.mode == "mean" and not each.over for each in self._off),
        )
        progress = ReadingProgress(_WHAT, tokens, self._on_progress)
        with _target(self._path, self._bytes(tokens, logits=logits)) as target:
            with (
                interrupt_stops(self._flag),
                progress,
                writing(target, about, passages, self._top_k, logits) as file,
            ):
                mass: Any = 0
                for window in corpus.windows():

                    def work(module: Any, stopped: Any, window: range = window) -> Any:
                        return corpus.read(module, window, file, stopped)

                    mass = mass + measured(self._model.engine, self._flag, work, _WHAT)
                    progress.told(int(passages.starts[window.stop]), tokens)
                file.write_mass(mass)
            trace = load_trace(target)
            if self._path is None:
                _gone_with(trace, target)
        return trace

    def _changed(
        self, module: Any, ids: Sequence[int], stopped: Callable[[], str | None]
    ) -> contextlib.AbstractContextManager[None]:
        from llama_nb.engines.interventions import applied

        return applied(module, self._off, prompt=ids, stopped=stopped)

    def _about(self, title: str, prompt: int) -> "About":
        from llama_nb.interpret.routing_file import About

        return About(self._mixture, self._model.name, self._fingerprint, title, prompt, names(self._off))

    def _trace(self, routing: Any, about: "About") -> "RoutingTrace":
        from llama_nb.interpret.routing import RoutingTrace

        return RoutingTrace(
            routing,
            mixture=about.mixture,
            model=about.model,
            fingerprint=about.fingerprint,
            title=about.title,
            prompt=about.prompt,
            off=about.off,
        )

    def _logits(self, tokens: int, keep: bool | None) -> bool:
        """Whether the logits of all experts are kept."""
        return (
            tokens * len(self._mixture.layers) * self._mixture.experts * 4 <= _LOGITS
            if keep is None
            else keep
        )

    def _bytes(self, tokens: int, *, logits: bool) -> int:
        from llama_nb.interpret.routing_file import file_bytes

        return file_bytes(self._mixture, tokens, self._top_k, logits)

    def _check_memory(self, tokens: int, *, logits: bool) -> None:
        cost, free = self._bytes(tokens, logits=logits), available_memory("cpu")
        if 2 * cost > free:
            raise FitError(
                f"The routing of {tokens:,} tokens is {size(cost)}; {size(free)} of memory are free, and "
                "half of that may be used.",
                "What helps: a shorter text, or keep_logits=False.",
            )


@contextlib.contextmanager
def _target(path: str | Path | None, cost: int) -> Iterator[Path]:
    """Give the path that a trace is written to; one of its own in the temporary folder if it has no name."""
    import shutil

    folder = Path(tempfile.gettempdir()) if path is None else Path(path).expanduser().parent
    if folder.is_dir() and 2 * cost > (free := shutil.disk_usage(folder).free):
        raise FitError(
            f"The routing of these texts is {size(cost)}; {size(free)} of disk are free, and half of that "
            "may be used.",
            "What helps: fewer texts, or path= on another disk.",
        )
    if path is not None:
        yield Path(path).expanduser()
        return
    own = Path(tempfile.mkdtemp(prefix="llama-nb-routing-")) / "routing.safetensors"
    try:
        yield own
    except BaseException:
        shutil.rmtree(own.parent, ignore_errors=True)
        raise


def _gone_with(trace: "RoutingTrace", file: Path) -> None:
    """Have a trace's file deleted when nobody holds the trace; at once where a mapped file needs no name."""
    import shutil

    with contextlib.suppress(OSError):
        file.unlink()
    if file.exists():  # Windows keeps a mapped file
        weakref.finalize(trace, shutil.rmtree, file.parent, ignore_errors=True)
    else:
        file.parent.rmdir()


def _check_kind(given: Any) -> None:
    """Raise MessageError for what is nothing that can be read."""
    if given is not None and not isinstance(given, str | Reply | Chat):
        raise MessageError(
            f"routing looks at a text, a Reply or a Chat, not at {given!r:.40}.",
            'Many texts are a list or a DataFrame: m.routing(["Once upon a time", "2 + 2 = 4"])',
        )


def _is_table(given: Any) -> bool:
    return type(given).__name__ == "DataFrame" and hasattr(given, "columns")


def _refuse_columns(column: str | None, label: str | None) -> None:
    for name, value in (("column", column), ("label", label)):
        if value is not None:
            raise MessageError(
                f"{name}={value!r} names a column, and there is no table.", "Give a DataFrame with texts."
            )
