"""What changes on a text when parts of a model are turned off, against a direct computation."""

import itertools

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import InterventionError, MessageError, Stopped
from llama_nb.core.intervention import read_part
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session.ablating import active
from llama_nb.session.ablation import ablation_effect
from llama_nb.session.reading import find_reading
from tests.session.cut_by_hand import GREEDY, PARTS, STORY, cut, hooks, logprobs


@pytest.fixture(scope="module")
def cria():
    torch.set_num_threads(1)
    model = llama.load("cria", name="changing")
    yield model
    assert active(model) == ()
    assert hooks(model.loaded.module) == 0
    model.unload(force=True)


def test_the_effect_is_that_of_a_direct_computation(cria):
    ids = cria.engine.prompt(Request(STORY)).ids
    whole = logprobs(cria.loaded.module, ids)
    with cut(cria.loaded.module):
        without = logprobs(cria.loaded.module, ids)
    for position in (None, 5, -3):
        at = len(ids) - 1 if position is None else position % len(ids)
        effect = cria.ablation(STORY, *PARTS, position=position, tokens=8)
        for token in effect.tokens:
            assert token.before == pytest.approx(float(whole[at, token.id].exp()), abs=1e-5)
            assert token.after == pytest.approx(float(without[at, token.id].exp()), abs=1e-5)
        assert effect.before[0].id == int(whole[at].argmax())
        assert effect.after[0].id == int(without[at].argmax())
        assert effect.kl == pytest.approx(
            float((whole[at].exp() * (whole[at] - without[at])).sum()), abs=1e-4
        )
        losses = [-logs[:-1].gather(1, torch.tensor(ids[1:])[:, None]).mean() for logs in (whole, without)]
        assert [effect.loss_before, effect.loss_after] == pytest.approx(
            [float(each) for each in losses], abs=1e-5
        )
        assert effect.position == at
        assert cria.engine.tokenize(effect.text_after)[0] == int(without[at].argmax())
    assert effect.off == "L5 attention, L0 H3 off"


def test_both_texts_go_on_as_the_model_would(cria):
    said = []
    effect = ablation(cria, tokens=10, on_text=said.append)
    assert effect.text_before == cria.complete(STORY, temperature=0, max_tokens=10).text
    with cria.ablate(*PARTS):
        assert effect.text_after == cria.complete(STORY, temperature=0, max_tokens=10).text
    assert said[-1] == effect.text_after
    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(said))
    assert cria.ablation(STORY, *PARTS, tokens=0).text_before == ""


def test_of_a_reply_one_looks_at_its_beginning(cria):
    reply = cria.chat("Tell me a story.", **GREEDY)
    effect = cria.ablation(reply, *PARTS, tokens=12)
    assert effect.title == "reply in chat main"
    assert effect.text_before == reply.text
    assert effect.position == len(cria.engine.prompt(reply.request).ids) - 1
    assert cria.ablation(None, *PARTS, tokens=0) == cria.ablation(reply, *PARTS, tokens=0)


def test_in_a_block_what_is_off_there_is_off_in_both(cria):
    with cria.ablate("5.attn"):
        inside = cria.ablation(STORY, "0.3", tokens=4)
        with cria.ablate("0.3"):
            after = cria.distribution(STORY)
        before = cria.distribution(STORY)
    assert inside.before[0].id == int(np.argmax(before.logits))
    assert inside.after[0].id == int(np.argmax(after.logits))
    assert inside.kl < cria.ablation(STORY, *PARTS, tokens=0).kl


def test_a_long_text_is_read_in_pieces(cria, monkeypatch):
    whole = cria.ablation(STORY, *PARTS, tokens=0)
    monkeypatch.setattr("llama_nb.interpret.ablation._PIECE", 5)
    monkeypatch.setattr("llama_nb.interpret.ablation._SLICE", 2)
    for position in (-1, 3, 9):
        pieces = cria.ablation(STORY, *PARTS, tokens=0, position=position)
        assert pieces.loss_after == pytest.approx(whole.loss_after, abs=1e-5)
    assert pieces.position == 9
    assert cria.ablation(STORY, *PARTS, tokens=0).kl == pytest.approx(whole.kl, abs=1e-5)


def test_it_needs_no_model_any_more():
    model = llama.load("cria", name="gone")
    effect = model.ablation(STORY, *PARTS, tokens=4)
    model.unload()
    assert effect.after[0].text
    assert set(effect._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_stop_is_heard(cria):
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        cria.ablation(STORY, *PARTS, stop=flag)
    flag = StopFlag()
    with pytest.raises(Stopped):
        ablation(cria, stop=flag, on_text=lambda _: flag.set("enough"))


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        (lambda m: m.ablation(STORY, "1", position=99), InterventionError, "no position 99"),
        (lambda m: m.ablation(STORY, "1", position=True), InterventionError, "no position True"),
        (lambda m: m.ablation("", "1"), MessageError, "no text"),
        (lambda m: m.ablation(STORY, "1", chat="main"), MessageError, "a text or reply, and a chat"),
        (lambda m: m.ablation(STORY), InterventionError, "nothing to turn off"),
    ],
)
def test_what_cannot_be_done_is_named(cria, asked, error, match):
    with pytest.raises(error, match=match):
        asked(cria)


def ablation(model, **options):
    return ablation_effect(
        model, find_reading(model, STORY, what="ablate"), [read_part(each) for each in PARTS], **options
    )
