"""Libraries broken in every way are found out in a child, within their time; the others are still tried."""

import time
from pathlib import Path

import pytest

from llama_nb.session.doctor import imports
from llama_nb.session.doctor.imports import Imported, Imports, probe

HANGS = "import time; time.sleep(600)"
CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
EXITS = "import os; os._exit(3)"
FAILS = "raise OSError('libbroken.so.1: cannot open shared object file')"
LEAVES = "raise SystemExit('good-bye')"
CHATTY = "print('{\"name\": 1'); print('[]'); print('hello')"


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, here and in children, in which tests put libraries."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def put(folder: Path, **sources: str) -> list[str]:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return list(sources)


def test_each_way_of_being_broken(libraries: Path) -> None:
    names = put(libraries, fails=FAILS, chatty=CHATTY, crashes=CRASHES, leaves=LEAVES, exits=EXITS, sound="")
    found = probe([*names, "never_installed"], seconds=30)
    assert found["sound"] == found["chatty"] == Imported(True, "", {"warning": ""})
    assert found["never_installed"] == Imported(installed=False)
    assert "libbroken.so.1" in found["fails"].error
    assert "SystemExit" in found["leaves"].error
    assert found["crashes"].error == "its import crashed (SIGSEGV)"
    assert "failed" in found["exits"].error


def test_a_library_that_hangs_costs_its_time_and_no_more(libraries: Path) -> None:
    names = put(libraries, first="", hangs=HANGS, last="")
    began = time.monotonic()
    found = probe(names, seconds=3)
    assert time.monotonic() - began < 20
    assert "did not end in time" in found["hangs"].error
    assert not found["first"].error
    assert not found["last"].error


def test_without_torch_the_others_are_not_tried(libraries: Path) -> None:
    (libraries / "torch.py").write_text(CRASHES)
    names = put(libraries, last="")
    found = probe(["torch", *names], seconds=30)
    assert "SIGSEGV" in found["torch"].error
    assert "torch cannot be imported" in found["last"].error


def test_all_that_wait_share_one_child(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fake(names: tuple[str, ...], seconds: float) -> dict[str, Imported]:
        asked.append(names)
        return dict.fromkeys(names, Imported(installed=False))

    monkeypatch.setattr(imports, "probe", fake)
    shared = Imports()
    assert not shared.of("torch").installed
    assert not shared.of("gguf").installed
    assert len(asked) == 1


def test_the_real_libraries_can_be_imported() -> None:
    found = probe(imports.LIBRARIES, seconds=120)
    assert {name: result.error for name, result in found.items()} == dict.fromkeys(imports.LIBRARIES, "")
    assert found["torch"].facts["version"]
    assert found["torch"].facts["threads"] >= 1
