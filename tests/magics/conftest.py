"""An IPython shell in this process with the extension loaded, and the scripted model."""

import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from llama_nb.runtime import settings
from llama_nb.session import registry
from tests.kernel import Kernel
from tests.magics import fake


class Cell:
    """What running one cell gave."""

    def __init__(self, result, captured):
        self.ok = result.success
        self.error = result.error_in_exec or result.error_before_exec
        self.value = result.result
        self.out, self.err, self.displays = captured.stdout, captured.stderr, captured.outputs


class Shell:
    """Runs cells in an InteractiveShell."""

    def __init__(self, ip):
        self.ip = ip

    def __call__(self, code):
        with capture_output() as captured:
            result = self.ip.run_cell(code, store_history=True)
        return Cell(result, captured)

    @property
    def names(self):
        return self.ip.user_ns


@pytest.fixture(scope="session")
def ipython():
    before = sys.modules["__main__"]
    made = InteractiveShell.instance(colors="nocolor")
    InteractiveShell.clear_instance()
    # IPython's own has no __spec__, and multiprocessing asks for it.
    sys.modules["__main__"] = before
    return made


@pytest.fixture
def shell(ipython):
    # The shell of this process for this test only: elsewhere it would look as if somebody watched a terminal.
    for kind in InteractiveShell._walk_mro():
        kind._instance = ipython
    ipython.reset(new_session=True)
    ipython.run_line_magic("load_ext", "llama_nb")
    yield Shell(ipython)
    ipython.run_line_magic("unload_ext", "llama_nb")
    settings.clear_sampling()
    InteractiveShell.clear_instance()


@pytest.fixture
def model(shell):
    made = fake.install()
    yield made
    registry._models.clear()
    registry._current = None


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One real kernel a module, with the extension loaded and the scripted model current."""
    from tests.conftest import ROOT

    folder = tmp_path_factory.mktemp("kernel")
    with Kernel(environment={"PYTHONPATH": str(ROOT), "LLAMA_NB_CHATS": "off"}, cwd=folder) as started:
        started.ok(
            "%load_ext llama_nb\nimport llama_nb, time\nfrom tests.magics import fake\nm = fake.install()"
        )
        yield started
