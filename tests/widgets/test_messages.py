"""What a page sends is of the type and size that it should be, or nothing."""

import pytest

from llama_nb.widgets.messages import number, text, texts, whole, wholes

MALFORMED = [None, True, 1.5, "7", [7], {"n": 7}]


def test_what_is_as_it_should_be_is_returned():
    said = {"name": "a b", "names": ["a", "b"], "at": -3, "ends": [0, 12], "value": 0.5}
    assert text(said, "name") == "a b"
    assert texts(said, "names") == ["a", "b"]
    assert whole(said, "at") == -3
    assert wholes(said, "ends", 2) == (0, 12)
    assert (number(said, "value"), number(said, "at")) == (0.5, -3)


@pytest.mark.parametrize("value", [*MALFORMED[:3], *MALFORMED[4:], "x" * 201])
def test_no_text(value):
    assert text({"key": value}, "key") == ""


@pytest.mark.parametrize("value", MALFORMED)
def test_no_whole_number(value):
    assert whole({"key": value}, "key") is None


@pytest.mark.parametrize("value", [*MALFORMED, [1, 2, 3], [1, True], [1, "2"], [1, 2.0]])
def test_no_pair(value):
    assert wholes({"key": value}, "key", 2) is None


@pytest.mark.parametrize("value", [None, True, "7", [7], {}])
def test_no_number(value):
    assert number({"key": value}, "key") is None


def test_of_a_list_only_texts_and_only_so_many():
    assert texts({"key": ["a", 1, None, "b", "c"]}, "key", most=4) == ["a", "b"]
    assert texts({"key": "abc"}, "key") == []
    assert texts({}, "key") == []
