"""What can be asked of a RoutingTrace, on drawn routes: places, texts, scores, tables."""

import numpy as np
import pandas as pd
import pytest

import llama_nb as llama
from llama_nb.core.errors import TraceError
from llama_nb.interpret import routing, routing_frame
from tests.routing_traces import drawn_trace


@pytest.fixture(scope="module")
def corpus():
    return drawn_trace(90, k=2, labels=("story", "sum", "", "story", "sum"))


def test_it_is_a_public_name():
    assert llama.RoutingTrace is routing.RoutingTrace


def test_texts_and_their_labels(corpus):
    assert corpus.domains == ("story", "sum")
    assert corpus.labels == ("story", "sum", "", "story", "sum")
    assert corpus.starts.tolist() == [0, 18, 36, 54, 72, 90]
    assert corpus.label_of().tolist() == [0] * 18 + [1] * 18 + [-1] * 18 + [0] * 18 + [1] * 18
    assert corpus.select("sum").tolist() == [*range(18, 36), *range(72, 90)]
    with pytest.raises(TraceError, match=r"no domain 'poem'\.\nThere are: story, sum"):
        corpus.select("poem")
    with pytest.raises(TraceError, match="have no labels"):
        drawn_trace(5).select("story")


def test_texts_without_labels_have_none():
    trace = drawn_trace(20)
    assert (trace.labels, trace.domains) == ((), ())
    assert (trace.label_of() == -1).all()


def test_places(corpus):
    assert corpus.column(3) == 1
    assert corpus.text(-1) == corpus.texts(89)[0] == corpus.texts()[-1]
    assert corpus.texts(3, 6) == [corpus.text(3), corpus.text(4), corpus.text(5)]
    assert corpus.texts(80, 500) == corpus.texts(80)
    assert len(corpus.rows(3, 6)) == 3
    assert np.shares_memory(corpus.rows(3, 6).chosen, corpus.chosen)
    for layer in (0, 2, True, "3"):
        with pytest.raises(TraceError, match=r"no MoE layer\.\nIts MoE layers: 1, 3, 5"):
            corpus.column(layer)
    for position in (90, -91, True, "a"):
        with pytest.raises(TraceError, match="There is no token"):
            corpus.text(position)


@pytest.mark.parametrize("gate", ["sigmoid", "softmax"])
def test_scores(gate):
    trace = drawn_trace(20, gate=gate)
    found = trace.scores(3, 4)
    logits = trace.logits[4, 1].astype(np.float64)
    expected = 1 / (1 + np.exp(-logits)) if gate == "sigmoid" else np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.argmax() == trace.chosen[4, 1, 0]


def test_scores_that_were_not_kept():
    with pytest.raises(TraceError, match=r"were not kept.*\nKeep them: .*keep_logits=True"):
        drawn_trace(20, logits=False).scores(3, 4)


def test_a_table_has_a_row_for_each_choice(corpus):
    table = corpus.to_frame(17, 19)
    assert list(table.columns) == [
        "document", "label", "position", "token", "layer", "rank", "expert", "weight", "margin", "entropy",
    ]  # fmt: skip
    assert len(table) == 2 * 3 * 2
    assert table["document"].tolist() == [0] * 6 + [1] * 6
    assert table["label"].tolist() == ["story"] * 6 + ["sum"] * 6
    assert table["layer"].tolist() == [1, 1, 3, 3, 5, 5] * 2
    assert table["rank"].tolist() == [1, 2] * 6
    row = table.iloc[9]  # the second token, layer 3, second choice
    assert (row["position"], row["token"], row["expert"]) == (18, corpus.text(18), corpus.chosen[18, 1, 1])
    assert (row["weight"], row["margin"]) == (corpus.weights[18, 1, 1], corpus.margin[18, 1])
    assert row["entropy"] == corpus.entropy[18, 1]
    assert len(corpus.to_frame()) == 90 * 6
    assert corpus.to_frame(5, 5).empty
    assert isinstance(drawn_trace(3).to_frame(), pd.DataFrame)


def test_a_table_that_is_too_long_says_how_long_a_part_may_be(corpus, monkeypatch):
    monkeypatch.setattr(routing_frame, "_MOST_ROWS", 100)
    with pytest.raises(TraceError, match=r"are 540 rows; 100 at most\.\nTake a part: .*\(0, 16\)"):
        corpus.to_frame()
    assert len(corpus.to_frame(0, 16)) == 96


def test_it_says_what_it_is(corpus):
    assert repr(corpus).startswith("RoutingTrace(")
    assert "90 tokens, MoE layers 1, 3, 5, 2 of 8 experts" in repr(corpus)
    assert corpus.top_k == 2
    arrays = (corpus.chosen, corpus.weights, corpus.margin, corpus.entropy, corpus.logits)
    assert corpus.nbytes == sum(each.nbytes for each in (*arrays, corpus.ids, corpus.mass))
