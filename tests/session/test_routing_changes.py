"""Experts forbidden, forced and dropped in a block: for what is asked there, and for nobody else."""

import asyncio
import contextvars
import threading

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import BatchError, InterventionError, UnsupportedError
from llama_nb.core.events import Note, subscribe
from llama_nb.core.intervention import Intervention, names
from llama_nb.core.request import Request
from llama_nb.session.ablating import active
from llama_nb.session.panel import Panel
from llama_nb.session.routing_changes import moe_layers
from tests.engines.mixing_by_hand import Change, mixed_by_hand
from tests.session.cut_by_hand import GREEDY, STORY, hooks, logprobs
from tests.session.fakes import fake_model
from tests.session.mixtures import write_mixture

CHANGES = {"ban": [(1, 0), (3, 2)], "force": [(1, 5)], "drop_shared": [3]}
BY_HAND = {1: Change(banned=(0,), forced=(5,)), 3: Change(banned=(2,), dropped=True)}
SAID = "L3 shared expert off; L1 E0, L3 E2 forbidden; L1 E5 forced"
NOTE = f"While this was written: {SAID}."


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_mixture(tmp_path_factory.mktemp("mixture") / "mixture")


@pytest.fixture(scope="module")
def made(folder):
    torch.set_num_threads(1)
    model = llama.load(folder, name="mixture")
    yield model
    model.unload(force=True)


@pytest.fixture
def m(made):
    yield made
    assert active(made) == ()
    assert hooks(made.loaded.module) == 0
    for name in list(made.chats):
        made.chats.delete(name)


def written(reply):
    return [token.id for token in reply.tokens]


def goes_on(module, ids, count):
    """How `ids` go on, greedily and computed anew each time, with CHANGES by hand."""
    text = list(ids)
    with mixed_by_hand(module, BY_HAND):
        for _ in range(count):
            text.append(int(logprobs(module, text)[-1].argmax()))
    return text[len(ids) :]


# --- in the block --------------------------------------------------------------------------------------


def test_what_is_asked_in_the_block_is_routed_otherwise(m):
    ids = m.engine.prompt(Request(STORY)).ids
    expected = goes_on(m.loaded.module, ids, 12)
    before = m.complete(STORY, **GREEDY)
    with m.route(**CHANGES) as changes:
        assert changes == active(m)
        without = m.complete(STORY, **GREEDY)
    after = m.complete(STORY, **GREEDY)
    assert written(without) == expected
    assert written(before) == written(after) != expected
    assert before.notes == after.notes == []
    assert without.notes == [NOTE]
    assert (before.interventions, without.interventions) == ((), changes)


def test_every_way_to_a_reply_takes_the_changes_along(m):
    plain = written(m.chat("Tell me a story.", chat="whole", **GREEDY))
    with m.route(**CHANGES):
        streamed = m.stream("Tell me a story.", chat="stream", **GREEDY)
        ways = {
            "chat": m.chat("Tell me a story.", chat="chat", **GREEDY),
            "background": m.chat("Tell me a story.", chat="bg", background=True, **GREEDY),
            "json": m.json("Tell me a story.", choice="yes,no", chat="json"),
            "async": asyncio.run(m.achat("Tell me a story.", chat="async", **GREEDY)),
            "rerun": m.chats["whole"].reply(m.chats["whole"].head).rerun(),
            "one-off": m.chat([{"role": "user", "content": "Tell me a story."}], **GREEDY),
        }
    ways["background"].wait(60)
    list(streamed)
    ways["stream"] = streamed.reply
    for way, reply in ways.items():
        assert NOTE in reply.notes, way
        if way != "json":
            assert written(reply) == written(ways["chat"]) != plain, way


def test_it_goes_together_with_what_is_turned_off(m):
    with m.ablate("0.3", mode="mean"):
        with m.route("2.attn", top_k=2):
            assert [each.name for each in active(m)] == ["L0 H3", "L2 attention", "top-2 of 8"]
            both = m.complete(STORY, **GREEDY)
        with m.route(top_k=2), m.route(top_k=3):
            assert [each.name for each in active(m)] == ["L0 H3", "top-3 of 8"]
        assert len(active(m)) == 1
    assert both.notes == ["While this was written: L2 attention off; L0 H3 at its mean; top-2 of 8."]


def test_the_parts_of_a_line_are_the_same_changes(m):
    with m.route("1.E0", "L3 E2", "3.shared") as line, m.ablate("L1 E0"):
        assert active(m) == line
    with m.route(ban=[(1, 0), (3, 2)], drop_shared=[3]) as named:
        assert set(line) == set(named)
    with m.route(drop_shared=True) as both:
        assert [each.name for each in both] == ["L1 shared expert", "L3 shared expert"]


def test_the_looks_inside_are_routed_so_and_say_so(m):
    whole = m.distribution(STORY)
    ids = m.engine.prompt(Request(STORY)).ids
    with m.route(**CHANGES):
        found = m.distribution(STORY)
        lens = m.lens(STORY)
        trace = m.attention(STORY, layers=[2])
        with pytest.raises(UnsupportedError, match="L1 E5 forced"):
            m.embed(["a"])
    expected = goes_on(m.loaded.module, ids, 1)[0]
    assert int(np.argmax(found.logits)) == lens.top(-1, -1)[0].id == expected
    assert np.abs(whole.logits - found.logits).max() > 1e-2
    assert f"with {SAID}" in found.place
    assert SAID in (lens.off, trace.off)
    apart = np.abs(trace.row(2, 0, 8) - m.attention(STORY, layers=[2]).row(2, 0, 8)).max()
    assert apart > 1e-4


def test_a_trace_of_the_routing_shows_what_was_chosen_instead(m):
    plain = m.routing(STORY)
    banned = int(plain.chosen[-1, 1, 0])  # what the last token chose in layer 3
    with m.route(ban=[(3, banned)], force=[(1, 5)], top_k=2):
        trace = m.routing(STORY)
        reply, watched = m.watch_routing("Hello", temperature=0, max_tokens=4)
    for found in (trace, watched):
        assert found.top_k == 2
        assert not (found.chosen[:, 1] == banned).any()
        assert (found.chosen[:, 0] == 5).any(axis=-1).all()
    # What the first router wants is not changed, only what it gets.
    np.testing.assert_allclose(trace.logits[:, 0], plain.logits[:, 0], atol=1e-5)
    assert trace.off == f"L3 E{banned} forbidden; L1 E5 forced; top-2 of 8"
    assert reply.notes == [f"While this was written: {trace.off}."]
    assert (plain.off, plain.top_k) == ("", 1)


def test_blocks_that_contradict_each_other_are_refused_when_entered(m):
    with m.route(ban=[(1, each) for each in range(5)]):
        inner = m.route(ban=[(1, each) for each in range(5, 8)])
        with pytest.raises(InterventionError, match="8 of the 8 experts of layer 1"):
            inner.__enter__()
        with m.route(force=[(1, 0)]) as changes:  # the later one counts
            assert changes[0] == Intervention("expert", 1, mode="force", expert=0)
        with m.route(force=[(1, 6)]), pytest.raises(InterventionError, match="2 experts of layer 1"):
            m.route(force=[(1, 7)]).__enter__()
        assert len(active(m)) == 5


# --- nobody else -----------------------------------------------------------------------------------------


def test_a_chat_goes_on_after_the_block_as_if_nothing_had_been(m):
    def talk(between):
        first = m.chat("Tell me a story.", **GREEDY)
        key = m.chats["main"].cache_key
        entry = m.engine._caches.peek(key)
        kept = [layer.keys.clone() for layer in entry.cache.layers]
        ids = list(entry.ids)
        between()
        assert m.engine._caches.peek(key) is entry
        assert entry.ids == ids
        assert all(torch.equal(a.keys, b) for a, b in zip(entry.cache.layers, kept, strict=True))
        second = m.chat("Go on.", **GREEDY)
        m.chats.delete("main")
        return [written(first), written(second)]

    def routed():
        with m.route(**CHANGES):
            reply = m.chat("Another one.", **GREEDY)
            m.distribution(chat="main")
            m.routing_effect(reply, top_k=3, tokens=4)
        m.chats["main"].goto(m.chats["main"].nodes[reply.asked].parent)

    assert talk(routed) == talk(lambda: None)


def test_another_thread_a_panel_and_another_model_have_the_routers_own_choice(m, folder):
    whole = written(m.complete(STORY, **GREEDY))
    found = {}

    def ask(name):
        found[name] = (active(m), written(m.complete(STORY, **GREEDY)))

    other = llama.load(folder, name="other")
    try:
        with m.route(**CHANGES):
            panel = Panel(m)
            threads = [
                threading.Thread(target=ask, args=("plain",)),
                threading.Thread(target=contextvars.Context().run, args=(panel.send, "Hello")),
                threading.Thread(target=contextvars.copy_context().run, args=(ask, "taken along")),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            found["other"] = ((), written(other.complete(STORY, **GREEDY)))
    finally:
        other.unload(force=True)
    assert found["plain"] == found["other"] == ((), whole)
    assert len(found["taken along"][0]) == 4
    assert found["taken along"][1] != whole
    for reply in m.active:
        reply.wait(60)
    assert m.chats["main"].reply(m.chats["main"].head).interventions == ()


def test_what_was_asked_before_the_block_stays_what_it_was_asked_as(m):
    whole = written(m.complete(STORY, **GREEDY))
    before = m.complete(STORY, background=True, **GREEDY)
    with m.route(**CHANGES):
        inside = m.complete(STORY, background=True, **GREEDY)
    assert written(before.wait(60)) == whole
    assert written(inside.wait(60)) != whole


def test_an_exception_in_the_block_ends_it(m):
    whole = written(m.complete(STORY, **GREEDY))
    with pytest.raises(ZeroDivisionError):
        fail_in(m)
    assert written(m.complete(STORY, **GREEDY)) == whole


def fail_in(model):
    with model.route(**CHANGES):
        raise ZeroDivisionError


# --- what writes things down ------------------------------------------------------------------------------


def test_a_batch_in_the_block_is_routed_so_and_its_file_of_no_other(m, tmp_path):
    prompts, out = ["Tell me a story.", "What is a token?"], tmp_path / "rows.jsonl"
    notes = []
    end = subscribe(lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    with m.route(**CHANGES):
        routed = m.batch(prompts, out=out, **GREEDY)
        alone = [m.chat([{"role": "user", "content": prompt}], **GREEDY).text for prompt in prompts]
        assert m.batch(prompts, out=out, **GREEDY).restored == 2
    end()
    assert routed.replies == alone
    assert any(SAID in note for note in notes)
    with pytest.raises(BatchError, match="not of this batch"):
        m.batch(prompts, out=out, **GREEDY)
    with m.route(top_k=2), pytest.raises(BatchError, match="not of this batch"):
        m.batch(prompts, out=out, **GREEDY)
    assert m.batch(prompts, **GREEDY).replies != alone


def test_a_recording_never_answers_a_plain_question_with_such_a_reply(m, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with llama.record("a.jsonl"):
        with m.route(**CHANGES):
            m.complete(STORY, **GREEDY)
        whole = m.complete("Hello", **GREEDY)
    played = llama.load(folder, replay="a.jsonl", name="played")
    try:
        with pytest.raises(llama.LlamaError, match="what is changed in the model"):
            played.complete(STORY, **GREEDY)
        assert played.complete("Hello", **GREEDY).text == whole.text
        with pytest.raises(UnsupportedError, match="weights"):
            played.route(top_k=2)
    finally:
        played.unload(force=True)


# --- what changes on a text -------------------------------------------------------------------------------


def test_the_effect_is_that_of_a_direct_computation(m):
    ids = m.engine.prompt(Request(STORY)).ids
    module = m.loaded.module
    whole = logprobs(module, ids)
    with mixed_by_hand(module, BY_HAND):
        routed = logprobs(module, ids)
    for position in (None, 5, -3):
        at = len(ids) - 1 if position is None else position % len(ids)
        effect = m.routing_effect(STORY, **CHANGES, position=position, tokens=6)
        for token in effect.tokens:
            assert token.before == pytest.approx(float(whole[at, token.id].exp()), abs=1e-5)
            assert token.after == pytest.approx(float(routed[at, token.id].exp()), abs=1e-5)
        expected = float((whole[at].exp() * (whole[at] - routed[at])).sum())
        assert effect.kl == pytest.approx(expected, abs=1e-4)
        losses = [-logs[:-1].gather(1, torch.tensor(ids[1:])[:, None]).mean() for logs in (whole, routed)]
        assert [effect.loss_before, effect.loss_after] == pytest.approx(
            [float(each) for each in losses], 1e-5
        )
        assert effect.position == at
    assert effect.off == SAID
    effect = m.routing_effect(STORY, **CHANGES, tokens=6)
    assert effect.text_before == m.complete(STORY, temperature=0, max_tokens=6).text
    with m.route(**CHANGES):
        assert effect.text_after == m.complete(STORY, temperature=0, max_tokens=6).text


def test_of_a_reply_one_looks_at_its_beginning_and_it_is_shown(m):
    reply = m.chat("Tell me a story.", **GREEDY)
    effect = m.routing_effect(reply, top_k=3, tokens=4)
    assert effect.title == "reply in chat main"
    assert m.routing_effect(None, top_k=3, tokens=4) == effect
    assert effect == m.routing_effect(chat="main", top_k=3, tokens=4)
    shown = effect._repr_mimebundle_()
    assert "mixture with top-3 of 8, behind" in shown["text/plain"]
    assert effect.to_record()["interventions"] == [{"site": "top_k", "layer": None, "top_k": 3, "experts": 8}]
    assert repr(effect).startswith("AblationEffect(top-3 of 8 in mixture: KL ")


# --- what there is not ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (lambda m: m.route(), "nothing to change"),
        (lambda m: m.route(drop_shared=[]), "nothing to change"),
        (lambda m: m.route(ban=[(2, 0)]), "Layer 2 of mixture is no MoE layer.\nIts MoE layers are: 1, 3"),
        (lambda m: m.route(ban=[(9, 0)]), "Layer 9 of mixture is no MoE layer"),
        (lambda m: m.route(force=[(1, 8)]), "no expert 8 in layer 1: a layer has 8, from 0 to 7"),
        (lambda m: m.route(ban=[(1, -1)]), "An expert is a whole number from 0, not -1"),
        (lambda m: m.route(ban=[("1", 1)]), "A layer is a whole number from 0, not '1'"),
        (lambda m: m.route(ban=(3, 2)), "named by its layer and its number, not by 3"),
        (lambda m: m.route(ban="3.2"), "ban is '3.2', not a list"),
        (lambda m: m.route(force=3), "force is 3, not a list"),
        (lambda m: m.route(ban=[(1, 2)], force=[(1, 2)]), "L1 E2 is forbidden and forced"),
        (lambda m: m.route(force=[(1, 2), (1, 3)]), "2 experts of layer 1 are forced, .* goes to 1 there"),
        (lambda m: m.route(ban=[(1, e) for e in range(8)]), "8 of the 8 experts of layer 1 are forbidden"),
        (lambda m: m.route(top_k=2, ban=[(3, e) for e in range(7)]), "7 of the 8 experts of layer 3"),
        (lambda m: m.route(top_k=9), "top_k is 9: a layer of mixture has 8 experts"),
        (lambda m: m.route(top_k=0), "top_k is 0; it must be a whole number, 1 or more"),
        (lambda m: m.route(top_k=True), "top_k is True"),
        (lambda m: m.route(top_k="2"), "top_k is '2'"),
        (lambda m: m.route(drop_shared=3), "drop_shared is 3, not a list"),
        (lambda m: m.route(drop_shared=[2]), "Layer 2 of mixture is no MoE layer"),
        (lambda m: m.route(drop_shared="all"), "drop_shared is 'all', not a list"),
        (lambda m: m.route("3.gate"), "'3.gate' names no part of a model"),
        (lambda m: m.route("9.attn", top_k=2), "no layer 9"),
        (lambda m: m.ablate("1.E2", mode="mean"), "1.E2 is an expert: it is forbidden, and has no mean"),
        (lambda m: m.routing_effect(STORY, top_k=2, position=99), "no position 99"),
        (lambda m: m.routing_effect(STORY), "nothing to change"),
    ],
)
def test_what_cannot_be_done_is_named_and_changes_nothing(m, asked, match):
    with pytest.raises(InterventionError, match=match):
        asked(m)
    assert active(m) == ()


def test_a_dense_model_says_what_to_load_instead(stories260k):
    dense = llama.load(stories260k, name="dense")
    try:
        for ask in (
            lambda: dense.route(ban=[(0, 1)]),
            lambda: dense.route(top_k=2),
            dense.route,
            lambda: dense.routing_effect(STORY, drop_shared=True),
            lambda: dense.ablate("1.E2"),
            lambda: dense.ablate("1.shared"),
        ):
            with pytest.raises(
                UnsupportedError, match="dense has no experts: every token goes through"
            ) as no:
                ask()
            assert "%llama load cria-moe" in no.value.hint
    finally:
        dense.unload(force=True)


def test_a_mixture_that_chooses_two_and_shares_none(tmp_path):
    model = llama.load(write_mixture(tmp_path / "mixtral", "mixtral"), name="mixtral")
    try:
        with pytest.raises(InterventionError, match="mixtral has no shared expert: every"):
            model.route(drop_shared=True)
        with pytest.raises(InterventionError, match="Layer 1 of mixtral has no shared expert"):
            model.route("1.shared")
        with model.route(force=[(1, 2), (1, 3)], ban=[(0, 4)]) as changes:
            reply = model.complete(STORY, **GREEDY)
        assert names(changes) == "L0 E4 forbidden; L1 E2, L1 E3 forced"
        ids = list(model.engine.prompt(Request(STORY)).ids)
        with mixed_by_hand(model.loaded.module, {0: Change(banned=(4,)), 1: Change(forced=(2, 3))}):
            for token in written(reply):
                assert int(logprobs(model.loaded.module, ids)[-1].argmax()) == token
                ids.append(token)
    finally:
        model.unload(force=True)


def test_a_model_elsewhere_has_no_routers_to_change():
    for ask in (lambda: fake_model().route(top_k=2), lambda: moe_layers(fake_model())):
        with pytest.raises(UnsupportedError, match="weights of fake must be in this kernel") as no:
            ask()
        assert "cria-moe" in no.value.hint


def test_the_handle_of_an_unloaded_model_is_dead(folder):
    model = llama.load(folder, name="short-lived")
    block = model.route(top_k=2)
    model.unload()
    with pytest.raises(llama.LlamaError, match="was unloaded"):
        model.route(top_k=2)
    with pytest.raises(llama.LlamaError, match="was unloaded"):
        block.__enter__()
