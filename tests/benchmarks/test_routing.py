"""How what was measured of routing becomes rows, and the subjects of it; all of it small."""

import pytest

from benchmarks import routing
from benchmarks.attention_subject import tokenizer_of
from benchmarks.attention_watch import run_child
from benchmarks.routing_lab import Seen
from benchmarks.routing_subject import DECODED, DECODED_SIZES, EXPERTS, LAYERS, WIDE, texts_of, write_mixture
from llama_nb.planner.shape import Shape

READ = {"seconds": 2.0, "tokens": 4096, "bytes": 60_000_000}


def test_a_watched_token_is_compared_turn_by_turn():
    (row,) = routing.decoding("tiny", [(100.0, 103.0), (50.0, 51.0), (200.0, 230.0)])
    assert row.ratio == pytest.approx(1.03)
    assert row.met
    assert (row.ours, row.peer) == ("100 tokens/s", "103 tokens/s (not watched)")
    (slow,) = routing.decoding("tiny", [(90.0, 100.0)])
    assert slow.met is False


def test_memory_of_a_corpus_is_compared_with_that_of_the_smallest():
    def one(tokens, anonymous):
        return {
            "tokens": tokens,
            "seconds": tokens / 1000,
            "worked_s": tokens / 500,
            "kept": 50 * tokens,
            "anonymous": anonymous,
        }

    found = {
        10_000: {"capture": one(10_000, 100e6), "plain": one(10_000, 90e6)},
        1_000_000: {"capture": one(1_000_000, 160e6)},
    }
    first, least, last, most = routing.corpora("tiny", found)
    assert (first.ours, first.ratio) == ("1,000 tokens/s, 20.0 s of the processor", 1.0)
    assert (least.met, least.peer) == (None, "90 MB (the decoder alone)")
    assert (last.peer, last.ratio) == ("", None)
    assert (most.ratio, most.met) == (pytest.approx(1.6), False)
    assert "a file of 50 MB" in most.what


def test_budgets_of_the_explorer():
    seen = Seen(READ, interactive_s=0.8, bytes=2_100_000, scores_s=0.1, page=40_000_000, kernel=10_000_000)
    rows = {row.what.rpartition(": ")[2]: row for row in routing.explorer(seen)}
    assert rows["time to interactive"].met
    assert rows["bytes to the page, code and style included"].met is False
    assert sum(row.met is not None for row in rows.values()) == 2
    assert all("4,096 tokens x 24 layers x 128 experts" in row.what for row in routing.explorer(seen))


@pytest.mark.full
def test_a_corpus_is_read_in_a_process_of_its_own(tmp_path):
    folder = write_mixture(tmp_path, **WIDE | {"num_hidden_layers": 2, "num_local_experts": 4})
    texts = texts_of(tokenizer_of(folder), 1000)
    assert len(texts) == len(set(texts)) > 3
    case = {"folder": str(folder), "tokens": 1000}
    found = {
        way: run_child({**case, "way": way}, module="benchmarks.routing_child")
        for way in ("capture", "plain")
    }
    assert found["capture"]["tokens"] == found["plain"]["tokens"] >= 1000
    assert found["capture"]["kept"] > found["plain"]["kept"] == 0


def test_subjects_are_what_their_names_say():
    wide = Shape.from_config({**WIDE, "num_attention_heads": 8, "vocab_size": 2048})
    assert (wide.expert_layers, wide.experts) == (LAYERS, EXPERTS)
    for name, config in DECODED.items():
        shape = Shape.from_config({**DECODED_SIZES, **config, "num_attention_heads": 8, "vocab_size": 2048})
        assert f"{shape.experts_per_token or 1} of {shape.experts}" in name
        assert 20e6 < shape.parameters < 40e6
