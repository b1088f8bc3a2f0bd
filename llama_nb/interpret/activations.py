"""What runs through a model's blocks on a text: statistics of every activation, not the activations.

One forward pass with hooks that sum up what they see. Kept are the sums, the residual stream's norm at each
token, a histogram of the gates, and what a few tokens bring to each norm. Knows torch; knows no sessions.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from llama_nb.core.errors import Stopped
from llama_nb.interpret.anatomy import decoder

Floats: TypeAlias = npt.NDArray[np.float32]
Doubles: TypeAlias = npt.NDArray[np.float64]
Counts: TypeAlias = npt.NDArray[np.int64]
Stopper: TypeAlias = Callable[[], str | None]

STATISTICS: Final = ("mean", "std", "rms", "max_abs", "zeros", "negative")
# Bins of the histogram of gates: 1/8 wide, so that their edges are exact.
GATE_EDGES: Final[Doubles] = np.linspace(-6.0, 6.0, 97)
_IN: Final = ":in"
_LOGITS: Final = 32  # positions whose logits are made at once: 16 MB at V = 128,256
# Numbers that are summed up at once: as many as a core's cache holds in float64, or 128 MB of a GPU.
_PIECE: Final = 1 << 18
_PIECE_OF_A_GPU: Final = 1 << 24
_VECTOR_BYTES: Final = 8 << 20
_MOST_VECTORS: Final = 64
# Modules of a layer whose input is looked at: what the heads bring together, what the gates let through.
_LAST_STEPS: Final = ("o_proj", "down_proj")


@dataclass(frozen=True, slots=True, eq=False)
class Activations:
    """What was measured on one text of T tokens.

    Attributes
    ----------
    sites
        By the place in a layer ("self_attn.q_proj" is what comes out there, "mlp.down_proj:in" what goes in):
        the `STATISTICS` over all tokens and channels, shape (layers, 6), NaN where a layer has no such place.
    whole
        The same for places outside of the layers ("embed_tokens", "norm", "logits"), shape (6,).
    residual
        L2 norm of the residual stream at each token: before the first layer and behind each, (layers + 1, T).
    gates
        Histogram of what goes into the gates' activation function, in the bins of `GATE_EDGES`, shape
        (layers, 96); `gates_outside` (layers, 2) counts what is below and above them.
    positions
        The tokens whose `vectors` are kept.
    vectors
        By a norm's place: what goes into it, float32 of shape (layers, positions, hidden); (1, ...) for the
        last norm.
    """

    tokens: int
    sites: Mapping[str, Doubles]
    whole: Mapping[str, Doubles]
    residual: Floats
    gates: Counts
    gates_outside: Counts
    positions: tuple[int, ...]
    vectors: Mapping[str, Floats]


class _Sums:
    """Adds up what passes a place; `statistics` are those of all of it."""

    def __init__(self) -> None:
        self._sums = np.zeros(4)  # of x, x squared, zeros, negative ones
        self._largest = 0.0
        self._count = 0

    def add(self, values: torch.Tensor) -> None:
        flat = values.detach().reshape(-1)
        if flat.device.type == "mps":  # which has no float64
            flat = flat.cpu()
        size = _PIECE if flat.device.type == "cpu" else _PIECE_OF_A_GPU
        for piece in flat.split(size):
            wide, (low, high) = piece.double(), torch.aminmax(piece)
            zeros, negative = piece.numel() - piece.count_nonzero(), (piece < 0).count_nonzero()
            self._sums += [float(part) for part in (wide.sum(), torch.dot(wide, wide), zeros, negative)]
            self._largest = float(np.maximum(self._largest, max(-float(low), float(high))))
            self._count += piece.numel()

    def statistics(self) -> Doubles:
        if not self._count:
            return np.full(len(STATISTICS), np.nan)
        mean, square, zeros, negative = self._sums / self._count
        spread = np.sqrt(np.fmax(square - mean * mean, 0.0)) if np.isfinite(square) else np.nan
        return np.array([mean, spread, np.sqrt(square), self._largest, zeros, negative])


class _Recorder:
    """Takes what the hooks see."""

    def __init__(self, module: Any, tokens: int, stopped: Stopper) -> None:
        self._stopped = stopped
        self.layers = decoder(module).layers
        depth, hidden = len(self.layers), int(module.config.hidden_size)
        self.sums: dict[tuple[str, int], _Sums] = {}
        self.residual = np.zeros((depth + 1, tokens), np.float32)
        self.gates = np.zeros((depth, len(GATE_EDGES) - 1), np.int64)
        self.outside = np.zeros((depth, 2), np.int64)
        kept = max(2, min(_MOST_VECTORS, _VECTOR_BYTES // (4 * hidden * (2 * depth + 1))))
        self.positions = tuple(sorted({0, *range(max(0, tokens - kept + 1), tokens)}))
        self.vectors: dict[tuple[str, int], Floats] = {}

    def see(self, place: str, layer: int, values: torch.Tensor) -> None:
        """Add up what passes `place`."""
        reason = self._stopped()
        if reason is not None:
            raise Stopped(f"The measurement was stopped: {reason}.")
        self.sums.setdefault((place, layer), _Sums()).add(values)

    def keep(self, place: str, layer: int, states: torch.Tensor) -> None:
        """Keep what a few tokens bring to a norm; `states` is of shape (1, T, hidden)."""
        self.vectors[place, layer] = states[0, list(self.positions)].float().cpu().numpy()

    def stream(self, behind: int, states: torch.Tensor) -> None:
        """Take the residual stream behind so many layers."""
        self.residual[behind] = torch.linalg.vector_norm(states[0].float(), dim=-1).cpu().numpy()

    def gate(self, layer: int, values: torch.Tensor) -> None:
        """Count gates."""
        flat = values.detach().float().reshape(-1)
        low, high = float(GATE_EDGES[0]), float(GATE_EDGES[-1])
        counted = torch.histc(flat, bins=len(GATE_EDGES) - 1, min=low, max=high)
        self.gates[layer] += counted.cpu().numpy().astype(np.int64)
        self.outside[layer] += [int((flat < low).sum()), int((flat > high).sum())]


@torch.inference_mode()
def measure(
    module: Any,
    ids: Sequence[int],
    stopped: Stopper = lambda: None,
    told: Callable[[int, int], None] = lambda _done, _of: None,
) -> Activations:
    """Return what runs through `module` when it reads `ids`.

    Parameters
    ----------
    module
        A causal language model of transformers.
    stopped
        Asked at every place; a reason ends the work with `Stopped`.
    told
        Gets how many layers are done, of how many.

    Notes
    -----
    Sums are in float64 over the values in the model's own dtype; std is that of the population. Of mixtures
    of experts only what goes in and comes out is looked at, and the shared expert.
    """
    recorder = _Recorder(module, len(ids), stopped)
    inputs = torch.tensor([list(ids)], device=module.device)
    with contextlib.ExitStack() as hooks:
        for number, layer in enumerate(recorder.layers):
            _watch_layer(recorder, number, layer, hooks)
            hooks.enter_context(_after(layer, _behind(recorder, number, told)))
        embedding = module.get_input_embeddings()
        hooks.enter_context(_after(embedding, lambda _, out: _embedded(recorder, out)))
        last = getattr(decoder(module), "norm", None)
        if last is not None:
            hooks.enter_context(_before(last, lambda states: recorder.keep("norm", 0, states)))
        states = decoder(module)(input_ids=inputs, use_cache=False).last_hidden_state
    recorder.see("norm", 0, states)
    for start in range(0, len(ids), _LOGITS):
        logits = module.get_output_embeddings()(states[0, start : start + _LOGITS])
        recorder.see("logits", 0, logits)
    return _result(recorder, len(ids))


def _embedded(recorder: _Recorder, states: torch.Tensor) -> None:
    recorder.see("embed_tokens", 0, states)
    recorder.stream(0, states)


def _behind(recorder: _Recorder, number: int, told: Callable[[int, int], None]) -> Callable[[Any, Any], None]:
    def behind(_given: Any, out: Any) -> None:
        states = _tensor(out)
        recorder.see("residual", number, states)
        recorder.stream(number + 1, states)
        told(number + 1, len(recorder.layers))

    return behind


def _watch_layer(recorder: _Recorder, number: int, layer: Any, hooks: contextlib.ExitStack) -> None:
    for place, part in layer.named_modules():
        steps = place.split(".")
        if not place or "experts" in steps[1:] or len(steps) > 3:
            continue
        if len(steps) == 1 and "norm" in place:
            hooks.enter_context(_before(part, _into_norm(recorder, place, number)))
        if steps[-1] in _LAST_STEPS:
            hooks.enter_context(_before(part, _sum_up(recorder, place + _IN, number)))
        elif len(steps) == 1 or not list(part.children()):
            hooks.enter_context(_after(part, _out_of(recorder, place, number)))


def _sum_up(recorder: _Recorder, place: str, number: int) -> Callable[[torch.Tensor], None]:
    return lambda values: recorder.see(place, number, values)


def _into_norm(recorder: _Recorder, place: str, number: int) -> Callable[[torch.Tensor], None]:
    def into(states: torch.Tensor) -> None:
        recorder.see(place + _IN, number, states)
        recorder.keep(place, number, states)

    return into


def _out_of(recorder: _Recorder, place: str, number: int) -> Callable[[Any, Any], None]:
    is_gate = place.endswith("gate_proj")

    def out_of(_given: Any, out: Any) -> None:
        values = _tensor(out)
        if not values.is_floating_point():
            return
        recorder.see(place, number, values)
        if is_gate:
            recorder.gate(number, values)

    return out_of


def _tensor(out: Any) -> torch.Tensor:
    found: torch.Tensor = out[0] if isinstance(out, tuple) else out
    return found


@contextlib.contextmanager
def _after(part: Any, look: Callable[[Any, Any], None]) -> Iterator[None]:
    """Have `look(inputs, output)` called behind a module."""
    handle = part.register_forward_hook(lambda _part, given, out: look(given, out))
    with contextlib.closing(_Removable(handle)):
        yield


@contextlib.contextmanager
def _before(part: Any, look: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Have `look(input)` called before a module, whose first input may be named."""

    def hook(_part: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        look(given[0] if given else next(iter(named.values())))

    handle = part.register_forward_pre_hook(hook, with_kwargs=True)
    with contextlib.closing(_Removable(handle)):
        yield


class _Removable:
    """A hook's handle as something that is closed."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def close(self) -> None:
        self._handle.remove()


def _result(recorder: _Recorder, tokens: int) -> Activations:
    depth = len(recorder.layers)
    sites: dict[str, Doubles] = {}
    whole: dict[str, Doubles] = {}
    for (place, number), sums in recorder.sums.items():
        if place in ("embed_tokens", "norm", "logits"):
            whole[place] = sums.statistics()
            continue
        table = sites.setdefault(place, np.full((depth, len(STATISTICS)), np.nan))
        table[number] = sums.statistics()
    return Activations(
        tokens=tokens,
        sites=sites,
        whole=whole,
        residual=recorder.residual,
        gates=recorder.gates,
        gates_outside=recorder.outside,
        positions=recorder.positions,
        vectors=_stacked(recorder, depth),
    )


def _stacked(recorder: _Recorder, depth: int) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    hidden = next(iter(recorder.vectors.values())).shape[-1] if recorder.vectors else 0
    for (place, number), vectors in recorder.vectors.items():
        rows = 1 if place == "norm" else depth
        table = found.setdefault(place, np.zeros((rows, len(recorder.positions), hidden), np.float32))
        table[number] = vectors
    return found
