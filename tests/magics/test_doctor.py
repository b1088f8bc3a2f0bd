"""`%llama doctor` in a real kernel: what it says, how long it takes, and what it never says."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.kernel import Kernel
from tests.loading.fake_hub import FakeHub, serve

pytestmark = pytest.mark.kernel

TOKEN = "hf_" + "Planted1" * 4
HANGS = "import time; time.sleep(600)"
CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
TORCH = """
from types import SimpleNamespace as N
__version__, version = "2.0", N(cuda=None, hip=None)
cuda = N(is_available=lambda: False)
backends = N(mps=N(is_available=lambda: False))
get_num_threads = lambda: 1
"""
# After the first diagnosis the real libraries are not imported again: it takes seconds.
QUICK = """
from llama_nb.session.doctor import imports
real, imports.probe = imports.probe, lambda names, seconds: dict.fromkeys(names, imports.Imported(False))
"""


@pytest.fixture(scope="module")
def hub() -> Iterator[FakeHub]:
    with serve({}) as server:
        server.accounts[TOKEN] = "ada"
        yield server


@pytest.fixture(scope="module")
def kernel(hub: FakeHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    folder = tmp_path_factory.mktemp("doctor")
    (folder / "libraries").mkdir()
    environment = {
        "PYTHONPATH": f"{folder / 'libraries'}:{ROOT}",
        "HF_HOME": str(folder / "hf"),
        "HF_ENDPOINT": hub.url,
        "HF_HUB_OFFLINE": "0",
        "HF_TOKEN": TOKEN,
        "LLAMA_NB_HOME": str(folder / "settings"),
        "MY_API_KEY": "planted-in-a-variable",
    }
    with Kernel(environment=environment, cwd=folder) as started:
        started.folder = folder
        started.ok("%load_ext llama_nb\nimport llama_nb, sys")
        yield started


def test_a_diagnosis_is_a_value_with_two_twins(kernel: Kernel, hub: FakeHub) -> None:
    result = kernel.ok("d = %llama doctor\nd")
    assert "checks are fine" in result.value["text/plain"]
    assert "✓&nbsp;ok" in result.value["text/html"]
    assert kernel.evaluate("d['torch'].state") == "ok"
    assert kernel.evaluate("d['log-in'].says") == "The token comes from the variable HF_TOKEN."
    assert "HEAD" in " ".join(hub.requests)
    assert kernel.evaluate("[name for name in ('torch', 'transformers') if name in sys.modules]") == []
    assert set(hub.tokens) == {""}
    everything = json.dumps([result.messages], default=str)
    assert TOKEN not in everything
    assert TOKEN[:6] not in everything
    assert "planted-in-a-variable" not in everything


def test_the_token_is_sent_when_it_is_asked_for(kernel: Kernel, hub: FakeHub) -> None:
    kernel.ok(QUICK)
    kernel.ok("d = %llama doctor --account")
    assert kernel.evaluate("(d['account'].state, d['account'].here)") == ("ok", "ada")
    assert f"Bearer {TOKEN}" in hub.tokens
    assert all(
        path == "GET /api/whoami-v2" for path, token in zip(hub.requests, hub.tokens, strict=True) if token
    )


def test_where_nobody_watches_there_is_no_path_and_no_figure(kernel: Kernel) -> None:
    for code in ("%llama doctor", "%llama doctor --report"):
        shown = kernel.ok(code, allow_stdin=False)
        text = json.dumps(shown.value)
        assert "checks are fine" in text
        assert str(kernel.folder) not in text
        assert " GB free" not in text
        assert len(shown.outputs) == 1


def test_a_report_is_safe(kernel: Kernel) -> None:
    text = kernel.ok("%llama doctor --report").value["text/plain"]
    assert "torch" in text
    for secret in (TOKEN, TOKEN[:6], str(kernel.folder), str(Path.home())):
        assert secret not in text


def test_a_library_that_crashes_and_one_that_hangs(kernel: Kernel) -> None:
    libraries = kernel.folder / "libraries"
    (libraries / "torch.py").write_text(TORCH)
    (libraries / "torchao.py").touch()
    (libraries / "bitsandbytes.py").write_text(CRASHES)
    (libraries / "gguf.py").write_text(HANGS)
    kernel.ok("QUANTO = {'optimum.quanto': imports.Imported(False)}")
    kernel.ok("imports.probe = lambda names, seconds: real([n for n in names if '.' not in n], 4) | QUANTO")
    began = time.monotonic()
    kernel.ok("d = %llama doctor")
    assert time.monotonic() - began < 30
    assert kernel.evaluate("(d['bitsandbytes'].state, d['bitsandbytes'].here)") == (
        "problem",
        "its import crashed (SIGSEGV)",
    )
    assert kernel.evaluate("(d['gguf'].state, d['gguf'].here)") == (
        "problem",
        "its import did not end in time",
    )
    assert kernel.evaluate("d['torchao'].state") == "ok"


def test_an_interrupt_ends_the_wait(kernel: Kernel) -> None:
    kernel.ok("import time; imports.probe = lambda names, seconds: time.sleep(60) or {}")
    result = kernel.submit("%llama doctor")
    kernel.pump(1.0)
    began = time.monotonic()
    kernel.interrupt()
    kernel.wait(result, timeout=30)
    assert time.monotonic() - began < 10
    assert "Interrupted" in result.error_text


def test_python_users_have_it_too(kernel: Kernel) -> None:
    kernel.ok(QUICK)
    kernel.ok("found = llama_nb.doctor()")
    assert kernel.evaluate("len(found) > 15")
