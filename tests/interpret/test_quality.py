"""Perplexity, divergence and weight errors, against direct computations on a trained model."""

import copy
import math

import pytest
import torch

from llama_nb.core.errors import Stopped
from llama_nb.interpret import weight_error
from llama_nb.interpret.difference import first_difference
from llama_nb.interpret.quality import divergences, measure, predictions
from tests.engines.opening import open_folder

TEXT = (
    "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. "
    "One day, she saw a big, red ball. It was very high in the sky. Lily wanted to play with the ball."
)


@pytest.fixture(scope="module")
def pair(stories260k):
    """The trained model, a rounded copy of it, and the ids of the text."""
    torch.set_num_threads(1)
    engine = open_folder(stories260k)
    module = engine._module
    rounded = copy.deepcopy(module)
    with torch.no_grad():
        for layer in rounded.modules():
            if isinstance(layer, torch.nn.Linear) and layer is not rounded.get_output_embeddings():
                step = layer.weight.abs().max() / 7
                layer.weight.copy_((layer.weight / step).round() * step)
    yield module, rounded, engine.tokenize(TEXT)
    engine.close()


def test_figures_equal_a_direct_computation(pair):
    module, rounded, ids = pair
    assert len(ids) > 2 * 32, "the text must span several slices"
    found = measure(rounded, module, ids)
    with torch.inference_mode():
        inputs = torch.tensor([list(ids)])
        ours = torch.log_softmax(rounded(inputs).logits[0, :-1].double(), -1)
        theirs = torch.log_softmax(module(inputs).logits[0, :-1].double(), -1)
        loss = rounded(inputs, labels=inputs).loss
    assert found.predicted == len(ids) - 1
    assert found.perplexity == pytest.approx(math.exp(float(loss)), rel=1e-4)
    direct = torch.nn.functional.kl_div(ours, theirs, log_target=True, reduction="none").sum(-1)
    assert found.kl == pytest.approx(direct.tolist(), rel=1e-3, abs=1e-6)
    assert found.mean_kl == pytest.approx(float(direct.mean()), rel=1e-3)
    assert found.agreement == pytest.approx(float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()))
    assert 0 < found.mean_kl < 5
    assert found.agreement < 1


def test_a_model_is_at_no_distance_from_itself(pair):
    module, _, ids = pair
    found = measure(module, module, ids)
    assert found.mean_kl == 0
    assert found.agreement == 1
    assert 1 < found.perplexity < 10, "stories260K knows how such stories go on"


def test_measuring_can_be_stopped(pair):
    module, rounded, ids = pair
    answers = iter([None, None, None])
    with pytest.raises(Stopped, match="enough"):
        measure(rounded, module, ids, lambda: next(answers, "enough"))


def test_first_difference():
    assert first_difference([1, 2, 3], [1, 2, 3]) is None
    assert first_difference([1, 9, 3], [1, 2, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) == 2
    assert first_difference([], []) is None


def test_weight_errors_are_those_of_the_rounding(pair):
    module, rounded, _ = pair

    def dequantised(layer):
        linear = isinstance(layer, torch.nn.Linear) and layer is not rounded.get_output_embeddings()
        return layer.weight if linear else None

    found = weight_error.compare(rounded, module, dequantised)
    assert len(found) == 7 * module.config.num_hidden_layers
    entry = next(item for item in found if item.layer == 2 and item.name == "mlp.up_proj")
    weight = module.model.layers[2].mlp.up_proj.weight
    step = weight.abs().max() / 7
    direct = ((weight / step).round() * step - weight).norm() / weight.norm()
    assert entry.shape == tuple(weight.shape)
    assert entry.error == pytest.approx(float(direct), rel=1e-4)
    sigmas = ((weight - weight.mean()) / weight.std()).abs()
    assert entry.largest == pytest.approx(float(sigmas.max()), rel=1e-4)
    assert entry.outliers == pytest.approx(float((sigmas > 4).float().mean()), abs=1e-9)


def test_comparing_weights_can_be_stopped(pair):
    module, rounded, _ = pair
    answers = iter([None, None])
    found = weight_error.compare(
        rounded,
        module,
        lambda layer: getattr(layer, "weight", None) if isinstance(layer, torch.nn.Linear) else None,
        lambda: next(answers, "enough"),
    )
    assert len(found) == 2


def test_predictions_that_were_kept_give_the_same_divergence(pair):
    module, rounded, ids = pair
    whole = measure(rounded, module, ids)
    kept = predictions(module, ids, 1)
    assert kept.shape == (len(ids) - 1, module.config.vocab_size)
    assert divergences(kept, rounded, ids, 1) == pytest.approx(whole.kl, rel=1e-4, abs=1e-6)
    assert divergences(predictions(module, ids, 9), rounded, ids, 9) == pytest.approx(
        whole.kl[8:], rel=1e-4, abs=1e-6
    )
    with pytest.raises(Stopped):
        divergences(kept, rounded, ids, 1, lambda: "enough")
