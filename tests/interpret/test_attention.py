"""What can be asked of a trace, against the same computed from the model's eager attention."""

import threading

import numpy as np
import pytest
import torch

from llama_nb.core.errors import Stopped, TraceError
from llama_nb.interpret import attention_summary, attention_weights
from llama_nb.interpret.attention import AttentionTrace, Link
from llama_nb.interpret.capture import capture_attention
from tests.interpret.attention_models import eager_attention, make, tokens

LENGTH = 33
TEXTS = [f"w{at}" for at in range(LENGTH - 3)] + [" twice", "twice", " <b>"]


def trace_of(name: str = "llama, grouped", **how) -> AttentionTrace:
    module = make(name)
    return AttentionTrace(
        capture_attention(module, tokens(LENGTH), **how),
        model="tiny",
        fingerprint="0" * 16,
        title="text",
        ids=tokens(LENGTH),
        texts=TEXTS,
        special=[at == 0 for at in range(LENGTH)],
        prompt=LENGTH - 4,
    )


@pytest.fixture
def trace() -> AttentionTrace:
    return trace_of()


@pytest.fixture(scope="module")
def eager() -> np.ndarray:
    """The whole, shape (layers, heads, T, T)."""
    found = eager_attention(make("llama, grouped"), input_ids=torch.tensor([tokens(LENGTH)]))
    return np.stack([layer[0] for layer in found])


def near(ours, theirs) -> bool:
    return bool(np.abs(ours - theirs).max() <= 1e-5)


def test_it_says_what_it_is(trace):
    assert (trace.length, trace.layers, trace.heads, trace.kv_heads) == (LENGTH, (0, 1, 2, 3), 6, 2)
    assert [trace.group(head) for head in range(6)] == [0, 0, 0, 1, 1, 1]
    assert (trace.kind(0), trace.dtype, trace.growing) == ("full", "float32", False)
    assert repr(trace) == "AttentionTrace(text in tiny: 33 tokens, layers 0 to 3, 6 heads)"
    some = trace_of(layers=[1, 3])
    assert repr(some) == "AttentionTrace(text in tiny: 33 tokens, layers 1, 3, 6 heads)"
    assert trace.now() is trace


@pytest.mark.parametrize("name", ["llama, grouped", "mistral", "llama 4", "gemma 2", "gpt-oss"])
def test_every_way_to_a_weight_gives_the_same(name):
    """A window whose rows' normalisers are known is computed without them, a column too."""
    trace = trace_of(name)
    whole = {layer: trace.rows(layer, range(6), 0, LENGTH) for layer in trace.layers}
    for fresh in (False, True):  # with nothing known yet, and with everything known
        asked = trace_of(name) if fresh else trace
        for layer in trace.layers:
            rows = whole[layer]
            window = asked.rows(layer, [4, 1], 7, 30, keys=(3, 20))
            assert near(window, rows[[4, 1], 7:30, 3:20])
            assert near(asked.row(layer, 2, -1), rows[2, -1])
            assert near(asked.column(layer, 5, 2), rows[5, :, 2])
            assert asked.value(layer, 3, 30, 29) == pytest.approx(rows[3, 30, 29], abs=1e-6)
            assert near(asked.matrix(layer, 0), rows[0])


def test_normalisers_are_learnt_from_any_rows(trace, monkeypatch):
    expected = trace_of().log_sums(2, 1)
    trace.rows(2, range(6), 0, 20)
    trace.rows(2, [1], 20, LENGTH)
    monkeypatch.setattr(type(trace), "_blocks", None)  # a pass over all rows would fail
    assert near(trace.log_sums(2, 1), expected)
    with pytest.raises(TypeError):
        trace.log_sums(2, 0)


def test_blocks_are_all_rows_and_can_be_stopped(trace, eager, monkeypatch):
    monkeypatch.setattr(attention_weights, "_BLOCK", 300)
    blocks = list(trace.blocks(1, [0, 3]))
    assert [(start, stop) for start, stop, _ in blocks][:2] == [(0, 4), (4, 8)]
    assert near(np.concatenate([rows for _, _, rows in blocks], axis=1), eager[1, [0, 3]])
    asked = []
    stopping = trace.blocks(1, 0, stopped=lambda: "enough" if asked else None)
    asked.append(next(stopping))
    with pytest.raises(Stopped, match="enough"):
        next(stopping)
    with pytest.raises(Stopped):
        trace_of().column(1, 0, 3, stopped=lambda: "now")


def test_means_entropy_and_rollout(trace, eager, monkeypatch):
    monkeypatch.setattr(attention_weights, "_BLOCK", 900)
    assert near(trace.mean(2), eager[2].mean(axis=0))
    assert near(trace.mean(), eager.mean(axis=(0, 1)))
    row = eager[1, 3].astype(np.float64)
    expected = -(row * np.log(np.where(row > 0, row, 1))).sum(axis=1)
    assert near(trace.entropy(1, 3), expected)
    flow = np.eye(LENGTH)
    for layer in eager.mean(axis=1):
        flow = (0.5 * layer + 0.5 * np.eye(LENGTH)) @ flow
    assert near(trace.rollout(), flow)
    assert near(trace.rollout(20), flow[20])
    assert near(trace.rollout(-1), flow[-1])
    monkeypatch.setattr(attention_summary, "MOST_ROLLED", 20)
    with pytest.raises(TraceError, match="Take that of one token"):
        trace.rollout()
    with pytest.raises(TraceError, match="every layer from 0 on"):
        trace_of(layers=[1, 2]).rollout(3)


def test_links_as_a_table(trace, eager, monkeypatch):
    frame = trace.to_frame(threshold=0.2)
    assert list(frame) == ["layer", "head", "query", "query_text", "key", "key_text", "weight"]
    assert len(frame) == (eager >= 0.2).sum()
    for row in frame.sample(20, random_state=1).itertuples():
        assert row.weight == pytest.approx(eager[row.layer, row.head, row.query, row.key], abs=1e-5)
        assert (row.query_text, row.key_text) == (TEXTS[row.query], TEXTS[row.key])
    assert len(trace.to_frame(2, 1, threshold=0)) == LENGTH * (LENGTH + 1) // 2
    assert len(trace.to_frame(2, 1, threshold=1)) >= 1
    monkeypatch.setattr(attention_summary, "MOST_LINKS", 100)
    with pytest.raises(TraceError, match="More than 100 weights"):
        trace.to_frame()
    for wrong in (-0.1, 2, True, "much"):
        with pytest.raises(TraceError, match="threshold"):
            trace.to_frame(threshold=wrong)


def test_the_strongest_links_of_a_token(trace, eager):
    best = trace.top(20, 3)
    layer, head, key = np.unravel_index(eager[:, :, 20].argmax(), eager[:, :, 20].shape)
    assert best[0] == Link(key, TEXTS[key], pytest.approx(eager[layer, head, 20, key], abs=1e-5), layer, head)
    assert [link.weight for link in best] == sorted((link.weight for link in best), reverse=True)
    readers = trace.top(3, 2, layer=1, head=4, read_by=True)
    assert [link.key for link in readers] == np.argsort(-eager[1, 4, :, 3])[:2].tolist()
    assert {(link.layer, link.head) for link in readers} == {(1, 4)}
    assert len(trace.top(0, 50, layer=0)) == 6, "the first token reads itself alone"
    assert trace.top("w7", 1) == trace.top(7, 1)
    assert trace.top("<b>", 1) == trace.top(-1, 1)
    assert trace.top(" twice", 1) == trace.top(LENGTH - 3, 1)
    with pytest.raises(TraceError, match="stands at 30, 31"):
        trace.top("twice ")
    with pytest.raises(TraceError, match="No token is 'never'"):
        trace.top("never")
    with pytest.raises(TraceError, match="n is 0"):
        trace.top(3, 0)


def test_what_is_not_there_is_said(trace):
    for call in (
        lambda: trace.row(9, 0, 0),
        lambda: trace.row(0, 6, 0),
        lambda: trace.row(0, -1, 0),
        lambda: trace.row(0, 0, LENGTH),
        lambda: trace.rows(0, [], 0, 1),
        lambda: trace.rows(0, 0, 5, 5),
        lambda: trace.rows(0, 0, 0, LENGTH + 1),
        lambda: trace.rows(0, 0, 0, 1, keys=(4, 2)),
        lambda: trace.group(6),
        lambda: trace.kind(7),
        lambda: trace.column(0, True, 0),
    ):
        with pytest.raises(TraceError):
            call()


def test_a_map_that_is_too_large_is_refused_with_what_to_do(trace, monkeypatch):
    monkeypatch.setattr(attention_weights, "MOST_BYTES", 4000)
    for call in (lambda: trace.matrix(0, 0), lambda: trace.mean(0), trace.mean):
        with pytest.raises(TraceError, match=r"trace\.row\(layer, head, 5\)"):
            call()


def test_several_threads_can_ask(trace, eager):
    wrong = []

    def ask(head: int) -> None:
        starts = range(0, LENGTH - 5, 5)
        same = [near(trace.rows(1, head, at, at + 5), eager[1, head, at : at + 5]) for at in starts]
        if not all(same) or not near(trace.column(1, head, 4), eager[1, head, :, 4]):
            wrong.append(head)

    threads = [threading.Thread(target=ask, args=(number % 6,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_number_of_threads_is_left_as_it_was(trace):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        trace.rows(0, 0, 0, LENGTH)
        trace.value(0, 0, 5, 2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
