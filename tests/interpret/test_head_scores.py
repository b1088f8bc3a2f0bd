"""Scores of heads against their definitions, query by query, and on a trained model."""

import math

import numpy as np
import pytest
import torch

import llama_nb as llama
from llama_nb.core.errors import MessageError, Stopped
from llama_nb.interpret import head_scores
from llama_nb.interpret.head_scores import repeated_tokens, score_heads
from llama_nb.interpret.score_kinds import KINDS, NAMES, WINDOW
from tests.interpret.matrices import Matrices

IDS = np.random.default_rng(5).integers(0, 9, size=60)


def entropy(row):
    return -sum(w * math.log(w) for w in row if w > 0)


def defined(name, weights, ids):
    """A score as its definition says it, or None for a query that it does not ask about."""

    def of(q):
        row, before = weights[q], [p for p in range(q) if ids[p] == ids[q]]
        match name:
            case "induction":
                return (
                    sum(row[p + 1] for p in before if p + 1 < q) if any(p + 1 < q for p in before) else None
                )
            case "previous":
                return row[q - 1] if q else None
            case "duplicate":
                return sum(row[p] for p in before) if before else None
            case "sink":
                return row[0] if q else None
            case "local":
                return row[q - WINDOW + 1 : q + 1].sum() if q >= WINDOW else None
            case "entropy":
                return entropy(row) if q else None

    return [value for q in range(len(ids)) if (value := of(q)) is not None]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(head_scores, "_BLOCK", 1_000)


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_what_its_definition_says(name):
    traces = [Matrices(60, heads=3, layers=2, ids=IDS), Matrices(37, heads=3, layers=2, seed=1, ids=IDS[:37])]
    found = score_heads(*traces)
    assert found.scores[name].shape == (2, 3)
    assert found.scores[name].dtype == np.float32
    for layer, head in np.ndindex(2, 3):
        every = [value for trace in traces for value in defined(name, trace.weights[layer, head], trace.ids)]
        assert found.scores[name][layer, head] == pytest.approx(np.mean(every), abs=1e-5)


def test_what_nothing_asks_for_has_no_score():
    found = score_heads(Matrices(5, ids=range(5)))
    for name in ("induction", "duplicate", "local"):
        assert np.isnan(found.scores[name]).all()
        assert found.top(name) == ()
    assert not np.isnan(found.scores["previous"]).any()
    one = score_heads(Matrices(1))
    assert all(np.isnan(one.scores[name]).all() for name in NAMES)


def test_ranking_and_choosing():
    found = score_heads(Matrices(60, heads=3, layers=2, ids=IDS))
    ranked = found.top("previous", 4)
    values = found.scores["previous"]
    assert [one.score for one in ranked] == sorted(values.reshape(-1).tolist(), reverse=True)[:4]
    assert all(one.score == values[one.layer, one.head] for one in ranked)
    assert found.top(n=1)[0].kind == "induction", "the first kind, if none is named"
    only = found.only("sink")
    assert [kind.name for kind in only.kinds] == list(only.scores) == ["sink"]
    frame = found.to_frame()
    assert list(frame.columns) == ["layer", "head", *NAMES]
    assert frame.loc[(frame.layer == 1) & (frame["head"] == 2), "sink"].item() == found.scores["sink"][1, 2]
    for wrong in (lambda: found.top("inducton"), lambda: only.top("entropy")):
        with pytest.raises(MessageError, match="score"):
            wrong()


def test_it_says_how_far_it_is_and_can_be_stopped():
    trace, told = Matrices(60, layers=3, ids=IDS), []
    score_heads(trace, told=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]
    answers = iter([None, None])
    with pytest.raises(Stopped, match="enough"):
        score_heads(trace, stopped=lambda: next(answers, "enough"))


def test_random_tokens_come_twice_and_are_the_same_every_time():
    made = repeated_tokens(range(100, 200), [7], 40, seed=3)
    assert made == repeated_tokens(range(100, 200), [7], 40, seed=3)
    assert made != repeated_tokens(range(100, 200), [7], 40, seed=4)
    assert made[0] == 7
    assert made[1:41] == made[41:]
    assert len(set(made[1:41])) == 40
    assert len(repeated_tokens(range(5), [], 40, seed=0)) == 80, "a small vocabulary repeats itself"


def test_every_kind_says_what_it_is_and_where_it_is_from():
    assert [kind.name for kind in KINDS] == ["induction", "previous", "duplicate", "sink", "local", "entropy"]
    for kind in KINDS:
        assert kind.source.split(", ")[1].startswith("https://arxiv.org/abs/")
        assert kind.meaning


@pytest.fixture(scope="module")
def cria():
    torch.set_num_threads(1)
    model = llama.load("cria")
    yield model
    model.unload(force=True)


def test_cria_has_learnt_to_copy(cria):
    found = cria.heads("induction")
    best = found.top()[0]
    assert best.score >= 0.4, "an induction head: a trained property of the bundled model"
    assert best.layer >= 2, "it needs what a layer before it found out"
    assert cria.heads("previous").top()[0].score >= 0.4
    assert cria.heads("induction").scores["induction"].tolist() == found.scores["induction"].tolist()


def test_a_text_is_read_as_it_is(cria):
    text = "The cat sat on the mat. The cat sat on"
    found = cria.heads(text=text)
    trace = cria.attention(text)
    assert (found.title, found.tokens, found.heads) == ("text", trace.length, trace.heads)
    layer, head = found.top("sink")[0].layer, found.top("sink")[0].head
    expected = trace.matrix(layer, head)[1:, 0].mean()
    assert found.top("sink")[0].score == pytest.approx(expected, abs=1e-5)


def test_parts_that_are_off_are_off_here_too(cria):
    whole = cria.heads()
    with cria.ablate(heads=[found.place for found in whole.top("previous", 3)]):
        without = cria.heads()
    assert without.off
    assert not whole.off
    assert without.top("induction")[0].score < whole.top("induction")[0].score


@pytest.mark.parametrize(("call", "named"), [
    (lambda model: model.heads("inducton"), "induction"),
    (lambda model: model.heads(text=" "), "no text"),
    (lambda model: model.heads(text=3), "not at 3"),
])  # fmt: skip
def test_a_mistake_is_named(cria, call, named):
    with pytest.raises(MessageError) as caught:
        call(cria)
    assert named in f"{caught.value} {caught.value.hint}"
