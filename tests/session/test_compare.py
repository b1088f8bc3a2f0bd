"""Comparisons: on fakes how they run, stop and fail; on trained models divergence and what is given back."""

import os
import signal

import pytest
import torch

from llama_nb.core.errors import EngineError, MessageError, UnsupportedError
from llama_nb.core.events import ComparisonChanged, ReplyAdvanced, subscribe
from llama_nb.engines.base import Capabilities
from llama_nb.runtime import settings
from llama_nb.session import compare_kl, registry
from llama_nb.session.compare import LONGEST, compare
from tests.models import write_random_llama
from tests.session.fakes import FakeEngine, fake_model

STORY = "Once upon a time, there was a"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    monkeypatch.setattr(registry, "_models", {})
    monkeypatch.setattr(registry, "_current", None)
    yield
    for model in list(registry._models.values()):
        if hasattr(model.loaded, "module"):  # not a fake
            model.unload(force=True)
    settings.clear_sampling()


def words(*answers):
    """Answer with these words, one list for each request."""
    left = list(answers)
    return lambda request: left.pop(0)


def scripted(name, *answers, **options):
    model = fake_model(FakeEngine(name=name, rule=words(*answers), **options), name=name)
    registry._models[name] = model
    registry.use(name)
    return model


@pytest.fixture
def stories(stories260k):
    torch.set_num_threads(1)
    return registry.load(stories260k, device="cpu", name="stories")


# --- on fakes ---------------------------------------------------------------------------------------


def test_each_cell_is_a_conversation_of_its_own(monkeypatch):
    model = scripted("a", ["one"], ["two"])
    found = compare("hi", seeds=2, system="Be kind.", max_tokens=4)
    assert [cell.text for cell in found] == ["one", "two"]
    for request, seed in zip(model.engine.requests, (1, 2), strict=True):
        assert [message.role for message in request.input] == ["system", "user"]
        assert (request.sampling.seed, request.sampling.max_tokens) == (seed, 4)
    assert not model.chats.open(None).path()
    assert found.done
    assert not found.stopped


def test_answers_are_short_unless_somebody_says_otherwise():
    model = scripted("a", ["x"], ["x"], ["x"])
    compare("hi")
    settings.change_sampling({"max_tokens": 200})
    compare("hi")
    compare("hi", max_tokens=[9])
    assert [request.sampling.max_tokens for request in model.engine.requests] == [LONGEST, 200, 9]


def test_the_first_difference_is_a_place_and_a_token():
    scripted(
        "a",
        ["The", " sea", " is", " blue"],
        ["The", " sea", " was", " grey"],
        ["The", " sea", " is", " blue"],
    )
    a, b, c = compare("hi", seeds=3)
    # The fake's ids are places, so its texts say what differs: as with different tokenizers.
    for cell in (b, c):
        cell.same_tokens = False
    assert (b.first_difference, b.parting.common, b.parting.mark, b.parting.rest) == (
        2,
        "The sea ",
        "was",
        " grey",
    )
    assert (c.first_difference, c.parting.mark, c.parting.common) == (None, "", "The sea is blue")
    assert a.first_difference is None
    assert (b.reference, c.reference) == (a, a)


def test_an_answer_that_ends_earlier_differs_there():
    scripted("a", ["The", " sea"], ["The"])
    _, cell = compare("hi", seeds=2)
    cell.same_tokens = False
    assert cell.first_difference == 1
    assert (cell.parting.common, cell.parting.mark) == ("The", "")


def test_an_answer_that_was_cut_does_not_differ_there():
    scripted("a", ["The", " sea"], ["The", " sea"])
    _, cell = compare("hi", max_tokens=[2, 1], seeds=1)
    cell.same_tokens = False
    assert cell.reply.finish.reason == "length"
    assert cell.first_difference is None


def test_an_error_in_one_cell_is_that_cells_and_the_others_go_on():
    model = scripted("a", ["x", "y"], ["x"], ["x", "y"])
    rule, model.engine.rule = model.engine.rule, None

    def failing(request):
        if request.sampling.seed == 2:
            raise EngineError("NaN in layer 3.", "Load it again.")
        return rule(request)

    model.engine.rule = failing
    found = compare("hi", seeds=3)
    assert [cell.state for cell in found] == ["done", "failed", "done"]
    assert found.cell(2).error.message == "NaN in layer 3."
    assert not found.cell(2).answered
    assert found.to_frame().loc[2, "error"] == "NaN in layer 3."


def test_when_no_cell_is_answered_the_first_error_is_raised():
    model = scripted("a")
    model.engine.failure = EngineError("NaN in layer 3.")
    model.engine.rule = lambda request: ["x"]
    with pytest.raises(EngineError, match="NaN"):
        compare("hi", seeds=2)


def test_a_model_that_cannot_be_loaded_is_the_error_of_its_cells(tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    scripted("a", ["x"])
    found = compare("hi", [str(broken), "a"])
    assert [cell.state for cell in found] == ["failed", "done"]
    assert "config.json" in found.cell(1).error.message
    assert found.cell(2).parting.place is None, "its reference has no answer"
    assert list(registry.loaded()) == ["a"]


def test_a_base_model_goes_on_with_a_text_and_answers_no_conversation():
    scripted("chatty", ["x"], ["x"])
    scripted("base", [" and"], has_chat_template=False)
    found = compare("Once", ["chatty", "base"])
    assert registry.find("base").engine.requests[0].input == "Once"
    assert found.notes == ["base is a base model: it goes on with the text."]
    found = compare([{"role": "user", "content": "hi"}], ["chatty", "base"])
    assert isinstance(found.cell(2).error, UnsupportedError)


def test_a_stop_keeps_what_was_done():
    model = scripted("a", ["x", "y"], ["x"] * 50, ["x"], pace_s=0.001)
    seen = []

    def stop_in_the_second(event):
        if isinstance(event, ComparisonChanged) and event.cell is not None:
            seen.append(event.cell.number)
            if event.cell.number == 2 and len(event.cell.text) > 5:
                event.comparison.stop()

    unsubscribe = subscribe(stop_in_the_second)
    try:
        found = compare("hi", seeds=3)
    finally:
        unsubscribe()
    assert [cell.state for cell in found] == ["done", "done", "skipped"]
    assert found.stopped
    assert found.cell(2).reply.finish.reason == "stopped"
    assert 5 < len(found.cell(2).text) < 50
    assert len(model.engine.requests) == 2
    assert 3 in seen or found.cell(3).reply is None


def test_an_interrupt_keeps_what_was_done(late):
    scripted("a", ["x"], ["x"] * 500, ["x"], pace_s=0.002)
    sent = []

    def interrupt(event):
        if isinstance(event, ReplyAdvanced) and len(event.reply.text) > 3 and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    unsubscribe = subscribe(interrupt)
    try:
        found = compare("hi", seeds=3)
    finally:
        unsubscribe()
    assert found.stopped
    assert [cell.state for cell in found] == ["done", "done", "skipped"]
    assert not late


def test_models_that_sample_differently_by_their_own_defaults_are_named():
    for name, temperature in (("a", 0.6), ("b", 0.9)):
        engine = FakeEngine(name=name, rule=lambda request: ["x"])
        registry._models[name] = fake_model(engine, name=name, generation={"temperature": temperature})
    found = compare("hi", ["a", "b"])
    assert found.notes == [
        "By their own defaults the models sample differently: temperature 0.6 (a), 0.9 (b)."
    ]
    assert compare("hi", ["a", "b"], temperature=1).notes == []


def test_nothing_is_sent_when_the_message_cannot_be():
    model = scripted("a", ["x"])
    with pytest.raises(MessageError):
        compare("  ")
    assert model.engine.requests == []


def test_the_value_is_short_and_can_be_read():
    scripted("a", ["x"], ["y"])
    found = compare("hi", temperature=[0.5, 1])
    assert repr(found) == "Comparison(a: 2 of 2 answered)"
    assert len(found) == 2
    assert "2: temperature 1" in repr(found.cell(2))
    frame = found.to_frame()
    assert list(frame.index) == [1, 2]
    assert list(frame["temperature"]) == [0.5, 1.0]
    assert "max_tokens" not in frame.columns
    assert list(frame["reference"].dropna()) == [1]
    for number in (0, 3, "1"):
        with pytest.raises(MessageError, match="There is no cell"):
            found.cell(number)


# --- on trained models ------------------------------------------------------------------------------


def direct(reference, other, ids, first):
    """The divergence by the formula, from whole forward passes in float64."""
    with torch.inference_mode():
        rows = [
            torch.log_softmax(module(torch.tensor([ids])).logits[0, first - 1 : -1].double(), -1)
            for module in (reference, other)
        ]
    return (rows[0].exp() * (rows[0] - rows[1])).sum(1).tolist()


def test_the_divergence_is_that_of_the_formula(stories, stories260k):
    found = compare(STORY, ["stories", f"{stories260k}:bfloat16"], temperature=0, max_tokens=30)
    first, second = found
    ids = stories.engine.prompt(first.reply.request).ids + tuple(token.id for token in first.reply.tokens)
    other = registry.load(stories260k, device="cpu", dtype="bfloat16", name="half")
    expected = direct(stories.loaded.module, other.loaded.module, ids, len(ids) - 30)
    assert len(found.kl(2)) == 30
    assert found.kl(second) == pytest.approx(expected, rel=1e-2, abs=1e-5)
    assert max(found.kl(2)) > 0
    assert second.same_tokens


def test_the_same_weights_have_no_divergence(stories):
    found = compare(STORY, temperature=[0, 1.5], max_tokens=12)
    assert found.kl(2) == (0.0,) * 12
    with pytest.raises(UnsupportedError, match="is the reference"):
        found.kl(1)


def test_different_tokenizers_are_said_not_to_compare(stories):
    found = compare(STORY, ["stories", "cria"], temperature=0, max_tokens=8)
    cell = found.cell(2)
    assert not cell.same_tokens
    assert "KL is not comparable" in cell.divergence_note
    with pytest.raises(UnsupportedError, match="tokenizers of cria and stories differ"):
        found.kl(2)


def test_the_same_seeds_give_the_same_answers(stories):
    asked = {"temperature": [0.8, 1.2], "seeds": 2, "max_tokens": 16}
    once, again = (compare(STORY, **asked).to_record() for _ in range(2))
    texts = [
        [cell["common"] + cell["mark"] + cell["rest"] for cell in record["cells"]] for record in (once, again)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > 1


def test_what_was_loaded_for_it_is_given_back_and_nothing_is_replaced(stories, stories260k):
    before = stories.complete("Once", temperature=0, max_tokens=6).text
    found = compare(STORY, ["stories", f"{stories260k}:nf4", "cria"], temperature=0, max_tokens=6)
    assert all(cell.answered for cell in found)
    assert registry.loaded() == {"stories": stories}
    assert registry.current() is stories
    assert stories.complete("Once", temperature=0, max_tokens=6).text == before


def test_a_model_that_does_not_fit_is_the_error_of_its_cell(stories, tmp_path, stories260k, monkeypatch):
    big = write_random_llama(tmp_path / "big", tokenizer_from=stories260k, layers=1)
    monkeypatch.setattr("llama_nb.runtime.devices.available_memory", lambda *_: 1000)
    found = compare(STORY, ["stories", str(big)], temperature=0, max_tokens=4)
    assert [cell.state for cell in found] == ["done", "failed"]
    assert "memory" in str(found.cell(2).error).lower() or "MB" in str(found.cell(2).error)


def test_a_stop_while_a_model_is_loaded_gives_it_back(stories, stories260k):
    def stop(event):
        if isinstance(event, ComparisonChanged) and event.cell is not None and event.cell.state == "loading":
            event.comparison.stop("enough")

    unsubscribe = subscribe(stop)
    try:
        found = compare(STORY, ["stories", f"{stories260k}:nf4"], temperature=0, max_tokens=4)
    finally:
        unsubscribe()
    assert [cell.state for cell in found] == ["done", "skipped"]
    assert found.stopped
    assert registry.loaded() == {"stories": stories}


def test_the_reference_may_be_a_later_cell(stories, stories260k):
    found = compare(STORY, [f"{stories260k}:nf4", "stories"], temperature=0, max_tokens=8, reference=2)
    assert found.cell(2).reference is None
    assert found.cell(1).reference is found.cell(2)
    assert len(found.kl(1)) == 8


def test_long_answers_are_measured_as_far_as_memory_is_set_aside(stories, stories260k, monkeypatch):
    monkeypatch.setattr(compare_kl, "KEPT_BYTES", 4 * 512 * 5)
    found = compare(STORY, ["stories", f"{stories260k}:nf4"], temperature=0, max_tokens=12)
    assert len(found.kl(2)) == 5


def test_an_engine_that_shows_nothing_has_no_divergence(stories, stories260k, monkeypatch):
    monkeypatch.setattr(type(stories.engine), "capabilities", Capabilities(logprobs=True))
    found = compare(STORY, ["stories", f"{stories260k}:nf4"], temperature=0, max_tokens=4)
    assert all(cell.answered for cell in found)
    with pytest.raises(UnsupportedError):
        found.kl(2)


def test_control_tokens_have_names_where_a_divergence_goes_along_them():
    model = registry.load("cria", device="cpu", name="lesson")
    found = compare("What is a token?", ["lesson", "cria:bfloat16"], temperature=0)
    pieces = found.to_record()["cells"][0]["pieces"]
    assert len(pieces) == len(found.kl(2)) == len(found.cell(1).reply.tokens)
    assert pieces[-1] == ["<|eot_id|>", True]
    assert "".join(text for text, special in pieces if not special) == found.cell(1).text
    assert model.last is not None
