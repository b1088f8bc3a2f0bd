"""Code in pieces: nothing of it is lost, and no lexer of the list can be made to hang."""

import time

import pytest

from llama_nb.render.highlight import _LANGUAGES, highlight
from llama_nb.render.nodes import CODE_CLASSES, check, plain_text

CODE = 'def f(x):\n    """Say."""\n    return x + 1  # note\n\n\n' * 200


@pytest.mark.parametrize("language", sorted(_LANGUAGES))
def test_every_language_keeps_the_code_and_the_classes(language):
    nodes = highlight(CODE, language)
    assert plain_text(nodes) == CODE
    for node in nodes:
        check(node)


def test_languages_are_found_by_their_names():
    assert highlight("x = 1", "Python title=a") == highlight("x = 1", "py") != ["x = 1"]
    assert highlight("x = 1", "{.python}") == highlight("x = 1", "py")
    assert highlight("x = 1", "") == highlight("x = 1", "../../x") == ["x = 1"]
    assert highlight("", "py") == []


def test_the_classes_of_a_diff():
    found = {node["a"]["class"] for node in highlight("-a\n+b\n@@ c\n", "diff") if not isinstance(node, str)}
    assert found == {"ln-gd", "ln-gi", "ln-gh"}
    assert found <= set(CODE_CLASSES)


def test_only_the_beginning_of_very_long_code_is_coloured():
    nodes = highlight("x = 1\n" * 10_000, "python")
    assert isinstance(nodes[-1], str)
    assert len(nodes[-1]) > 40_000


def test_a_long_line_is_not_coloured():
    assert highlight("x = 1;" * 500, "python") == ["x = 1;" * 500]


ATTACKS = [
    '"',
    "'",
    "(",
    "{",
    "[",
    "<",
    "/*",
    "\\",
    "a ",
    "a.",
    "$(",
    "`",
    "{{",
    "<!--",
    "'''",
    "0",
    "@",
    "#",
    "-",
    "%(",
    ":",
]


@pytest.mark.parametrize("language", sorted(_LANGUAGES))
def test_no_lexer_hangs_on_repetition(language):
    began = time.monotonic()
    for attack in ATTACKS:
        line = (attack * 1000)[:990]
        highlight(f"{line}\n{line}\n", language)
        highlight(f"a = {line}\n", language)
    assert time.monotonic() - began < 20
