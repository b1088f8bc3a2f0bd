"""Merging an adapter: which, into what, and how far the result's logits are from the base with it on.

Writing the files is `tuning.merge`'s business.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from llama_nb.core.adapter import mix_label
from llama_nb.core.errors import FitError
from llama_nb.core.events import quiet
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import figure
from llama_nb.runtime.environment import detect
from llama_nb.session.beside import given_back, open_beside
from llama_nb.session.generation import interrupt_stops
from llama_nb.session.measuring import measured

if TYPE_CHECKING:
    from llama_nb.engines.base import Engine
    from llama_nb.session.handle import Handle
    from llama_nb.tuning.adapters import AdapterSet

_TEXTS: Final = (
    "Once upon a time there was a small village beside a river, and in it lived",
    "The capital of France is Paris. Two and three are five. Water is made of",
    "def add(left: int, right: int) -> int:\n    return left +",
)
_LONGEST: Final = 64  # tokens of each text
_AGREE: Final = 0.05  # what half-precision files round the logits of a float32 model to, and more


@dataclass(frozen=True)
class Merged:
    """A model with an adapter in its weights.

    Attributes
    ----------
    folder
        `llama_nb.load(folder)` loads it.
    adapter
        What was merged: "persona", "a:0.7 b:0.3".
    largest
        The largest difference between its logits and those of the unquantised base with the adapter on; None
        where there was no room to measure it. It comes from rounding the sums to the dtype of the files.
    same, tokens
        At how many of so many places the likeliest next token is the same.
    dtype
        What both computed in.
    """

    folder: Path
    adapter: str
    largest: float | None
    same: int
    tokens: int
    dtype: str

    def __repr__(self) -> str:
        place = self.folder if detect().watched else self.folder.name
        lines = [
            f"Merged {self.adapter} into {place}.",
            self._difference(),
            f"Load it: %llama load ./{place}",
        ]
        return "\n".join(line for line in lines if line).replace("./../", "../").replace(".//", "/")

    def _difference(self) -> str:
        if self.largest is None:
            return "There was no room to measure how far it is from the base with the adapter on."
        if not detect().watched:  # the digits depend on the machine
            said = "agree to" if self.largest <= _AGREE else "differ by more than"
            return f"Its logits and those of the base with the adapter on {said} {_AGREE:g}."
        return (
            f"Logits are off by {figure(self.largest)} at most from the base with the adapter on "
            f"({self.dtype}); the likeliest next token is the same at {self.same} of {self.tokens} places."
        )


def merge(model: "Handle", folder: Path, name: str | None, stop: StopFlag) -> Merged:
    """Write the unquantised base of `model` with its adapters in its weights; see `Adapters.merge`."""
    from llama_nb.tuning.adapter_file import FACTS
    from llama_nb.tuning.merge import check_base, take_updates, write_merged
    from llama_nb.tuning.whole_folder import written_whole

    weights = _chosen(model, name)
    label = mix_label(weights)
    updates = model.adapters.do(
        lambda adapters: take_updates(adapters, weights), f"taking {label}", changes=False
    )
    check_base(model.checked, updates)
    needed = model.checked.stored_bytes + model.checked.unread
    with (
        interrupt_stops(stop),
        written_whole(folder, f"the merged {model.name}", needed=needed, replaces=FACTS) as part,
    ):
        write_merged(model.checked, updates, part, stop)
        merged = _compared(model, part, weights, folder.expanduser(), stop)
        facts = {
            "schema": 1,
            "merged": dict(weights),
            "base": {"name": model.source, "fingerprint": model.fingerprint},
            "logits": {"largest": merged.largest, "same": merged.same, "tokens": merged.tokens},
        }
        (part / FACTS).write_text(f"{json.dumps(facts, indent=1)}\n", encoding="utf-8")
    return merged


def _chosen(model: "Handle", name: str | None) -> dict[str, float]:
    adapters = model.adapters
    if name is None and adapters.active:
        return adapters.active
    return {adapters.one(name): 1.0}


def _compared(
    model: "Handle", part: Path, weights: Mapping[str, float], folder: Path, stop: StopFlag
) -> Merged:
    label = mix_label(weights)
    ids = [model.engine.prompt(Request(text)).ids[:_LONGEST] for text in _TEXTS]
    tokens = sum(map(len, ids))
    try:
        with _adapted_base(model, weights, stop) as (engine, dtype):
            expected = _logits(engine, ids, weights, stop)
        name = f"{model.name}, merged"
        with quiet():
            beside = open_beside(str(part), stop, device=model.device, dtype=dtype, name=name)
        with given_back(beside) as (engine, _):
            found = _logits(engine, ids, {}, stop)
    except FitError:
        return Merged(folder, label, None, 0, tokens, model.dtype)
    largest = max(float((one - other).abs().max()) for one, other in zip(expected, found, strict=True))
    same = sum(
        int((one.argmax(-1) == other.argmax(-1)).sum()) for one, other in zip(expected, found, strict=True)
    )
    return Merged(folder, label, largest, same, tokens, dtype)


@contextmanager
def _adapted_base(
    model: "Handle", weights: Mapping[str, float], stop: StopFlag
) -> "Iterator[tuple[Engine, str]]":
    """The model itself where it is not quantised; else its base read anew, with copies of the adapters."""
    if model.quant is None:
        yield model.engine, model.dtype
        return
    from llama_nb.tuning.adapters import AdapterSet

    copies = model.adapters.do(lambda adapters: _copies(adapters, weights), "copying adapters", changes=False)
    with quiet():
        beside = open_beside(model.source, stop, device=model.device, name=model.name)
    with given_back(beside) as (engine, loaded):
        fresh = AdapterSet(loaded.module, base_name=model.source, base_fingerprint=model.fingerprint)
        for name, (config, tensors) in copies.items():
            fresh.add(name, config)
            fresh.put_weights(name, tensors)
        engine.adapters = fresh  # type: ignore[attr-defined]
        yield engine, loaded.dtype


def _copies(adapters: "AdapterSet", weights: Mapping[str, float]) -> dict[str, Any]:
    return {
        name: (
            copy.deepcopy(adapters.config(name)),
            {path: value.detach().cpu().clone() for path, value in adapters.weights(name).items()},
        )
        for name in weights
    }


def _logits(
    engine: "Engine", ids: Sequence[tuple[int, ...]], weights: Mapping[str, float], stop: StopFlag
) -> list[Any]:
    """Return the logits of each text with these adapters on, float32 of shape (tokens, V)."""

    def work(module: Any, stopped: Callable[[], str | None]) -> list[Any]:
        from llama_nb.tuning.merge import logits_behind

        adapters = getattr(engine, "adapters", None)
        with adapters.shown(weights) if adapters is not None else nullcontext():
            found: list[Any] = logits_behind(module, ids, stopped)
        return found

    return measured(engine, stop, work, "a merge")
