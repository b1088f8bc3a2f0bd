"""Experts forbidden, forced and dropped: against blocks computed by hand, and what is left behind."""

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from llama_nb.core.errors import InterventionError, UnsupportedError
from llama_nb.core.intervention import Intervention, read_part
from llama_nb.engines.interventions import applied
from llama_nb.engines.rerouting import moe_layers
from llama_nb.engines.routers import find_routers
from tests.engines.mixing_by_hand import Change, mixed_by_hand
from tests.interpret import routing_models
from tests.interpret.routing_models import MIXTURES, SHAPE, mixture

IDS = [(7 * n * n + 3) % 97 for n in range(24)]
CLOSE = {"atol": 1e-5, "rtol": 0}


@pytest.fixture(scope="module", params=MIXTURES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def module(name):
    return with_small_logits(mixture(name))


@pytest.fixture(scope="module")
def layers(name):
    return routing_models.moe_layers(name)


def with_small_logits(module):
    """Logits of order 1: by hand sums are taken in another order, which in float32 is 2e-5 of 10."""
    module.lm_head.weight.data *= 0.1
    return module


@torch.inference_mode()
def logits(module, ids=IDS):
    return module(torch.tensor([ids]), use_cache=False).logits[0]


def changed(module, *parts):
    with applied(module, parts):
        return logits(module)


def by_hand(module, layers, *, top_k=None, **changes):
    """`changes` are given as `ban`, `force` and `drop`, as a user names them."""
    table = {}
    for layer in layers:
        banned, forced = (
            tuple(expert for at, expert in changes.get(name, ()) if at == layer) for name in ("ban", "force")
        )
        table[layer] = Change(banned, forced, top_k, layer in changes.get("drop", ()))
    with mixed_by_hand(module, table):
        return logits(module)


def ban(layer, expert):
    return Intervention("expert", layer, mode="ban", expert=expert)


def force(layer, expert):
    return Intervention("expert", layer, mode="force", expert=expert)


def hooks(module):
    return sum(len(each._forward_hooks) + len(each._forward_pre_hooks) for each in module.modules())


def test_by_hand_is_what_the_model_computes(module, layers):
    torch.testing.assert_close(by_hand(module, layers), logits(module), **CLOSE)


def test_a_forbidden_expert_is_as_if_it_were_not_there(module, layers):
    first, last = layers[0], layers[-1]
    for pairs in ([(first, 0)], [(first, 1), (first, 3), (last, 2)]):
        found = changed(module, *(ban(*pair) for pair in pairs))
        torch.testing.assert_close(found, by_hand(module, layers, ban=pairs), **CLOSE)
        assert (found - logits(module)).abs().max() > 1e-3


def test_a_forced_expert_gets_every_token(module, layers):
    for pairs in ([(layers[0], 1)], [(layer, 4) for layer in layers]):
        found = changed(module, *(force(*pair) for pair in pairs))
        torch.testing.assert_close(found, by_hand(module, layers, force=pairs), **CLOSE)
        assert (found - logits(module)).abs().max() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_other_numbers_of_experts(module, layers, count):
    found = changed(module, Intervention("top_k", None, top_k=count))
    torch.testing.assert_close(found, by_hand(module, layers, top_k=count), **CLOSE)
    own = count == find_routers(module)[0].top_k
    assert own == bool((found - logits(module)).abs().max() < 1e-5)


def test_changes_go_together(name, module, layers):
    banned, forced = [(layers[0], 0), (layers[-1], 2)], [(layers[0], 3), (layers[0], 1)]
    parts = [*(ban(*pair) for pair in banned), *(force(*pair) for pair in forced)]
    parts.append(Intervention("top_k", None, top_k=3))
    changes = {"ban": banned, "force": forced, "top_k": 3}
    if name.startswith(("llama 4", "deepseek")):
        parts.append(Intervention("shared expert", layers[1]))
        changes["drop"] = [layers[1]]
    torch.testing.assert_close(changed(module, *parts), by_hand(module, layers, **changes), **CLOSE)


def test_no_token_reaches_a_forbidden_expert_whatever_is_left(module):
    """Every set of experts that leaves as many as a token needs."""
    generator = torch.Generator().manual_seed(2)
    for router in find_routers(module):
        for _ in range(8):
            gone = torch.randperm(router.experts, generator=generator)[: router.experts - router.top_k]
            seen = []

            def look(_module, _given, output, router=router, seen=seen):
                seen.append(router.read(output))

            with applied(module, [ban(router.layer, int(each)) for each in gone]):
                handle = router.module.register_forward_hook(look)
                found = logits(module)
                handle.remove()
            assert not bool(torch.isin(seen[0].chosen, gone).any())
            assert all(len(set(row)) == router.top_k for row in seen[0].chosen.tolist())
            assert bool(found.isfinite().all())


@pytest.mark.parametrize("kind", ["llama 4", "deepseek"])
def test_a_shared_expert_that_is_dropped_adds_nothing_or_its_mean(kind):
    module = with_small_logits(mixture(kind))
    last = routing_models.moe_layers(kind)[-1]
    found = changed(module, Intervention("shared expert", last))
    expected = by_hand(module, [last], drop=[last])
    torch.testing.assert_close(found, expected, **CLOSE)
    shared = find_routers(module)[-1].shared
    seen = []
    handle = shared.register_forward_hook(lambda _m, _g, output: seen.append(output.clone()))
    logits(module)
    handle.remove()
    mean = seen[0].reshape(-1, SHAPE["hidden_size"]).mean(0)
    handle = shared.register_forward_hook(lambda _m, _g, output: mean.expand_as(output).clone())
    expected = logits(module)
    handle.remove()
    with applied(module, [read_part(f"{last}.shared", mode="mean")], prompt=IDS):
        torch.testing.assert_close(logits(module), expected, **CLOSE)


def test_what_is_off_besides_is_off_too(module, layers):
    with mixed_by_hand(module, {layers[0]: Change(banned=(1,))}):
        handle = module.model.layers[2].self_attn.register_forward_hook(
            lambda _m, _g, output: (torch.zeros_like(output[0]), *output[1:])
        )
        expected = logits(module)
        handle.remove()
    found = changed(module, ban(layers[0], 1), Intervention("attention", 2))
    torch.testing.assert_close(found, expected, **CLOSE)


def test_the_routers_own_logits_stay_to_be_read(module):
    """Who looks on sees what the router wanted and what it got."""
    router = find_routers(module)[0]
    seen = []
    for parts in ((), (ban(router.layer, 0), force(router.layer, 2))):
        with applied(module, parts):
            handle = router.module.register_forward_hook(lambda _m, _g, out: seen.append(router.read(out)))
            logits(module)
            handle.remove()
    plain, rerouted = seen
    torch.testing.assert_close(plain.logits, rerouted.logits)
    assert bool((rerouted.chosen == 2).any(dim=-1).all())


def test_blocks_in_each_other_hold_together_and_end_one_by_one(module, layers):
    first = layers[0]
    with applied(module, [ban(first, 0)]):
        alone = logits(module)
        with applied(module, [ban(first, 1), force(first, 3)]):
            both = logits(module)
        assert torch.equal(logits(module), alone)
        with pytest.raises(InterventionError, match=f"of the . experts of layer {first} are forbidden"):
            changed(module, *(ban(first, each) for each in range(1, find_routers(module)[0].experts)))
        assert torch.equal(logits(module), alone)
    together = changed(module, ban(first, 0), ban(first, 1), force(first, 3))
    torch.testing.assert_close(both, together, **CLOSE)
    assert hooks(module) == 0


def fail(module, *parts):
    with applied(module, parts):
        raise ZeroDivisionError


def test_the_model_is_as_before_whatever_happens(module, layers):
    before = logits(module)
    with pytest.raises(ZeroDivisionError):
        fail(module, ban(layers[0], 0), force(layers[-1], 1), Intervention("top_k", None, top_k=2))
    with pytest.raises(InterventionError, match="no expert 99"):
        fail(module, ban(layers[0], 0), ban(layers[-1], 99))
    assert hooks(module) == 0
    assert torch.equal(logits(module), before)


def test_bf16_stays_bf16(name):
    module = mixture(name).to(torch.bfloat16)
    layer = routing_models.moe_layers(name)[0]
    with applied(module, [ban(layer, 0), force(layer, 1)]):
        found = logits(module)
    assert found.dtype == torch.bfloat16
    assert bool(found.isfinite().all())


@pytest.mark.parametrize(
    ("kind", "parts", "said"),
    [
        ("llama 4", [ban(2, 0)], "Layer 2 of Llama4ForCausalLM is no MoE layer"),
        ("llama 4", [ban(99, 0)], "Layer 99 of Llama4ForCausalLM is no MoE layer"),
        ("llama 4", [ban(1, 8)], "no expert 8 in layer 1: a layer has 8, from 0 to 7"),
        (
            "llama 4",
            [ban(1, each) for each in range(8)],
            "8 of the 8 experts of layer 1 are forbidden",
        ),
        ("mixtral", [ban(1, each) for each in range(4)], "4 of the 5 experts of layer 1 are .* 1 is left"),
        ("llama 4", [force(1, 2), force(1, 3)], "2 experts of layer 1 are forced, and each token goes to 1"),
        ("llama 4", [Intervention("top_k", None, top_k=9)], "top_k is 9: .* has 8 experts"),
        ("mixtral", [Intervention("shared expert", 1)], "Layer 1 of .* has no shared expert"),
        ("llama 4", [Intervention("shared expert", 0)], "Layer 0 of .* is no MoE layer"),
    ],
)
def test_what_a_mixture_has_not_is_named(kind, parts, said):
    module = mixture(kind)
    with pytest.raises(InterventionError, match=said):
        changed(module, *parts)
    assert hooks(module) == 0


def test_a_dense_model_has_no_experts():
    module = LlamaForCausalLM(LlamaConfig(**SHAPE))
    assert moe_layers(module) == ()
    for part in (ban(1, 0), Intervention("top_k", None, top_k=1), Intervention("shared expert", 1)):
        with pytest.raises(UnsupportedError, match="LlamaForCausalLM has no experts"):
            changed(module, part)
