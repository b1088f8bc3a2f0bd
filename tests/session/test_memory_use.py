"""Who takes the memory: models by device, this Python besides, others; sums that come out."""

from types import SimpleNamespace

import pytest

from llama_nb.runtime.usage import GpuUsage, Usage, usage
from llama_nb.session import cache
from llama_nb.session.memory_use import memory_use

GB = 10**9


def reading(**changes) -> Usage:
    given = {
        "ram_total": 16 * GB,
        "ram_free": 9 * GB,
        "ram_limit_source": "machine",
        "process_rss": 3 * GB,
        "gpus": (),
        "disk_total": 100 * GB,
        "disk_free": 40 * GB,
    }
    return Usage(**{**given, **changes})


def model(gigabytes, device="cpu"):
    return SimpleNamespace(held=int(gigabytes * GB), device=device)


def amounts(use):
    return {share.label: share.bytes / GB for share in use.shares}


def test_ram_is_split_between_models_python_and_others():
    ram, disk = memory_use(reading(), {"cria": model(2)})
    assert amounts(ram) == {"cria": 2, "this Python besides": 1, "others": 4}
    assert ram.free == 9 * GB
    assert (disk.name, disk.free) == ("disk of the model cache", 40 * GB)


def test_the_disk_says_what_cached_models_take(monkeypatch):
    found = [SimpleNamespace(bytes=5 * GB), SimpleNamespace(bytes=2 * GB)]
    monkeypatch.setattr(cache, "entries", lambda: found)
    disk = memory_use(reading(), {})[-1]
    assert amounts(disk) == {"cached models": 7, "other files": 53}
    assert disk.free == 40 * GB


def test_without_models_it_is_just_this_python():
    ram = memory_use(reading(), {})[0]
    assert amounts(ram) == {"this Python": 3, "others": 4}


def test_weights_that_are_mapped_and_not_read_yet_make_nothing_negative():
    ram = memory_use(reading(process_rss=GB), {"big": model(5)})[0]
    assert amounts(ram) == {"big": 5, "this Python besides": 0, "others": 2}
    crowded = memory_use(reading(process_rss=GB, ram_free=15 * GB), {"big": model(5)})[0]
    assert amounts(crowded)["others"] == 0


def test_a_containers_limit_is_named():
    assert "container" in memory_use(reading(ram_limit_source="cgroup"), {})[0].name


def test_models_on_gpus_take_no_ram():
    gpus = (GpuUsage("RTX 4090", 24 * GB, 6 * GB, 18 * GB), GpuUsage("RTX 4090", 24 * GB, GB, 23 * GB))
    models = {"a": model(2, "cuda:0"), "b": model(3, "cuda"), "c": model(1, "cuda:1"), "d": model(1, "mps")}
    ram, first, second, _ = memory_use(reading(gpus=gpus), models)
    assert amounts(first) == {"a": 2, "b": 3, "caches and others": 1}
    assert amounts(second) == {"c": 1, "caches and others": 0}
    assert amounts(ram) == {"d": 1, "this Python besides": 2, "others": 4}
    assert [first.name, second.name] == ["RTX 4090 (0)", "RTX 4090 (1)"]


def test_several_models_look_different():
    ram = memory_use(reading(), {"a": model(1), "b": model(1), "c": model(1)})[0]
    assert len({share.look for share in ram.shares}) == 5


@pytest.mark.parametrize("changes", [{"disk_total": None, "disk_free": None}, {"disk_total": 0}])
def test_a_disk_that_cannot_be_asked_is_left_out(changes):
    assert len(memory_use(reading(**changes), {})) == 1


def test_this_machine_adds_up():
    for use in memory_use(usage(), {}):
        assert use.capacity > 0
        assert 0 <= use.free <= use.capacity
