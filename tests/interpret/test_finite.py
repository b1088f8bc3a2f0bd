"""Damaged numbers are found wherever they are, and large ones are none."""

import math

import pytest
import torch

from llama_nb.core.errors import EngineError
from llama_nb.interpret.finite import check_finite


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_bad_number_is_enough(dtype, bad):
    values = torch.zeros(3, 5, dtype=dtype)
    check_finite(values, "What it says")
    values[2, 4] = bad
    with pytest.raises(EngineError, match=r"What it says is NaN or infinite"):
        check_finite(values, "What it says")


def test_sums_that_overflow_are_no_damage():
    check_finite(torch.full((4,), 3e38), "What it says")
    check_finite(torch.full((40,), 6e4, dtype=torch.float16), "What it says")
