"""Merging an adapter: which, into what, and how far the result's logits are from the base with it on.

Writing the files is `tuning.merge`'s business.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
    from llama_nb.loading.weights import Loaded
    from llama_nb.session.handle import Handle
    from llama_nb.tuning.adapters import AdapterSet

_TEXTS: Final = (
    "Once upon a time there was a small village beside a river, and in it lived",
    "The capital of France is Paris. Two and three are five. Water is made of",
    "def add(left: int, right: int) -> int:\n    return left +",
)
_LONGEST: Final = 64  # tokens of each text
_AGREE: Final = 0.05  # what half-precision files round the logits of a float32 model to, and more

Ids = Sequence[tuple[int, ...]]


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
    ids = [model.engine.prompt(Request(text)).ids[:_LONGEST] for text in _TEXTS]
    # At once, since a training may go on and change the adapter.
    updates, reference = model.adapters.do(
        lambda adapters: (take_updates(adapters, weights), _reference(model, adapters, weights, ids)),
        f"taking {label}",
        changes=False,
    )
    check_base(model.checked, updates)
    needed = model.checked.stored_bytes + model.checked.unread
    with (
        interrupt_stops(stop),
        written_whole(folder, f"the merged {model.name}", needed=needed, replaces=FACTS) as part,
    ):
        write_merged(model.checked, updates, part, stop)
        largest, same, dtype = _compared(model, part, reference, ids, stop)
        tokens = sum(map(len, ids))
        facts = {
            "schema": 1,
            "merged": dict(weights),
            "base": {"name": model.source, "fingerprint": model.fingerprint},
            "logits": {"largest": largest, "same": same, "tokens": tokens},
        }
        (part / FACTS).write_text(f"{json.dumps(facts, indent=1)}\n", encoding="utf-8")
    return Merged(folder.expanduser(), label, largest, same, tokens, dtype)


def _chosen(model: "Handle", name: str | None) -> dict[str, float]:
    adapters = model.adapters
    if name is None and adapters.active:
        return adapters.active
    return {adapters.one(name): 1.0}


@dataclass(frozen=True)
class _Reference:
    """What a merged model is compared with: logits; of a quantised one, what makes them on plain weights."""

    logits: list[Any]
    weights: Mapping[str, float]
    adapters: Mapping[str, tuple[Any, Mapping[str, Any]]]


def _reference(model: "Handle", adapters: "AdapterSet", weights: Mapping[str, float], ids: Ids) -> _Reference:
    """Take what is needed to know how the base answers with these adapters on; on the worker."""
    from llama_nb.tuning.merge import logits_behind

    if model.quant is None:
        with adapters.shown(weights):
            return _Reference(logits_behind(adapters.module, ids), weights, {})
    copies = {
        name: (
            copy.deepcopy(adapters.config(name)),
            {path: value.detach().cpu().clone() for path, value in adapters.weights(name).items()},
        )
        for name in weights
    }
    return _Reference([], weights, copies)


def _compared(
    model: "Handle", part: Path, reference: _Reference, ids: Ids, stop: StopFlag
) -> tuple[float | None, int, str]:
    """Return the largest difference (None: no room), how many likeliest tokens are the same, the dtype."""
    dtype, expected = model.dtype, reference.logits
    try:
        if reference.adapters:
            expected, dtype = _on_plain_weights(model, reference, ids, stop)
        with _beside(str(part), model, dtype, stop) as (engine, _):
            found = _logits(engine, ids, stop)
    except FitError:
        return None, 0, dtype
    pairs = list(zip(expected, found, strict=True))
    largest = max(float((one - other).abs().max()) for one, other in pairs)
    return largest, sum(int((one.argmax(-1) == other.argmax(-1)).sum()) for one, other in pairs), dtype


def _on_plain_weights(
    model: "Handle", reference: _Reference, ids: Ids, stop: StopFlag
) -> tuple[list[Any], str]:
    """Return the logits of the base, read anew and not quantised, with copies of the adapters on."""
    from llama_nb.tuning.adapters import AdapterSet

    with _beside(model.source, model, "auto", stop) as (engine, loaded):
        fresh = AdapterSet(loaded.module, base_name=model.source, base_fingerprint=model.fingerprint)
        for name, (config, tensors) in reference.adapters.items():
            fresh.add(name, config)
            fresh.put_weights(name, tensors)
        fresh.mix(reference.weights)
        return _logits(engine, ids, stop), loaded.dtype


@contextmanager
def _beside(source: str, model: "Handle", dtype: str, stop: StopFlag) -> "Iterator[tuple[Engine, Loaded]]":
    with quiet():
        pair = open_beside(source, stop, device=model.device, dtype=dtype, name=f"{model.name}, merged")
    with given_back(pair) as found:
        yield found


def _logits(engine: "Engine", ids: Ids, stop: StopFlag) -> list[Any]:
    """Return the logits of each text, float32 of shape (tokens, V)."""

    def work(module: Any, stopped: Callable[[], str | None]) -> list[Any]:
        from llama_nb.tuning.merge import logits_behind

        found: list[Any] = logits_behind(module, ids, stopped)
        return found

    return measured(engine, stop, work, "a merge")
