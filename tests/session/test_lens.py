"""What a model would say behind each layer, as the value that users hold, on the bundled model."""

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import FitError, MessageError, Stopped, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session import lens_look
from llama_nb.session.lens_look import find_positions
from tests.session.fakes import FakeEngine, fake_model

TEXT = "Once upon a time there was a llama who lived in the mountains."


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="lens")
    yield model
    model.unload(force=True)


@pytest.fixture(scope="module")
def trace(cria):
    return cria.lens(TEXT, track=[" lived"])


@torch.inference_mode()
def hidden_chances(model, ids):
    """Probabilities of every depth, shape (depths, tokens, V), computed with hooks of this test's own."""
    module, states = model.loaded.module, []
    parts = [*module.model.layers, module.model.norm]
    hooks = [part.register_forward_pre_hook(lambda _, given: states.append(given[0])) for part in parts]
    module(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return torch.stack([module.lm_head(module.model.norm(state))[0].softmax(-1) for state in states]).numpy()


def test_every_figure_is_that_of_a_direct_computation(cria, trace):
    hand = hidden_chances(cria, trace.ids)
    assert trace.depths.ids.shape == (7, len(trace.ids), 5)
    kept = np.take_along_axis(hand, trace.depths.ids.astype(np.int64), axis=2)
    np.testing.assert_allclose(trace.depths.chances, kept, atol=1e-5)
    np.testing.assert_allclose(trace.depths.chances, np.sort(hand)[:, :, :-6:-1], atol=1e-5)
    logs = np.log(hand.astype(np.float64))
    np.testing.assert_allclose(trace.depths.kl, (hand[-1] * (logs[-1] - logs)).sum(2), atol=1e-4)
    np.testing.assert_allclose(trace.depths.entropy, -(hand * logs).sum(2), atol=1e-4)


def test_the_last_row_is_what_the_model_says(cria, trace):
    said = cria.engine.next_token(Request(trace.ids[:6]), (), StopFlag()).logits
    chances = np.exp(said - said.max()) / np.exp(said - said.max()).sum()
    for token in trace.top(-1, 5):
        assert token.probability == pytest.approx(float(chances[token.id]), abs=1e-5)
    assert trace.top(5, 5) == trace.top("L5", 5) == trace.top(-1, 5 - len(trace.ids))


def test_a_tokens_way_through_the_layers(cria, trace):
    hand = hidden_chances(cria, trace.ids)
    lived = next(token for token, (text, _) in trace.names.items() if text == " lived")
    np.testing.assert_allclose(trace.probability(" lived"), hand[:, :, lived], atol=1e-5)
    at = trace.texts.index(" lived") - 1
    assert trace.following(at) == lived
    assert trace.settled()[at] == 5
    assert trace.top("L4", at)[0].text == " lived"
    assert trace.top("L3", at)[0].text != " lived"
    # Not tracked: known where it is among the likeliest, comes next, or is the model's own choice.
    plain = cria.lens(TEXT).probability(lived)
    known = ~np.isnan(plain)
    assert 0 < known.sum() < known.size
    assert known[:, at].all()
    np.testing.assert_allclose(plain[known], hand[:, :, lived][known], atol=1e-5)


def test_it_needs_no_model_any_more():
    model = llama.load("cria", name="gone")
    found = model.lens(TEXT)
    before = found._repr_mimebundle_()
    model.unload()
    assert found.top("embedding", 3)[0].text
    assert found._repr_mimebundle_() == before
    frame = found.to_frame()
    assert len(frame) == 7 * len(found.ids)
    assert frame[frame.layer == "L5"].kl.max() == 0
    assert repr(found) == f"LensTrace(text of gone: 6 layers at {len(found.ids)} positions)"


def test_a_reply_is_read_with_its_prompt_and_what_is_off_is_honoured(cria):
    reply = cria.chat("What is a llama?", chat="lens", temperature=0, max_tokens=8)
    found = cria.lens(reply)
    assert (found.title, found.prompt < len(found.ids)) == ("reply in chat lens", True)
    assert found.ids == cria.lens(chat="lens").ids
    with cria.ablate(layers=[5]):
        cut = cria.lens(reply)
    assert cut.off == "L5 off"
    np.testing.assert_allclose(cut.depths.chances[-1], found.depths.chances[-2], atol=1e-6)
    assert cria.lens(reply).off == ""


def test_positions():
    assert find_positions(None, 4) == ((0, 1, 2, 3), ())
    many, notes = find_positions(None, 600)
    assert (many[0], len(many)) == (88, 512)
    assert "the last 512" in notes[0]
    assert find_positions([-1, 2, 2], 9)[0] == (2, 8)
    assert find_positions(range(-3, 0), 9)[0] == (6, 7, 8)
    assert find_positions(slice(None, None, 4), 9)[0] == (0, 4, 8)
    assert find_positions(3, 9)[0] == find_positions(np.int64(3), 9)[0] == (3,)
    assert find_positions(np.array([4, 1]), 9)[0] == (1, 4)


REFUSED = [
    ({"positions": [99]}, "no position 99: the text has"),
    ({"positions": []}, "none of the"),
    ({"positions": "all"}, "positions is 'all'"),
    ({"positions": [True]}, "position is True"),
    ({"top": 0}, "top is 0"),
    ({"top": 2.5}, "top is 2.5"),
    ({"track": ["two words here"]}, "is not one token but"),
    ({"track": [10**6]}, "There is no token 1000000: the vocabulary has 2,048"),
]


@pytest.mark.parametrize(("options", "named"), REFUSED)
def test_what_cannot_be_is_named(cria, options, named):
    with pytest.raises(MessageError, match=named):
        cria.lens(TEXT, **options)


def test_what_a_trace_does_not_hold_is_named(cria, trace):
    some = cria.lens(TEXT, positions=[2, 5])
    for refused, named in (
        (lambda: some.top(0, 3), "did not look at position 3: it looked at 2 of them, from 2 to 5"),
        (lambda: trace.top(6, 0), "has no layer 6: it has 6"),
        (lambda: trace.top("L55", 0), "no layer 'L55'"),
        (lambda: trace.probability("zebra"), "kept nothing of the token 'zebra'"),
    ):
        with pytest.raises(MessageError, match=named):
            refused()


def test_it_is_stopped_refused_for_room_and_elsewhere(cria, monkeypatch):
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        cria.lens(TEXT, stop=flag)
    monkeypatch.setattr(lens_look, "available_memory", lambda _: 10_000)
    with pytest.raises(FitError, match="positions takes about") as refused:
        cria.lens(TEXT)
    assert "Look at fewer" in str(refused.value)
    with pytest.raises(UnsupportedError, match="lens needs the weights"):
        fake_model(FakeEngine()).lens("text")
