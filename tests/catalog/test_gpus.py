"""GPUs: every figure with its source, and every way in which users name them."""

import pytest

from llama_nb.catalog.gpus import GpuSet, find_gpu, gpus, parse_gpus
from llama_nb.core.errors import CatalogError, LlamaError

GB = 10**9


def test_every_gpu_has_figures_that_can_be_true_and_a_source() -> None:
    assert len({gpu.name for gpu in gpus()}) == len(gpus()) >= 25
    for gpu in gpus():
        assert gpu.source
        assert 8 * GB <= gpu.memory <= 1024 * GB
        assert 50e9 < gpu.bandwidth < 20e12
        assert gpu.bf16_flops is None or 10e12 < gpu.bf16_flops < 5e15
        assert (gpu.bf16_flops is None) == ("no FLOPs" in gpu.source)


def test_each_name_and_alias_means_one_gpu() -> None:
    seen: dict[str, str] = {}
    for gpu in gpus():
        for name in (gpu.name, *gpu.aliases):
            assert find_gpu(name) is gpu
            assert seen.setdefault(name.lower(), gpu.name) == gpu.name


def test_figures_of_the_data_sheets() -> None:
    # Dense: the H100's sheet says 1,979 with sparsity, the L4's 242.
    for name, memory, bandwidth, flops in [
        ("H100", 80, 3350, 989.5),
        ("L4", 24, 300, 121),
        ("A100 40GB", 40, 1555, 312),
        ("MI300X", 192, 5300, 1307.4),
    ]:
        gpu = find_gpu(name)
        assert gpu is not None
        assert (gpu.memory, gpu.bandwidth, gpu.bf16_flops) == (memory * GB, bandwidth * 1e9, flops * 1e12)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("Tesla T4", "T4"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("Tesla P100-PCIE-16GB", "P100"),
        ("Tesla V100-SXM2-16GB", "V100 16GB"),
        ("AMD Instinct MI300X", "MI300X"),
        ("m4 max", "Apple M4 Max"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX A6000", "RTX A6000"),
    ],
)
def test_users_and_drivers_names(text: str, name: str) -> None:
    gpu = find_gpu(text)
    assert gpu is not None
    assert gpu.name == name


def test_nothing_is_guessed() -> None:
    assert find_gpu("RTX 4095") is None
    assert find_gpu("") is None
    assert find_gpu("rtx") is None


@pytest.mark.parametrize(
    ("text", "count", "memory", "name"),
    [
        ("24GB", 1, 24 * GB, "24 GB"),
        ("24 gb", 1, 24 * GB, "24 GB"),
        ("24GiB", 1, 24 * 2**30, "25.77 GB"),
        ("4x24GB", 4, 24 * GB, "4x 24 GB"),
        ("4 x 24 GB", 4, 24 * GB, "4x 24 GB"),
        ("2xH100", 2, 80 * GB, "2x H100 SXM"),
        ("2 h100", 2, 80 * GB, "2x H100 SXM"),
        ("T4 x2", 2, 16 * GB, "2x T4"),
        ("RTX 4090", 1, 24 * GB, "RTX 4090"),
        ("4090", 1, 24 * GB, "RTX 4090"),
        ("2x4090", 2, 24 * GB, "2x RTX 4090"),
        ("A100 40GB", 1, 40 * GB, "A100 40GB"),
        ("M4 Max 36GB", 1, 36 * GB, "Apple M4 Max 36 GB"),
        ("0.5TB", 1, 500 * GB, "500 GB"),
        ("  8\u00d7H200 ", 8, 141 * GB, "8x H200"),
    ],
)
def test_what_users_write(text: str, count: int, memory: int, name: str) -> None:
    parsed = parse_gpus(text)
    assert (parsed.count, parsed.memory, parsed.name) == (count, memory, name)
    if parsed.gpu is not None:
        assert (parsed.bandwidth, parsed.flops) == (parsed.gpu.bandwidth, parsed.gpu.bf16_flops)
    assert parse_gpus(parsed.name) == parsed or "." in parsed.name


def test_plain_memory_says_nothing_about_speed() -> None:
    assert parse_gpus("24GB") == GpuSet(1, None, 24 * GB, None, None, "24 GB")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("RTX 4095", "RTX 4090"),
        ("2xH10O", "H100"),
        ("", "H100"),
        ("x", "4x24GB"),
        ("0xH100", "0 GPUs"),
        ("99999999xT4", "10,000"),
        ("-2xT4", "-2xT4"),
        ("24", "24GB"),
        ("0GB", "0GB"),
        ("24MB", "24MB"),
        ("RTX 4090 48GB", "has 24 GB"),
        ("M4 Max 256GB", "at most 128 GB"),
        ("nan GB", "nan GB"),
        ("1e9x24GB", "4x24GB"),
        ("RTX 3090 " + "9" * 400 + "GB", "names no GPU"),
        ("9" * 400 + "GB", "names no GPU"),
        ("9" * 5000 + "xT4", "names no GPU"),
        ("\u0664x24GB", "4x24GB"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_can(text: str, named: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse_gpus(text)
    assert isinstance(caught.value, LlamaError)
    assert named in str(caught.value)
    assert len(str(caught.value)) < 300
