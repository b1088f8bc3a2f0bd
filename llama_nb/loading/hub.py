"""Models from the hub: what is downloaded, how far it is, and why it was refused.

Only here is the network used. huggingface_hub does the transfer and keeps the cache; a broken connection is
taken up again where it broke, and files that are whole stay for the next attempt.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from llama_nb import bundled
from llama_nb.catalog import catalog
from llama_nb.core.errors import LoadError, did_you_mean
from llama_nb.core.events import Progress, publisher
from llama_nb.core.stop import StopFlag
from llama_nb.loading import hub_cache
from llama_nb.loading.config import read_config
from llama_nb.loading.folder import INDEX, PICKLES, SINGLE, shard_names
from llama_nb.loading.reading import check_stop
from llama_nb.planner.fit import gigabytes
from llama_nb.runtime import hub_settings
from llama_nb.runtime.secrets import redact

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

_SMALL_FILES: Final = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "chat_template.json", INDEX,
)  # fmt: skip
_TIMEOUT: Final = 8.0  # seconds for the first answer
_REPORT_EVERY: Final = 0.1  # seconds between Progress events


def download(
    repo: str,
    approve: Callable[[Mapping[str, Any]], None] | None = None,
    stop: StopFlag | None = None,
) -> Path:
    """Download what is missing of a model into the hub's cache and return its snapshot folder.

    Parameters
    ----------
    repo
        The hub id.
    approve
        Called with the config before the weights are downloaded; may raise to refuse.
    stop
        Ends the download.

    Raises
    ------
    LoadError
        If there is no network, no such model, no access, nothing that can be loaded or no room on the disk.
    LoadCancelled
        If `stop` was set; a download that is asked for again goes on where it was.
    """
    if hub_settings.offline():
        raise _offline(repo, "the environment says HF_HUB_OFFLINE")
    with quiet_hub():
        sizes = _describe(repo)
        small = [name for name in _SMALL_FILES if name in sizes]
        folder = _download(repo, small, sizes, "the description of", stop)
        config = read_config(folder)
        if approve is not None:
            approve(config)
        weights = _weight_files(repo, folder, sizes)
        missing = [name for name in weights if not (folder / name).exists()]
        _check_disk(repo, sum(sizes[name] or 0 for name in missing))
        return _download(repo, missing, sizes, "", stop) if missing else folder


def download_files(
    repo: str, names: Sequence[str], *, needs: Sequence[str] = (), stop: StopFlag | None = None
) -> Path:
    """Download those of `names` that a repository has into the hub's cache and return its snapshot folder.

    Without a network, what is in the cache already is taken.

    Raises
    ------
    LoadError
        As for `download`; also if the repository lacks one of `needs`.
    """
    if hub_settings.offline():
        cached = hub_cache.snapshot(repo)
        if cached is not None and all((cached / name).exists() for name in needs):
            return cached
        raise _offline(repo, "the environment says HF_HUB_OFFLINE")
    with quiet_hub():
        sizes = _describe(repo)
        for name in needs:
            if name not in sizes:
                raise LoadError(f"{repo} has no {name}; in it: {', '.join(sorted(sizes)[:8]) or 'nothing'}.")
        wanted = [name for name in names if name in sizes]
        _check_disk(repo, sum(sizes[name] or 0 for name in wanted))
        return _download(repo, wanted, sizes, "", stop)


def endpoint() -> str | None:
    """The hub to ask: a mirror set in this session counts too, which huggingface_hub reads at import only."""
    return os.environ.get("HF_ENDPOINT")


def _describe(repo: str) -> dict[str, int | None]:
    """Return the files of a repository with their sizes."""
    from huggingface_hub import HfApi

    try:
        info: ModelInfo = HfApi(endpoint=endpoint()).model_info(repo, files_metadata=True, timeout=_TIMEOUT)
    except Exception as error:  # noqa: BLE001 - the hub's client raises its own, httpx's and the system's errors
        raise _explain(repo, error) from None
    return {sibling.rfilename: sibling.size for sibling in info.siblings or []}


def _weight_files(repo: str, folder: Path, sizes: Mapping[str, int | None]) -> list[str]:
    if INDEX in sizes:
        names = shard_names(folder, json.loads((folder / INDEX).read_text(encoding="utf-8")))
        absent = [name for name in names if name not in sizes]
        if absent:
            raise LoadError(
                f"{repo} is incomplete on the hub: its index names {absent[0]}, which is not there."
            )
        return names
    if SINGLE in sizes:
        return [SINGLE]
    tensors = [name for name in sizes if name.endswith(".safetensors") and "/" not in name]
    if len(tensors) == 1 and tensors[0] != "adapter_model.safetensors":
        return tensors
    pickles = [name for name in sizes if name.endswith(PICKLES)]
    ggufs = [name for name in sizes if name.endswith(".gguf")]
    if pickles:
        raise LoadError(
            f"{repo} has only pickles ({pickles[0]}): reading one can run any code in it: refused.",
            f"`hf download {repo} --local-dir ./model`, then `python -m llama_nb.loading.convert ./model`"
            " reads the tensors only, in a process of its own.",
        )
    if ggufs:
        raise LoadError(
            f"{repo} has only GGUF files: {', '.join(ggufs[:4])}{' ...' if len(ggufs) > 4 else ''}.",
            f"Choose one: `hf download {repo} {ggufs[0]} --local-dir .`, then `%llama load ./{ggufs[0]}`",
        )
    shown = ", ".join(sorted(sizes)[:8]) or "nothing"
    raise LoadError(f"{repo} has no weights ({SINGLE}); in it: {shown}.", "Load another model.")


def _check_disk(repo: str, needed: int) -> None:
    place = hub_settings.cache_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise LoadError(
            f"{repo} does not fit on the disk: {gigabytes(needed)} to download, {gigabytes(free)} free "
            f"at {place}.",
            "Free some space, or set HF_HOME to a larger disk.",
        )


def _download(
    repo: str, names: Sequence[str], sizes: Mapping[str, int | None], part: str, stop: StopFlag | None
) -> Path:
    from huggingface_hub import hf_hub_download

    known = [sizes[name] for name in names]
    total = None if None in known else sum(size or 0 for size in known)
    meter = _Meter(f"downloading {part + ' ' if part else ''}{repo}", total, lambda: check_stop(stop, repo))
    folder = hub_settings.cache_folder()
    local = folder
    try:
        for name in names:
            before = meter.done
            path = hf_hub_download(
                repo,
                name,
                cache_dir=folder,
                endpoint=endpoint(),
                etag_timeout=_TIMEOUT,
                tqdm_class=meter.bar(),
            )
            meter.file_ends(before + (sizes[name] or Path(path).stat().st_size))
            local = Path(path).parent
    except Exception as error:  # noqa: BLE001 - as in _describe
        raise _explain(repo, error, meter) from None
    finally:
        meter.end()
    return local


class _Meter:
    """Adds up the bytes of several files and publishes them as Progress; `check` may raise to end it."""

    def __init__(self, what: str, total: int | None, check: Callable[[], None]) -> None:
        self.what = what
        self.total = total
        self._check = check
        self.done = 0
        # huggingface_hub's transfer has threads of its own.
        self._publish = publisher()
        self._reported = -_REPORT_EVERY

    def add(self, count: float) -> None:
        self._check()
        self.done = max(self.done + int(count), 0)
        if self.total is not None:
            self.done = min(self.done, self.total)
        if time.monotonic() - self._reported >= _REPORT_EVERY:
            self._reported = time.monotonic()
            self._publish(Progress(self.what, self.done, self.total, "bytes"))

    def file_ends(self, done: int) -> None:
        """Count a file as whole, whatever its bar has seen of it (nothing, when it was in the cache)."""
        self.done = done
        self.add(0)

    def end(self) -> None:
        self._publish(Progress(self.what, self.done, self.total, "bytes", ended=True))

    def bar(self) -> type:
        """Return a class that huggingface_hub uses as a progress bar for each file; all feed this meter."""
        meter = self

        class Bar:
            def __init__(self, *_: Any, total: float | None = None, initial: float = 0, **__: Any) -> None:
                self.total, self.n = total, initial
                meter.add(initial)

            def update(self, count: float = 1) -> None:
                self.n += count
                meter.add(count)

            def update_transfer(self, count: float = 1) -> None:
                """Bytes on the wire are not counted: `update` counts those of the file."""

            def __getattr__(self, name: str) -> Callable[..., None]:
                if name.startswith("_"):
                    raise AttributeError(name)
                return lambda *_, **__: None

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                pass

        return Bar


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence huggingface_hub's log lines: what they say, our errors say."""
    from huggingface_hub.utils import logging

    level = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        logging.set_verbosity(level)


def _explain(repo: str, error: Exception, meter: _Meter | None = None) -> LoadError:
    """Turn what the hub's client raised into what the user can do."""
    if isinstance(error, LoadError):
        return error
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status is None:
        return _unreachable(repo, error, meter)
    card = catalog.find(repo)
    gated = type(error).__name__ == "GatedRepoError" or (card is not None and card.gated)
    if status in (401, 403) and gated:
        return LoadError(
            f"{repo} is gated: its licence must be accepted first (the hub answered {status}).",
            f"Accept the licence at https://huggingface.co/{repo} then log in with `%llama login` (or "
            "`hf auth login`)",
        )
    if status in (401, 403, 404):
        near = did_you_mean(repo, [known for known in catalog.hub_ids() if known != repo])
        return LoadError(
            f"The hub has no model {redact(repo)!r} that you may see (it answered {status}).",
            near or "Check the id; for a private model, log in with `%llama login` (or `hf auth login`)",
        )
    if status == 429:
        return LoadError(
            f"The hub refuses more requests for now (429) while {repo} was asked for.", "Try again later."
        )
    return LoadError(f"The hub answered {status} when it was asked for {repo}.", "Try again later.")


def _unreachable(repo: str, error: Exception, meter: _Meter | None) -> LoadError:
    cause = redact(" ".join(str(error).split()))[:160] or type(error).__name__
    if type(error).__name__ == "HFValidationError":
        return LoadError(f"{redact(repo)!r} is no hub id: {cause}", "A hub id is OWNER/NAME.")
    if isinstance(error, OSError) and error.errno == 28:
        return LoadError(
            f"The disk is full: {repo} could not be stored.", "Free some space, then load it again."
        )
    if isinstance(error, PermissionError):
        return LoadError(
            f"{repo} cannot be stored in {hub_settings.cache_folder()}: {error.strerror}.", "Set HF_HOME."
        )
    if meter is not None and meter.done:
        of = f" of {gigabytes(meter.total)}" if meter.total else ""
        return LoadError(
            f"The connection broke after {gigabytes(meter.done)}{of} of {repo}: {cause}",
            f"`%llama load {repo}` goes on; files that are whole are kept.",
        )
    return _offline(repo, f"the hub cannot be reached: {cause}")


def _offline(repo: str, why: str) -> LoadError:
    cached = ", ".join(model.name for model in hub_cache.cached()) or "none"
    names = ", ".join(bundled.names())
    partial = hub_cache.snapshot(repo)
    state = "is only partly in the cache" if partial is not None else "is not in the cache"
    return LoadError(
        f"{repo} {state}, and {why}.",
        f"Cached models: {cached}; bundled: {names}.",
    )
