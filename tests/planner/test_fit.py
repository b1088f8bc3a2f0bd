"""What fits, what does not, and what is offered instead."""

from dataclasses import replace

import pytest

from llama_nb.core.errors import FitError
from llama_nb.planner.fit import Need, Option, check_fit, gigabytes, largest_context

GB = 10**9
NEED = Need("big", "bfloat16", "cpu", 8192, weights=16 * GB, kv_cache=2**30, working=900_000_000)


def test_what_fits_to_the_byte_fits() -> None:
    check_fit(NEED, NEED.total)
    with pytest.raises(FitError):
        check_fit(NEED, NEED.total - 1)


def test_the_parts_add_up() -> None:
    assert NEED.total == 16 * GB + 2**30 + 900_000_000


def test_the_numbers_and_the_three_nearest_options_are_named() -> None:
    options = tuple(Option(f"model of {size} GB", f"`load {size}`", size * GB) for size in (1, 2, 4, 6, 30))
    with pytest.raises(FitError) as caught:
        check_fit(replace(NEED, options=options), 8 * GB)
    text = str(caught.value)
    for part in ("big", "bfloat16 on cpu", "16.0 GB", "1.07 GB", "8,192 tokens", "8.00 GB are free"):
        assert part in text
    lines = caught.value.hint.splitlines()
    assert [line.strip().split(" (")[0] for line in lines[1:4]] == [
        "model of 6 GB",
        "model of 4 GB",
        "model of 2 GB",
    ]
    assert len(lines) == 5


def test_without_options_there_is_still_something_to_do() -> None:
    with pytest.raises(FitError) as caught:
        check_fit(NEED, GB)
    assert "%llama unload" in caught.value.hint


def test_largest_context() -> None:
    def needed(tokens: int) -> int:
        return 16 * GB + 131_072 * tokens

    assert largest_context(needed, 8192, needed(8192)) == 8192
    assert largest_context(needed, 8000, needed(8192)) == 8000
    assert largest_context(needed, 8192, needed(8192) - 1) == 8192 - 256
    assert largest_context(needed, 8192, needed(1000)) == 768
    assert largest_context(needed, 8192, needed(768)) == 768
    assert largest_context(needed, 8192, needed(0)) == 0
    assert largest_context(needed, 100, needed(99)) == 0


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (999_000_000, "999 MB"),
        (1_234_567_890, "1.23 GB"),
        (16_060_000_000, "16.1 GB"),
        (12_583e9, "12.6 TB"),
        (5_000, "5.00 kB"),
    ],
)
def test_bytes_as_text(count: int, text: str) -> None:
    assert gigabytes(count) == text
