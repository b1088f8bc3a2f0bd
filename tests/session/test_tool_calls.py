"""Calls as models write them, and what is no call however much it looks like one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_nb.session.tool_calls import DEEPEST, LONGEST_CALL, MOST_CALLS, read_calls, stored_calls

WEATHER = '{"name": "weather", "parameters": {"city": "Oslo"}}'
OSLO = ("weather", {"city": "Oslo"})


def pairs(text, tag_at=None):
    return [(call.name, dict(call.arguments)) for call in read_calls(text, tag_at).calls if not call.problem]


def problem(text, tag_at=None):
    calls = read_calls(text, tag_at).calls
    assert len(calls) == 1, calls
    assert calls[0].problem, calls
    return calls[0].problem


@pytest.mark.parametrize(
    "text",
    [
        WEATHER,
        f"  {WEATHER}\n",
        '{"type": "function", "name": "weather", "parameters": {"city": "Oslo"}}',
        '{"type": "function", "function": {"name": "weather", "parameters": {"city": "Oslo"}}}',
        '{"function": "weather", "arguments": {"city": "Oslo"}}',
        '{"id": "c1", "name": "weather", "arguments": "{\\"city\\": \\"Oslo\\"}"}',
        f"[{WEATHER}]",
        '<function=weather>{"city": "Oslo"}</function>',
        '[weather(city="Oslo")]',
        "[weather(city='Oslo')]\n",
    ],
)
def test_each_family_writes_calls_in_its_own_way(text):
    assert pairs(text) == [OSLO]
    assert pairs(text, 0) == [OSLO]


@pytest.mark.parametrize(
    "text",
    [
        f"{WEATHER}; {WEATHER}",
        f"{WEATHER}\n{WEATHER}",
        f"[{WEATHER}, {WEATHER}]",
        '[weather(city="Oslo"), weather(city="Oslo")]',
        '<function=weather>{"city": "Oslo"}</function>\n<function=weather>{"city": "Oslo"}</function>',
    ],
)
def test_several_calls_of_one_reply(text):
    assert pairs(text) == [OSLO, OSLO]


def test_behind_the_mark_a_call_may_stand_alone_as_python():
    assert pairs('weather(city="Oslo")', 0) == [OSLO]
    assert pairs('brave_search.call(query="llamas")', 0) == [("brave_search", {"query": "llamas"})]
    assert pairs('weather(city="Oslo")') == []


def test_text_before_the_mark_is_kept():
    said = read_calls("Let me look. " + WEATHER, len("Let me look. "))
    assert said.text == "Let me look."
    assert len(said.calls) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is sunny.",
        f"```json\n{WEATHER}\n```",
        f"I would call {WEATHER}",
        f"> {WEATHER}",
        '{"name": "Bob", "age": 3}',
        '{"answer": "weather"}',
        "[1, 2, 3]",
        "[weather]",
        "['weather(city=1)']",
        "{not json at all",
        "[not python at all",
        "weather(city='Oslo')",
        "import os; os.system('ls')",
        "<|python_tag|>" + WEATHER,  # typed out: the token itself never is in a reply's text
        "{}",
        "[]",
    ],
)
def test_what_is_not_a_call_as_a_whole_is_text(text):
    said = read_calls(text)
    assert said.calls == ()
    assert said.text == text


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (WEATHER[:-1], "broken at character"),
        (WEATHER + " and then I will tell you", "behind the call stands 'and then"),
        ('{"name": "weather", "parameters": {"city": "Oslo", "city": "Rome"}}', "'city' comes twice"),
        ('{"name": "weather", "name": "rm", "parameters": {}}', "'name' comes twice"),
        ('{"name": "weather", "parameters": ["Oslo"]}', "must be a JSON object"),
        ('{"name": "weather", "parameters": {"n": NaN}}', "NaN"),
        ('{"name": "weather", "parameters": {}, "arguments": {}}', "a call is"),
        ('{"name": "a b", "parameters": {}}', "no function's name"),
        ('{"name": "weather\\", \\"x", "parameters": {}}', "no function's name"),
        ('{"name": "weather", "parameters": {"n": 1e999}}', "not finite"),
        ('{"name": "weather", "parameters": {"city": "\\ud800"}}', "half of a character"),
        ('{"name": "weather", "parameters": {"n": ' + "9" * 5000 + "}}", "digits"),
        ("<function=weather>{</function>", "broken"),
        ('<function=weather>{"a": 1}</function> and more', "nothing else"),
        ('{"name": "weather", "parameters": "run this"}', "broken"),
        ('{"name": "weather", "parameters": {"city": "' + "x" * LONGEST_CALL + '"}}', "characters"),
        (f"[{','.join([WEATHER] * (MOST_CALLS + 1))}]", "calls"),
    ],
)
def test_a_call_that_was_meant_and_is_wrong_is_named(text, named):
    assert named in problem(text, 0)
    if not text.startswith("["):
        assert named in problem(text)


@pytest.mark.parametrize(
    "text",
    [
        "[os.system('ls')]",
        "[().__class__.__bases__[0].__subclasses__()]",
        "[weather(city=open('/etc/passwd').read())]",
        "[weather(city=__import__('os').environ)]",
        "[weather(**{'city': 'Oslo'})]",
        "[weather(*['Oslo'])]",
        "[weather('Oslo')]",
        "[weather(city=f'{1+1}')]",
        "[weather(city=lambda: 1)]",
        "[weather(city=[x for x in 'ab'])]",
        "[weather(city={1: 2})]",
        "[weather(city={'a': 1, 'a': 2})]",
        "[weather(city={1, 2})]",
        "[weather(city=b'x')]",
        "[weather(city=1j)]",
        "[weather(city=...)]",
        "[weather(city='a', city='b')]",
        "[weather(city='\ud800')]",
        "[(lambda: 1)(a=1)]",
        "[weather.call.call(city='x')]",
        "[weather(city=1)(city=2)]",
        "print('hello')",
        "import os",
        "exec('1')",
        "x := 1",
        "[" * 500,
        "-" * 5000 + "1",
        "(" * 3000 + ")" * 3000,
        "[weather(a=" + "[" * 90 + "]" * 90 + ")]",
        "weather(a=" + "not " * 4000 + "1)",
        "a" + ".a" * 6000,
        "\0",
        "",
    ],
)
def test_nothing_of_python_but_names_and_literals_is_read(text):
    assert problem(text, 0)


def test_deep_arguments_are_refused_and_deep_json_breaks_nothing():
    for depth in (DEEPEST + 2, 900, 9_000):
        nested = "[" * depth + "]" * depth
        assert problem(f'{{"name": "weather", "parameters": {{"a": {nested}}}}}')
    assert pairs('{"name": "weather", "parameters": {"a": [[{"b": [1, null, true, 2.5]}]]}}') == [
        ("weather", {"a": [[{"b": [1, None, True, 2.5]}]]})
    ]


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_read_without_an_error(text, tagged):
    said = read_calls(text, 0 if tagged else None)
    assert tagged == bool(said.calls) or not tagged


@given(
    st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True),
    st.dictionaries(
        st.text(max_size=10),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        max_size=4,
    ),
)
def test_every_json_value_comes_through_as_it_was(name, arguments):
    text = json.dumps({"name": name, "parameters": arguments})
    assert pairs(text) == [(name, arguments)]


@pytest.mark.parametrize(
    "value",
    [
        "weather",
        [1],
        [{"name": 1, "arguments": {}}],
        [{"name": "a b", "arguments": {}}],
        [{"name": "weather", "arguments": []}],
        [{"name": "weather", "arguments": {"a": "\ud800"}}],
        [{"name": "weather", "arguments": {}}] * (MOST_CALLS + 1),
    ],
)
def test_stored_calls_that_are_damaged_are_none(value):
    assert stored_calls(value) is None


def test_stored_calls_are_read_as_data():
    calls = stored_calls([{"name": "weather", "arguments": {"city": "Oslo"}}])
    assert [(call.name, dict(call.arguments)) for call in calls] == [OSLO]
