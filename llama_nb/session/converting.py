"""A model or an adapter in another format: what is converted, where it goes, and what is said of it.

Finds the source (a loaded model, a folder, a hub id, a run) and hands it to whoever writes the format; a
loaded model is converted from its source, not from its memory.
"""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

from llama_nb.core.errors import AdapterError, ConvertError, LoadError, did_you_mean
from llama_nb.core.stop import StopFlag
from llama_nb.render.units import figure, size
from llama_nb.runtime import devices, process
from llama_nb.runtime.environment import detect

if TYPE_CHECKING:
    from llama_nb.interpret.logit_difference import LogitDifference
    from llama_nb.loading.check import Checked
    from llama_nb.loading.gguf_write import Written
    from llama_nb.session.model import Model
    from llama_nb.tuning.adapter_file import AdapterFile

FORMATS: Final = ("gguf", "safetensors")
_OPTIONS: Final = ("to", "type", "out", "adapter", "base", "force", "stop")
_COMPARED: Final = 250_000_000  # parameters up to which logits are compared: 1 GB in float32
_TEXTS: Final = 8


@dataclass(frozen=True)
class Converted:
    """A file in another format.

    Attributes
    ----------
    path
        The file.
    format
        "gguf" or "safetensors".
    type
        What a GGUF's matrices are stored as; "" for safetensors.
    bytes
        Of the file.
    error
        How far the stored matrices are from the model's (relative root mean square); None where it was not
        computed.
    logits
        How far the logits of the file are from the model's; None where they were not compared.
    notes
        Sentences on what is not the same elsewhere.
    next
        The line that uses the file.
    """

    path: Path
    format: str
    type: str
    bytes: int
    error: float | None = None
    logits: "LogitDifference | None" = None
    notes: tuple[str, ...] = ()
    next: str = ""

    def __repr__(self) -> str:
        watched = detect().watched
        shown = _shown(self.path) if watched else self.path.name
        kind = f"{self.type}, " if self.type else ""
        lines = [f"{shown}: {kind}{size(self.bytes)}."]
        if self.format == "gguf":
            lines.append(" ".join(["Read back: every byte is there.", *self._differences(watched)]))
        lines += self.notes
        if self.next:
            lines.append(f"Next: {self.next.format(path=shown)}")
        return "\n".join(lines)

    def _differences(self, watched: bool) -> Iterator[str]:
        if self.error is not None:
            off = f"Weights are off by {100 * self.error:.2g} %."
            yield off if self.error else "The numbers are the model's own."
        if self.logits is None:
            return
        if not self.logits.largest:
            yield "Logits are equal."
        elif watched:  # in their last digits they depend on the machine
            same, tokens = self.logits.same, self.logits.tokens
            yield f"Logits are off by {figure(self.logits.largest)} at most;"
            yield f"the likeliest next token is the same at {same} of {tokens} places."


def convert(
    source: "str | Path | Model | None" = None,
    *,
    to: str = "gguf",
    type: str | None = None,  # noqa: A002 - what GGUF calls it
    out: str | Path | None = None,
    adapter: str | Path | None = None,
    base: str | Path | None = None,
    force: bool = False,
    stop: StopFlag | None = None,
    **unknown: Never,
) -> Converted:
    """Write a model or an adapter in another format.

    Parameters
    ----------
    source
        A loaded model or its name, what `llama_nb.load` takes, or an adapter: its folder or the run that made
        it. Default the current model. Of a loaded model, what is converted is what it was loaded from.
    to
        "gguf", what llama.cpp, Ollama and LM Studio read; or "safetensors", from a folder of pickles.
    type
        How a GGUF stores matrices: "F32", "F16", "BF16" or "Q8_0"; with llama.cpp's quantiser installed also
        "Q4_K_M" and others. Default as the model stores them, so that nothing is lost.
    out
        The file, or a folder for it; default a name made of the model's in the current folder.
    adapter
        An adapter of the model, or its folder: it is converted, not the model.
    base
        The model that an adapter belongs to, where that is not known.
    force
        Write over a file that is there; convert an adapter though it was trained on other weights.
    stop
        Ends the work from another thread. An interrupt does so, too.

    Returns
    -------
    Converted
        The file; it was read back, byte by byte. Of models up to 250 million parameters the logits were
        compared as well.

    Raises
    ------
    ConvertError
        If it cannot be converted, or an option is unknown. A file that was there is as it was.
    LoadError, AdapterError
        If there is no such model or adapter.
    """
    for option in unknown:
        known = f"The options are {', '.join(_OPTIONS)}."
        raise ConvertError(f"convert has no option {option!r}.", did_you_mean(option, _OPTIONS) or known)
    if to not in FORMATS:
        near = did_you_mean(to, FORMATS) or "%llama convert cria --to gguf"
        raise ConvertError(f"to is {str(to)[:40]!r}; it must be one of {', '.join(FORMATS)}.", near)
    model = _loaded(source)
    if to == "safetensors":
        if model is not None and not Path(str(source)).is_dir():
            raise ConvertError(f"{model.name} was loaded from safetensors already.")
        return _pickles(Path(str(source)).expanduser())
    process.prepare()
    spec = model.source if model is not None else source or ""
    if adapter is not None or (model is None and _is_adapter(spec)):
        return _adapter(model, spec, adapter, type, out, base, force=force)
    made = _model(_checked(spec, stop), type, out, force=force, stop=stop)
    left_out = model.adapters.label if model is not None else ""
    if left_out:
        merging = (
            f"merge it first (%llama adapter merge {left_out} --out FOLDER), or convert it with --adapter"
        )
        made = replace(made, notes=(f"{left_out} is not in the file: {merging}.", *made.notes))
    return made


class Converter:
    """What a loaded model can be written as; mixed into `Model`."""

    def convert(self, to: str = "gguf", **options: Any) -> Converted:
        """Write this model, or one of its adapters, in another format; see `llama_nb.convert`."""
        return convert(self, to=to, **options)  # type: ignore[arg-type]


# --- models ---------------------------------------------------------------------------------------------


def _loaded(source: "str | Path | Model | None") -> "Model | None":
    """Return the loaded model that is meant; None for what is not loaded."""
    from llama_nb.session import registry

    if source is None:
        return registry.current()
    if isinstance(source, str):
        return registry.loaded().get(source)
    return None if isinstance(source, Path) else source


def _checked(spec: "str | Path | Model", stop: StopFlag | None = None) -> "Checked":
    from llama_nb.loading import source as sources
    from llama_nb.loading.check import check
    from llama_nb.loading.gguf_model import check_gguf

    found = sources.resolve(spec if isinstance(spec, Path) else str(spec))
    folder = sources.fetch(found, stop=stop)
    return (check_gguf if found.kind == "gguf" else check)(folder, found.name)


def _model(
    checked: "Checked", asked: str | None, out: str | Path | None, *, force: bool, stop: StopFlag | None
) -> Converted:
    from llama_nb.loading import gguf_quantise
    from llama_nb.loading.gguf_write import refuse_other_models, stored_type, write_gguf

    refuse_other_models(checked)
    kind = stored_type(checked) if asked is None else gguf_quantise.parse_type(asked)
    path = _target(out, f"{_last(checked.name)}-{kind}.gguf", force=force)
    if kind in gguf_quantise.NATIVE:
        written = gguf_quantise.write_quantised(checked, path, kind)
    else:
        written = write_gguf(checked, path, kind, stop)
    return _said(written, "%llama load {path}", _compare(checked, path, stop))


def _compare(checked: "Checked", path: Path, stop: StopFlag | None) -> "LogitDifference | None":
    """Compare the logits of the model and of its file, where that takes little time and memory."""
    from llama_nb.interpret.logit_difference import logit_difference
    from llama_nb.loading.gguf_model import check_gguf
    from llama_nb.loading.gguf_vocabulary import SAMPLES

    small = checked.parameters <= _COMPARED
    if not small or 5 * checked.parameters > devices.available_memory("cpu"):
        return None
    return logit_difference(checked, check_gguf(path), SAMPLES[:_TEXTS], stop)


def _said(written: "Written", following: str, logits: "LogitDifference | None" = None) -> Converted:
    return Converted(
        written.path, "gguf", written.type, written.bytes, written.error, logits, written.notes, following
    )


def _pickles(folder: Path) -> Converted:
    """Convert a folder of pickles in a process of its own, which reads tensors only."""
    command = [sys.executable, "-m", "llama_nb.loading.convert", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode:
        message, _, hint = (done.stderr.strip() or "The conversion failed.").partition("\n")
        raise ConvertError(message, hint)
    path = folder / "model.safetensors"
    return Converted(path, "safetensors", "", path.stat().st_size, next=f"%llama load {_shown(folder)}")


# --- adapters -------------------------------------------------------------------------------------------


def _is_adapter(spec: "str | Path | Model") -> bool:
    """Whether a folder is an adapter's, or that of a run (or its name) that trains one; not a model's."""
    from llama_nb.tuning.run_folder import RUNS

    folder = Path(str(spec)).expanduser()
    if not folder.exists():
        folder = Path(RUNS) / str(spec)
    names = ("adapter_config.json", "adapter/adapter_config.json", "recipe.json")
    return not (folder / "config.json").is_file() and any((folder / name).is_file() for name in names)


def _adapter(
    model: "Model | None",
    spec: "str | Path | Model",
    adapter: str | Path | None,
    asked: str | None,
    out: str | Path | None,
    base: str | Path | None,
    *,
    force: bool,
) -> Converted:
    from llama_nb.tuning.gguf_adapter import TYPES, stored_type, write_adapter

    kind = None if asked is None else str(asked).upper()
    with _adapter_file(model, spec, adapter) as (file, name):
        known = base if base is not None else None if adapter is None else spec
        source = str(known if known is not None else _base(file, name))
        checked = _checked(source)
        if file.fingerprint and file.fingerprint != checked.fingerprint and not force:
            raise ConvertError(
                f"The adapter {name} was trained on {file.base_name or 'another model'} "
                f"({file.fingerprint[:8]}); {checked.name} ({checked.fingerprint[:8]}) has other weights.",
                "Give its base with --base, or convert it even so with --force (force=True).",
            )
        kind = kind or stored_type(file)
        if kind not in TYPES:
            near = did_you_mean(kind, TYPES) or "Leave it out: an adapter is small."
            raise ConvertError(f"type is {kind[:40]!r}; an adapter has one of {', '.join(TYPES)}.", near)
        path = _target(out, f"{_last(name)}-lora-{kind}.gguf", force=force)
        written = write_adapter(file, checked, path, kind, name)
    made = _said(written, f"llama-cli -m {_last(checked.name)}.gguf --lora {{path}}")
    return replace(made, notes=(f"Its base for llama.cpp: %llama convert {source} --to gguf",))


@contextlib.contextmanager
def _adapter_file(
    model: "Model | None", spec: "str | Path | Model", adapter: str | Path | None
) -> "Iterator[tuple[AdapterFile, str]]":
    """Give what an adapter's files say, and its name; one that is in memory is saved for that long."""
    from llama_nb.tuning.adapter_file import read_adapter
    from llama_nb.tuning.adapter_source import find_adapter

    if model is not None and adapter is not None and str(adapter) in model.adapters.names:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "adapter"
            model.adapters.save(str(adapter), folder)
            yield read_adapter(folder), str(adapter)
        return
    found = find_adapter(adapter if adapter is not None else str(spec))
    file = read_adapter(found.folder)
    yield file, file.name or found.name


def _base(file: "AdapterFile", name: str) -> str:
    """Return the source of an adapter's base: a loaded model with its weights, or what its files name."""
    from llama_nb.session import registry

    loaded = registry.loaded_of(file.fingerprint, file.base_name) if file.fingerprint else None
    if loaded is not None:
        return loaded.source
    if not file.base_name:
        raise AdapterError(
            f"The adapter {name} does not say which base it belongs to.", "Give it with --base."
        )
    try:
        _checked(file.base_name)
    except LoadError as error:
        raise ConvertError(
            f"The base of {name}, {file.base_name}, is not here: {error.message}", "Give it with --base."
        ) from None
    return file.base_name


# --- where it goes --------------------------------------------------------------------------------------


def _target(out: str | Path | None, name: str, *, force: bool) -> Path:
    path = Path(name) if out is None else Path(out).expanduser()
    if path.is_dir():
        path = path / name
    if not path.suffix:
        path = path.with_suffix(".gguf")
    if path.exists() and not force:
        raise ConvertError(
            f"{_shown(path)} is there already.", "Give another --out, or --force to replace it."
        )
    return path.absolute()


def _last(name: str) -> str:
    """Return the last part of a hub id; what is no path, as it is."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or "model"


def _shown(path: Path) -> str:
    """Return a path as one would type it here."""
    with contextlib.suppress(ValueError):
        return f"./{path.absolute().relative_to(Path.cwd())}"
    return str(path)
