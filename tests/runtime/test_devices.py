"""Memory, cores, threads and devices, on machines made of files and fakes."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from llama_nb.core.errors import LoadError
from llama_nb.runtime import devices
from llama_nb.runtime.devices import (
    available_memory,
    cgroup_cores,
    cgroup_free,
    cgroup_limit,
    pick_device,
    thread_count,
    usable_cores,
)

Tree = Callable[..., tuple[Path, Path]]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make a folder of control groups from path=content, and the file that names this process's own."""

    def make(own: str, **files: str) -> tuple[Path, Path]:
        root = tmp_path / "cgroup"
        for name, content in files.items():
            path = root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")
        root.mkdir(exist_ok=True)
        (tmp_path / "own").write_text(own)
        return root, tmp_path / "own"

    return make


def test_no_limit(tree: Tree) -> None:
    paths = tree("0::/\n")
    assert cgroup_free(*paths) is None
    assert cgroup_limit(*paths) is None
    assert cgroup_cores(*paths) is None


def test_version_2_in_a_container(tree: Tree) -> None:
    stat = "anon 5\ninactive_file 300\nactive_file 7"
    paths = tree(
        "0::/\n",
        memory_dot_max="1000",
        memory_dot_current="900",
        memory_dot_stat=stat,
        cpu_dot_max="150000 100000",
    )
    assert cgroup_free(*paths) == 1000 - (900 - 300)
    assert cgroup_limit(*paths) == 1000
    assert cgroup_cores(*paths) == 1.5


def test_version_2_unlimited(tree: Tree) -> None:
    paths = tree("0::/\n", memory_dot_max="max", memory_dot_current="900", cpu_dot_max="max 100000")
    assert cgroup_free(*paths) is None
    assert cgroup_cores(*paths) is None


def test_version_2_takes_the_tightest_of_the_parents(tree: Tree) -> None:
    paths = tree(
        "0::/user/session\n",
        user__session__memory_dot_max="max",
        user__session__memory_dot_current="10",
        user__memory_dot_max="500",
        user__memory_dot_current="100",
        user__cpu_dot_max="200000 100000",
        other__memory_dot_max="1",
        other__memory_dot_current="1",
    )
    assert cgroup_free(*paths) == 400
    assert cgroup_limit(*paths) == 500
    assert cgroup_cores(*paths) == 2.0


def test_version_1(tree: Tree) -> None:
    paths = tree(
        "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
        memory__docker__abc__memory_dot_limit_in_bytes="2000",
        memory__docker__abc__memory_dot_usage_in_bytes="500",
        memory__docker__abc__memory_dot_stat="total_inactive_file 100",
        **{"cpu,cpuacct__docker__abc__cpu_dot_cfs_quota_us": "50000"},
        **{"cpu,cpuacct__docker__abc__cpu_dot_cfs_period_us": "100000"},
    )
    assert cgroup_free(*paths) == 1600
    assert cgroup_cores(*paths) == 0.5


def test_version_1_unlimited(tree: Tree) -> None:
    paths = tree(
        "4:memory:/\n",
        memory__memory_dot_limit_in_bytes="9223372036854771712",
        memory__memory_dot_usage_in_bytes="500",
        cpu__cpu_dot_cfs_quota_us="-1",
        cpu__cpu_dot_cfs_period_us="100000",
    )
    assert cgroup_free(*paths) is None
    assert cgroup_cores(*paths) is None


def test_more_used_than_allowed_is_nothing_free(tree: Tree) -> None:
    assert cgroup_free(*tree("0::/\n", memory_dot_max="10", memory_dot_current="20")) == 0


@pytest.mark.parametrize("content", ["", "banana", "1 2 3 4", "0 0"])
def test_files_of_nonsense_are_no_limit(tree: Tree, content: str) -> None:
    paths = tree("garbage\n\n::\n", memory_dot_max=content, cpu_dot_max=content)
    assert cgroup_cores(*paths) is None


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert cgroup_free(tmp_path / "none", tmp_path / "none") is None


def test_available_memory_is_the_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    for limit, expected in ((None, 1000), (400, 400), (4000, 1000)):
        monkeypatch.setattr(devices, "cgroup_free", lambda value=limit: value)
        assert available_memory() == expected


def test_available_memory_here() -> None:
    assert 0 < available_memory() <= psutil.virtual_memory().total


@pytest.mark.parametrize(
    ("parameters", "asked", "threads"),
    [(260_000, "", 1), (19_999_999, "", 1), (110_000_000, "", 4), (8_000_000_000, "", 16),
     (8_000_000_000, "2", 2), (110_000_000, "64", 4), (8_000_000_000, "x", 16), (8_000_000_000, "0", 16)],
)  # fmt: skip
def test_threads_go_with_the_size(
    parameters: int, asked: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "usable_cores", lambda: 16)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert thread_count(parameters) == threads


def test_cores_stay_within_quota_and_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 4)
    for quota, cores in ((None, 4), (0.5, 1), (2.5, 3), (64.0, 4)):
        monkeypatch.setattr(devices, "cgroup_cores", lambda value=quota: value)
        assert usable_cores() == cores
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)
    monkeypatch.setattr(devices, "cgroup_cores", lambda: None)
    assert usable_cores() == 8


def test_devices_without_torch() -> None:
    code = "import sys; from llama_nb.runtime.devices import pick_device as pick; print(pick('auto'))"
    code += "; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["cpu", "False"]


def fake_torch(cuda: int = 0, mps: bool = False) -> SimpleNamespace:
    return SimpleNamespace(
        cuda=SimpleNamespace(
            is_available=lambda: cuda > 0,
            device_count=lambda: cuda,
            mem_get_info=lambda device: (7_000, 9_000),
        ),
        backends=SimpleNamespace(mps=SimpleNamespace(is_available=lambda: mps)),
    )


@pytest.mark.parametrize(
    ("torch", "asked", "picked"),
    [
        (fake_torch(), "auto", "cpu"),
        (fake_torch(cuda=2), "auto", "cuda"),
        (fake_torch(cuda=2), "cuda:1", "cuda:1"),
        (fake_torch(cuda=2), "cpu", "cpu"),
        (fake_torch(mps=True), "auto", "mps"),
        (fake_torch(mps=True), "mps", "mps"),
    ],
)
def test_a_device_is_picked(
    torch: SimpleNamespace, asked: str, picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert pick_device(asked) == picked


@pytest.mark.parametrize(
    ("torch", "asked", "says"),
    [
        (fake_torch(), "cuda", ("no GPU here", "2.3 GB", "--device cpu")),
        (fake_torch(), "mps", ("no GPU here", "mps")),
        (fake_torch(cuda=2), "cuda:2", ("no cuda:2 here", "2 GPUs")),
        (fake_torch(), "cuad", ("'cuad'", "Did you mean 'cuda'")),
        (fake_torch(), "tpu", ("'tpu'", "one of auto, cpu, cuda, mps")),
        (fake_torch(), None, ("None", "one of")),
    ],
)
def test_a_device_that_is_not_there(
    torch: SimpleNamespace, asked: str, says: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", torch)
    with pytest.raises(LoadError) as caught:
        pick_device(asked, needed=2_300_000_000)
    for part in says:
        assert part in str(caught.value)


def test_vram(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", fake_torch(cuda=1))
    assert available_memory("cuda") == 7_000
    monkeypatch.setitem(sys.modules, "torch", fake_torch())
    assert available_memory("cuda") == 0
