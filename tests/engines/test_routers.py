"""Routers of tiny random mixtures: what is found, read and chosen, against the routers themselves."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.engines.routers import expert_weights, find_routers
from tests.interpret.routing_models import MIXTURES, SHAPE, mixture, moe_layers


@pytest.fixture(scope="module", params=MIXTURES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def module(name):
    return mixture(name)


def states(count=200, seed=1):
    return torch.randn(count, SHAPE["hidden_size"], generator=torch.Generator().manual_seed(seed))


def outputs(module):
    """Each router with what it returns for random states."""
    with torch.inference_mode():
        return [(router, router.module(states())) for router in find_routers(module)]


def test_layers_are_counted_as_the_decoder_does(name, module):
    routers = find_routers(module)
    assert tuple(router.layer for router in routers) == moe_layers(name)
    for router in routers:
        assert router.module in list(router.block.children())
        assert router.gate == ("sigmoid" if name.startswith(("llama 4", "deepseek")) else "softmax")
        assert (router.shared is not None) == name.startswith(("llama 4", "deepseek"))


def test_a_dense_model_has_none():
    assert find_routers(LlamaForCausalLM(LlamaConfig(**SHAPE))) == ()


def test_a_router_that_is_not_known_is_named():
    module = mixture("mixtral")
    module.model.layers[2].mlp.gate = torch.nn.Linear(4, 4)
    with pytest.raises(UnsupportedError, match="Layer 2 has experts that a Linear chooses"):
        find_routers(module)


def test_what_is_read_is_what_the_router_said(module):
    for router, output in outputs(module):
        routed = router.read(output)
        assert routed.logits.shape == (200, router.experts)
        assert routed.chosen.shape == routed.weights.shape == (200, router.top_k)
        assert bool((routed.weights[:, :-1] >= routed.weights[:, 1:]).all())
        dense = torch.zeros_like(routed.logits).scatter_(-1, routed.chosen, routed.weights)
        if len(output) == 2:
            assert torch.equal(dense, output[0])
        else:
            assert torch.equal(dense, torch.zeros_like(dense).scatter_(-1, output[2], output[1]))


def test_choosing_with_nothing_changed_is_the_routers_own_choice(module):
    for router, output in outputs(module):
        routed = router.read(output)
        chosen, weights = router.choose(routed.logits)
        torch.testing.assert_close(weights, routed.weights, rtol=0, atol=1e-6)
        assert torch.equal(chosen, routed.chosen)


def test_an_answer_is_what_the_router_would_have_returned(module):
    for router, output in outputs(module):
        routed = router.read(output)
        again = router.answer(routed.logits, routed.chosen, routed.weights, output)
        assert [each.dtype for each in again] == [each.dtype for each in output]
        back = router.read(again)
        assert torch.equal(back.chosen, routed.chosen)
        assert torch.equal(back.weights, routed.weights)


def test_what_is_chosen_scores_higher_than_the_rest(module):
    for router, output in outputs(module):
        routed = router.read(output)
        choice = router.choice(routed.logits)
        rest = choice.scatter(-1, routed.chosen, -torch.inf).amax(dim=-1)
        assert bool((choice.gather(-1, routed.chosen).amin(dim=-1) >= rest).all())
        scores = router.scores(routed.logits)
        assert bool(((scores > 0) & (scores < 1)).all())


def test_a_banned_expert_counts_as_minus_infinity(name, module):
    """Where no groups and no bias come in, that is what its logit does to the router's own formula."""
    for router, output in outputs(module):
        logits = router.read(output).logits
        chosen, weights = router.choose(logits, banned=[0, 2])
        assert not bool(torch.isin(chosen, torch.tensor([0, 2])).any())
        masked = logits.clone()
        masked[:, [0, 2]] = -torch.inf
        best = masked.topk(router.top_k, dim=-1)
        if name == "deepseek":
            continue
        expected = {
            "llama": best.values.sigmoid(),
            "gpt-o": best.values.softmax(dim=-1),
            "mixtr": best.values.softmax(dim=-1),
        }.get(name[:5])
        if expected is None:
            expected = masked.softmax(dim=-1).gather(-1, best.indices)
            if router.module.norm_topk_prob:
                expected = expected / expected.sum(dim=-1, keepdim=True)
        assert torch.equal(chosen, best.indices)
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-6)


def test_banning_whole_groups_leaves_the_right_number_of_others():
    router = find_routers(mixture("deepseek"))[0]
    logits = router.read(router.module(states())).logits
    banned = [0, 2, 4, 6]  # one of each group of two: the two best groups have two left, and three are needed
    chosen, weights = router.choose(logits, banned=banned)
    assert not bool(torch.isin(chosen, torch.tensor(banned)).any())
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    assert bool((weights > 0).all())
    scale = router.module.routed_scaling_factor
    torch.testing.assert_close(weights.sum(dim=-1), torch.full((200,), float(scale)))


def test_a_forced_expert_takes_the_last_place(module):
    for router, output in outputs(module):
        routed = router.read(output)
        chosen, weights = router.choose(routed.logits, forced=[1])
        was = (routed.chosen == 1).any(dim=-1)
        assert bool((chosen == 1).any(dim=-1).all())
        assert torch.equal(chosen[was], routed.chosen[was])
        order = router.rule.order(routed.logits)
        for row in (~was).nonzero()[:20, 0].tolist():
            best = order[row].topk(router.top_k).indices.tolist()
            assert set(chosen[row].tolist()) == {*best[:-1], 1}
        assert bool((weights > 0).all())


def test_several_can_be_forced(module):
    for router, output in outputs(module):
        logits = router.read(output).logits
        chosen, weights = router.choose(logits, forced=[1, 4], top_k=3)
        order = router.rule.order(logits)
        best = order.scatter(-1, torch.tensor([[1, 4]]).expand(200, 2), -torch.inf).argmax(dim=-1)
        assert [set(row) for row in chosen.tolist()] == [{1, 4, number} for number in best.tolist()]
        torch.testing.assert_close(weights, router.rule.weigh(logits, chosen))


def test_more_than_the_best_groups_hold_are_the_best_of_the_others():
    router = find_routers(mixture("deepseek"))[0]
    logits = router.read(router.module(states())).logits
    chosen, _ = router.choose(logits, top_k=6)
    first = router.choice(logits).topk(4).indices
    scores = logits.sigmoid().scatter(-1, first, -1.0)
    expected = torch.cat([first, scores.topk(2).indices], dim=-1)
    assert [set(row) for row in chosen.tolist()] == [set(row) for row in expected.tolist()]


def test_fewer_and_more_experts_can_be_chosen(module):
    for router, output in outputs(module):
        routed = router.read(output)
        for count in (1, router.top_k + 1):
            chosen, weights = router.choose(routed.logits, top_k=count)
            back = router.read(router.answer(routed.logits, chosen, weights, output))
            assert back.chosen.shape == (200, count)
            assert torch.equal(back.chosen, chosen)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"banned": [5]}, "has no expert 5: there are 5"),
        ({"forced": [-1]}, "has no expert -1"),
        ({"forced": [True]}, "has no expert True"),
        ({"forced": [1], "banned": [1]}, "L0 E1 is forbidden and forced"),
        ({"banned": [0, 1, 2, 3]}, "Layer 0 cannot choose 2 of 1 experts"),
        ({"forced": [0, 1, 2]}, "3 experts of layer 0 are forced, and 2 are chosen"),
        ({"top_k": 0}, "cannot choose 0 of 5"),
        ({"top_k": 6}, "cannot choose 6 of 5"),
    ],
)
def test_what_cannot_be_chosen(how, said):
    router = find_routers(mixture("mixtral"))[0]
    with pytest.raises(InterventionError, match=said):
        router.choose(torch.zeros(3, 5), **how)


def test_bf16_is_read_in_float32():
    router = find_routers(mixture("llama 4").to(torch.bfloat16))[0]
    output = router.module(states().to(torch.bfloat16))
    routed = router.read(output)
    assert routed.logits.dtype == routed.weights.dtype == torch.float32
    assert torch.equal(router.choose(routed.logits)[0], routed.chosen)
    back = router.answer(routed.logits, routed.chosen, routed.weights, output)
    assert [each.dtype for each in back] == [torch.bfloat16] * 2


def test_a_weight_that_half_precision_makes_zero_hides_no_choice():
    (router, *_) = find_routers(mixture("llama 4"))
    logits = torch.tensor([[-30.0, -20.0, -25.0, -40.0], [-30.0, 1.0, -1.0, 0.0]], dtype=torch.float16)
    scores = torch.zeros_like(logits)
    scores[1, 1] = logits[1, 1].sigmoid()
    assert logits[0].sigmoid().count_nonzero() == 0
    found = router.read((scores, logits))
    assert found.chosen.tolist() == [[1], [1]]
    assert found.weights[:, 0].tolist() == [0, pytest.approx(0.731, abs=1e-3)]


def test_the_matrices_of_each_expert(module):
    for router in find_routers(module):
        pairs = list(expert_weights(router))
        assert len(pairs) == router.experts
        gate_up, down = pairs[1]
        assert gate_up.numel() == 2 * down.numel()
        assert torch.equal(down, router.block.experts.down_proj[1])
