"""Captured attention is what the model's eager implementation computes, on every layer and head."""

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import Stopped, TraceError, UnsupportedError
from llama_nb.interpret import pieces
from llama_nb.interpret.attention_weights import AttentionWeights
from llama_nb.interpret.capture import (
    NAME,
    attention_cost,
    capture_attention,
    capture_batch,
    capturing,
    find_layers,
    padded,
)
from tests.interpret.attention_models import MAKES, eager_attention, make, tokens

LENGTH = 40


def maps(captured) -> list[np.ndarray]:
    """All maps, (H, T, T) a layer."""
    trace = AttentionWeights(captured)
    return [trace.rows(layer, range(trace.heads), 0, trace.length) for layer in trace.layers]


def check_equal(found, expected) -> None:
    assert len(found) == len(expected)
    for layer, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).max() <= 1e-5, f"layer {layer}"


@pytest.fixture(params=[None, 7], ids=["at once", "in pieces"])
def piece(request, monkeypatch) -> int | None:
    """How many tokens go through the model at once."""
    if request.param is not None:
        monkeypatch.setattr(pieces, "_LEAST", request.param)
        monkeypatch.setattr(pieces, "_MOST", request.param)
    return request.param


@pytest.mark.parametrize("name", MAKES)
def test_it_equals_eager_attention(name, piece):
    module = make(name)
    ids = tokens(LENGTH)
    captured = capture_attention(module, ids)
    expected = eager_attention(module, input_ids=torch.tensor([ids]))
    check_equal(maps(captured), [layer[0] for layer in expected])
    assert max(layer.max() for layer in expected[1:]) > 0.3, "the maps must not be flat"


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("name", MAKES)
def test_padding_is_left_out_of_a_batch(name, side, piece):
    module = make(name)
    sequences = [tokens(count, seed=count) for count in (LENGTH, 23, 12)]
    ids, mask = padded(sequences)
    if side == "left":
        ids, mask = (
            torch.stack([row.roll(LENGTH - len(s)) for row, s in zip(x, sequences, strict=True)])
            for x in (ids, mask)
        )
    found = capture_batch(module, ids, mask)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    expected = eager_attention(module, input_ids=ids, attention_mask=mask, position_ids=positions)
    for row, (captured, sequence) in enumerate(zip(found, sequences, strict=True)):
        span = slice(LENGTH - len(sequence), LENGTH) if side == "left" else slice(0, len(sequence))
        check_equal(maps(captured), [layer[row][:, span, span] for layer in expected])


@pytest.mark.parametrize("name", ["llama, grouped", "llama 4", "mistral", "qwen 3"])
def test_a_padded_sequence_is_what_it_is_alone(name, piece):
    module = make(name)
    sequences = [tokens(LENGTH), tokens(23, seed=1)]
    for captured, sequence in zip(capture_batch(module, *padded(sequences)), sequences, strict=True):
        check_equal(maps(captured), maps(capture_attention(module, sequence)))


def test_it_equals_eager_attention_in_trained_models(stories260k):
    text = "Once upon a time, there was a little girl named Lily. She loved to play outside."
    for source in ("cria", str(stories260k)):
        model = llama.load(source, name="captured")
        module = model.loaded.module
        ids = model.engine.tokenize(text)
        expected = eager_attention(module, input_ids=torch.tensor([ids]))
        check_equal(maps(capture_attention(module, ids)), [layer[0] for layer in expected])
        model.unload()


def test_kinds_of_layers_are_known():
    assert set(capture_attention(make("llama, grouped"), tokens(4)).kinds.values()) == {"full"}
    assert set(capture_attention(make("mistral"), tokens(4)).kinds.values()) == {"sliding"}
    four = capture_attention(make("llama 4"), tokens(4)).kinds
    assert [four[layer] for layer in range(4)] == ["chunked", "chunked", "chunked", "full"]


def test_a_model_computes_what_it_always_does():
    module = make("llama, grouped")
    ids = torch.tensor([tokens(LENGTH)])
    with torch.inference_mode():
        before = module(ids).logits
        with capturing(module, Ignorant()):
            during = module(ids).logits
    assert torch.equal(before, during)


@pytest.mark.parametrize("name", ["gemma 2", "gpt-oss"])
def test_a_model_that_sdpa_cannot_compute_stays_eager(name):
    module = make(name)
    ids = torch.tensor([tokens(LENGTH)])
    with torch.inference_mode():
        before = module(ids).logits
        with capturing(module, Ignorant()):
            during = module(ids).logits
    assert torch.allclose(before, during, atol=1e-5)
    assert module.config._attn_implementation == "eager"


class Ignorant:
    """Keeps nothing."""

    def keep(self, attention, query, key, mask, options):
        """Let it go."""


def test_the_implementation_is_restored_whatever_happens():
    module = make("llama, grouped")
    with pytest.raises(IndexError), capturing(module, Ignorant()):
        module(torch.tensor([[10_000]]))
    assert module.config._attn_implementation == "sdpa"
    with capturing(module, Ignorant()):
        capture_attention(module, tokens(5))
        assert module.config._attn_implementation == NAME
    assert module.config._attn_implementation == "sdpa"
    with pytest.raises(IndexError):
        capture_attention(module, [10_000])
    assert module.config._attn_implementation == "sdpa"


def test_parts_of_a_configuration_are_restored_too():
    from transformers import Llama4Config, Llama4ForConditionalGeneration

    text = {"attention_chunk_size": 11, "num_local_experts": 2, "intermediate_size_mlp": 64}
    shape = {"num_hidden_layers": 2, "hidden_size": 48, "num_attention_heads": 4, "intermediate_size": 64}
    from tests.interpret.attention_models import SHAPE

    config = Llama4Config(
        text_config={**SHAPE, **text, "attn_implementation": None},
        vision_config={**shape, "image_size": 28, "patch_size": 14, "vision_output_dim": 64},
        attn_implementation={"text_config": "sdpa", "vision_config": "eager"},
    )
    module = Llama4ForConditionalGeneration(config).eval()
    before = [
        module.config._attn_implementation,
        *(getattr(module.config, part)._attn_implementation for part in config.sub_configs),
    ]
    captured = capture_attention(module, tokens(20))
    after = [
        module.config._attn_implementation,
        *(getattr(module.config, part)._attn_implementation for part in config.sub_configs),
    ]
    assert before == after
    assert sorted(captured.layers) == [0, 1, 2, 3]


def test_another_thread_is_not_recorded():
    import threading

    module = make("llama, grouped")
    ids = torch.tensor([tokens(8)])
    seen = []

    class Counting(Ignorant):
        def keep(self, attention, query, key, mask, options):
            seen.append(attention.layer_idx)

    with torch.inference_mode():
        expected = module(ids).logits
    found = []

    def run() -> None:
        with torch.inference_mode():
            found.append(module(ids).logits)

    with capturing(module, Counting()):
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    assert torch.equal(found[0], expected)
    assert not seen


def test_layers_are_chosen_and_checked(piece):
    module = make("llama, grouped")
    computed = []
    for layer in module.model.layers:
        layer.mlp.register_forward_pre_hook(lambda *_, at=layer: computed.append(at))
    done = []
    captured = capture_attention(
        module, tokens(9), layers=[2, 0, 2], told=lambda at, of: done.append((at, of))
    )
    assert sorted(captured.layers) == [0, 2]
    pieces = [(3, 9), (6, 9), (9, 9)] if piece is None else [(2, 9), (4, 9), (7, 9), (7, 9), (8, 9), (9, 9)]
    assert done == pieces
    assert set(computed) == set(module.model.layers[:2]), (
        "nothing is computed behind the last layer's attention"
    )
    for wrong in ([4], [-1], [], [True], "some", [1.0], 3):
        with pytest.raises(TraceError):
            find_layers(module, wrong)


def test_it_stops_within_a_layer():
    module = make("llama, grouped")
    asked = []

    def stopped() -> str | None:
        asked.append(True)
        return "interrupted" if len(asked) > 2 else None

    with pytest.raises(Stopped, match="interrupted"):
        capture_attention(module, tokens(9), stopped=stopped)
    assert len(asked) == 3
    assert module.config._attn_implementation == "sdpa"


def test_the_cost_is_what_is_kept(piece):
    for name in ("llama, grouped", "llama 4", "qwen 3"):
        module = make(name)
        kept = capture_attention(module, tokens(LENGTH))
        exact = sum(layer.nbytes for layer in kept.layers.values())
        held = sum(t.untyped_storage().nbytes() for layer in kept.layers.values() for t in (layer.q, layer.k))
        assert attention_cost(module, LENGTH) == exact == held
        assert attention_cost(module.config, LENGTH, [1]) == exact // 4
        assert exact < kept.nbytes < exact + LENGTH * 8 * 4 + 1


def test_what_is_kept_in_files_is_the_same(tmp_path, monkeypatch, piece):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    module = make("mistral")
    in_files = capture_attention(module, tokens(LENGTH), offload=True)
    check_equal(maps(in_files), maps(capture_attention(module, tokens(LENGTH))))
    assert not list(tmp_path.iterdir()), "a file has no name any more"


def test_a_model_without_the_interface_is_refused():
    class Nothing(torch.nn.Module):
        def forward(self, **_inputs):
            """Compute nothing."""

    class Bare(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.config = make("llama, grouped").config
            self.device = torch.device("cpu")
            self.base_model = Nothing()

    with pytest.raises(UnsupportedError, match="Bare computes its attention where it cannot be seen"):
        capture_attention(Bare(), tokens(3))


def test_pieces_follow_from_the_size_of_the_layers(monkeypatch):
    module = make("llama, grouped")
    assert pieces.piece_of(module, 100) == 100
    assert pieces.piece_of(module, 100_000) == 2048
    weights = sum(parameter.numel() for parameter in module.model.parameters())
    monkeypatch.setattr(pieces, "_WORK", 500 * weights / 4)
    assert pieces.piece_of(module, 100_000) == 500
    monkeypatch.setattr(pieces, "_WORK", 1)
    assert pieces.piece_of(module, 100_000) == 64
    module.config.layer_types = ["full_attention", "linear_attention"]
    assert pieces.piece_of(module, 100_000) == 100_000
    dynamic = make(
        "llama, grouped", rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    )
    assert pieces.piece_of(dynamic, 100_000) == 100_000
