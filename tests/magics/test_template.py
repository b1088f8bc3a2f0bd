import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_nb.core.errors import TemplateError
from llama_nb.magics.template import expand, find_slots

NAMES = {"x": 7, "word": "{{ x }}", "table": {"k": {"deep": 1}}, "frame": [1, 2], "nothing": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a {{ x }} b", "a 7 b"),
        ("{{x}}{{ x + 1 }}", "78"),
        ("{{ {'a': {'b': 1}} }}", "{'a': {'b': 1}}"),
        ("{{ {'a': {'b': 1}}}}", "{'a': {'b': 1}}"),
        ("{{ '}}' }}", "}}"),
        ('{{ "it\'s }} fine" }}', "it's }} fine"),
        (r"{{ 'a\'}}b' }}", "a'}}b"),
        ("{{ table['k'].deep }}", "1"),
        ("{{ word | upper }}", "{{ X }}"),
        ("{{ len(frame) }}", "2"),
        ("{{ nothing }}", "None"),
        ("{{ x\n + 1 }}", "8"),
    ],
)
def test_an_expression_becomes_its_value(text, expected):
    assert expand(text, NAMES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{'foo': 'bar'}",
        "{}",
        "$HOME and {HOME}",
        "{% if x %}",
        "{# not a comment #}",
        "{{ }}",
        "{{}}",
        "an open {{ brace",
        "{{ two } braces",
        "}} {{",
        "f'{x}' costs 5 $",
    ],
)
def test_everything_else_is_sent_as_typed(text):
    assert expand(text, NAMES) == text


def test_a_value_is_not_expanded_again():
    assert expand("{{ word }}", NAMES) == "{{ x }}"


def test_a_missing_name_is_named_with_the_nearest_and_nothing_is_evaluated():
    touched = []
    with pytest.raises(TemplateError) as caught:
        expand("{{ touch() }} {{ wrd }}", {**NAMES, "touch": lambda: touched.append(1)})
    assert "'wrd'" in caught.value.message
    assert "'word'" in caught.value.hint
    assert not touched


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{{ 1/0 }}", "ZeroDivisionError"),
        ("{{ x.nope }}", "nope"),
        ("{{ table['z'] }}", "'z'"),
        ("style={{color: 'red'}}", "not an expression"),
        ("{{ [n for n in frame] }}", "not an expression"),
        ("{{ don't }}", "not closed"),
        ("{{ (x }}", "not closed"),
    ],
)
def test_a_bad_expression_says_so_and_offers_raw(text, says):
    with pytest.raises(TemplateError) as caught:
        expand(text, NAMES)
    assert says in caught.value.message
    assert "--raw" in caught.value.hint


@given(st.text(alphabet="{}'\"()[]\\ x%#\n", max_size=40))
def test_any_text_is_sent_expanded_or_refused_and_nothing_else(text):
    try:
        slots = list(find_slots(text))
    except TemplateError:
        return
    for slot in slots:
        assert text[slot.start : slot.start + 2] == "{{"
        assert text[slot.end - 2 : slot.end] == "}}"
        assert slot.expression == text[slot.start + 2 : slot.end - 2].strip()
    if not slots:
        assert expand(text, {}) == text
