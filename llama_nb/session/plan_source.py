"""What a user names for a plan as a config: from folders, the cache, GGUF headers, the catalogue, a Model.

Reads no weights and asks no network. What the config means is `planner.shape`'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from llama_nb.catalog import catalog
from llama_nb.catalog import models as catalogue
from llama_nb.catalog.catalog import ModelCard
from llama_nb.core.errors import LoadError
from llama_nb.loading import source as sources
from llama_nb.loading.folder import read_json
from llama_nb.loading.gguf_file import read_gguf
from llama_nb.loading.weights import SMALL
from llama_nb.planner.formats import FORMATS
from llama_nb.session import registry
from llama_nb.session.model import Model

Named: TypeAlias = "str | Path | Model | Mapping[str, Any] | ModelCard | None"

_GGUF_FLOATS: Final[Mapping[str, str]] = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}


@dataclass(frozen=True, slots=True)
class Described:
    """A model's config with what is known beside it.

    Attributes
    ----------
    name, spec
        What to call it, and how to name it in a command.
    notes
        Where the config came from, and what to know about it.
    quant
        The format that its weights are stored in; "none" for floats.
    dtype
        Of a model that is loaded; None where it is still to be chosen.
    stored
        Bytes of the weights where they are known.
    files
        Bytes of the safetensors files.
    """

    name: str
    spec: str
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    quant: str = "none"
    dtype: str | None = None
    stored: int | None = None
    files: int | None = None

    @property
    def stored_dtype(self) -> str:
        """The dtype that the config names; bfloat16, in which Llamas are published, where it names none."""
        text = self.config.get("text_config")
        for values in (self.config, text if isinstance(text, Mapping) else {}):
            for key in ("dtype", "torch_dtype"):
                if isinstance(values.get(key), str):
                    return str(values[key])
        return "bfloat16"


def describe(model: Named) -> Described:
    """Return the config that `model` names.

    Raises
    ------
    LoadError
        If there is no such model, or its config is not on this disk and not in the catalogue.
    CatalogError
        If the catalogue has several models of that name, or none, and nothing else is called so.
    """
    if model is None:
        model = registry.current()
    if isinstance(model, Model):
        return _loaded(model)
    if isinstance(model, ModelCard):
        return _from_card(model)
    if isinstance(model, Mapping):
        name = str(model.get("_name_or_path") or f"a {model.get('model_type', 'llama')}")
        return _with_stored_quant(
            Described(name, "CONFIG", model, ("The shape is that of the config given.",))
        )
    path = Path(model)
    if path.suffix == ".json" and path.is_file():
        return _from_json(path)
    return _from_name(model)


def _from_json(path: Path) -> Described:
    note = f"The shape is that of {path.name}."
    name, config = path.absolute().parent.name, read_json(path.parent, path.name)
    return _with_stored_quant(Described(name, str(path), config, (note,)))


def _from_name(model: str | Path) -> Described:
    try:
        found = sources.resolve(model)
    except LoadError:
        if isinstance(model, Path) or not _may_be_card(model):
            raise
        return _from_card(catalogue.find(model))
    if found.kind == "gguf" and found.folder is not None:
        return _from_gguf(found.folder, found.spec)
    folder = found.folder or sources.hub_cache.snapshot(found.name)
    if folder is not None and (found.folder is not None or (folder / "config.json").is_file()):
        return _from_folder(folder, found)
    card = catalog.find(found.name)
    if card is not None:
        return _from_card(card)
    raise LoadError(
        f"The config of {found.name} is not in the cache, so its shape is not known here.",
        f"To fetch it alone: `hf download {found.name} config.json`",
    )


def _may_be_card(text: str) -> bool:
    """Whether a name that is nothing on this disk may be one that the catalogue understands."""
    return bool(text.strip()) and not text.startswith((".", "~")) and not {"/", "\\", ":"} & set(text)


def _from_card(card: ModelCard) -> Described:
    titles = catalog.sources()
    source = titles.get(card.figures.get("shape", ""), "its sources are with the card")
    return Described(card.name, card.name, card.config, (f"The shape is the catalogue's: {source}.",))


def _from_folder(folder: Path, found: sources.Source) -> Described:
    files = sum(path.stat().st_size for path in folder.glob("*.safetensors") if path.is_file())
    where = (
        "its folder" if found.kind == "folder" else found.name if found.kind == "hub" else "the bundled model"
    )
    note = f"The shape is that of the config.json of {where}."
    config = read_json(folder, "config.json")
    return _with_stored_quant(Described(found.name, found.spec, config, (note,), files=files or None))


def _from_gguf(path: Path, spec: str) -> Described:
    header = read_gguf(path)
    kind = header.type.lower()
    config = {**header.config(), "dtype": _GGUF_FLOATS.get(kind, "float16")}
    notes = (
        f"The shape and the weights are those of the header of {path.name} ({header.type}).",
        "These are llama.cpp's figures. `%llama load` unpacks the file into "
        f"{'float32 or ' if header.parameters < SMALL else ''}bfloat16: that saves no memory.",
    )
    quant = kind if kind in FORMATS and kind not in _GGUF_FLOATS else "none"
    return Described(
        header.name, spec, config, notes, quant=quant, dtype=str(config["dtype"]), stored=header.bytes
    )


def _loaded(model: Model) -> Described:
    note = f"{model.name} is loaded: its weights take what is stated, and are in memory already."
    quant = model.quant if model.quant in FORMATS else None
    return Described(
        model.name,
        model.source,
        model.checked.config,
        (note,),
        quant=quant or "none",
        stored=model.bytes,
        dtype=model.dtype,
    )


def _with_stored_quant(found: Described) -> Described:
    """The same with the quantisation that the config says its weights are stored in."""
    settings = found.config.get("quantization_config")
    if not isinstance(settings, Mapping):
        return found
    method = str(settings.get("quant_method", ""))
    quant = _stored_quant(method, settings)
    if quant is None:
        note = f"It is stored quantised ({method[:40] or 'unknown method'}), which this plan does not know."
    else:
        note = f"It is stored quantised, as {quant}."
    return replace(found, notes=(*found.notes, note), quant=quant or "none")


def _stored_quant(method: str, settings: Mapping[str, Any]) -> str | None:
    if method in ("gptq", "awq") and settings.get("bits", 4) == 4:
        return f"{method}-4bit"
    if method != "bitsandbytes":
        return None
    if settings.get("load_in_8bit"):
        return "int8"
    kind = str(settings.get("bnb_4bit_quant_type", "fp4"))
    return f"{kind}-double" if kind == "nf4" and settings.get("bnb_4bit_use_double_quant") else kind
