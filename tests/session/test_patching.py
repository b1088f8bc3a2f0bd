"""Patching between two texts, as the value that users hold, on the bundled model."""

import numpy as np
import pytest

import llama_nb as llama
from llama_nb.core.errors import MessageError, Stopped, UnsupportedError
from llama_nb.core.events import Progress, subscribe
from llama_nb.core.request import Request
from llama_nb.core.stop import StopFlag
from llama_nb.session import patching
from llama_nb.session.patching import find_positions
from tests.session.cut_by_hand import GREEDY, STORY, cut, hooks, logprobs
from tests.session.fakes import fake_model

CORRUPT = STORY.replace("Ida", "Noah")
NAMES = (" Ida", " Noah")


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="patching")
    yield model
    assert hooks(model.loaded.module) == 0
    model.unload(force=True)


@pytest.fixture(scope="module")
def found(cria):
    return cria.patch(STORY, CORRUPT, *NAMES)


def test_the_name_is_read_where_it_stands_and_brought_to_the_end(found):
    """A trained property of cria: early layers hold the name at its place, the last one at the end."""
    name = found.clean.index(" Ida")
    assert found.values.shape == (6, len(found.clean))
    assert found.values[0, name] > 0.9
    assert found.values[5, -1] == pytest.approx(1, abs=1e-4)
    assert found.values[5, name] == pytest.approx(0, abs=1e-4)
    assert not found.values[:, :name].any()
    assert {row.position for row in found.top(3)} <= {name, len(found.clean) - 1}
    assert found.top(1)[0].recovered == pytest.approx(np.abs(found.values).max(), abs=1e-6)


def test_the_difference_is_that_of_the_two_runs(cria, found):
    ids = [cria.engine.prompt(Request(text)).ids for text in (STORY, CORRUPT)]
    right, wrong = found.answer.id, found.wrong.id
    assert (found.answer.text, found.wrong.text) == NAMES
    for each, said in zip(ids, (found.clean_difference, found.corrupt_difference), strict=True):
        last = logprobs(cria.loaded.module, each)[-1]
        assert said == pytest.approx(float(last[right] - last[wrong]), abs=1e-4)


def test_without_answers_those_of_the_two_runs_are_compared(cria):
    found = cria.patch(STORY, CORRUPT)
    likeliest = [int(np.argmax(cria.distribution(text).logits)) for text in (STORY, CORRUPT)]
    assert [found.answer.id, found.wrong.id] == likeliest
    by_id = cria.patch(STORY, CORRUPT, *likeliest)
    np.testing.assert_array_equal(by_id.values, found.values)


def test_as_a_frame_and_by_name(cria, found):
    frame = found.to_frame()
    assert list(frame.columns) == ["layer", "position", "clean", "corrupt", "recovered"]
    assert len(frame) == found.values.size
    row = frame.iloc[frame.recovered.abs().argmax()]
    assert found.value(int(row.layer), int(row.position)) == pytest.approx(row.recovered)
    heads = cria.patch(STORY, CORRUPT, *NAMES, site="head")
    assert heads.values.shape == (6, 6)
    assert list(heads.to_frame().columns) == ["layer", "head", "recovered"]
    assert heads.top(1)[0].position is None
    assert "head of patching: 6 x 6" in repr(heads)
    with pytest.raises(MessageError, match="Layer 6, position 0 was not patched"):
        found.value(6, 0)
    some = cria.patch(STORY, CORRUPT, *NAMES, positions=[-1, 5])
    assert some.positions == (5, len(found.clean) - 1)
    np.testing.assert_allclose(some.values, found.values[:, [5, -1]], atol=1e-5)


def test_in_a_block_what_is_off_stays_off(cria):
    with cria.ablate("5.attn", "0.3"):
        found = cria.patch(STORY, CORRUPT, *NAMES)
    with cut(cria.loaded.module):
        last = logprobs(cria.loaded.module, cria.engine.prompt(Request(STORY)).ids)[-1]
    expected = float(last[found.answer.id] - last[found.wrong.id])
    assert found.clean_difference == pytest.approx(expected, abs=1e-4)
    assert found.off == "L5 attention, L0 H3 off"
    assert "with L5 attention, L0 H3 off" in found._repr_mimebundle_()["text/plain"]


def test_it_leaves_the_model_as_it_was(cria, found):
    before = cria.complete(STORY, **GREEDY).text
    cria.patch(STORY, CORRUPT, *NAMES, site="mlp")
    assert cria.complete(STORY, **GREEDY).text == before
    assert hooks(cria.loaded.module) == 0


def test_a_stop_is_heard(cria):
    flag = StopFlag()
    flag.set("enough")
    with pytest.raises(Stopped):
        cria.patch(STORY, CORRUPT, *NAMES, stop=flag)


def test_long_work_says_how_far_it_is(cria, monkeypatch):
    told = []
    end = subscribe(lambda event: told.append(event) if isinstance(event, Progress) else None)
    cria.patch(STORY, CORRUPT, *NAMES)
    assert told == []
    monkeypatch.setattr(patching, "_MOMENT_S", -1.0)
    cria.patch(STORY, CORRUPT, *NAMES)
    end()
    assert {(event.what, event.unit) for event in told} == {("Patching", "runs")}
    assert told[-1].ended
    assert told[-1].done == told[-1].total == told[-2].done


LONGER = STORY.replace("Ida", "Sofia")


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        (lambda m: m.patch(STORY, STORY), "the same"),
        (lambda m: m.patch(STORY, LONGER), r"13 tokens and the corrupt one 16.*From token 6 on .*·Ida"),
        (lambda m: m.patch(STORY, CORRUPT, " Ida", " Ida"), "Both tokens to compare are ' Ida'"),
        (lambda m: m.patch(STORY, CORRUPT, " Sofia"), "not one token but"),
        (lambda m: m.patch(STORY, CORRUPT, 99_999, 3), "no token 99999: the vocabulary has 2,048"),
        (lambda m: m.patch(STORY, CORRUPT, True), "True is no token"),
        (lambda m: m.patch(STORY, CORRUPT, -4), "-4 is no token"),
        (lambda m: m.patch(STORY, CORRUPT, site="neuron"), "site is 'neuron'"),
        (lambda m: m.patch(STORY, CORRUPT, positions=[99]), "the texts have 13 tokens"),
        (lambda m: m.patch(STORY, CORRUPT, positions=[]), "there is none"),
        (lambda m: m.patch("", CORRUPT), "no text"),
        (lambda m: m.patch(STORY, 3), "a text, a Reply or a Chat"),
    ],
)
def test_what_cannot_be_patched_is_named(cria, asked, match):
    with pytest.raises(MessageError, match=match):
        asked(cria)


def test_equal_differences_leave_nothing_to_bring_back(cria, monkeypatch):
    monkeypatch.setattr(patching, "_LEAST", 1e9)
    with pytest.raises(MessageError, match="as far apart in both runs"):
        cria.patch(STORY, CORRUPT, *NAMES)


def test_a_model_elsewhere_cannot_be_patched():
    with pytest.raises(UnsupportedError, match="weights of fake"):
        fake_model().patch(STORY, CORRUPT)


def test_positions():
    assert find_positions(None, 3) == (0, 1, 2)
    assert find_positions(slice(-2, None), 3) == (1, 2)
    assert find_positions(range(1, 3), 3) == (1, 2)
    assert find_positions([-1, 2, 0], 3) == (0, 2)
    for wrong in (3, "0", [0.5], [3], [-4]):
        with pytest.raises(MessageError):
            find_positions(wrong, 3)
