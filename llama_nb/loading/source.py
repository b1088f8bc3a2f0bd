"""What a user calls a model, and where it lies: bundled, in a folder, or on the hub.

Cheap: neither torch nor transformers nor a network is needed to say that a name is wrong.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from llama_nb import bundled as bundled_models
from llama_nb.catalog import catalog
from llama_nb.core.errors import LoadError, did_you_mean, nearest
from llama_nb.core.stop import StopFlag
from llama_nb.loading import hub_cache
from llama_nb.loading.damage import first_bytes, refuse_impostor
from llama_nb.loading.folder import PICKLES, only_gguf, pickle_refused
from llama_nb.runtime.secrets import redact

_HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PAGE: Final = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/.*)?")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+-]*):(?!\\)", re.IGNORECASE)
_LONGEST_SPEC: Final = 4096
_LONGEST_ID: Final = 96


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model comes from.

    Attributes
    ----------
    spec
        As the user wrote it.
    name
        The bundled name, the folder's name, the GGUF file's without its ending, or the hub id.
    folder
        The folder, or the GGUF file; None for a hub id, which is fetched first.
    """

    spec: str
    kind: Literal["bundled", "folder", "gguf", "hub"]
    name: str
    folder: Path | None = None


def bundled() -> list[str]:
    """Return the names of the models that come with llama-nb."""
    return list(bundled_models.names())


def cached() -> list[hub_cache.CachedModel]:
    """Return the models in the hub's cache that can be loaded without a network."""
    return hub_cache.cached()


def resolve(spec: str | Path) -> Source:
    """Say what a user's `spec` means.

    A bundled name wins over a folder of that name, a folder over a hub id; "./cria" is always the folder.

    Raises
    ------
    LoadError
        If it is empty, no folder, name or hub id, or leads outside; with the nearest that would work.
    """
    if not isinstance(spec, str | Path):
        raise LoadError(f"No model given: {redact(repr(spec))[:80]} is no name.", "`%llama load cria`")
    text = str(spec).strip()
    if not text:
        raise LoadError("No model given.", "`%llama load cria` loads the bundled model.")
    if "\0" in text or len(text) > _LONGEST_SPEC:
        raise LoadError(f"{redact(repr(text[:40]))} is no name of a model.", "`%llama load cria`")
    try:
        return _resolve(text, is_path=isinstance(spec, Path))
    except OSError as error:
        raise LoadError(
            f"{redact(text[:200])!r} cannot be read: {error.strerror or error}.", "`%llama models`"
        ) from None


def _resolve(text: str, *, is_path: bool) -> Source:
    if text in bundled_models.names() and not is_path:
        return Source(text, "bundled", text, bundled_models.folder(text))
    path = Path(text).expanduser()
    if is_path or _looks_like_path(text) or path.exists():
        return _local(text, path)
    if (page := _PAGE.fullmatch(text)) is not None:
        raise LoadError(
            f"{redact(text)!r} is a web address, not a model.", f"Did you mean {page.group(1)!r}?"
        )
    if (scheme := _SCHEME.match(text)) is not None:
        raise LoadError(
            f"{redact(text)[:200]!r}: this version loads bundled models, folders and hub ids, nothing from "
            f"{scheme.group(1)!r}.",
            "`%llama load cria`",
        )
    card = catalog.find(text)
    if card is not None and card.hub_id is not None:
        return Source(text, "hub", card.hub_id)
    if ".." in text.split("/"):
        raise LoadError(
            f"{redact(text)!r} leads outside the models folder: refused.", "A hub id is OWNER/NAME."
        )
    if _HUB_ID.fullmatch(text) and len(text) <= _LONGEST_ID and "--" not in text and ".." not in text:
        return Source(text, "hub", text)
    raise _unknown(text)


def _looks_like_path(text: str) -> bool:
    return text.startswith(("/", "./", "../", "~", ".\\", "..\\")) or text in (".", "..") or "\\" in text


def _local(text: str, path: Path) -> Source:
    outward = ".." in path.parts
    if path.is_dir():
        if outward and not (path / "config.json").exists() and not any(path.glob("*.safetensors")):
            raise LoadError(
                f"{redact(text)!r} leads outside the current folder, and no model is there: refused.",
                "Give the folder that holds the model's config.json.",
            )
        if (gguf := only_gguf(path)) is not None:
            return Source(text, "gguf", gguf.stem, gguf.absolute())
        return Source(text, "folder", path.resolve().name, path.absolute())
    if path.is_file():
        if path.suffix == ".gguf" or first_bytes(path).startswith(b"GGUF"):
            return Source(text, "gguf", path.stem, path.absolute())
        raise _is_file(path)
    if path.is_symlink():
        raise LoadError(f"{redact(text)!r} is a link to something that is not there.", f"Look at {path}.")
    if outward and not path.parent.is_dir():
        raise LoadError(
            f"{redact(text)!r} leads outside the current folder, to nothing: refused.", "`%llama models`"
        )
    raise LoadError(f"The folder {redact(text)!r} does not exist.", _nearest_folder(path))


def _is_file(path: Path) -> LoadError:
    if path.suffix in PICKLES:
        return pickle_refused(path)
    if path.suffix in (".safetensors", ".json"):
        refuse_impostor(path, first_bytes(path))
        return LoadError(
            f"{path.name} is a single file; a model is a folder.", f"`%llama load {path.parent}`"
        )
    return LoadError(f"{path.name} is a file, not a model's folder.", "A model is a folder with config.json.")


def _nearest_folder(path: Path) -> str:
    parent = path.parent
    if not parent.is_dir():
        return f"{redact(str(parent))} does not exist either. `%llama load cria` loads the bundled model."
    folders = [entry.name for entry in parent.iterdir() if entry.is_dir() and not entry.name.startswith(".")]
    hits = nearest(path.name, folders)
    if hits:
        return f"Nearest: {', '.join(str(parent / hit) for hit in hits)}"
    if path.name in bundled_models.names():
        return f"The bundled model is `%llama load {path.name}`"
    shown = ", ".join(sorted(folders)[:6]) or "no folders"
    return f"In {parent.absolute()}: {shown}. `%llama load cria` loads the bundled model."


def _unknown(text: str) -> LoadError:
    """The answer to a name that is nothing: a typo of something known, or no hub id at all."""
    local = [entry.name for entry in Path.cwd().iterdir() if (entry / "config.json").is_file()]
    known = [*bundled(), *catalog.names(), *catalog.hub_ids(), *(item.name for item in cached()), *local]
    spaced = re.sub(r"\s+", "-", text)
    near = did_you_mean(spaced, known)
    if re.search(r"\s", text):
        return LoadError(
            f"{redact(text)!r} has a space in it: no model is named so.", near or f"Try {spaced!r}."
        )
    forms = f"Bundled: {', '.join(bundled())}. A hub id looks like OWNER/NAME, a folder like ./NAME."
    return LoadError(f"There is no model {redact(text)!r}.", near or forms)


def fetch(
    source: Source,
    approve: Callable[[Mapping[str, Any]], None] | None = None,
    stop: StopFlag | None = None,
) -> Path:
    """Return the local folder of a source, downloading it first when it has to be.

    Parameters
    ----------
    approve
        Called with the config before weights are downloaded; may raise to refuse.
    stop
        Ends a download.

    Raises
    ------
    LoadError
        If the hub refuses, does not know the model, or cannot be reached and nothing is in the cache.
    LoadCancelled
        If `stop` was set; files that are whole stay in the cache.
    """
    if source.folder is not None:
        return source.folder
    found = hub_cache.complete_snapshot(source.name)
    if found is not None:
        return found
    from llama_nb.loading import hub

    return hub.download(source.name, approve, stop)
