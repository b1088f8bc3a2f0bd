"""What one expert gets, by hand: shares, places, tokens that mark it, contexts."""

import math

import numpy as np
import pytest

from llama_nb.core.errors import TraceError
from llama_nb.interpret.routing_expert import by_position, expert_page, top_tokens
from tests.interpret.given_routing import given_trace

WORDS = [" the", " cat", " sat", " the", " dog", " ran"]


def page(chosen, expert=0, **given):
    return expert_page(given_trace([[each] for each in chosen], **given), 1, expert)


def test_shares_by_hand():
    found = page([0, 0, 1, 0, 2, 2], words=WORDS, starts=[0, 3, 6], labels=["cats", "dogs"])
    assert (found.count, found.tokens_read, found.share) == (3, 6, 0.5)
    assert dict(found.by_domain) == pytest.approx({"cats": 2 / 3, "dogs": 1 / 3})
    # Tokens of texts of three stand in the tenths 0, 3 and 6.
    assert found.by_position == pytest.approx([1, 0, 0, 0.5, 0, 0, 0, 0, 0, 0])
    assert repr(found) == "<L1 E0: 3 of 6 tokens, 50.0% of the choices>"


def test_an_expert_that_no_token_chose():
    found = page([0, 1], expert=3)
    assert found.dead
    assert (found.share, found.tokens, found.contexts) == (0, (), ())
    assert not page([0, 1], expert=1).dead


def test_with_two_experts_a_token_shares_are_of_the_choices():
    found = expert_page(given_trace([[[0, 1]], [[2, 0]]]), 1, 0)
    assert (found.count, found.share) == (2, 0.5)
    assert found.by_position == pytest.approx([0.5, 0, 0, 0, 0, 0.5, 0, 0, 0, 0])


def test_tokens_that_mark_an_expert_are_frequent_there_and_rare_elsewhere():
    #      ten of 1, of which it gets four; three of 2, all of them; two of 3, which are too few.
    ids = np.array([1] * 10 + [2] * 3 + [3] * 2)
    positions = np.array([0, 1, 2, 3, 10, 11, 12, 13, 14])
    found = top_tokens(ids, positions)
    assert [(first, count) for first, count, _ in found] == [(10, 3), (0, 4)]
    assert [lift for *_, lift in found] == pytest.approx([(3 / 9) / (3 / 15), (4 / 9) / (10 / 15)])
    score = [3 / 9 * math.log(5 / 3), 4 / 9 * math.log(2 / 3)]
    assert score == sorted(score, reverse=True)
    assert top_tokens(ids, positions, most=1) == found[:1]
    assert top_tokens(ids, np.zeros(0, int)) == []


def test_places_are_relative_to_each_text():
    # A text of twenty tokens and one of one; an empty one between.
    starts = np.array([0, 20, 20, 21])
    found = by_position(np.array([0, 1, 19, 20]), starts, 1)
    assert found == pytest.approx([1, 0, 0, 0, 0, 0, 0, 0, 0, 0.5])


def test_contexts_are_the_largest_weights_of_different_tokens_within_their_text():
    found = page(
        [0, 0, 1, 0, 0, 1],
        words=WORDS,
        starts=[0, 3, 6],
        weights=[0.5, 0.9, 1, 0.8, 0.7, 1],
    )
    assert [(each.before, each.token, each.after, each.position) for each in found.contexts] == [
        (" the", " cat", " sat", 1),
        ("", " the", " dog ran", 3),
        (" the", " dog", " ran", 4),
    ]
    assert [each.weight for each in found.contexts] == pytest.approx([0.9, 0.8, 0.7])


def test_a_context_is_a_window():
    found = page([1] * 30 + [0] + [1] * 30)
    assert found.contexts[0].before == "".join(f" w{at}" for at in range(22, 30))
    assert found.contexts[0].after.endswith(" w38")


def test_at_most_five_contexts_and_twenty_tokens():
    found = page([0] * 90, words=[f" w{at % 30}" for at in range(90)])
    assert (len(found.contexts), len(found.tokens)) == (5, 20)
    assert list(found.to_frame()) == ["id", "text", "count", "lift"]
    assert found.to_frame()["count"].tolist() == [3] * 20


@pytest.mark.parametrize(
    ("layer", "expert", "said"), [(2, 0, "no MoE layer"), (1, 4, "no expert 4"), (1, -1, "-1")]
)
def test_what_there_is_not_is_refused(layer, expert, said):
    with pytest.raises(TraceError, match=said):
        given_trace([[0]]).expert(layer, expert)
