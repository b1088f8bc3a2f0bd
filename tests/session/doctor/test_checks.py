"""Every check where something is wrong (planted) and where it is not."""

import importlib.metadata
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import llama_nb
from llama_nb.runtime import hub_settings
from llama_nb.runtime.environment import Environment
from llama_nb.runtime.usage import GpuUsage, Usage
from llama_nb.session.doctor import server
from llama_nb.session.doctor.check import Check
from llama_nb.session.doctor.checks import compute, folders, hub, libraries, page, python, quantisation, room
from llama_nb.session.doctor.imports import Imported
from tests.loading.fake_hub import FakeHub, serve

GB = 10**9
LAB = Environment("lab", watched=True, widgets=True)
PLAIN = Environment("plain", watched=False, widgets=False)
L4 = (GpuUsage("NVIDIA L4", 24 * GB, GB, 23 * GB),)


def is_problem(check: Check, *words: str) -> None:
    assert check.state == "problem", check
    assert check.command, check
    for word in words:
        assert word in f"{check.says} {check.command} {check.here}", check


def is_note(check: Check, *words: str) -> None:
    assert check.state == "note", check
    for word in words:
        assert word in f"{check.says} {check.command} {check.here}", check


def is_ok(check: Check, *words: str) -> None:
    assert check.state == "ok", check
    assert not check.command, check
    for word in words:
        assert word in f"{check.says} {check.here}", check


def torch(**facts: object) -> Imported:
    known = {"version": "2.13.0", "cuda": None, "hip": None, "available": False, "count": 0, "mps": False}
    return Imported(True, "", {**known, "threads": 4, "warning": "", **facts})


# --- Python and this package ----------------------------------------------------------------------------


def test_python() -> None:
    is_ok(python.interpreter((3, 12, 1), 64), "3.12.1")
    is_problem(python.interpreter((3, 10, 0), 64), "3.10.0", "3.11")
    is_problem(python.interpreter((3, 12, 0), 32), "32 bits")
    is_note(python.interpreter((3, 15, 0), 64), "newer")


def test_the_operating_system() -> None:
    is_ok(python.system("Linux"))
    is_note(python.system("Windows"), "Windows", "Linux only")


def installed(version: str, record: str | None) -> SimpleNamespace:
    return SimpleNamespace(version=version, read_text=lambda _: record)


@pytest.mark.parametrize(
    ("record", "how"),
    [
        (None, "package index"),
        ('{"url": "file:///x", "dir_info": {"editable": true}}', "editable"),
        ('{"url": "file:///x/llama_nb.whl", "archive_info": {}}', "folder or file"),
        ('{"url": "https://git.example/x", "vcs_info": {"vcs": "git"}}', "git repository"),
        ("not json", "package index"),
    ],
)
def test_how_the_package_was_installed(monkeypatch: pytest.MonkeyPatch, record: str | None, how: str) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: installed("1.2.3", record))
    is_ok(python.package("1.2.3"), "1.2.3", how)


def test_two_copies_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: installed("0.0.9", None))
    is_problem(python.package("0.1.0"), "0.1.0", "0.0.9", "pip install")


def test_a_package_that_was_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    is_note(python.package("0.1.0"), "without being installed", "pip install -e .")


# --- libraries ---------------------------------------------------------------------------------------------


def test_versions_of_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {"transformers": "4.57.0", "tokenizers": "0.23.0"}
    monkeypatch.setattr(libraries, "version_of", versions.get)
    is_ok(libraries.library("tokenizers", ">=0.22"), "0.23.0")
    is_problem(libraries.library("transformers", ">=5"), "4.57.0", 'pip install -U "transformers>=5"')
    is_problem(libraries.library("nh3", ">=0.2.18"), "missing", 'pip install -U "nh3>=0.2.18"')


def test_the_ranges_are_those_that_the_package_declares(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = ["transformers>=5", "huggingface-hub<3,>=1", "torchao>=0.14; extra == 'quant'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: declared)
    assert libraries.required() == {"transformers": ">=5", "huggingface_hub": "<3,>=1"}
    assert libraries.required("quant") == {"torchao": ">=0.14"}


def test_all_libraries_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "required", lambda: {"transformers": ">=5", "nh3": ">=99", "numpy": ""})
    found = {check.name: check for check in libraries.check(None)}
    is_problem(found["nh3"], ">=99")
    assert "libraries" not in found
    monkeypatch.setattr(libraries, "required", lambda: {"transformers": ">=5", "nh3": "", "numpy": ""})
    is_ok({check.name: check for check in libraries.check(None)}["libraries"], "2")
    monkeypatch.setattr(libraries, "required", dict)
    is_note({check.name: check for check in libraries.check(None)}["libraries"], "not installed")


def test_a_file_beside_the_notebook_hides_a_library(tmp_path: Path) -> None:
    is_ok(libraries.hidden(tmp_path))
    (tmp_path / "torch.py").write_text("print('my torch')")
    is_problem(libraries.hidden(tmp_path), "'torch'", "Rename torch.py", str(tmp_path))


# --- torch, threads, GPU -----------------------------------------------------------------------------------


def test_torch() -> None:
    is_ok(compute.library(torch(cuda="12.6")), "2.13.0", "CUDA 12.6")
    is_problem(compute.library(Imported(False)), "missing", "pip install torch")
    is_problem(compute.library(Imported(True, "OSError: libc10.so")), "cannot be imported", "libc10.so")


def test_gpus() -> None:
    is_ok(compute.gpu(torch(cuda="12.6", available=True, count=1), L4, "580", None), "1 GPU", "NVIDIA L4")
    is_ok(compute.gpu(torch(mps=True), (), None, None), "mps")
    is_note(compute.gpu(torch(), (), None, None), "CPU")
    is_note(compute.gpu(torch(cuda="12.6"), (), "580", ""), "CUDA_VISIBLE_DEVICES")
    is_note(compute.gpu(Imported(False), L4, "580", None), "no torch")
    is_problem(compute.gpu(torch(), L4, "580", None), "CPU only", "pip install --force-reinstall torch")
    old = torch(cuda="13.0", warning="The NVIDIA driver on your system is too old")
    is_problem(compute.gpu(old, L4, "470.1", None), "470.1", "CUDA 13.0", "too old", "nvidia-smi")


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_threads(no_threads: pytest.MonkeyPatch) -> None:
    is_ok(compute.threads(4, 4))
    is_ok(compute.threads(None, 2))
    is_problem(compute.threads(16, 4), "16 threads, 4 cores", "%env OMP_NUM_THREADS=4")
    no_threads.setenv("OMP_NUM_THREADS", "32")
    is_problem(compute.threads(4, 4), "OMP_NUM_THREADS asks")
    no_threads.setenv("OMP_NUM_THREADS", "1")
    is_note(compute.threads(1, 4), "OMP_NUM_THREADS leaves", "1 of 4")


def test_threads_that_spin() -> None:
    is_ok(compute.waiting("PASSIVE"))
    is_ok(compute.waiting(""))
    is_problem(compute.waiting("active"), "OMP_WAIT_POLICY")


# --- quantisation ------------------------------------------------------------------------------------------


def test_libraries_of_quantised_weights() -> None:
    is_ok(quantisation.library("torchao", Imported(True), "0.18", ">=0.14"), "0.18")
    is_note(quantisation.library("torchao", Imported(False), None, ""), "pip install 'llama-nb[quant]'")
    crashed = Imported(True, "its import crashed (SIGSEGV)")
    is_problem(quantisation.library("bitsandbytes", crashed, "0.50", ""), "SIGSEGV", "--force-reinstall")
    is_problem(quantisation.library("gguf", Imported(True), "0.1", ">=0.17"), "0.1", '"gguf>=0.17"')


def test_the_processor(tmp_path: Path) -> None:
    (tmp_path / "with").write_text("flags : avx512f avx512_bf16\n")
    (tmp_path / "without").write_text("flags : avx2\n")
    is_note(quantisation.processor(tmp_path / "with"), "AVX512-BF16", "turns that off")
    is_ok(quantisation.processor(tmp_path / "without"))
    is_ok(quantisation.processor(tmp_path / "none"))


# --- the page -----------------------------------------------------------------------------------------


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


# --- room ------------------------------------------------------------------------------------------------


def now(ram_free: float = 8, disk_free: float | None = 100) -> Usage:
    free = None if disk_free is None else int(disk_free * GB)
    total = None if disk_free is None else 500 * GB
    return Usage(16 * GB, int(ram_free * GB), "cgroup", GB, (), total, free)


def test_memory() -> None:
    is_ok(room.memory(now(), []), "8.0 GB free of 16.0 GB", "limit")
    is_note(room.memory(now(ram_free=2), []), "small models")
    is_problem(room.memory(now(ram_free=0.3), []), "Shut down kernels")
    is_problem(room.memory(now(ram_free=0.3), ["cria"]), "%llama unload cria")


def test_gpu_memory() -> None:
    is_ok(room.gpu(GpuUsage("NVIDIA T4", 16 * GB, 0, 16 * GB)), "NVIDIA T4")
    is_problem(room.gpu(GpuUsage("NVIDIA T4", 16 * GB, 16 * GB, 0)), "full", "nvidia-smi")


def test_disk() -> None:
    is_ok(room.disk(now()))
    is_note(room.disk(now(disk_free=5)), "%llama models --delete")
    is_problem(room.disk(now(disk_free=0.5)), "Too full", "%llama models --delete")
    is_problem(room.disk(now(disk_free=None)), "HF_HOME")


# --- the hub -----------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in (*hub_settings.TOKEN_VARIABLES, "HF_HUB_CACHE", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("TRANSFORMERS_OFFLINE", raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return tmp_path / "hf"


@pytest.fixture
def server_of_hub(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with serve({}) as fake:
        monkeypatch.setenv("HF_ENDPOINT", fake.url)
        monkeypatch.setenv("HF_TOKEN", "hf_" + "Planted5" * 4)
        yield fake
        if fake.silent is not None:
            fake.silent.set()


def test_a_hub_that_answers_is_sent_no_token(server_of_hub: FakeHub) -> None:
    is_ok(hub.reachable(), "answers", "mirror")
    assert server_of_hub.tokens == [""]


def test_a_hub_that_is_ill(server_of_hub: FakeHub) -> None:
    server_of_hub.status = 503
    is_problem(hub.reachable(), "503")


def test_a_hub_that_accepts_and_never_answers(
    server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_SECONDS", 0.3)
    server_of_hub.silent = threading.Event()
    began = time.monotonic()
    is_problem(hub.reachable(), "cannot be reached", "HF_HUB_OFFLINE=1")
    assert time.monotonic() - began < 10


def test_a_hub_that_is_not_there(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{probe.getsockname()[1]}")
        is_problem(hub.reachable(), "cannot be reached")
    monkeypatch.setenv("HF_ENDPOINT", "file:///etc/passwd")
    is_problem(hub.reachable(), "no web address")


def test_offline_the_hub_is_not_asked(server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    is_note(hub.reachable(), "HF_HUB_OFFLINE")
    assert not server_of_hub.requests


def test_a_certificate_that_is_not_trusted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in certificate chain")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    is_problem(hub.reachable(), "certificate", "SSL_CERT_FILE")


def test_log_ins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = "hf_" + "Planted6" * 4
    is_note(hub.log_in(), "%llama login")
    home.mkdir()
    (home / "token").write_text(token)
    (home / "token").chmod(0o644)
    is_problem(hub.log_in(), "Other users", "%llama login")
    (home / "token").chmod(0o600)
    is_ok(hub.log_in(), "its file")
    monkeypatch.setenv("HF_TOKEN", token)
    is_note(hub.log_in(), "HF_TOKEN", "wins")
    (home / "token").unlink()
    is_ok(hub.log_in(), "HF_TOKEN")
    assert not any(token[:6] in f"{hub.log_in()}" for _ in range(1))


def test_whose_log_in_it_is(server_of_hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    is_problem(hub.whose(), "401")
    server_of_hub.accounts[os.environ["HF_TOKEN"]] = "ada"
    is_ok(hub.whose(), "ada")


def test_the_cache(home: Path) -> None:
    is_ok(hub.models(), "written to", "0 in")
    (home / "hub" / "models--a--half" / "blobs").mkdir(parents=True)
    (home / "hub" / "models--a--half" / "blobs" / "x.incomplete").write_bytes(b"x" * 10)
    is_note(hub.models(), "half-downloaded", "%llama models --delete a/half")


def test_a_cache_that_cannot_be_written_to(home: Path) -> None:
    home.write_text("a file in its place")
    is_problem(hub.models(), "a file stands", "HF_HOME")


# --- folders -----------------------------------------------------------------------------------------------


def test_the_folder_of_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    is_ok(folders.home(tmp_path / "new"), str(tmp_path))
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    is_problem(folders.home(tmp_path / "file"), "a file stands", "LLAMA_NB_HOME")
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    is_problem(folders.home(tmp_path / "link"), "leads nowhere")
    monkeypatch.setattr(os, "access", lambda *_: False)
    is_problem(folders.home(tmp_path), "cannot be written to")


def test_the_folder_of_chats(tmp_path: Path) -> None:
    is_ok(folders.chats(tmp_path / "new", kept=True))
    is_note(folders.chats(tmp_path, kept=False), "LLAMA_NB_CHATS")
    (tmp_path / "file").touch()
    is_problem(folders.chats(tmp_path / "file" / "x", kept=True), "memory only")
