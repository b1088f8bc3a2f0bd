"""The gate's tests: what fails beside others and passes alone is named; what fails twice fails."""

import os
from pathlib import Path

import pytest

from tools import gate

PYTEST = ("python", "-m", "pytest", "-q")
STEADY = "def test_steady():\n    pass\n"
# Fails as long as its file is not there, and writes it.
UNSTEADY = """from pathlib import Path

def test_unsteady():
    seen = Path(__file__).with_suffix(".seen")
    before = seen.exists()
    seen.touch()
    assert before
"""
BROKEN = (
    "import pytest\n\n@pytest.mark.parametrize('n', range({count}))\ndef test_broken(n):\n    assert False\n"
)


def passed(folder: Path, monkeypatch: pytest.MonkeyPatch, **files: str) -> bool:
    for name, text in files.items():
        (folder / f"test_{name}.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(gate, "ROOT", folder)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # ours take seconds to import, and are not asked here
    return gate.Tests("pytest", PYTEST, again=PYTEST).run(environment)


def test_what_fails_once_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert passed(tmp_path, monkeypatch, steady=STEADY, unsteady=UNSTEADY)
    said = capfd.readouterr().out
    assert "UNSTEADY, failed beside others and passed alone: test_unsteady.py::test_unsteady" in said
    assert said.count("test_steady") == 0


def test_what_fails_twice_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not passed(tmp_path, monkeypatch, steady=STEADY, unsteady=UNSTEADY, broken=BROKEN.format(count=1))


def test_many_failures_are_no_matter_of_a_busy_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not passed(tmp_path, monkeypatch, broken=BROKEN.format(count=6))
    assert "again" not in capfd.readouterr().out


def test_a_file_that_cannot_be_read_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not passed(tmp_path, monkeypatch, damaged="import nothing_of_this_name\n")


def test_no_tests_at_all_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not passed(tmp_path, monkeypatch)
