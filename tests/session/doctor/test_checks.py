"""Each check where something is wrong (planted) and where it is not; page and hub have files of their own."""

import importlib.metadata
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from llama_nb.runtime.environment import Environment
from llama_nb.runtime.usage import GpuUsage, Usage
from llama_nb.session.doctor.checks import compute, folders, libraries, python, quantisation, room
from llama_nb.session.doctor.imports import Imported
from tests.session.doctor.verdicts import is_note, is_ok, is_problem

GB = 10**9
LAB = Environment("lab", watched=True, widgets=True)
PLAIN = Environment("plain", watched=False, widgets=False)
L4 = (GpuUsage("NVIDIA L4", 24 * GB, GB, 23 * GB),)


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
