"""The adapters of a loaded model, as a user has them: switched, mixed, saved, loaded and looked at.

Everything is done on the model's worker, between replies and between the steps of a training, and makes the
chats' caches invalid. What an adapter is in a module, and in a file, `tuning` knows.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from llama_nb.core.adapter import mix_label, read_mix
from llama_nb.core.errors import AdapterError, Stopped, UnsupportedError
from llama_nb.core.events import Note, publish
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Adaptable
from llama_nb.session.generation import interrupt_stops

if TYPE_CHECKING:
    from llama_nb.session.handle import Handle
    from llama_nb.session.merging import Merged
    from llama_nb.session.update_view import UpdateView
    from llama_nb.tuning.adapter_facts import AdapterFacts, Origin
    from llama_nb.tuning.adapters import AdapterSet

FOLDER: Final = "adapters"  # where they are saved, in the current folder, unless another is named

T = TypeVar("T")


class Adapters:
    """The adapters of a model: `m.adapters`. As the last line of a cell it shows which there are.

    Parameters
    ----------
    model
        The model that has them.
    """

    def __init__(self, model: "Handle") -> None:
        self._model = model

    # --- which there are ----------------------------------------------------------------------------

    @property
    def model_name(self) -> str:
        """What the model is called."""
        return self._model.name

    @property
    def names(self) -> tuple[str, ...]:
        """The adapters in the model, in the order in which they came."""
        found = self._there()
        return () if found is None else found.names

    @property
    def active(self) -> dict[str, float]:
        """The weight of each adapter that answers; {} for the base alone."""
        found = self._there()
        return {} if found is None else found.active

    @property
    def label(self) -> str:
        """What answers, as one writes it: "persona", "a:0.7 b:0.3", "" for the base alone."""
        return mix_label(self.active)

    def list(self) -> "tuple[AdapterFacts, ...]":
        """Return what each adapter is: method, rank, layers, how many numbers."""
        found = self._there()
        return () if found is None else tuple(found.facts(name) for name in found.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    # --- what answers -------------------------------------------------------------------------------

    def use(self, name: str) -> "Adapters":
        """Have one adapter answer from now on.

        Raises
        ------
        AdapterError
            If there is none of this name.
        """
        return self.mix({name: 1.0})

    def off(self) -> "Adapters":
        """Have the base alone answer from now on; the adapters stay, switched off."""
        if self._there() is not None:
            self._switch({})
        return self

    def mix(self, weights: Mapping[str, float] | str | None = None, /, **named: float) -> "Adapters":
        """Have several adapters answer together: the sum of their updates, each times its weight.

        Parameters
        ----------
        weights
            By name, or written "a:0.7 b:0.3".

        Raises
        ------
        AdapterError
            If there is no such adapter, a weight is out of its range, or a DoRA is among several.
        """
        given = read_mix(weights.split()) if isinstance(weights, str) else {**(weights or {}), **named}
        if not given:
            raise AdapterError("There is nothing to mix.", 'm.adapters.mix("a:0.7 b:0.3")')
        self._switch(given)
        return self

    # --- files --------------------------------------------------------------------------------------

    def save(self, name: str | None = None, folder: str | Path | None = None) -> Path:
        """Write an adapter in peft's format and return the folder; default `adapters/NAME`.

        Parameters
        ----------
        name
            Which one; default the one that is on, else the only one.

        Raises
        ------
        AdapterError
            If it is not clear which one, the folder holds something else, or the disk has no room.
        """
        from llama_nb.tuning.adapter_file import save_adapter

        name = self.one(name)
        place = Path(folder) if folder is not None else Path(FOLDER) / name
        return self.do(lambda adapters: save_adapter(place, adapters, name), f"saving {name}", changes=False)

    def load(
        self, source: str | Path, name: str | None = None, *, force: bool = False, use: bool = True
    ) -> str:
        """Put an adapter from a file into the model, switch it on, and return its name.

        Parameters
        ----------
        source
            A folder in peft's format, a run (its folder or its name), or a hub id.
        name
            What to call it; default what its files say.
        force
            Put it on even if it was trained on other weights.
        use
            Switch it on; else it is there, and off.

        Raises
        ------
        AdapterError
            If there is none, it belongs to other weights, does not fit, or another one has its name.
        LoadError
            If the hub cannot be reached, or does not have it.
        """
        from llama_nb.tuning.adapter_file import is_same, put_in, read_adapter
        from llama_nb.tuning.adapter_source import find_adapter

        self._model.adapter_set()  # says so before anything is downloaded if there can be none
        flag = StopFlag()
        with interrupt_stops(flag):
            found = find_adapter(source, flag)
        file = read_adapter(found.folder)
        chosen = name or file.name or found.name

        def work(adapters: "AdapterSet") -> list[str]:
            if chosen in adapters.names and is_same(file, adapters, chosen):
                notes = [f"{chosen} is in the model already."]
            else:
                notes = put_in(file, adapters, chosen, force=force)
            if use:
                adapters.use(chosen)
            return notes

        for note in (*found.notes, *self.do(work, f"loading {chosen}")):
            publish(Note(note))
        return chosen

    def delete(self, name: str) -> "Adapters":
        """Take an adapter out of the model; files of it stay.

        Raises
        ------
        AdapterError
            If there is none of this name, or it is being trained.
        """
        self.do(lambda adapters: adapters.delete(name), f"taking {name} out")
        return self

    def merge(self, folder: str | Path, name: str | None = None, *, stop: StopFlag | None = None) -> "Merged":
        """Write a model of its own: the unquantised base with an adapter in its weights.

        Parameters
        ----------
        folder
            Where to; it must not exist yet.
        name
            Which adapter; default what is on, a mix as it is.

        Returns
        -------
        Merged
            The folder, and how far its logits are from those of the base with the adapter on.

        Raises
        ------
        AdapterError
            If there is nothing to merge, the base is stored quantised, or the disk has no room.
        """
        from llama_nb.session.merging import merge

        return merge(self._model, Path(folder), name, stop or StopFlag())

    def push(self, repo: str, name: str | None = None, *, private: bool = True) -> str:
        """Upload an adapter to the hub and return its address.

        Parameters
        ----------
        repo
            "you/persona"; it is made if there is none, and only you see it unless `private` is False.

        Raises
        ------
        AdapterError
            If there is no network, no log-in (`%llama login`), or the hub refuses.
        """
        from llama_nb.tuning.adapter_hub import push_folder

        name = self.one(name)
        with tempfile.TemporaryDirectory() as place:
            folder = self.save(name, Path(place) / "adapter")
            return push_folder(repo, folder, private=private)

    def look(self, name: str | None = None) -> "UpdateView":
        """Return how large an adapter's update is in each layer, and how many directions it takes.

        It is computed from the small matrices: the update itself is never made.
        """
        from llama_nb.session.update_view import look

        name = self.one(name)
        return self.do(lambda adapters: look(self._model, adapters, name), f"a look at {name}", changes=False)

    # --- inside -------------------------------------------------------------------------------------

    def one(self, name: str | None) -> str:
        """Return the adapter that is meant: `name`, else the one that is on, else the only one.

        Raises
        ------
        AdapterError
            If there is none, or it is not clear which.
        """
        if name is not None:
            self._model.adapter_set().key(name)
            return name
        for meant in (tuple(self.active), self.names):
            if len(meant) == 1:
                return meant[0]
        if not self.names:
            raise AdapterError(
                f"{self._model.name} has no adapters.",
                "Train one: %llama train data.jsonl; or load one: %llama adapter load runs/NAME",
            )
        raise AdapterError("Which adapter?", f"There are: {', '.join(self.names)}.")

    def do(self, work: "Callable[[AdapterSet], T]", purpose: str, *, changes: bool = True) -> T:
        """Run `work` with the adapters on the model's worker and return its result.

        Raises
        ------
        Stopped
            If it was interrupted before it began.
        """
        model = self._model
        adapters = model.adapter_set()
        engine = adaptable(model)
        done: list[T] = []

        def on_worker(_module: Any, _stopped: Any) -> bool:
            try:
                done.append(work(adapters))
            finally:
                if changes:
                    engine.raise_state()
            return True

        flag = StopFlag()
        with interrupt_stops(flag):
            model.engine.examine(on_worker, purpose, flag)
        if not done:
            raise Stopped(f"{purpose[0].upper()}{purpose[1:]} was stopped before it began.")
        return done[0]

    def _switch(self, weights: Mapping[str, float]) -> None:
        self.do(lambda adapters: adapters.mix(weights), "switching adapters")

    def _there(self) -> "AdapterSet | None":
        return self._model.adapter_set() if self._model.has_adapters else None

    # --- how it is shown ----------------------------------------------------------------------------

    def to_record(self) -> dict[str, Any]:
        """Return the table as JSON values."""
        found = self._there()
        return {
            "model": self._model.name,
            "label": self.label,
            "rows": [] if found is None else _rows(found),
        }

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        from llama_nb.render.adapters import bundle

        return bundle(self.to_record())

    def __repr__(self) -> str:
        return str(self._repr_mimebundle_()["text/plain"])


def adaptable(model: "Handle") -> Adaptable:
    """Return a model's engine as one whose module can have adapters; UnsupportedError if it cannot."""
    engine = model.plain_engine
    if not isinstance(engine, Adaptable) or not engine.capabilities.train:
        raise UnsupportedError(
            f"{model.name} can have no adapters here: its weights are not in this kernel.",
            "Load a model into it: %llama load cria",
        )
    return engine


def adapters_said(weights: Mapping[str, float], names: Iterable[str]) -> str:
    """Return a few words for a model's repr: "no adapters", "adapter persona", "2 adapters, off"."""
    names = tuple(names)
    if not names:
        return "no adapters"
    if not weights:
        return f"adapter {names[0]} (off)" if len(names) == 1 else f"{len(names)} adapters (off)"
    return f"{'adapter' if len(weights) == 1 else 'adapters'} {mix_label(weights)}"


def _rows(found: "AdapterSet") -> list[dict[str, Any]]:
    active = found.active
    rows = []
    for name in found.names:
        facts = found.facts(name)
        rows.append(
            {
                "name": name,
                "weight": active.get(name),
                "training": name == found.trained,
                "method": {"lora": "LoRA", "dora": "DoRA", "rslora": "rsLoRA"}[facts.method],
                "rank": facts.rank,
                "alpha": facts.alpha,
                "target": list(facts.target),
                "layers": facts.layers,
                "parameters": facts.parameters,
                "from": _whence(found.origin(name)),
            }
        )
    return rows


def _whence(origin: "Origin") -> str:
    if origin.run:
        return f"run {origin.run}"
    return "a file" if origin.folder else "made here"
