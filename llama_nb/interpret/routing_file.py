"""A RoutingTrace in a file: safetensors with a JSON header, written whole, checked when it is read.

A file comes from anywhere: names, shapes and ranges are looked at before anything is made of it, and no
code is ever in it. Knows traces; knows no models.
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from llama_nb.core.errors import TraceError
from llama_nb.interpret.expert_sizes import ExpertSizes
from llama_nb.interpret.mixture import Mixture
from llama_nb.interpret.passages import MOST_DOMAINS, Passages
from llama_nb.interpret.routes import Routes, narrow
from llama_nb.interpret.tensor_file import Shapes, TensorFile, written_whole
from llama_nb.interpret.trace_header import DamagedError, check_list, check_text, check_whole

if TYPE_CHECKING:
    from llama_nb.interpret.routing import RoutingTrace

FORMAT: Final = "llama-nb routing"
VERSION: Final = 1
_HINT: Final = "Save it again where it was made: trace.save(...)"
_MOST_EXPERTS: Final = 65_536
_MOST_LAYERS: Final = 1_000
_BLOCK: Final = 1 << 20  # numbers that are looked at, or copied, at once

Header = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What a trace says besides its arrays; see RoutingTrace."""

    mixture: Mixture
    model: str
    fingerprint: str
    title: str
    prompt: int
    off: str


def save_trace(trace: "RoutingTrace", path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a trace into a file and return its path; see `RoutingTrace.save`."""
    passages = trace._routing.passages
    about = About(trace.mixture, trace.model, trace.fingerprint, trace.title, trace.prompt, trace.off)
    with writing(path, about, passages, trace.top_k, trace.logits is not None, overwrite=overwrite) as file:
        step = max(1, _BLOCK // max(1, len(trace.layers) * trace.experts))
        for start in range(0, trace.length, step):
            file.write(start, trace.rows(start, start + step))
        file.write_mass(trace.mass)
    return file.path


class RoutingFile:
    """A trace's file while it is written: routes in any order, then the mass."""

    def __init__(self, path: Path, part: Path, tensors: TensorFile) -> None:
        self.path, self.part, self._tensors = path, part, tensors

    def write(self, start: int, routes: Routes) -> None:
        """Write the routes of tokens, the first of which is `start`."""
        for field in dataclasses.fields(routes):
            values = getattr(routes, field.name)
            if values is not None:
                self._tensors.write(field.name, values, start)

    def write_mass(self, mass: Any) -> None:
        """Write what the scores come to, (G, L, E)."""
        self._tensors.write("mass", mass)


@contextlib.contextmanager
def writing(
    path: str | Path, about: About, passages: Passages, top_k: int, logits: bool, *, overwrite: bool = False
) -> Iterator[RoutingFile]:
    """Write a trace in pieces; the file is there when the block is left, unless it failed.

    Raises
    ------
    TraceError
        If there is such a file already, or it cannot be written.
    """
    target = check_target(path, overwrite=overwrite)
    header = json.dumps(_header(about, passages), ensure_ascii=False)
    shapes = _shapes(about.mixture, passages, top_k, logits)
    try:
        with written_whole(target) as (file, part):
            tensors = TensorFile(file, {FORMAT: header}, shapes)
            tensors.write("ids", passages.ids)
            tensors.write("starts", passages.starts)
            if passages.about is not None:
                tensors.write("about", passages.about)
            yield RoutingFile(target, part, tensors)
    except OSError as error:
        raise TraceError(
            f"{target} cannot be written: {error.strerror or error}.", "Name another folder."
        ) from error


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """Return the path of a file that can be made.

    Raises
    ------
    TraceError
        If there is such a file already, or no folder for it.
    """
    target = Path(path).expanduser()
    if target.is_dir():
        raise TraceError(f"{target} is a folder.", f'Name a file in it: "{target.name}/routing.safetensors"')
    if not target.parent.is_dir():
        raise TraceError(f"There is no folder {target.parent}.", "Make it first, or name another one.")
    if target.exists() and not overwrite:
        raise TraceError(f"There is a file {target.name} already.", "Replace it with overwrite=True.")
    return target


def file_bytes(mixture: Mixture, tokens: int, top_k: int, logits: bool) -> int:
    """Return how large the arrays of a trace of `tokens` tokens are."""
    each = top_k * (narrow(mixture.experts).itemsize + 4) + 8 + (4 * mixture.experts if logits else 0)
    return tokens * (4 + len(mixture.layers) * each)


def load_trace(path: str | Path) -> "RoutingTrace":
    """Read a trace that `save_trace` wrote; see `RoutingTrace.load`."""
    from llama_nb.interpret.routing import RoutingTrace

    source = Path(path).expanduser()
    if not source.is_file():
        raise TraceError(f"There is no file {source}.", 'trace.save("routing.safetensors") writes one.')
    try:
        with safe_open(source, framework="pt") as file:
            reader = _Reader(file)
            routing = reader.routing()
    except (OSError, SafetensorError, RecursionError, MemoryError) as error:
        raise TraceError(f"{source.name} is damaged or no trace: {error}.", _HINT) from error
    except DamagedError as error:
        raise TraceError(f"{source.name} is damaged or no trace: {error}.", _HINT) from None
    about = reader.about
    return RoutingTrace(
        routing,
        mixture=about.mixture,
        model=about.model,
        fingerprint=about.fingerprint,
        title=about.title,
        prompt=about.prompt,
        off=about.off,
    )


def _header(about: About, passages: Passages) -> dict[str, Any]:
    """What stands in the header besides names, shapes and types."""
    words = passages.words
    return {
        "version": VERSION,
        **dataclasses.asdict(about),
        "domains": list(passages.domains),
        "special": sorted(passages.special_ids),
        **({"vocabulary": sorted(words.items())} if isinstance(words, Mapping) else {"texts": list(words)}),
    }


def _shapes(mixture: Mixture, passages: Passages, top_k: int, logits: bool) -> dict[str, Any]:
    tokens, layers, texts = len(passages), len(mixture.layers), len(passages.starts) - 1
    groups = len(passages.domains) + 1 if passages.domains else 1
    shapes: Shapes = {
        "mass": ((groups, layers, mixture.experts), np.float64),
        "starts": ((texts + 1,), np.int64),
        "ids": ((tokens,), np.int32),
        "weights": ((tokens, layers, top_k), np.float32),
        "margin": ((tokens, layers), np.float32),
        "entropy": ((tokens, layers), np.float32),
        "chosen": ((tokens, layers, top_k), narrow(mixture.experts)),
        **({} if passages.about is None else {"about": ((texts,), np.int16)}),
        **({"logits": ((tokens, layers, mixture.experts), np.float32)} if logits else {}),
    }
    return dict(shapes)


class _Reader:
    """Takes a trace out of an open file, each part looked at before it is believed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._names = set(file.keys())
        self._header = _read_header(file.metadata())
        self.about = _about(self._header)

    def routing(self) -> Any:
        """Return the arrays, which stay in the file."""
        from llama_nb.interpret.routing import Routing

        passages, mixture = self._passages(), self.about.mixture
        tokens, layers, experts = len(passages), len(mixture.layers), mixture.experts
        if self.about.prompt > tokens:
            raise DamagedError("its prompt is longer than it is")
        chosen = self._array("chosen", (tokens, layers, None), narrow(experts))
        if chosen.shape[2] > experts:
            raise DamagedError("more experts are chosen than there are")
        weights = self._array("weights", chosen.shape, np.float32)
        margin, entropy = (self._array(name, (tokens, layers), np.float32) for name in ("margin", "entropy"))
        logits = None
        if "logits" in self._names:
            logits = self._array("logits", (tokens, layers, experts), np.float32)
        groups = len(passages.domains) + 1 if passages.domains else 1
        mass = self._array("mass", (groups, layers, experts), np.float64)
        _check(chosen, "an expert", lambda part: part < experts)
        for name, values in (("a weight", weights), ("an entropy", entropy), ("its mass", mass)):
            _check(values, name, lambda part: np.isfinite(part) & (part >= -1e-5))
        _check(margin, "a margin", np.isfinite)
        if logits is not None:
            _check(logits, "a logit", np.isfinite)
        return Routing(Routes(chosen, weights, margin, entropy, logits), passages, mass)

    def _passages(self) -> Passages:
        header = self._header
        starts = self._array("starts", (None,), np.int64)
        tokens = int(starts[-1])
        if tokens < 1 or starts[0] != 0 or (np.diff(starts) <= 0).any():
            raise DamagedError("its texts do not follow each other")
        ids = self._array("ids", (tokens,), np.int32)
        _check(ids, "a token", lambda part: part >= 0)
        domains, about = tuple(header["domains"]), None
        if domains:
            about = self._array("about", (len(starts) - 1,), np.int16)
            _check(about, "a label", lambda part: (part >= -1) & (part < len(domains)))
        words: Sequence[str] | dict[int, str]
        if "texts" in header:
            words = tuple(header["texts"])
            if len(words) != tokens:
                raise DamagedError("it has not as many texts as tokens")
        else:
            words = dict(header["vocabulary"])
            if set(np.unique(ids).tolist()) - words.keys():
                raise DamagedError("a token has no text")
        return Passages(ids, words, frozenset(header["special"]), starts, domains, about)

    def _array(self, name: str, shape: tuple[int | None, ...], kind: Any) -> Any:
        if name not in self._names:
            raise DamagedError(f"the tensor {name} is missing")
        found = tuple(self._file.get_slice(name).get_shape())
        fits = len(found) == len(shape) and all(
            want is None or have == want for have, want in zip(found, shape, strict=True)
        )
        if not fits or 0 in found:
            raise DamagedError(f"the tensor {name} has the shape {found}")
        tensor: torch.Tensor = self._file.get_tensor(name)
        if tensor.dtype != _torch_type(kind):
            raise DamagedError(f"the tensor {name} holds {tensor.dtype}")
        return tensor.numpy()


def _torch_type(kind: Any) -> torch.dtype:
    found: torch.dtype = getattr(torch, np.dtype(kind).name)
    return found


def _check(values: Any, name: str, holds: Callable[[Any], Any]) -> None:
    """Raise DamagedError unless all of `values` are what they must be; a file is looked through in blocks."""
    step = max(1, _BLOCK // max(1, values[:1].size))
    for start in range(0, len(values), step):
        if not holds(values[start : start + step]).all():
            raise DamagedError(f"{name} in it is out of its range")


def _read_header(metadata: Mapping[str, str] | None) -> Header:
    """Return the header with every value checked."""
    if not metadata or FORMAT not in metadata:
        raise DamagedError("it is another kind of file")
    try:
        header = json.loads(metadata[FORMAT])
    except ValueError:
        raise DamagedError("its header cannot be read") from None
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise DamagedError("another version of llama-nb wrote it")
    for name in ("model", "fingerprint", "title", "off"):
        check_text(header.get(name), name)
    check_whole(header.get("prompt"), "prompt", 0, 2**31)
    for each in check_list(header.get("special"), "special"):
        check_whole(each, "a control token", 0, 2**31)
    domains = [check_text(each, "a label") for each in check_list(header.get("domains"), "domains")]
    if len(domains) > MOST_DOMAINS or len(set(domains)) < len(domains) or "" in domains:
        raise DamagedError("its labels are not what labels are")
    if "texts" in header:
        for each in check_list(header["texts"], "texts"):
            check_text(each, "a token's text")
    else:
        _check_vocabulary(check_list(header.get("vocabulary"), "vocabulary"))
    return header


def _check_vocabulary(vocabulary: list[Any]) -> None:
    for each in vocabulary:
        if not isinstance(each, list) or len(each) != 2:
            raise DamagedError("its vocabulary is none")
        check_whole(each[0], "a token", 0, 2**31)
        check_text(each[1], "a token's text")


def _about(header: Header) -> About:
    found = header.get("mixture")
    if not isinstance(found, dict):
        raise DamagedError("it says nothing of the model")
    layers = [check_whole(each, "a layer", 0, 100_000) for each in check_list(found.get("layers"), "layers")]
    if not 0 < len(layers) <= _MOST_LAYERS or layers != sorted(set(layers)):
        raise DamagedError("its layers are not in order")
    experts = check_whole(found.get("experts"), "experts", 1, _MOST_EXPERTS + 1)
    gate = found.get("gate")
    if gate not in ("sigmoid", "softmax") or not isinstance(found.get("shared"), bool):
        raise DamagedError("its routers are of a kind that is not known")
    sizes = found.get("sizes")
    names = [field.name for field in dataclasses.fields(ExpertSizes)]
    if not isinstance(sizes, dict) or set(sizes) != set(names):
        raise DamagedError("it does not say what the model weighs")
    mixture = Mixture(
        architecture=check_text(found.get("architecture"), "architecture"),
        layers=tuple(layers),
        experts=experts,
        top_k=check_whole(found.get("top_k"), "top_k", 1, experts + 1),
        gate=gate,
        shared=found["shared"],
        sizes=ExpertSizes(**{name: check_whole(sizes[name], name, 0, 2**60) for name in names}),
    )
    return About(
        mixture, header["model"], header["fingerprint"], header["title"], header["prompt"], header["off"]
    )
