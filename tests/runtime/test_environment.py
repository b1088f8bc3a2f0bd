import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from llama_nb.runtime import environment
from llama_nb.runtime.environment import detect, notebook_path


@pytest.fixture
def shell(monkeypatch):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "JPY_PARENT_PID"):
        monkeypatch.delenv(name, raising=False)
    fake = SimpleNamespace(user_ns={})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: fake))
    return fake


def kernel(*, stdin):
    parent = {"content": {"allow_stdin": stdin}}
    return SimpleNamespace(get_parent=lambda _: parent, _allow_stdin=not stdin)


def test_plain_python(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert detect() == environment.Environment("plain", watched=False, widgets=False)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))
    assert detect().kind == "plain"


def test_a_terminal_is_watched_and_has_no_widgets(shell):
    assert detect() == environment.Environment("terminal", watched=True, widgets=False)


def test_a_kernel_that_answers_no_questions_is_a_batch_run(shell):
    shell.kernel = kernel(stdin=False)
    assert detect() == environment.Environment("batch", watched=False, widgets=False)


def test_a_kernel_without_a_request_yet_is_judged_by_its_own_flag(shell):
    shell.kernel = SimpleNamespace(_allow_stdin=True)
    assert detect().watched
    shell.kernel = SimpleNamespace()
    assert not detect().watched


def test_jupyterlab(shell):
    shell.kernel = kernel(stdin=True)
    assert detect() == environment.Environment("lab", watched=True, widgets=True)


def test_other_pages(shell, monkeypatch):
    shell.kernel = kernel(stdin=True)
    monkeypatch.setattr(environment, "_server_command", lambda: "python\0/bin/jupyter-notebook\0")
    assert detect().kind == "notebook"
    shell.user_ns["__vsc_ipynb_file__"] = "/a/b.ipynb"
    assert detect().kind == "vscode"
    monkeypatch.setitem(sys.modules, "google.colab", SimpleNamespace())
    assert detect().kind == "colab"


def test_the_server_is_recognised_by_its_command(shell, monkeypatch):
    monkeypatch.setenv("JPY_PARENT_PID", str(os.getpid()))
    assert "python" in environment._server_command()
    for wrong in ("", "x", "999999999"):
        monkeypatch.setenv("JPY_PARENT_PID", wrong)
        assert environment._server_command() == ""


def test_the_notebooks_path(shell, monkeypatch, tmp_path):
    assert notebook_path() is None
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert notebook_path() == tmp_path / "a.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", "Console 1")
    assert notebook_path() is None
    shell.user_ns["__vsc_ipynb_file__"] = str(tmp_path / "v.ipynb")
    assert notebook_path() == tmp_path / "v.ipynb"


def test_nothing_heavy_is_imported():
    code = (
        "import sys, llama_nb.runtime.environment as e; e.detect();"
        "print('IPython' in sys.modules, 'torch' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["False", "False"]
