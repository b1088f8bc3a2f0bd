"""What is captured of routers, against the same formulas on what the routers return; what is left behind."""

from typing import Any

import numpy as np
import pytest
import torch

from llama_nb.core.errors import EngineError, Stopped
from llama_nb.engines.routers import find_routers
from llama_nb.interpret import pieces
from llama_nb.interpret.routing_capture import capture_routing, capture_side_by_side, rows_at_once
from tests.interpret.routing_models import MIXTURES, VOCABULARY, mixture


@pytest.fixture(scope="module", params=MIXTURES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def module(name):
    return mixture(name)


def tokens(count, seed=0):
    return np.random.default_rng(seed).integers(3, VOCABULARY, count).tolist()


@torch.inference_mode()
def router_outputs(module, ids):
    """What each router returns when the whole model reads `ids` at once."""
    found: dict[int, Any] = {}

    def hook(layer):
        return lambda _module, _given, output: found.update({layer: output})

    hooks = [router.module.register_forward_hook(hook(router.layer)) for router in find_routers(module)]
    try:
        module(input_ids=torch.tensor([ids]))
    finally:
        for each in hooks:
            each.remove()
    return found


def hooks_of(module):
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def test_it_is_what_the_routers_return(name, module):
    ids = tokens(70)
    captured = capture_routing(module, ids)
    routes, outputs = captured.routes, router_outputs(module, ids)
    assert routes.chosen.dtype == np.uint8
    for at, router in enumerate(find_routers(module)):
        output = outputs[router.layer]
        logits = output[1] if name.startswith("llama") else output[0]
        np.testing.assert_allclose(routes.logits[:, at], logits, atol=1e-6)
        if name.startswith("llama"):
            dense = output[0].numpy()
        else:
            dense = torch.zeros_like(logits).scatter_(-1, output[2], output[1]).numpy()
        ours = np.zeros_like(dense)
        np.put_along_axis(ours, routes.chosen[:, at].astype(int), routes.weights[:, at], axis=-1)
        np.testing.assert_allclose(ours, dense, atol=1e-6)
        assert (np.diff(routes.weights[:, at]) <= 0).all()


def test_margin_entropy_and_mass_by_hand(name, module):
    captured = capture_routing(module, tokens(50))
    routes = captured.routes
    for at, router in enumerate(find_routers(module)):
        logits = routes.logits[:, at].astype(np.float64)
        if router.gate == "sigmoid":
            scores = 1 / (1 + np.exp(-logits))
        else:
            scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        shares = scores / scores.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(routes.entropy[:, at], -(shares * np.log(shares)).sum(axis=1), atol=1e-5)
        np.testing.assert_allclose(captured.mass[at], shares.sum(axis=0), atol=1e-4)
        assert (routes.margin[:, at] >= 0).all()
        if name != "deepseek":
            ordered = np.sort(scores, axis=1)[:, ::-1]
            expected = ordered[:, router.top_k - 1] - ordered[:, router.top_k]
            np.testing.assert_allclose(routes.margin[:, at], expected, atol=1e-6)


def test_pieces_and_neighbours_change_nothing(module, monkeypatch):
    texts = [tokens(61, seed=1), tokens(7, seed=2), tokens(33, seed=3)]
    alone = [capture_routing(module, ids) for ids in texts]
    monkeypatch.setattr(pieces, "_MOST", 16)
    monkeypatch.setattr(pieces, "_LEAST", 16)
    assert pieces.piece_of(module, 61) == 16
    told = []
    together = capture_side_by_side(module, texts, told=lambda *far: told.append(far))
    assert told == [(39, 101), (71, 101), (88, 101), (101, 101)]
    for one, other in zip(alone, together, strict=True):
        assert len(one.routes) == len(other.routes)
        np.testing.assert_allclose(one.routes.logits, other.routes.logits, atol=2e-5)
        np.testing.assert_allclose(one.mass, other.mass, atol=1e-4)
        assert (one.routes.chosen == other.routes.chosen).mean() > 0.99


def test_nothing_stays_behind(module):
    before = hooks_of(module)
    capture_routing(module, tokens(9))
    assert hooks_of(module) == before
    with pytest.raises(Stopped, match="Reading the routing was stopped: enough"):
        capture_routing(module, tokens(9), stopped=lambda: "enough")
    assert hooks_of(module) == before


def test_logits_are_left_out_where_nobody_wants_them():
    captured = capture_routing(mixture("mixtral"), tokens(9), keep_logits=False)
    assert captured.routes.logits is None
    assert captured.routes.nbytes == 9 * 4 * (2 + 2 * 4 + 4 + 4)


def test_many_experts_have_wider_numbers():
    captured = capture_routing(mixture("olmoe", num_experts=300), tokens(40))
    assert captured.routes.chosen.dtype == np.uint16
    assert captured.routes.chosen.max() > 255


def test_bf16_is_read_in_float32():
    captured = capture_routing(mixture("llama 4").to(torch.bfloat16), tokens(20))
    assert captured.routes.logits.dtype == captured.routes.weights.dtype == np.float32
    assert np.isfinite(captured.routes.entropy).all()


def test_damaged_weights_are_named():
    module = mixture("mixtral")
    with torch.no_grad():
        module.model.layers[2].mlp.gate.weight[0] = torch.nan
    with pytest.raises(EngineError, match="the router of layer 2"):
        capture_routing(module, tokens(5))


def test_how_many_rows_go_side_by_side():
    module = mixture("llama 4")
    assert rows_at_once(module, 100) == 20
    assert rows_at_once(module, 10_000) == 1
    module.config.rope_parameters = {**module.config.rope_parameters, "rope_type": "dynamic"}
    assert rows_at_once(module, 100) == 1
