"""Downloads from a hub on 127.0.0.1: what is asked for, progress, cuts, refusals, and life without it."""

import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.core import events
from llama_nb.core.errors import LlamaError, LoadError
from llama_nb.loading import hub
from llama_nb.loading.check import check
from llama_nb.loading.source import cached, fetch, resolve
from llama_nb.runtime import hub_settings
from tests.loading.fake_hub import REVISION, FakeHub, serve
from tests.models import edit_json, write_random_llama

REPO = "someone/stories"
GATED = "meta-llama/Llama-3.2-1B"
TOKEN = "hf_" + "Secret" * 5


@pytest.fixture
def fake(tmp_path: Path, stories260k: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = tmp_path / "repo"
    shutil.copytree(stories260k, folder)
    folder.chmod(0o755)
    for path in folder.iterdir():
        path.chmod(0o644)
    (folder / "pytorch_model.bin").write_bytes(b"never asked for")
    (folder / "original").mkdir()
    (folder / "original" / "consolidated.00.pth").write_bytes(b"never asked for")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    for name in ("HF_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "home" / "token"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with serve({REPO: folder, GATED: folder}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture
def progress() -> Iterator[list[events.Progress]]:
    seen: list[events.Progress] = []
    stop = events.subscribe(lambda event: seen.append(event) if isinstance(event, events.Progress) else None)
    yield seen
    stop()


def load(repo: str = REPO) -> Path:
    return fetch(resolve(repo))


def refused(repo: str = REPO) -> str:
    with pytest.raises(LlamaError) as caught:
        load(repo)
    assert len(str(caught.value).splitlines()) <= 12
    return str(caught.value)


def test_only_what_is_needed_is_downloaded(fake: FakeHub, progress: list[events.Progress]) -> None:
    folder = load()
    assert folder.name == REVISION
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "model.safetensors",
    }  # fmt: skip
    assert check(folder).parameters == 260_032
    assert not any("pytorch_model" in request or "original" in request for request in fake.requests)
    weights = [event for event in progress if event.what == f"downloading {REPO}"]
    assert weights[-1] == events.Progress(f"downloading {REPO}", 1_044_992, 1_044_992, "bytes", ended=True)
    assert [event.done for event in weights] == sorted(event.done for event in weights)
    assert all(event.ended for event in (progress[-1],))


def test_a_second_time_nothing_is_asked(fake: FakeHub) -> None:
    first = load()
    fake.requests.clear()
    assert load() == first
    assert fake.requests == []
    assert [(model.name, model.folder) for model in cached()] == [(REPO, first)]


def test_a_link_into_the_cache_is_read_and_one_out_of_it_refused(fake: FakeHub, tmp_path: Path) -> None:
    folder = load()
    assert (folder / "model.safetensors").is_symlink()
    elsewhere = tmp_path / "elsewhere.safetensors"
    shutil.copyfile(folder / "model.safetensors", elsewhere)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(elsewhere)
    with pytest.raises(LoadError, match="leads out"):
        check(folder)


def test_a_connection_cut_in_the_middle_is_taken_up_there(
    fake: FakeHub, progress: list[events.Progress], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    fake.cuts["model.safetensors"] = 400_000
    folder = load()
    assert check(folder).parameters == 260_032
    assert fake.ranges == ["model.safetensors bytes=400000-"]
    assert max(event.done for event in progress) == 1_044_992


def test_a_download_that_breaks_is_gone_on_with(
    fake: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stories260k: Path
) -> None:
    fake.repos[REPO] = write_random_llama(tmp_path / "many", tokenizer_from=stories260k, shard_bytes=200_000)
    shards = sorted(path.name for path in fake.repos[REPO].glob("*.safetensors"))
    assert len(shards) > 2
    fake.broken.add(shards[-1])
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    text = refused()
    assert "connection broke after" in text
    assert f"%llama load {REPO}" in text
    assert cached() == []
    fake.broken.clear()
    fake.requests.clear()
    assert check(load()).parameters > 0
    downloaded = [request for request in fake.requests if request.startswith("GET") and "-of-" in request]
    assert [request.rsplit("/", 1)[1] for request in downloaded] == [shards[-1]]


def test_offline_names_what_there_is(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    load()
    fake.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert load().name == REVISION
    text = refused("someone/other")
    assert "someone/other is not in the cache" in text
    assert f"Cached models: {REPO}; bundled: cria" in text
    assert fake.requests == []


def test_no_network_is_said_at_once(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{closed.getsockname()[1]}")
        start = time.monotonic()
        text = refused()
    assert time.monotonic() - start < 30
    assert f"{REPO} is not in the cache, and the hub cannot be reached" in text
    assert "bundled: cria" in text


def test_a_hub_that_never_answers_is_given_up(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_TIMEOUT", 0.5)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        start = time.monotonic()
        text = refused()
    assert time.monotonic() - start < 30
    assert "cannot be reached" in text


def test_a_half_cached_model_offline_says_so(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = load()
    (folder / "model.safetensors").unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert f"{REPO} is only partly in the cache" in refused()
    assert cached() == []


def test_a_gated_model_without_token(fake: FakeHub) -> None:
    fake.gated.add(GATED)
    text = refused(GATED)
    assert f"https://huggingface.co/{GATED}" in text
    assert "licence" in text
    assert "`%llama login` (or `hf auth login`)" in text
    assert "401" in text


def test_a_gated_model_with_a_token_that_may_not(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.gated.add(GATED)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    text = refused("llama-3.2-1b")
    assert any(TOKEN in token for token in fake.tokens)
    assert "403" in text
    assert TOKEN not in text


def test_an_unknown_model(fake: FakeHub) -> None:
    assert "no model 'someone/nothing'" in refused("someone/nothing")
    assert "Did you mean 'meta-llama/Llama-3.2-1B-Instruct'" in refused("meta-lama/Llama-3.2-1B-Instruct")


@pytest.mark.parametrize(("status", "says"), [(500, "answered 500"), (503, "answered 503"), (429, "429")])
def test_a_hub_in_trouble(fake: FakeHub, status: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    fake.status = status
    assert says in refused()


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("pytorch_model.bin",), "only pickles"),
        (("tiny.gguf",), "has only GGUF files: tiny.gguf"),
        (("adapter_model.safetensors",), "no weights"),
        ((), "no weights"),
    ],
)
def test_a_repository_without_safetensors(fake: FakeHub, names: tuple[str, ...], says: str) -> None:
    for name in ("model.safetensors", "pytorch_model.bin", "original/consolidated.00.pth"):
        (fake.repos[REPO] / name).unlink()
    for name in names:
        (fake.repos[REPO] / name).write_bytes(b"x" * 100)
    assert says in refused()
    assert not any(
        request.startswith("GET") and name in request for request in fake.requests for name in names
    )


def test_custom_code_is_refused_before_the_weights_are_downloaded(fake: FakeHub) -> None:
    edit_json(fake.repos[REPO] / "config.json", auto_map={"AutoModelForCausalLM": "x.Y"})
    assert "auto_map" in refused()
    assert not any("model.safetensors" in request for request in fake.requests)


def test_what_does_not_fit_is_refused_before_the_weights_are_downloaded(fake: FakeHub) -> None:
    def approve(config: object) -> None:
        raise LoadError("too big", "no")

    with pytest.raises(LoadError, match="too big"):
        fetch(resolve(REPO), approve)
    assert not any("model.safetensors" in request for request in fake.requests)


def test_an_index_that_leads_out_downloads_nothing(fake: FakeHub) -> None:
    (fake.repos[REPO] / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../../../evil.safetensors"}}
    (fake.repos[REPO] / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "outside" in refused()


def test_a_disk_that_is_too_small(fake: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    text = refused()
    assert "does not fit on the disk" in text
    assert "HF_HOME" in text


def test_nothing_is_printed(
    fake: FakeHub, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    fake.cuts["model.safetensors"] = 1000
    load()
    assert capfd.readouterr() == ("", "")


def test_the_cache_is_where_huggingface_hub_has_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert hub_settings.cache_folder() == tmp_path / ".cache" / "huggingface" / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert hub_settings.cache_folder() == tmp_path / "x" / "huggingface" / "hub"
    monkeypatch.setenv("HF_HOME", "$HOME/h")
    assert hub_settings.cache_folder() == tmp_path / "h" / "hub"
    monkeypatch.setenv("HF_HUB_CACHE", "~/c")
    assert hub_settings.cache_folder() == tmp_path / "c"
    assert cached() == []
    assert os.environ["HOME"] == str(tmp_path)
