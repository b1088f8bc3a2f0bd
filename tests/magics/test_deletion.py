"""`%llama models --delete`: shown, asked, deleted; here, and in a real kernel whose question is answered."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.magics import completion, deletion
from llama_nb.runtime.environment import Environment
from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.session.test_cache import WHOLE, put

ID = "meta-llama/Llama-3.2-1B"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(tmp_path, ID, **WHOLE)
    put(tmp_path, "b/half", broken=70)
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, text: str) -> list[str]:
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or text)
    return asked


@pytest.mark.parametrize("word", ["y", "YES", " yes "])
def test_a_yes_deletes(shell, hub: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    asked = answer(monkeypatch, word)
    cell = shell(f"%llama models --delete {ID}")
    assert cell.ok, cell.out
    assert asked == [f"Delete {ID} from the cache, 4.30 kB? [y/N] "]
    shown = cell.displays[0].data["text/plain"]
    assert "model.safetensors" in shown
    assert "4.00 kB" in shown
    assert cell.value.text == f"Deleted {ID}: 4.30 kB given back."
    assert not (hub / "models--meta-llama--Llama-3.2-1B").exists()
    assert (hub / "models--b--half").exists()


@pytest.mark.parametrize("word", ["", "n", "no", "yeah, why not"])
def test_anything_else_does_not(shell, hub: Path, monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    answer(monkeypatch, word)
    assert shell(f"%llama models --delete {ID}").value.text == "Nothing was deleted."
    assert (hub / "models--meta-llama--Llama-3.2-1B").exists()


def test_who_is_sure_is_not_asked(shell, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, "n")
    assert "given back" in shell("%llama models --delete b/half --yes").value.text
    assert not asked


def test_many_files_are_summed_up(shell, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(hub, "c/many", **{f"model-{index}_dot_safetensors": 1000 for index in range(20)})
    answer(monkeypatch, "n")
    shown = shell("%llama models --delete c/many").displays[0].data["text/plain"]
    assert "and 8 more" in shown
    assert "8.00 kB" in shown


def test_where_nobody_is_asked_nothing_is_deleted(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "detect", lambda: Environment("batch", watched=False, widgets=False))
    with pytest.raises(LlamaError, match="--yes"):
        deletion.delete(ID, sure=False)
    assert (hub / "models--meta-llama--Llama-3.2-1B").exists()
    assert "given back" in deletion.delete(ID, sure=True).text


def test_a_typo_is_answered_before_the_question(shell, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answer(monkeypatch, "y")
    cell = shell("%llama models --delete meta-llama/Llama-3.2-1b")
    assert "Did you mean" in cell.out
    assert not asked


def test_tab_offers_what_is_cached(hub: Path) -> None:
    assert completion.candidates("%llama models --delete ") == ["b/half", ID]
    assert completion.candidates("%llama models --delete meta") == [ID]


def test_half_downloaded_models_are_listed(shell, hub: Path) -> None:
    assert "b/half" in repr(shell("%llama models").value)
    assert "not whole" in repr(shell("%llama models").value)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def kernel(cache: Path) -> Iterator[Kernel]:
    with Kernel(environment={"PYTHONPATH": str(ROOT), "HF_HUB_CACHE": str(cache)}, cwd=cache) as started:
        started.ok("%load_ext llama_nb")
        yield started


@pytest.mark.kernel
def test_a_kernel_asks_its_page(kernel: Kernel, cache: Path) -> None:
    root = put(cache, ID, **WHOLE)
    result = kernel.run(f"%llama models --delete {ID}", allow_stdin=False)
    assert "--yes" in result.error_text
    for word, says, there in (("n", "Nothing was deleted", True), ("y", "4.30 kB given back", False)):
        result = kernel.submit(f"%llama models --delete {ID}")
        deadline = time.monotonic() + 60
        while True:
            assert time.monotonic() < deadline
            try:
                question = kernel.client.get_stdin_msg(timeout=0.05)
                break
            except queue.Empty:
                kernel.pump(0.05)
        assert "4.30 kB?" in question["content"]["prompt"]
        kernel.client.input(word)
        kernel.wait(result)
        assert says in result.text
        assert root.exists() is there


@pytest.mark.kernel
def test_what_a_kernel_has_loaded_stays(kernel: Kernel, cache: Path, stories260k: Path) -> None:
    import shutil

    root = cache / "models--a--stories"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("rev")
    shutil.copytree(stories260k, root / "snapshots" / "rev")
    (root / "snapshots" / "rev").chmod(0o755)
    kernel.ok("%llama load a/stories")
    assert "loaded as 'a/stories'" in kernel.run("%llama models --delete a/stories --yes").error_text
    assert (root / "snapshots" / "rev" / "model.safetensors").exists()
    kernel.ok("%llama unload")
    assert "given back" in kernel.ok("%llama models --delete a/stories --yes").text
    assert not root.exists()
