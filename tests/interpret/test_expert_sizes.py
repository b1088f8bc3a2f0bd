"""What a mixture weighs: all of it once, one expert, what a token reads; against module and planner."""

from typing import Any

import pytest
import torch

from llama_nb.engines.routers import find_routers
from llama_nb.interpret.expert_sizes import ExpertSizes, sizes_of
from llama_nb.loading.quantize.accounting import tensor_bytes
from llama_nb.planner.shape import Shape
from tests.interpret.routing_models import MIXTURES, SHAPE, mixture, moe_layers


def weighed(module: Any) -> ExpertSizes:
    return sizes_of(module, find_routers(module))


@pytest.mark.parametrize("name", MIXTURES)
def test_everything_is_counted_once_and_one_expert_is_one_expert(name: str) -> None:
    module = mixture(name)
    routers, sizes = find_routers(module), weighed(module)
    assert sizes.total_parameters == sum(parameter.numel() for parameter in module.parameters())
    assert sizes.total_bytes == tensor_bytes(module)
    one = [parameter[0] for parameter in routers[0].block.experts.parameters()]
    assert sizes.expert_parameters == sum(tensor.numel() for tensor in one)
    assert sizes.expert_bytes == 4 * sizes.expert_parameters
    assert sizes.layers == len(moe_layers(name))
    assert (sizes.experts, sizes.top_k) == (routers[0].experts, routers[0].top_k)
    assert sizes.embedding_bytes == SHAPE["vocab_size"] * SHAPE["hidden_size"] * 4
    unread = sizes.layers * (sizes.experts - sizes.top_k) * sizes.expert_parameters
    assert sizes.active_parameters == sizes.total_parameters - unread
    assert sizes.token_bytes == sizes.total_bytes - 4 * unread - sizes.embedding_bytes


def test_an_embedding_that_is_the_head_too_is_read_for_every_token() -> None:
    apart, tied = weighed(mixture("llama 4")), weighed(mixture("llama 4", tie_word_embeddings=True))
    assert tied.embedding_bytes == 0
    assert tied.total_bytes == apart.total_bytes - apart.embedding_bytes
    assert tied.token_bytes == apart.token_bytes


def test_half_precision_takes_half() -> None:
    module = mixture("mixtral")
    whole, half = weighed(module), weighed(module.to(torch.bfloat16))
    assert half.total_parameters == whole.total_parameters
    assert half.expert_bytes * 2 == whole.expert_bytes


@pytest.mark.parametrize("name", ["llama 4", "mixtral", "qwen 3", "olmoe", "gpt-oss"])
def test_the_planner_counts_the_same(name: str) -> None:
    module = mixture(name)
    sizes, shape = weighed(module), Shape.from_config(module.config.to_dict())
    assert sizes.total_parameters == shape.parameters
    assert sizes.active_parameters == shape.active_parameters


def test_sums_of_the_sizes() -> None:
    sizes = ExpertSizes(3, 8, 1, 10, 20, 100, 200, 50)
    assert (sizes.total_parameters, sizes.active_parameters) == (340, 130)
    assert (sizes.routed_bytes, sizes.total_bytes, sizes.token_bytes) == (480, 730, 260)


def test_a_dense_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no experts"):
        sizes_of(torch.nn.Linear(2, 2), ())
