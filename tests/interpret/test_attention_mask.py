"""What queries may read, kept as intervals or bits, against the mask itself."""

import pytest
import torch

from llama_nb.interpret import attention_mask
from llama_nb.interpret.attention_mask import causal, compact, joined

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
    assert (causal(9, start=4).last == allowed.last[4:9]).all()


@pytest.mark.parametrize("name", masks())
def test_masks_of_pieces_are_joined(name):
    """Each piece has the keys up to its own end only, as a model with a cache makes its masks."""
    mask = masks()[name]
    cuts = [(0, 9), (9, 20), (20, 36), (36, LENGTH)]
    wide = name == "both ways"
    ours = joined([compact(mask[start:stop, : LENGTH if wide else stop]) for start, stop in cuts])
    whole = compact(mask)
    assert (ours.first == whole.first).all()
    assert (ours.last == whole.last).all()
    assert (ours.bits is None) == (whole.bits is None)
    if whole.bits is not None:
        assert (ours.bits == whole.bits).all()
    mixed = joined([causal(9), compact(mask[9:])])
    values = torch.ones((LENGTH, LENGTH))
    mixed.hide(values, 0, 0, 0.0)
    assert (values[9:].bool() == mask[9:]).all()
    assert (values[:9].bool() == masks()["causal"][:9]).all()
