"""Figures of memory and disk, on this machine and on machines made of fakes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from llama_nb.runtime import devices, hub_settings, usage
from tests.runtime import fake_nvml

GB = 10**9


def test_the_figures_of_this_machine_are_possible() -> None:
    now = usage.usage()
    assert 0 < now.process_rss < now.ram_total <= psutil.virtual_memory().total
    assert 0 < now.ram_free <= now.ram_total
    assert now.disk_free is not None
    assert now.disk_total is not None
    assert 0 <= now.disk_free <= now.disk_total


def test_a_containers_limit_is_the_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB, available=50 * GB))
    monkeypatch.setattr(devices, "cgroup_limit", lambda: 4 * GB)
    monkeypatch.setattr(devices, "cgroup_free", lambda: 3 * GB)
    now = usage.usage()
    assert (now.ram_total, now.ram_free, now.ram_limit_source) == (4 * GB, 3 * GB, "cgroup")


def test_a_limit_above_the_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GB, available=50 * GB))
    monkeypatch.setattr(devices, "cgroup_limit", lambda: 100 * GB)
    monkeypatch.setattr(devices, "cgroup_free", lambda: 99 * GB)
    now = usage.usage()
    assert (now.ram_total, now.ram_free, now.ram_limit_source) == (64 * GB, 50 * GB, "machine")


def test_gpus_come_from_their_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, ("NVIDIA L4", 24 * GB, GB), ("lost", GB, 0), ("NVIDIA T4", 16 * GB, 0))
    assert usage.gpus() == (
        usage.GpuUsage("NVIDIA L4", 24 * GB, GB, 23 * GB),
        usage.GpuUsage("NVIDIA T4", 16 * GB, 0, 16 * GB),
    )
    assert usage.driver_version() == "580.95.05"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1", ["B"]),
        ("1,0", ["B", "A"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["A"]),
        ("GPU-1111", ["B"]),
        ("GPU-none,0", []),
    ],
)
def test_hidden_gpus_are_not_ours(monkeypatch: pytest.MonkeyPatch, visible: str, names: list[str]) -> None:
    fake_nvml.install(monkeypatch, ("A", GB, 0), ("B", GB, 0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in usage.gpus()] == names


def test_without_a_driver_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch)
    assert usage.gpus() == ()
    assert usage.driver_version() is None


def test_without_the_library_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_nvml.install(monkeypatch, ("A", GB, 0))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert usage.usage().gpus == ()


def test_the_disk_is_that_of_a_cache_that_is_yet_to_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "not" / "there"))
    now = usage.usage()
    assert now.disk_total == os.statvfs(tmp_path).f_blocks * os.statvfs(tmp_path).f_frsize


def test_reading_imports_no_torch() -> None:
    code = "import sys\nfrom llama_nb.runtime.usage import usage\nusage()\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("variables", "source"),
    [
        ({}, None),
        ({"HF_TOKEN": "x", "HUGGING_FACE_HUB_TOKEN": "y"}, "HF_TOKEN"),
        ({"HUGGING_FACE_HUB_TOKEN": "y"}, "HUGGING_FACE_HUB_TOKEN"),
        ({"HF_TOKEN": " "}, None),
    ],
)
def test_where_a_login_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], source: str | None
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    for name in hub_settings.TOKEN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub_settings.token_source() == source
    (tmp_path / "token").write_text("hf_x")
    assert hub_settings.token_source() == (source or "file")
