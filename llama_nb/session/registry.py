"""The models that are loaded, by name; one of them is current.

The only place that knows the order of loading: everything that can refuse does so before an old model of
the same name is given back, and before a byte of the new one's weights is read.
"""

import atexit
import contextlib
import inspect
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Never

from llama_nb.core.errors import LlamaError, LoadError, did_you_mean
from llama_nb.core.events import ModelsChanged, Note, publish
from llama_nb.core.stop import StopFlag
from llama_nb.loading.turn import turn
from llama_nb.runtime import process
from llama_nb.session.model import Model
from llama_nb.session.record import recorder
from llama_nb.session.replay import find_replayed
from llama_nb.session.store import ChatFiles

_EXIT_WAIT_S: Final = 2.0  # the longest that the end of the interpreter waits for replies to stop

_models: dict[str, Model] = {}
_current: str | None = None
_lock = threading.RLock()


def load(
    source: str | Path,
    *,
    quant: str | None = None,
    dtype: str = "auto",
    device: str = "auto",
    context: int | None = None,
    name: str | None = None,
    force: bool = False,
    replay: str | Path | bool | None = None,
    stop: StopFlag | None = None,
    **unknown: Never,
) -> Model:
    """Load a model and make it the current one.

    Parameters
    ----------
    source
        A bundled name ("cria"), a folder in Hugging Face layout, or a hub id, which is downloaded or taken
        from the cache.
    quant
        A quantisation method ("int8", "nf4" ...), or "auto": plain weights if they fit, else the method that
        is closest to them. None: as they are stored.
    dtype
        "auto" (float32 for small models), "float32", "bfloat16" or "float16"; with a quantisation, that of
        what it leaves.
    device
        "auto", "cpu", "cuda" or "mps".
    context
        The longest sequence in tokens, to save memory; default the model's, or as much as fits.
    name
        What to call it; default the bundled name, the folder's name or the hub id. A model of that name is
        replaced: when the new one is there, or before its weights are read if memory is too short for both.
    force
        Stop what uses the model that is replaced.
    replay
        A file that `record` wrote (True: the notebook's own): its replies are played back, and the model is
        not needed. None: the file that the variable LLAMA_NB_REPLAY names, for the models that it holds.
    stop
        Ends the loading from another thread.

    Raises
    ------
    LoadError, FitError
        If it cannot be loaded, or an option is unknown; what was loaded before is as it was, unless a Note
        says that it had to go.
    RecordingError
        If what is to be played back is missing, or was recorded of a model that was loaded otherwise.
    LoadCancelled
        If `stop` was set.
    ModelBusy
        If a model that would be replaced is in use.
    """
    _refuse_options(unknown)
    process.prepare()
    from llama_nb.engines.registry import open_engine
    from llama_nb.loading.open import load_checked
    from llama_nb.loading.source import resolve
    from llama_nb.loading.weights import release

    with turn(stop, str(source)):
        played = find_replayed(source, replay, name=name, quant=quant, dtype=dtype, context=context)
        called = name or (played.checked if played is not None else resolve(source)).name
        old = _models.get(called)
        if old is not None and not force:
            old.check_idle(force=False)

        def give_back_old() -> None:
            if old is not None and old.alive:
                freed = old.unload(force=force)
                publish(Note(f"{called} was loaded before: replaced, {freed / 1e6:,.1f} MB given back."))

        with contextlib.ExitStack() as undo:
            undo.callback(_say_gone, old)
            loaded: Any = played
            if loaded is None:
                loaded = load_checked(
                    source,
                    dtype=dtype,
                    device=device,
                    quant=quant,
                    context=context,
                    name=called,
                    stop=stop,
                    spare=old.held if old is not None else 0,
                    make_way=give_back_old,
                )
                undo.callback(release, loaded)
            engine = open_engine(loaded)
            undo.callback(engine.close)
            model = Model(called, engine, loaded, source=str(source), journal=ChatFiles(), on_unload=_forget)
            give_back_old()
            undo.pop_all()
        with _lock:
            _models[called] = model
        use(called)
        return model


def _refuse_options(unknown: Iterable[str]) -> None:
    parameters = inspect.signature(load).parameters.values()
    known = [parameter.name for parameter in parameters if parameter.kind == parameter.KEYWORD_ONLY]
    for option in unknown:
        near = did_you_mean(option, known) or f"The options are {', '.join(known)}."
        raise LoadError(f"load has no option {option!r}.", near)


def _say_gone(old: Model | None) -> None:
    """After a load that failed: say so if the model that it was to replace had to go first."""
    if old is not None and not old.alive:
        publish(
            Note(f"{old.name} had been given back to make room. To load it again: %llama load {old.source}")
        )


def current() -> Model:
    """Return the current model.

    Raises
    ------
    LlamaError
        If none is loaded.
    """
    with _lock:
        if _current is None:
            raise LlamaError("No model is loaded.", "Load one: %llama load cria")
        return _models[_current]


def use(name: str) -> Model:
    """Make the loaded model called `name` the current one and return it."""
    global _current
    with _lock:
        model = find(name)
        _current = name
    publish(ModelsChanged())
    return model


def loaded() -> dict[str, Model]:
    """Return the loaded models by name."""
    with _lock:
        return dict(_models)


def find(name: str) -> Model:
    """Return the loaded model called `name`; LlamaError with the nearest name if there is none."""
    with _lock:
        if name in _models:
            return _models[name]
        there = f"Loaded: {', '.join(_models)}." if _models else f"Nothing is loaded: %llama load {name}"
        raise LlamaError(f"No loaded model is called {name!r}.", did_you_mean(name, _models) or there)


def loaded_of(fingerprint: str, name: str) -> Model | None:
    """Return a loaded model with these weights, the one of this name if it is among several."""
    same = [model for model in loaded().values() if model.alive and model.fingerprint == fingerprint]
    return next(iter([model for model in same if model.name == name] or same), None)


def unload(name: str | None = None, force: bool = False) -> int:
    """Unload a model (default the current one) and return how many bytes that gave back."""
    return (current() if name is None else find(name)).unload(force=force)


def stop_all(reason: str = "stopped") -> int:
    """Stop every reply that is being made or waits, and return how many those were."""
    return sum(model.stop(reason) for model in loaded().values())


def _forget(model: Model) -> None:
    global _current
    with _lock:
        if _models.get(model.name) is model:
            del _models[model.name]
        if _current == model.name and model.name not in _models:
            _current = next(reversed(_models), None)
    publish(ModelsChanged())


@atexit.register
def _stop_at_exit() -> None:
    """Stop the workers, so that the interpreter ends at once and cleanly."""
    models = list(loaded().values())
    recording = recorder()
    if recording is not None:
        recording.stop()
    for model in models:
        model.stop("the session ends")
    for model in models:
        for reply in model.active:
            reply.close_own_stream()
            reply.join(_EXIT_WAIT_S)
        with contextlib.suppress(Exception):
            model.engine.close()
