"""Front end, widgets and our JupyterLab extension: what is wrong with them (planted), and what is not."""

from pathlib import Path
from types import SimpleNamespace

import pytest

import llama_nb
from llama_nb.runtime.environment import Environment
from llama_nb.session.doctor import server
from llama_nb.session.doctor.checks import page
from tests.session.doctor.verdicts import is_note, is_ok, is_problem

LAB = Environment("lab", watched=True, widgets=True)
PLAIN = Environment("plain", watched=False, widgets=False)


@pytest.fixture
def jupyter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's environment made of folders, with everything that JupyterLab needs."""
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("JUPYTER_PATH", raising=False)
    monkeypatch.delenv("JUPYTER_PREFER_ENV_PATH", raising=False)
    prefix = tmp_path / "server"
    for name in ("llama-nb", "anywidget", "@jupyter-widgets/jupyterlab-manager"):
        (prefix / "share" / "jupyter" / "labextensions" / name).mkdir(parents=True)
    own = server.read_json(Path(llama_nb.__file__).parent / "labextension" / "package.json")
    put(prefix, own)
    return prefix


def put(prefix: Path, record: object) -> None:
    import json

    file = prefix / "share" / "jupyter" / "labextensions" / "llama-nb" / "package.json"
    file.write_text(json.dumps(record))


def test_the_front_end() -> None:
    is_ok(page.front_end(LAB, "4.6.1"), "JupyterLab", "4.6.1")
    is_ok(page.front_end(LAB, None))
    is_problem(page.front_end(LAB, "4.3.8"), "4.3.8", "jupyterlab>=4.4")
    is_note(page.front_end(Environment("vscode", watched=True, widgets=True), None), "VS Code")
    is_note(page.front_end(PLAIN, None), "plain Python")


def test_widgets(jupyter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_ok(page.widgets(jupyter, in_lab=True), "anywidget", "ipywidgets")
    (jupyter / "share" / "jupyter" / "labextensions" / "anywidget").rmdir()
    is_problem(page.widgets(jupyter, in_lab=True), "no anywidget", "pip install anywidget")
    is_ok(page.widgets(jupyter, in_lab=False))
    monkeypatch.setattr(page, "version_of", {"anywidget": "0.11", "ipywidgets": "7.8"}.get)
    is_problem(page.widgets(jupyter, in_lab=False), "7.8", 'pip install -U "ipywidgets>=8.1"')
    monkeypatch.setattr(page, "version_of", {"ipywidgets": "8.1"}.get)
    is_problem(page.widgets(jupyter, in_lab=False), "anywidget is missing")


def test_buttons() -> None:
    is_ok(page.buttons("7.4.0", LAB), "while a cell runs")
    is_note(page.buttons("6.29.5", LAB), "6.29.5", "interrupt", "ipykernel>=7")
    is_note(page.buttons("7.4.0", Environment("colab", watched=True, widgets=True)), "Colab")
    is_note(page.buttons(None, LAB), "not in this environment")
    is_ok(page.buttons(None, PLAIN))


def test_the_extension(jupyter: Path) -> None:
    is_ok(page.extension(jupyter, in_lab=True), llama_nb.__version__)
    put(jupyter, {"version": "0.0.1"})
    is_problem(page.extension(jupyter, in_lab=True), "0.0.1", f'"llama-nb=={llama_nb.__version__}"')
    put(jupyter, {"version": llama_nb.__version__, "jupyterlab": {"_build": {"load": "other.js"}}})
    is_note(page.extension(jupyter, in_lab=True), "another build")
    (jupyter / "share" / "jupyter" / "labextensions" / "llama-nb" / "package.json").write_text("{broken")
    is_problem(page.extension(jupyter, in_lab=True), "without a version")


def test_no_extension(jupyter: Path, tmp_path: Path) -> None:
    is_problem(page.extension(tmp_path / "empty", in_lab=True), "pip install llama-nb")
    is_note(page.extension(tmp_path / "empty", in_lab=False))


@pytest.mark.parametrize("switched", ['{"llama-nb": true}', '["llama-nb"]', '{"llama-nb:plugin": true}'])
def test_an_extension_that_is_switched_off(jupyter: Path, tmp_path: Path, switched: str) -> None:
    file = tmp_path / "config" / "labconfig" / "page_config.json"
    file.parent.mkdir(parents=True)
    file.write_text(f'{{"disabledExtensions": {switched}}}')
    is_problem(page.extension(jupyter, in_lab=True), "switched off", "jupyter labextension enable")
    file.write_text('{"disabledExtensions": {"llama-nb": false, "llama-nb-other": true}}')
    is_ok(page.extension(jupyter, in_lab=True))


def test_a_users_own_extension_comes_before_the_servers(
    jupyter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "labextensions" / "llama-nb").mkdir(parents=True)
    (tmp_path / "data" / "labextensions" / "llama-nb" / "package.json").write_text('{"version": "0.0.2"}')
    is_problem(page.extension(jupyter, in_lab=True), "0.0.2")
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    is_ok(page.extension(jupyter, in_lab=True))


def test_in_a_virtual_environment_its_own_extension_comes_first(
    jupyter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "labextensions" / "llama-nb").mkdir(parents=True)
    (jupyter / "pyvenv.cfg").touch()
    is_ok(page.extension(jupyter, in_lab=True))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "0")
    is_problem(page.extension(jupyter, in_lab=True), "without a version")


def test_the_servers_environment_is_that_of_our_parent(
    jupyter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [str(jupyter / "bin" / "python3.12"), "jupyter-lab"]
    monkeypatch.setenv("JPY_PARENT_PID", "1")
    monkeypatch.setattr(server.psutil, "Process", lambda _: SimpleNamespace(cmdline=lambda: command))
    assert server.prefix() == jupyter
    command[0] = "python3"
    assert server.prefix() is None
    monkeypatch.delenv("JPY_PARENT_PID")
    assert server.prefix() is None
