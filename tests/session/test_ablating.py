"""Parts of a model that are off in a block: for what is asked there, and for nobody and nothing else."""

import asyncio
import contextvars
import gc
import threading
import weakref

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import BatchError, InterventionError, UnsupportedError
from llama_nb.core.events import Note, subscribe
from llama_nb.core.intervention import Intervention, read_part
from llama_nb.core.request import Request
from llama_nb.engines.base import Capabilities
from llama_nb.session.ablating import active
from llama_nb.session.panel import Panel
from tests.session.cut_by_hand import GREEDY, PARTS, STORY, goes_on, hooks
from tests.session.fakes import fake_model
from tests.session.tool_models import call, calling


@pytest.fixture(scope="module")
def made():
    torch.set_num_threads(1)
    model = llama.load("cria", name="ablating")
    yield model
    model.unload(force=True)


@pytest.fixture
def cria(made):
    yield made
    assert active(made) == ()
    assert hooks(made.loaded.module) == 0
    for name in list(made.chats):
        made.chats.delete(name)


def written(reply):
    return [token.id for token in reply.tokens]


# --- in the block --------------------------------------------------------------------------------------


def test_what_is_asked_in_the_block_is_computed_without_the_parts(cria):
    ids = cria.engine.prompt(Request(STORY)).ids
    expected = goes_on(cria.loaded.module, ids, 12)
    before = cria.complete(STORY, **GREEDY)
    with cria.ablate(*PARTS) as off:
        assert off == active(cria) == (read_part("5.attn"), read_part("0.3"))
        without = cria.complete(STORY, **GREEDY)
    after = cria.complete(STORY, **GREEDY)
    assert written(without) == expected
    assert written(before) == written(after) != expected
    assert before.notes == after.notes == []
    assert without.notes == ["While this was written: L5 attention, L0 H3 off."]
    assert (before.interventions, without.interventions) == ((), off)


def test_every_way_to_a_reply_takes_the_parts_along(cria):
    plain = written(cria.chat("Tell me a story.", chat="whole", **GREEDY))
    with cria.ablate(layers=[2]):
        streamed = cria.stream("Tell me a story.", chat="stream", **GREEDY)
        ways = {
            "chat": cria.chat("Tell me a story.", chat="chat", **GREEDY),
            "background": cria.chat("Tell me a story.", chat="bg", background=True, **GREEDY),
            "json": cria.json("Tell me a story.", choice="yes,no", chat="json"),
            "async": asyncio.run(cria.achat("Tell me a story.", chat="async", **GREEDY)),
            "rerun": cria.chats["whole"].reply(cria.chats["whole"].head).rerun(),
            "retry": cria.retry(chat="whole", **GREEDY),
            "one-off": cria.chat([{"role": "user", "content": "Tell me a story."}], **GREEDY),
        }
    ways["background"].wait(60)
    list(streamed)
    ways["stream"] = streamed.reply
    for way, reply in ways.items():
        assert reply.interventions == (Intervention("layer", 2),), way
        assert "While this was written: L2 off." in reply.notes, way
        assert reply.request.interventions == (), way
        if way != "json":
            assert written(reply) == written(ways["chat"]) != plain, way


def test_tools_run_in_the_block_with_every_round():
    def weather(city: str) -> str:
        """Get the weather."""
        return city

    model = with_config(calling(call("weather", city="Oslo"), "It rains.", "Yes."))
    with model.ablate("0"):
        run = model.tools("How is it?", [weather], approve=lambda _: True)
    model.chat("Really?")
    *rounds, after = model.engine.requests
    assert [request.interventions for request in rounds] == [(Intervention("layer", 0),)] * 2
    assert [reply.notes for reply in run.replies] == [["While this was written: L0 off."]] * 2
    assert after.interventions == ()


def test_a_reply_in_a_chat_says_what_was_off_and_is_saved_so(cria):
    with cria.ablate("0.3", mode="mean"):
        reply = cria.chat("Hello", **GREEDY)
    assert reply.to_record()["notes"] == ["While this was written: L0 H3 at its mean."]
    held = cria.chats["main"].nodes[cria.chats["main"].head]
    assert held.reply["notes"] == ["While this was written: L0 H3 at its mean."]


def test_the_mean_is_over_the_prompt_or_over_the_text_that_is_named(cria):
    prompt = cria.engine.prompt(Request(STORY)).ids
    other = cria.engine.prompt(Request("A stone.")).ids
    with cria.ablate("3.mlp", mode="mean"):
        own = cria.distribution(STORY).logits
    with cria.ablate("3.mlp", mode="mean", over=STORY) as off:
        assert off[0].over == prompt
        np.testing.assert_array_equal(cria.distribution(STORY).logits, own)
    with cria.ablate("3.mlp", mode="mean", over="A stone.") as off:
        assert off[0].over == other
        assert np.abs(cria.distribution(STORY).logits - own).max() > 1e-3


def test_blocks_in_each_other_add_up_and_end_one_by_one(cria):
    with cria.ablate("1"):
        with cria.ablate("2.mlp", "1", mode="mean"):
            assert active(cria) == (read_part("1", mode="mean"), read_part("2.mlp", mode="mean"))
        assert active(cria) == (read_part("1"),)
    assert active(cria) == ()


def test_the_looks_inside_are_without_the_parts_and_say_so(cria):
    whole = cria.distribution(STORY)
    with cria.ablate(*PARTS):
        found = cria.distribution(STORY)
        lens = cria.lens(STORY)
        trace = cria.attention(STORY, layers=[1])
        scores = cria.heads("entropy", STORY)
    expected = goes_on(cria.loaded.module, cria.engine.prompt(Request(STORY)).ids, 1)[0]
    assert int(np.argmax(found.logits)) == lens.top(-1, -1)[0].id == expected
    assert int(np.argmax(whole.logits)) != expected
    assert "with L5 attention, L0 H3 off" in found.place
    assert "L5 attention, L0 H3 off" in (lens.off, trace.off)
    apart = np.abs(trace.row(1, 0, 8) - cria.attention(STORY, layers=[1]).row(1, 0, 8)).max()
    assert apart > 1e-4
    assert not np.allclose(
        scores.scores["entropy"], cria.heads("entropy", STORY).scores["entropy"], atol=1e-4
    )


def test_what_would_not_heed_it_refuses(cria):
    with cria.ablate("3"):
        with pytest.raises(UnsupportedError, match="L3 off") as refused:
            cria.embed(["a"])
        assert "behind the block" in refused.value.hint
        with pytest.raises(UnsupportedError, match="L3 off"):
            llama.compare_quantisations(STORY, cria, ["int8"])
    assert cria.embed(["a"]).shape == (1, 192)


# --- nobody else -----------------------------------------------------------------------------------------


def test_a_chat_goes_on_after_the_block_as_if_nothing_had_been(cria):
    def talk(between):
        first = cria.chat("Tell me a story.", **GREEDY)
        key = cria.chats["main"].cache_key
        entry = cria.engine._caches.peek(key)
        kept = [layer.keys.clone() for layer in entry.cache.layers]
        ids = list(entry.ids)
        between()
        assert cria.engine._caches.peek(key) is entry
        assert entry.ids == ids
        assert all(torch.equal(a.keys, b) for a, b in zip(entry.cache.layers, kept, strict=True))
        second = cria.chat("Go on.", **GREEDY)
        assert second.usage.cached_tokens >= len(ids) - 1
        cria.chats.delete("main")
        return [written(first), written(second)]

    def ablated():
        with cria.ablate(*PARTS):
            reply = cria.chat("Another one.", **GREEDY)
            cria.distribution(chat="main")
        cria.chats["main"].goto(cria.chats["main"].nodes[reply.asked].parent)

    assert talk(ablated) == talk(lambda: None)


def test_another_thread_and_a_panel_have_the_whole_model(cria):
    whole = written(cria.complete(STORY, **GREEDY))
    found = {}

    def ask(name):
        found[name] = (active(cria), cria.complete(STORY, **GREEDY))

    with cria.ablate(*PARTS):
        panel = Panel(cria)
        threads = [
            threading.Thread(target=ask, args=("plain",)),
            # What a page sends is heard in a context without the block.
            threading.Thread(target=contextvars.Context().run, args=(panel.send, "Hello")),
            threading.Thread(target=contextvars.copy_context().run, args=(ask, "taken along")),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert found["plain"][0] == ()
    assert written(found["plain"][1]) == whole
    assert found["taken along"][0] == (read_part("5.attn"), read_part("0.3"))
    assert written(found["taken along"][1]) != whole
    for reply in cria.active:
        reply.wait(60)
    assert cria.chats["main"].reply(cria.chats["main"].head).interventions == ()


def test_what_was_asked_before_or_in_the_block_stays_what_it_was_asked_as(cria):
    whole = written(cria.complete(STORY, **GREEDY))
    before = cria.complete(STORY, background=True, **GREEDY)
    stream = cria.stream("Hello", chat="outside", **GREEDY)
    with cria.ablate(*PARTS):
        inside = cria.complete(STORY, background=True, **GREEDY)
        late = cria.stream("Hello", chat="inside", **GREEDY)
        list(stream)
    list(late)
    assert written(before.wait(60)) == whole
    assert written(inside.wait(60)) != whole
    assert (stream.reply.interventions, len(late.reply.interventions)) == ((), 2)


def test_tasks_beside_each_other_keep_apart(cria):
    async def both():
        entered, done = asyncio.Event(), asyncio.Event()

        async def one():
            with cria.ablate("2"):
                entered.set()
                reply = await cria.acomplete(STORY, **GREEDY)
                await done.wait()
            return reply

        async def other():
            await entered.wait()
            reply = await cria.acomplete(STORY, **GREEDY)
            done.set()
            return reply

        return await asyncio.gather(one(), other())

    one, other = asyncio.run(both())
    assert (len(one.interventions), other.interventions) == (1, ())


def test_a_block_that_is_left_elsewhere_was_never_entered_there(cria):
    block, cell = cria.ablate(*PARTS), contextvars.copy_context()
    cell.run(block.__enter__)
    assert len(cell.run(active, cria)) == 2
    assert active(cria) == ()
    block.__exit__(None, None, None)
    assert active(cria) == ()


def test_an_exception_in_the_block_ends_it(cria):
    whole = written(cria.complete(STORY, **GREEDY))
    with pytest.raises(ZeroDivisionError):
        fail_in(cria)
    assert written(cria.complete(STORY, **GREEDY)) == whole


def fail_in(model):
    with model.ablate(*PARTS):
        raise ZeroDivisionError


def test_a_reply_of_the_block_is_run_again_by_the_whole_model(cria):
    with cria.ablate(*PARTS):
        without = cria.complete(STORY, **GREEDY)
        assert int(np.argmax(cria.distribution(without, position=0).logits)) == without.tokens[0].id
    again = without.rerun()
    assert written(again) == written(cria.complete(STORY, **GREEDY)) != written(without)
    assert int(np.argmax(cria.distribution(without, position=0).logits)) == again.tokens[0].id


def test_another_model_is_whole():
    one, other = (with_config(fake_model(name=name)) for name in "ab")
    with one.ablate("0"):
        other.chat("hi")
        one.chat("hi")
        with other.ablate("1"):
            one.chat("hi")
            other.chat("hi")
        assert (active(one), active(other)) == ((Intervention("layer", 0),), ())
    assert [request.interventions for request in other.engine.requests] == [(), (Intervention("layer", 1),)]
    assert {request.interventions for request in one.engine.requests} == {(Intervention("layer", 0),)}


def test_the_block_keeps_no_model(cria):
    model = with_config(fake_model())
    gone = weakref.ref(model)
    with model.ablate("0"):
        model.chat("hi")
    del model
    gc.collect()
    assert gone() is None


# --- what writes things down ------------------------------------------------------------------------------


def test_a_batch_in_the_block_is_without_the_parts_and_its_file_of_no_other(cria, tmp_path):
    prompts, out = ["Tell me a story.", "What is a token?"], tmp_path / "rows.jsonl"
    notes = []
    end = subscribe(lambda event: notes.append(event.text) if isinstance(event, Note) else None)
    with cria.ablate(*PARTS):
        without = cria.batch(prompts, out=out, **GREEDY)
        alone = [cria.chat([{"role": "user", "content": prompt}], **GREEDY).text for prompt in prompts]
        assert cria.batch(prompts, out=out, **GREEDY).restored == 2
    end()
    assert without.replies == alone
    assert any("L5 attention, L0 H3 off" in note for note in notes)
    with pytest.raises(BatchError, match="not of this batch"):
        cria.batch(prompts, out=out, **GREEDY)
    with cria.ablate("1"), pytest.raises(BatchError, match="not of this batch"):
        cria.batch(prompts, out=out, **GREEDY)
    assert cria.batch(prompts, **GREEDY).replies != alone


def test_a_recording_never_answers_a_plain_question_with_such_a_reply(cria, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with llama.record("a.jsonl"):
        with cria.ablate(*PARTS):
            cria.complete(STORY, **GREEDY)
        whole = cria.complete("Hello", **GREEDY)
    played = llama.load("cria", replay="a.jsonl", name="played")
    try:
        with pytest.raises(llama.LlamaError, match="what is changed in the model"):
            played.complete(STORY, **GREEDY)
        assert played.complete("Hello", **GREEDY).text == whole.text
        with pytest.raises(UnsupportedError, match="weights"):
            played.ablate("1")
    finally:
        played.unload(force=True)


def test_a_comparison_in_the_block_compares_without_the_parts(cria, stories260k):
    other = llama.load("cria", name="other")
    try:
        with cria.ablate(*PARTS):
            found = llama.compare(STORY, [cria, other], **GREEDY)
        without, whole = found.cells
        assert (len(without.reply.interventions), whole.reply.interventions) == (2, ())
        assert without.text != whole.text
        # Both are the same weights: what lies between them is what was turned off.
        assert sum(without.divergence or whole.divergence) > 0.1
        plain = llama.compare(STORY, [cria, other], **GREEDY).cells
        assert max(plain[0].divergence or plain[1].divergence) < 1e-6
    finally:
        other.unload(force=True)


@pytest.mark.parametrize(
    ("asked", "error", "match"),
    [
        (lambda m: m.ablate(), InterventionError, "nothing to turn off"),
        (lambda m: m.ablate("6.0"), InterventionError, "no layer 6: it has 6, from 0 to 5"),
        (lambda m: m.ablate(heads=[(0, 6)]), InterventionError, "no head 6 in layer 0"),
        (lambda m: m.ablate(heads=[3]), InterventionError, "named by its layer and its number, not by 3"),
        (lambda m: m.ablate(heads=[(0, "1")]), InterventionError, "A head is a whole number"),
        (lambda m: m.ablate(mlps=[-1]), InterventionError, "A layer is a whole number"),
        (lambda m: m.ablate("1", mode="noise"), InterventionError, "mode is 'noise'"),
        (lambda m: m.ablate("1", over="a text"), InterventionError, "zeros need none"),
        (lambda m: m.ablate("1", mode="mean", over=" "), InterventionError, "there is no text"),
        (lambda m: m.ablate("1", mode="mean", over="a " * 3000), InterventionError, "the context of"),
    ],
)
def test_what_cannot_be_done_is_named_and_changes_nothing(cria, asked, error, match):
    with pytest.raises(error, match=match):
        asked(cria)
    assert active(cria) == ()


def test_a_model_elsewhere_has_nothing_to_turn_off():
    with pytest.raises(UnsupportedError, match="weights of fake must be in this kernel"):
        fake_model().ablate("0")


def test_the_handle_of_an_unloaded_model_is_dead(stories260k):
    model = llama.load(stories260k, name="short-lived")
    with model.ablate("0"):
        model.unload()
        with pytest.raises(llama.LlamaError, match="was unloaded"):
            model.complete("Once")
    with pytest.raises(llama.LlamaError, match="was unloaded"):
        model.ablate("0")


# --- made for these tests -----------------------------------------------------------------------------------


def with_config(model):
    """Return a model over a fake engine as one whose layers and heads are known and in this kernel."""
    model.engine.capabilities = Capabilities(introspect=True)
    model._checked.config = {"num_hidden_layers": 2, "num_attention_heads": 2}
    return model
