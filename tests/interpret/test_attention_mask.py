"""What queries may read, kept as intervals or bits, against the mask itself."""

import pytest
import torch

from llama_nb.interpret import attention_mask
from llama_nb.interpret.attention_mask import causal, compact

LENGTH = 37


def masks() -> dict[str, torch.Tensor]:
    rows, cols = torch.arange(LENGTH)[:, None], torch.arange(LENGTH)[None]
    below = cols <= rows
    nothing = below.clone()
    nothing[5:9] = False
    return {
        "causal": below,
        "sliding": below & (cols > rows - 8),
        "chunked": below & (cols // 10 == rows // 10),
        "some read nothing": nothing,
        "gaps": below & ((rows + cols) % 3 > 0),
        "both ways": torch.ones((LENGTH, LENGTH), dtype=torch.bool),
    }


@pytest.mark.parametrize("block", [1024, 10])
@pytest.mark.parametrize("name", masks())
def test_a_mask_is_kept_exactly(name, block, monkeypatch):
    monkeypatch.setattr(attention_mask, "_ROWS", block)
    mask = masks()[name]
    allowed = compact(mask)
    assert (allowed.bits is not None) == (name == "gaps")
    assert len(allowed) == LENGTH
    reads = mask.numpy()
    for start, stop in ((0, LENGTH), (4, 5), (6, 8), (20, 31)):
        low, high = allowed.span(start, stop)
        assert not reads[start:stop, :low].any()
        assert not reads[start:stop, high:].any()
        for left, right in ((0, LENGTH), (3, 19)):
            values = torch.ones((2, stop - start, right - left))
            allowed.hide(values, start, left, 0.0)
            assert (values.numpy() == reads[start:stop, left:right]).all()


def test_a_causal_mask_is_small():
    allowed = causal(LENGTH)
    assert allowed.nbytes == LENGTH * 8
    assert allowed.span(10, 12) == (0, 12)
    same = compact(masks()["causal"])
    assert (same.first == allowed.first).all()
    assert (same.last == allowed.last).all()
