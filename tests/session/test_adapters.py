"""`m.adapters`: what answers, what a reply says of it, caches, files, and what goes on beside."""

import threading

import pytest
import torch

import llama_nb as llama
from llama_nb.core.adapter import NO_ADAPTER
from llama_nb.core.errors import AdapterError, BatchError, ModelGone, UnsupportedError
from llama_nb.core.events import AdaptersChanged, Note, subscribe
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session.compare import compare
from llama_nb.session.panel import Panel
from tests.models import write_random_llama
from tests.session.adapter_models import add_adapter, drop_adapters
from tests.session.fakes import fake_model

GREEDY = {"temperature": 0, "max_tokens": 8}
ASKED = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture(scope="module")
def made():
    torch.set_num_threads(1)
    model = llama.load("cria", name="adapted")
    yield model
    model.unload(force=True)


@pytest.fixture
def cria(made):
    yield made
    drop_adapters(made)
    for name in list(made.chats):
        made.chats.delete(name)


@pytest.fixture
def events():
    heard = []
    stop = subscribe(heard.append)
    yield heard
    stop()


def said(model, **options):
    return model.chat(ASKED, **GREEDY, **options)


# --- what answers -------------------------------------------------------------------------------------------


def test_switching_changes_the_answer_and_off_gives_the_old_one_back(cria, events):
    base = said(cria)
    add_adapter(cria, "persona")
    assert said(cria).text == base.text
    assert cria.adapters.use("persona") is cria.adapters
    changed = said(cria)
    assert changed.text != base.text
    assert cria.adapters.off().active == {}
    assert said(cria).text == base.text
    assert [event.model for event in events if isinstance(event, AdaptersChanged)] == [cria] * 3


def test_a_reply_says_which_adapter_wrote_it(cria):
    add_adapter(cria, "persona")
    plain = said(cria)
    cria.adapters.use("persona")
    adapted = said(cria)
    assert (plain.adapter, adapted.adapter) == ("", "persona")
    assert adapted.to_record()["model"]["adapter"] == "persona"
    assert "adapter" not in plain.to_record()["model"]
    assert adapted._repr_mimebundle_()["text/html"].count("adapted + persona") == 2  # label and status
    assert "persona" not in plain._repr_mimebundle_()["text/html"]
    cria.adapters.mix("persona:0.5")
    assert said(cria).adapter == "persona:0.5"


def test_the_models_line_names_what_is_on(cria):
    assert repr(cria).endswith("context 1,024, no adapters")
    add_adapter(cria, "persona")
    assert repr(cria).endswith("adapter persona (off)")
    cria.adapters.use("persona")
    assert repr(cria).endswith("adapter persona")
    add_adapter(cria, "tone", seed=1)
    cria.adapters.mix(persona=0.7, tone=0.3)
    assert repr(cria).endswith("adapters persona:0.7 tone:0.3")
    cria.adapters.off()
    assert repr(cria).endswith("2 adapters (off)")


def test_the_table(cria):
    assert "has no adapters" in repr(cria.adapters)
    add_adapter(cria, "persona", method="dora")
    add_adapter(cria, "tone", target="q_proj")
    cria.adapters.use("persona")
    text = repr(cria.adapters)
    assert "adapted answers with persona." in text
    assert [line.split()[:4] for line in text.splitlines()[-2:]] == [
        ["persona", "on", "DoRA", "4"],
        ["tone", "off", "LoRA", "4"],
    ]
    html = cria.adapters._repr_mimebundle_()["text/html"]
    assert html.count("<tr") == 3
    assert [facts.name for facts in cria.adapters.list()] == ["persona", "tone"]
    assert "persona" in cria.adapters
    assert list(cria.adapters) == ["persona", "tone"]


def test_names_that_are_not_there(cria):
    for call in (cria.adapters.use, cria.adapters.delete, cria.adapters.save, cria.adapters.look):
        with pytest.raises(AdapterError):
            call("nope")
    with pytest.raises(AdapterError, match="has no adapters"):
        cria.adapters.look()
    with pytest.raises(AdapterError, match="no adapter 'nope'"):
        said(cria, adapter="nope")
    add_adapter(cria, "a")
    add_adapter(cria, "b")
    with pytest.raises(AdapterError, match="Which adapter"):
        cria.adapters.save()
    with pytest.raises(AdapterError, match="There is nothing to mix"):
        cria.adapters.mix()
    assert cria.adapters.active == {}


def test_models_without_weights_here_have_none():
    model = fake_model()
    assert model.adapters.names == ()
    assert model.adapters.off().active == {}
    assert "has no adapters" in repr(model.adapters)
    with pytest.raises(UnsupportedError, match="its weights are not in this kernel"):
        model.adapters.use("persona")
    with pytest.raises(UnsupportedError):
        model.adapters.load("nope")
    assert model.chat("hi", adapter=NO_ADAPTER).adapter == ""
    with pytest.raises(UnsupportedError):
        model.chat("hi", adapter="persona")


def test_after_unload_there_are_none(stories260k):
    model = llama.load(stories260k, name="gone soon")
    add_adapter(model, "a")
    adapters = model.adapters
    model.unload()
    assert model.adapters.names == ()
    assert adapters.names == ()
    with pytest.raises(ModelGone):
        adapters.use("a")


def test_rows_of_a_batch_are_those_of_what_was_on(cria, tmp_path):
    add_adapter(cria, "persona")
    file = tmp_path / "rows.jsonl"
    base = cria.batch(["Who are you?"], out=file, **GREEDY).to_frame()
    cria.adapters.use("persona")
    with pytest.raises(BatchError):
        cria.batch(["Who are you?"], out=file, **GREEDY)
    adapted = cria.batch(["Who are you?"], **GREEDY).to_frame()
    assert adapted["reply"][0] == said(cria).text != base["reply"][0]


def test_what_looks_inside_sees_the_adapted_model(cria):
    story = "Once upon a time, Ida lived"
    base = cria.complete(story, **GREEDY)
    with cria.ablate("5.attn", "0.3"):
        cut = cria.complete(story, **GREEDY).text
    add_adapter(cria, "persona")
    with cria.ablate("5.attn", "0.3"):
        assert cria.complete(story, **GREEDY).text == cut
        assert cria.complete(story, adapter="persona", **GREEDY).text != cut
    cria.adapters.use("persona")
    on = cria.complete(story, **GREEDY)
    likeliest = cria.distribution(story, temperature=0).to_record()
    cria.adapters.off()
    assert cria.distribution(story, temperature=0).to_record() != likeliest
    assert on.tokens[0].logprob != base.tokens[0].logprob


# --- caches -------------------------------------------------------------------------------------------------


def test_a_switch_makes_the_caches_invalid(cria):
    add_adapter(cria, "persona")
    cria.chat("One.", chat="c", **GREEDY)
    again = cria.chat("Two.", chat="c", **GREEDY)
    assert again.usage.cached_tokens > 0
    cria.adapters.use("persona")
    switched = cria.chat("Three.", chat="c", **GREEDY)
    assert switched.usage.cached_tokens == 0
    fresh = cria.chat([*switched.request.input], **GREEDY)
    assert fresh.text == switched.text


def test_a_message_with_an_adapter_of_its_own_has_a_cache_of_its_own(cria):
    add_adapter(cria, "persona")
    base = said(cria)
    cria.adapters.use("persona")
    on = said(cria)
    assert said(cria, adapter=NO_ADAPTER).text == base.text
    cria.adapters.off()
    asked = said(cria, adapter="persona")
    assert (asked.text, asked.adapter) == (on.text, "persona")
    assert said(cria).text == base.text
    # In one chat: what the base computed serves the base alone.
    cria.chat("One.", chat="c", **GREEDY)
    other = cria.chat("Two.", chat="c", adapter="persona", **GREEDY)
    assert other.usage.cached_tokens == 0
    back = cria.chat("Three.", chat="c", **GREEDY)
    assert back.usage.cached_tokens > 0
    assert back.text == cria.chat([*back.request.input], **GREEDY).text
    cria.chats.delete("c")
    assert cria.engine.cached_tokens(other.request.kept_in, range(9)) == 0


def test_versions_of_an_answer_keep_the_adapter_that_was_asked_for(cria):
    add_adapter(cria, "persona")
    first = cria.chat("Who are you?", chat="c", adapter="persona", **GREEDY)
    again = first.rerun()
    assert (again.text, again.adapter) == (first.text, "persona")
    assert cria.complete("Once upon", adapter="persona", **GREEDY).adapter == "persona"
    assert cria.stream(ASKED, adapter="persona", **GREEDY).reply.adapter == "persona"


# --- beside other work --------------------------------------------------------------------------------------


def test_a_switch_waits_for_the_reply_that_is_being_written(cria):
    add_adapter(cria, "persona")
    base = cria.chat(ASKED, temperature=0, max_tokens=60)
    stream = cria.stream(ASKED, temperature=0, max_tokens=60)
    next(stream)
    switching = threading.Thread(target=cria.adapters.use, args=("persona",))
    switching.start()
    for _ in stream:
        pass
    switching.join(90)
    assert (stream.reply.text, stream.reply.adapter) == (base.text, "")
    assert cria.adapters.active == {"persona": 1.0}


def test_it_is_switched_between_the_steps_of_a_training(cria):
    add_adapter(cria, "persona")
    adapters, engine = cria.adapter_set(), cria.plain_engine
    switched, seen = threading.Event(), []

    def work(module, stopped, serve):
        with adapters.training("persona"):
            module.train()
            while not switched.is_set() and stopped() is None:
                serve(adapters.as_chats_see, 0.05)
            seen.append((module.training, adapters.trained, adapters.active))
            module.eval()

    running = engine.begin(work, "a training")
    try:
        cria.adapters.use("persona")
        answer = said(cria)
        with pytest.raises(AdapterError, match="being trained"):
            cria.adapters.delete("persona")
    finally:
        switched.set()
    running.wait(90)
    assert running.error is None
    assert seen == [(True, "persona", {"persona": 1.0})]
    assert answer.adapter == "persona"
    assert answer.text == said(cria).text


# --- files --------------------------------------------------------------------------------------------------


def test_saved_and_loaded_again_it_answers_the_same(cria, tmp_path, monkeypatch, events):
    monkeypatch.chdir(tmp_path)
    add_adapter(cria, "persona", method="rslora", target="all-linear")
    cria.adapters.use("persona")
    expected = said(cria).text
    folder = cria.adapters.save()
    assert folder.as_posix() == "adapters/persona"
    cria.adapters.delete("persona")
    assert cria.adapters.load(folder) == "persona"
    assert cria.adapters.active == {"persona": 1.0}
    assert said(cria).text == expected
    assert cria.adapters.load(folder) == "persona"
    assert "persona is in the model already." in [e.text for e in events if isinstance(e, Note)]
    assert cria.adapters.load(folder, "other", use=False) == "other"
    assert cria.adapters.active == {"persona": 1.0}
    cria.adapters.delete("persona")
    add_adapter(cria, "persona", seed=5)
    with pytest.raises(AdapterError, match="has an adapter 'persona' already"):
        cria.adapters.load(folder)


@pytest.fixture(scope="module")
def twins(tmp_path_factory, stories260k):
    """Two random models of the same shape; the second has other weights."""
    place = tmp_path_factory.mktemp("twins")
    folders = [
        write_random_llama(place / name, tokenizer_from=stories260k, seed=seed)
        for name, seed in (("first", 1), ("second", 2))
    ]
    models = [llama.load(folder, name=folder.name) for folder in folders]
    yield models
    for model in models:
        model.unload(force=True)


def test_an_adapter_of_other_weights_is_refused_or_forced(twins, tmp_path, events):
    first, second = twins
    add_adapter(first, "a")
    folder = first.adapters.save("a", tmp_path / "a")
    drop_adapters(first)
    with pytest.raises(AdapterError) as caught:
        second.adapters.load(folder)
    for model in twins:
        assert model.fingerprint[:8] in caught.value.message
    assert second.adapters.names == ()
    assert second.adapters.load(folder, force=True) == "a"
    assert any("put on even so" in event.text for event in events if isinstance(event, Note))
    drop_adapters(second)


@pytest.mark.parametrize("quant", ["nf4", "int8"])
def test_on_a_quantised_base_off_is_exact(twins, quant):
    first = twins[0]
    model = llama.load(first.source, quant=quant, name=f"small {quant}")
    ids = tuple(range(5, 25))
    logits = lambda: model.engine.next_token(Request(ids), (), StopFlag()).logits  # noqa: E731
    base = logits()
    add_adapter(model, "a", target="all-linear")
    assert (logits() == base).all()
    model.adapters.use("a")
    assert not (logits() == base).all()
    model.adapters.off()
    assert (logits() == base).all()
    model.adapters.delete("a")
    assert (logits() == base).all()
    if quant == "int8":
        with pytest.raises(AdapterError, match="A DoRA cannot sit on int8"):
            add_adapter(model, "d", method="dora")
    else:
        add_adapter(model, "d", method="dora")
    model.adapters.off()
    assert (logits() == base).all()
    model.unload()


# --- other places where an adapter can be chosen ------------------------------------------------------------


def test_a_comparison_with_and_without(cria):
    add_adapter(cria, "persona")
    cria.adapters.use("persona")
    expected = said(cria).text
    found = compare(ASKED, ["adapted+off", "adapted+persona"], temperature=0, max_tokens=8)
    assert [cell.reply.adapter for cell in found] == ["", "persona"]
    off, on = (cell.reply.text for cell in found)
    assert on == expected != off
    assert max(found.kl(2)) > 0.01
    cria.adapters.off()
    same = compare(ASKED, ["adapted", "adapted+off"], temperature=0, max_tokens=8)
    assert max(same.kl(2)) < 1e-6
    with pytest.raises(AdapterError, match="no adapter 'nope'"):
        compare(ASKED, ["adapted+nope"])


def test_the_panel_chooses(cria):
    panel = Panel(cria)
    assert panel.head()["adapters"] == {"names": [], "label": ""}
    add_adapter(cria, "persona")
    panel.use_adapter("persona")
    assert panel.head()["adapters"] == {"names": ["persona"], "label": "persona"}
    panel.send("Who are you?").wait(90)
    assert panel.steps()[-1]["model"] == "adapted + persona"
    assert panel.steps()[-1]["status"].startswith("+ persona · ")
    panel.use_adapter("off")
    assert panel.head()["adapters"]["label"] == ""
    with pytest.raises(AdapterError):
        panel.use_adapter("<script>")
