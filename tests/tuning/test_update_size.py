"""Singular values of an update from its small factors, against those of the whole matrix."""

import numpy as np
import pytest
import torch

from llama_nb.tuning.recipe import Recipe
from llama_nb.tuning.update_size import effective_rank, singular_values, update_sizes
from tests.tuning.adapted import adapters_of, add_trained, tiny_llama


@pytest.mark.parametrize(("outputs", "inputs", "rank"), [(40, 24, 4), (3, 50, 8), (50, 3, 8), (7, 7, 7)])
def test_they_are_those_of_the_whole_matrix(outputs, inputs, rank):
    generator = torch.Generator().manual_seed(rank)
    up = torch.randn(outputs, rank, generator=generator)
    down = torch.randn(rank, inputs, generator=generator)
    found = singular_values(down, up)
    expected = torch.linalg.svdvals(up.double() @ down.double())
    count = min(len(found), len(expected))
    assert torch.allclose(found[:count], expected[:count], atol=1e-10)
    assert float(found[count:].sum() + expected[count:].sum()) < 1e-9


def test_the_effective_rank_counts_directions():
    assert effective_rank(torch.zeros(4, dtype=torch.float64)) == 0
    assert effective_rank(torch.tensor([3.0, 0, 0], dtype=torch.float64)) == pytest.approx(1)
    assert effective_rank(torch.ones(5, dtype=torch.float64)) == pytest.approx(5)


@pytest.mark.parametrize("method", ["lora", "rslora"])
def test_sizes_of_an_adapter(method):
    adapters = adapters_of(tiny_llama())
    add_trained(adapters, "a", rank=4, alpha=12, method=method, target="q_proj,down_proj")
    adapters.mix({"a": 0.25})  # its own size is what is measured
    found = update_sizes(adapters, "a")
    assert [(each.layer, each.kind) for each in found] == [
        (0, "q_proj"), (0, "down_proj"), (1, "q_proj"), (1, "down_proj"),
    ]  # fmt: skip
    adapters.use("a")
    for each in found:
        layer = adapters.module.get_submodule(each.path)
        update = layer.get_delta_weight(adapters.key("a"))
        assert each.norm == pytest.approx(float(update.norm()), rel=1e-5)
        assert each.relative == pytest.approx(float(update.norm() / layer.weight.norm()), rel=1e-5)
        whole = torch.linalg.svdvals(update.double()).numpy()
        assert np.allclose(each.singular, whole[:4], atol=1e-6)
        assert 1 < each.effective_rank <= 4
        assert np.sum(whole[: each.directions] ** 2) >= 0.9 * np.sum(whole**2)


def test_a_new_adapter_has_no_size():
    adapters = adapters_of(tiny_llama())
    adapters.create("new", Recipe.of(rank=2, target="q_proj"))
    assert {(each.norm, each.effective_rank, each.directions) for each in update_sizes(adapters, "new")} == {
        (0.0, 0.0, 0)
    }
