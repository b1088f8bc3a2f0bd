"""What a name means."""

from pathlib import Path

import pytest

from llama_nb import bundled as bundled_models
from llama_nb.core.errors import LoadError
from llama_nb.loading.source import Source, bundled, cached, fetch, resolve


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    return tmp_path


def make(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return folder


def test_a_bundled_model(place: Path) -> None:
    make(place / "cria")
    assert resolve("cria") == Source("cria", "bundled", "cria", bundled_models.folder("cria"))
    assert resolve("./cria") == Source("./cria", "folder", "cria", place / "cria")
    assert resolve(Path("cria")).kind == "folder"
    assert fetch(resolve("cria")) == bundled_models.folder("cria")
    assert "cria" in bundled()


@pytest.mark.parametrize("spec", ["models/a", "./models/a", "models/a/", "../place/models/a", "~/models/a"])
def test_a_folder(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "place" / "models" / "a")
    monkeypatch.chdir(tmp_path / "place")
    monkeypatch.setenv("HOME", str(tmp_path / "place"))
    found = resolve(spec)
    assert (found.kind, found.name) == ("folder", "a")
    assert fetch(found).resolve() == tmp_path / "place" / "models" / "a"


def test_the_folder_stays_the_same_when_the_working_directory_changes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(place / "a")
    found = resolve("./a")
    monkeypatch.chdir("/")
    assert fetch(found) == place / "a"


def test_the_current_folder(place: Path) -> None:
    (place / "config.json").write_text("{}")
    assert resolve(".").name == place.name


def test_a_hub_id() -> None:
    assert resolve("someone/some-model_1.0") == Source(
        "someone/some-model_1.0", "hub", "someone/some-model_1.0"
    )
    assert resolve("  someone/model  ").name == "someone/model"


@pytest.mark.parametrize("spec", ["llama-3.2-1b-instruct", "Llama-3.2-1B-Instruct"])
def test_a_name_of_the_catalogue(spec: str) -> None:
    assert resolve(spec).name == "meta-llama/Llama-3.2-1B-Instruct"


def test_a_hub_id_in_lower_case_is_put_right() -> None:
    assert resolve("meta-llama/llama-3.2-1b").name == "meta-llama/Llama-3.2-1B"


def test_a_folder_wins_over_a_hub_id(place: Path) -> None:
    make(place / "someone" / "model")
    assert resolve("someone/model").kind == "folder"


@pytest.mark.parametrize(
    "spec", ["a--b/c", "a/..", "-a/b", "a/b c", "a//b", "/", "a/b@main", "x" * 50 + "/" + "y" * 50]
)
def test_no_hub_ids(spec: str) -> None:
    try:
        kind = resolve(spec).kind
    except LoadError:
        kind = "refused"
    assert kind != "hub"


def test_models_published_nowhere_are_not_downloaded() -> None:
    with pytest.raises(LoadError, match="no model 'llama-7b'"):
        resolve("llama-7b")


def test_a_typo_of_a_folder_here_and_of_a_cached_model(place: Path) -> None:
    make(place / "my-fine-tune")
    snapshot = place / "hub" / "hub" / "models--someone--handmade" / "snapshots" / "abc"
    make(snapshot)
    for name in ("tokenizer.json", "model.safetensors"):
        (snapshot / name).write_text("{}")
    assert [model.name for model in cached()] == ["someone/handmade"]
    with pytest.raises(LoadError, match="Did you mean 'my-fine-tune'"):
        resolve("my-fine-tone")
    with pytest.raises(LoadError, match="Did you mean 'someone/handmade'"):
        resolve("someone/hand made")
