"""FAULTS.md, Sampling, as it is typed on a line of chat, complete or set."""

import pytest

from llama_nb.core.errors import LlamaError
from llama_nb.core.sampling import BREAKERS
from llama_nb.magics import verbs
from llama_nb.magics.generation import sampling_from


def given(line, verb="chat"):
    return sampling_from(verbs.parser(verb).parse_line(line))


TYPED = [
    ("--banned park --banned 'big dog' hi", {"banned": ("park", "big dog")}),
    ('--logit-bias {"sun": 2, "7": -100} hi', {"logit_bias": (("sun", 2.0), (7, -100.0))}),
    ('--logit-bias={"a b": 2} hi', {"logit_bias": (("a b", 2.0),)}),
    ("--order top_p,temperature hi", {"order": ("top_p", "temperature")}),
    (r"--dry-breakers \n --dry-breakers : hi", {"dry_breakers": ("\n", ":")}),
    ("--preset creative --temperature 0.2 hi", {"preset": "creative", "temperature": 0.2}),
    ("hi", {}),
]


@pytest.mark.parametrize("verb", ["chat", "complete", "why", "set"])
@pytest.mark.parametrize(("line", "expected"), TYPED, ids=lambda value: str(value)[:30])
def test_what_is_typed_is_what_is_meant(line, expected, verb):
    assert given(line, verb) == expected


def test_what_may_be_repeated_adds_up_with_the_option_by_name():
    assert given(r"--stop \n\n -o stop x hi") == {"stop": ("\n\n", "x")}
    assert given("-o banned a --banned b hi") == {"banned": ("b", "a")}


REFUSED = [
    ("--logit-bias sun", ["logit_bias", "'sun'", "JSON object"]),
    ('--logit-bias {"sun": "hot"}', ["logit_bias", "'hot'"]),
    ('--logit-bias {"sun": 1000}', ["logit_bias", "-100 to 100"]),
    ("--logit-bias {", ["logit_bias", "JSON"]),
    ("--logit-bias", ["--logit-bias", "JSON"]),
    ("--order top_q", ["order", "'top_q'", "'top_p'"]),
    ("--order top_k,top_k", ["order", "twice"]),
    ("--order", ["--order", "NAMES"]),
    ('--banned ""', ["banned", "at least one character"]),
    ("--banned", ["--banned", "TEXT"]),
    ('--dry-breakers ""', ["dry_breakers", "at least one character"]),
    ("--bannned x", ["--bannned", "--banned"]),
    ("--logit_bias {}", ["--logit-bias"]),
    ("--preset creativ", ["'creativ'", "'creative'"]),
    ("--preset", ["--preset", "NAME"]),
    ("--temperature -1", ["temperature", "0 to 100"]),
    ("--temprature 1", ["--temperature"]),
]


@pytest.mark.parametrize("verb", ["chat", "complete", "why", "set"])
@pytest.mark.parametrize(("line", "named"), REFUSED, ids=lambda value: str(value)[:30])
def test_what_cannot_be_meant_is_refused_with_the_cause(line, named, verb):
    with pytest.raises(LlamaError) as caught:
        given(line, verb)
    for part in named:
        assert part in str(caught.value)


def test_no_breakers_but_the_usual_ones_where_none_are_typed():
    assert "dry_breakers" not in given("--dry-multiplier 1 hi")
    assert BREAKERS == ("\n", ":", '"', "*")
