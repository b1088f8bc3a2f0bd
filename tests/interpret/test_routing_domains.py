"""What experts tell of domains: by hand, with shuffled labels, and where nothing can be told."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from llama_nb.core.errors import TraceError
from llama_nb.interpret import routing_domains
from llama_nb.interpret.routing_domains import domain_table, domains_of, mutual_information
from tests.interpret.given_routing import given_trace
from tools.cria import specialising


def test_mutual_information_by_hand():
    assert mutual_information(np.array([[5, 0], [0, 900]])) == pytest.approx(1)
    assert mutual_information(np.array([[3, 3], [40, 40]])) == pytest.approx(0)
    # Rows 3/4 1/4 and 1/4 3/4, both columns even: 1 - H(1/4) bits.
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    assert mutual_information(np.array([[3, 1], [10, 30]])) == pytest.approx(1 - entropy)
    assert mutual_information(np.array([[4, 0], [0, 4], [0, 0]])) == pytest.approx(1), (
        "nothing weighs nothing"
    )
    assert mutual_information(np.zeros((2, 3))) == 0


@settings(deadline=None, max_examples=50)
@given(arrays.arrays(np.int64, (3, 4), elements=st.integers(1, 50)))
def test_it_is_what_the_bundled_mixture_is_measured_with_and_has_its_bounds(table):
    found = float(mutual_information(table))
    assert found == pytest.approx(
        specialising.mutual_information(torch.tensor(table, dtype=torch.float)), abs=1e-5
    )
    assert 0 <= found <= math.log2(3) + 1e-9
    assert found == pytest.approx(float(mutual_information(table[::-1, ::-1])))


def specialised(texts, length=10, mixed=0):
    """Texts of two domains; of each, all but `mixed` tokens go to the domain's own expert."""
    labels = ["sums", "code"] * (texts // 2)
    chosen = np.zeros((texts * length, 2), dtype=int)
    for number in range(texts):
        chosen[number * length + mixed : (number + 1) * length, 0] = number % 2
    starts = np.arange(0, texts * length + 1, length)
    return given_trace(chosen, experts=2, starts=starts, labels=labels)


def test_experts_that_know_the_domain_are_told_from_those_that_do_not():
    found = domains_of(specialised(20))
    assert found.domains == ("sums", "code")
    assert found.counts[:, 0].tolist() == [[100, 0], [0, 100]]
    assert found.documents.tolist() == [10, 10]
    assert found.information == pytest.approx([1, 0])
    assert found.shuffled[0] < 0.15
    assert found.p == pytest.approx([1 / 101, 1]), "no shuffle has as much; each has the same as nothing"
    assert found.chi_square == pytest.approx([200, 0])
    assert found.degrees.tolist() == [1, 0], "a layer that uses one expert has nothing to vary"
    assert found.cramers_v == pytest.approx([1, 0])


def test_chi_square_and_cramers_v_by_hand():
    found = domains_of(specialised(20, mixed=2))
    # 100, 0 and 20, 80: expected 60, 40 each.
    assert found.counts[:, 0].tolist() == [[100, 0], [20, 80]]
    expected = 40**2 / 60 + 40**2 / 40 + 40**2 / 60 + 40**2 / 40
    assert found.chi_square[0] == pytest.approx(expected)
    assert found.cramers_v[0] == pytest.approx(math.sqrt(expected / 200))


def test_texts_that_differ_without_regard_to_their_label_tell_nothing():
    """Tokens counted as independent would call this a certain difference."""
    sums, code = [0, 0, 0, 1, 1, 2, 3, 3], [0, 1, 1, 1, 2, 2, 2, 3]
    chosen = np.repeat([*sums, *code], 100)[:, None]  # each text sticks to an expert, whatever it is about
    labels = ["sums"] * 8 + ["code"] * 8
    found = domains_of(given_trace(chosen, starts=np.arange(0, 1601, 100), labels=labels))
    assert found.information[0] > 0.05
    assert found.chi_square[0] == pytest.approx(253.33, abs=0.01), (
        "for 3 degrees of freedom 17 is one in 1,000"
    )
    assert found.p[0] > 0.2


def test_one_text_a_domain_is_no_evidence():
    found = domains_of(specialised(2))
    assert found.information[0] == pytest.approx(1)
    assert found.shuffled[0] == pytest.approx(1)
    assert found.p[0] == 1
    assert found.look().single == ("sums", "code")


def test_shuffles_are_the_same_each_time_and_others_with_another_seed():
    trace = specialised(12, mixed=3)
    one, same, other = domains_of(trace), domains_of(trace), domains_of(trace, seed=1)
    assert one.shuffled.tolist() == same.shuffled.tolist()
    assert one.shuffled[0] != other.shuffled[0]


def test_texts_without_a_label_are_left_out():
    found = domains_of(given_trace([[0], [1], [2], [0]], starts=[0, 1, 2, 3, 4], labels=["a", "b", "", "a"]))
    assert found.counts[:, 0].tolist() == [[2, 0, 0, 0], [0, 1, 0, 0]]
    assert found.information == pytest.approx([1])


def test_blocks_of_texts_make_no_difference(monkeypatch):
    generator = np.random.default_rng(1)
    starts = np.concatenate([[0], np.cumsum(generator.integers(1, 9, size=30))])
    chosen = generator.integers(0, 5, size=(starts[-1], 3, 2)).astype(np.uint8)
    labels = generator.integers(-1, 3, size=30)

    def table():
        return domain_table(chosen, starts, labels, layers=(0, 1, 2), experts=5, domains=("a", "b", "c"))

    whole = table()
    monkeypatch.setattr(routing_domains, "_BLOCK", 1)
    pieces = table()
    assert (whole.counts == pieces.counts).all()
    assert whole.shuffled95 == pytest.approx(pieces.shuffled95)
    assert whole.p == pytest.approx(pieces.p)


@pytest.mark.parametrize("labels", [(), ("a",), ("", "")])
def test_with_less_than_two_labels_there_is_nothing_to_compare(labels):
    starts = np.arange(len(labels) + 1) * 2 if labels else None
    trace = given_trace([[0]] * max(1, 2 * len(labels)), starts=starts, labels=labels)
    with pytest.raises(TraceError, match=r"(no labels|'a')"):
        domains_of(trace)


def test_as_a_frame_and_in_a_line():
    found = domains_of(specialised(6))
    assert found.to_frame()["information"].tolist() == pytest.approx([1, 0])
    assert repr(found).startswith("<2 domains and their experts: 1.00 bits in L1, ")
    assert found.shares[0, 0].tolist() == [1, 0]
