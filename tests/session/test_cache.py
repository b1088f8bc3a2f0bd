"""Deleting from the hub's cache: that model and nothing else, whatever its name and the links in it."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from llama_nb.core.errors import LlamaError, ModelBusy
from llama_nb.session import cache, registry


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setenv("HF_HUB_CACHE", str(folder))
    return folder


def put(hub: Path, name: str, *, snapshots: int = 1, broken: int = 0, **files: int) -> Path:
    """Put a model into the cache as the hub's client does: blobs, and snapshots of links to them."""
    root = hub / f"models--{name.replace('/', '--')}"
    (root / "blobs").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("rev0")
    for index, (key, size) in enumerate(files.items()):
        (root / "blobs" / f"blob{index}").write_bytes(b"x" * size)
        for number in range(snapshots):
            where = root / "snapshots" / f"rev{number}"
            where.mkdir(parents=True, exist_ok=True)
            (where / key.replace("_dot_", ".")).symlink_to(f"../../blobs/blob{index}")
    if broken:
        (root / "blobs" / "abcdef0123456789.incomplete").write_bytes(b"x" * broken)
    (hub / ".locks" / root.name).mkdir(parents=True)
    (hub / ".locks" / root.name / "blob0.lock").touch()
    return root


WHOLE = {"config_dot_json": 100, "tokenizer_dot_json": 200, "model_dot_safetensors": 4000}


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_what_is_there(hub: Path) -> None:
    put(hub, "a/whole", snapshots=3, **WHOLE)
    put(hub, "b/half", broken=70, config_dot_json=30)
    put(hub, "gpt2", config_dot_json=5)
    (hub / "datasets--x--y").mkdir()
    assert cache.names() == ["a/whole", "b/half", "gpt2"]
    whole, half, _ = cache.entries()
    # Four kB, not twelve: the snapshots share their files.
    assert (whole.bytes, whole.complete) == (4300 + 4, True)
    assert whole.files == (("model.safetensors", 4000), ("tokenizer.json", 200), ("config.json", 100))
    assert (half.bytes, half.complete) == (100 + 4, False)
    assert half.files == (("half-downloaded abcdef01", 70), ("config.json", 30))


def test_deleting_takes_that_model_and_says_its_bytes(hub: Path) -> None:
    put(hub, "a/keep", **WHOLE)
    before = everything(hub)
    put(hub, "a/gone", snapshots=2, **WHOLE)
    assert cache.delete("a/gone") == 4304
    assert everything(hub) == before


def test_a_half_downloaded_model_is_deleted(hub: Path) -> None:
    put(hub, "b/half", broken=70)
    assert cache.delete("b/half") == 74
    assert cache.names() == []


def test_links_are_removed_and_not_followed(hub: Path, tmp_path: Path) -> None:
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "thesis.txt").write_text("years of work")
    root = put(hub, "a/linked", **WHOLE)
    (root / "snapshots" / "rev0" / "folder").symlink_to(outside)
    (root / "snapshots" / "rev0" / "thesis.txt").symlink_to(outside / "thesis.txt")
    (root / "blobs" / "up").symlink_to("../../..")
    assert cache.delete("a/linked") == 4304
    assert (outside / "thesis.txt").read_text() == "years of work"
    assert everything(tmp_path) == {"hub", "hub/.locks", "mine", "mine/thesis.txt"}


def test_a_link_in_the_models_place_is_refused(hub: Path, tmp_path: Path) -> None:
    real = put(tmp_path / "disk2", "a/moved", **WHOLE)
    (hub / real.name).symlink_to(real)
    assert cache.entries()[0].bytes == 0
    with pytest.raises(LlamaError, match="link out of the cache"):
        cache.delete("a/moved")
    assert (real / "blobs" / "blob0").exists()
    assert (hub / real.name).is_symlink()


def test_a_file_with_another_name_elsewhere_gives_nothing_back(hub: Path, tmp_path: Path) -> None:
    root = put(hub, "a/hard", **WHOLE)
    os.link(root / "blobs" / "blob2", tmp_path / "kept.safetensors")
    os.link(root / "blobs" / "blob1", root / "blobs" / "again")
    assert cache.delete("a/hard") == 100 + 200 + 4
    assert (tmp_path / "kept.safetensors").stat().st_size == 4000


@pytest.mark.parametrize(
    "name",
    ["../..", "..", "a/../..", "/", "", ".", "a", "models--a--b", "*/*", "a/b/../../..", "a--b", "A/B"],
)
def test_a_name_leads_nowhere_else(hub: Path, tmp_path: Path, name: str) -> None:
    put(hub, "a/b", **WHOLE)
    before = everything(tmp_path)
    with pytest.raises(LlamaError, match="not in the cache"):
        cache.delete(name)
    assert everything(tmp_path) == before


def test_a_typo_is_answered_with_the_nearest(hub: Path) -> None:
    put(hub, "meta-llama/Llama-3.2-1B", **WHOLE)
    with pytest.raises(LlamaError, match=r"Did you mean 'meta-llama/Llama-3\.2-1B'"):
        cache.delete("meta-llama/Llama-3.2-1b")


def test_what_is_loaded_stays(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = put(hub, "a/b", **WHOLE)
    model = SimpleNamespace(checked=SimpleNamespace(folder=root / "snapshots" / "rev0"))
    monkeypatch.setattr(registry, "_models", {"mine": model})
    with pytest.raises(ModelBusy, match="loaded as 'mine'"):
        cache.delete("a/b")
    assert (root / "blobs" / "blob2").exists()
    monkeypatch.setattr(registry, "_models", {})
    assert cache.delete("a/b") == 4304


def test_a_failure_is_said_with_what_is_left(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, "a/b", **WHOLE)

    def fail(folder: Path, **_: object) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(LlamaError, match="Permission denied"):
        cache.delete("a/b")


def test_no_cache_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    assert cache.entries() == []
    (tmp_path / "none").write_text("a file")
    assert cache.entries() == []


def test_a_real_model_is_complete_until_a_file_is_missing(hub: Path, stories260k: Path) -> None:
    root = hub / "models--a--real"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("rev")
    shutil.copytree(stories260k, root / "snapshots" / "rev")
    (root / "snapshots" / "rev").chmod(0o755)
    assert cache.find("a/real").complete
    (root / "snapshots" / "rev" / "model.safetensors").unlink()
    assert not cache.find("a/real").complete
