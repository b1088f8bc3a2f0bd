"""Statistics of what runs through a model, against numpy over the activations themselves."""

import numpy as np
import pytest
import torch

from llama_nb.core.errors import Stopped
from llama_nb.interpret.activations import GATE_EDGES, STATISTICS, measure
from tests.interpret.architectures import KINDS, tiny

IDS = [int(number) for number in torch.randint(0, 100, (70,), generator=torch.Generator().manual_seed(1))]


def expected(values: np.ndarray) -> list[float]:
    exact = values.astype(np.float64)
    return [
        exact.mean(), exact.std(), np.sqrt((exact**2).mean()), np.abs(exact).max(),
        (exact == 0).mean(), (exact < 0).mean(),
    ]  # fmt: skip


def outputs(module: torch.nn.Module, paths: list[str], ids: list[int]) -> dict[str, np.ndarray]:
    """What comes out of (or, with ":in", goes into) modules, by other hooks than ours."""
    seen: dict[str, np.ndarray] = {}
    handles = []
    for path in paths:

        def keep(_part, given, out, path=path):
            value = given[0] if path.endswith(":in") else out[0] if isinstance(out, tuple) else out
            seen[path] = value.detach().float().numpy()

        handles.append(module.get_submodule(path.removesuffix(":in")).register_forward_hook(keep))
    with torch.inference_mode():
        logits = module(input_ids=torch.tensor([ids])).logits
    seen["logits"] = logits.float().numpy()
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("kind", ["llama", "qwen3", "mistral"])
def test_every_statistic_is_what_numpy_says(kind):
    module = tiny(kind, **KINDS[kind])
    found = measure(module, IDS)
    places = [place for place in found.sites if place != "residual"]
    assert {"self_attn.q_proj", "self_attn.o_proj:in", "mlp.gate_proj", "mlp.down_proj:in", "mlp"} <= set(
        places
    )
    paths = [f"model.layers.{layer}.{place}" for place in places for layer in (0, 7)]
    raw = outputs(module, [*paths, "model.embed_tokens", "model.norm"], IDS)
    for place in places:
        for layer in (0, 7):
            assert found.sites[place][layer] == pytest.approx(
                expected(raw[f"model.layers.{layer}.{place}"]), rel=1e-5, abs=1e-7
            ), (place, layer)
    for place, path in (("embed_tokens", "model.embed_tokens"), ("norm", "model.norm"), ("logits", "logits")):
        assert found.whole[place] == pytest.approx(expected(raw[path]), rel=1e-5, abs=1e-6), place


def test_the_residual_stream_is_that_of_the_hidden_states():
    module = tiny("llama")
    found = measure(module, IDS)
    with torch.inference_mode():
        states = module(input_ids=torch.tensor([IDS]), output_hidden_states=True).hidden_states
    for behind in range(8):  # the last one of transformers is behind the final norm
        lengths = np.linalg.norm(states[behind][0].numpy(), axis=-1)
        assert found.residual[behind] == pytest.approx(lengths, rel=1e-5)
    assert found.residual.shape == (9, len(IDS))
    assert found.sites["residual"][3, STATISTICS.index("rms")] == pytest.approx(
        np.sqrt((states[4].numpy() ** 2).mean()), rel=1e-5
    )


def test_gates_are_counted_as_numpy_counts_them():
    module = tiny("llama")
    with torch.no_grad():
        module.model.layers[2].mlp.gate_proj.weight.mul_(150)
    found = measure(module, IDS)
    raw = outputs(module, [f"model.layers.{layer}.mlp.gate_proj" for layer in range(8)], IDS)
    for layer in range(8):
        gates = raw[f"model.layers.{layer}.mlp.gate_proj"].ravel()
        assert found.gates[layer].tolist() == np.histogram(gates, GATE_EDGES)[0].tolist()
        assert found.gates_outside[layer].tolist() == [(gates < -6).sum(), (gates > 6).sum()]
        assert found.gates[layer].sum() + found.gates_outside[layer].sum() == gates.size
    assert found.gates_outside[2].sum() > 0


def test_vectors_of_norms_are_what_went_into_them():
    module = tiny("llama")
    found = measure(module, IDS)
    assert found.positions[0] == 0
    assert found.positions[-1] == len(IDS) - 1
    raw = outputs(module, ["model.layers.4.input_layernorm:in", "model.norm:in"], IDS)
    places = list(found.positions)
    assert found.vectors["input_layernorm"][4] == pytest.approx(
        raw["model.layers.4.input_layernorm:in"][0, places]
    )
    assert found.vectors["norm"][0] == pytest.approx(raw["model.norm:in"][0, places])


@pytest.mark.parametrize("kind", ["mixtral", "llama4_text"])
def test_mixtures_of_experts_are_measured_around_their_experts(kind):
    found = measure(tiny(kind, **KINDS[kind]), IDS)
    mixture = "mlp" if kind == "mixtral" else "feed_forward"
    assert not np.isnan(found.sites[mixture][1]).any()
    assert not any(".experts" in place for place in found.sites)
    shared = "feed_forward.shared_expert.gate_proj"
    assert (shared in found.sites) == (kind == "llama4_text")
    if kind == "llama4_text":
        assert np.isnan(found.sites[shared][[0, 2, 4, 6]]).all()
        assert found.gates[:, :].sum(axis=1).min() > 0


def test_half_precision_and_what_is_no_number():
    module = tiny("llama").bfloat16()
    found = measure(module, IDS)
    raw = outputs(module, ["model.layers.0.mlp.up_proj"], IDS)
    assert found.sites["mlp.up_proj"][0] == pytest.approx(
        expected(raw["model.layers.0.mlp.up_proj"]), rel=1e-5
    )
    module = tiny("llama")
    with torch.no_grad():
        module.model.layers[3].mlp.up_proj.weight[0, 0] = torch.nan
    broken = measure(module, IDS).sites["mlp.up_proj"]
    assert np.isnan(broken[3, :4]).all()
    assert not np.isnan(broken[2]).any()


def test_it_stops_at_the_next_place_and_leaves_no_hook():
    module = tiny("llama")
    asked: list[int] = []

    def stopped() -> str | None:
        asked.append(1)
        return "stopped" if len(asked) > 10 else None

    with pytest.raises(Stopped):
        measure(module, IDS, stopped)
    assert len(asked) == 11
    measure(module, IDS)
    for part in module.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks


def test_it_says_how_far_it_is_and_changes_nothing():
    module = tiny("llama")
    with torch.inference_mode():
        before = module(input_ids=torch.tensor([IDS])).logits
    told: list[tuple[int, int]] = []
    measure(module, IDS, told=lambda done, of: told.append((done, of)))
    assert told == [(number, 8) for number in range(1, 9)]
    with torch.inference_mode():
        assert torch.equal(module(input_ids=torch.tensor([IDS])).logits, before)
