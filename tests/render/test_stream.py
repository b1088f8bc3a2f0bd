"""A text in pieces gives at every moment the nodes of the whole, and costs the unfinished block only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.render import blocks, build, clean, markdown
from llama_nb.render.html import to_html
from llama_nb.render.markdown import BlockStream, tree
from llama_nb.render.nodes import check
from llama_nb.render.text import to_text
from tests.render.html_reader import read

# What blocks begin, end and change with, so that random texts are full of cases.
ATOMS = [
    *[
        "a",
        "b ",
        " ",
        "    ",
        "\n",
        "\n\n",
        "- ",
        "* ",
        "1. ",
        "2) ",
        "> ",
        "# ",
        "---",
        "===",
        "---\n",
        "===\n",
    ],
    *[
        "```",
        "```py\n",
        "```\n",
        "~~~",
        "~~~\n",
        "|",
        "| a | b |\n",
        "|-|-|\n",
        ":-:",
        "[a]",
        "[b]: ",
        "![a]",
    ],
    *[
        "[a]: https://q.example/\n",
        "> [b]: https://z.example\n",
        "https://x.example",
        "'t",
        '"',
        "[",
        "](",
        ")",
    ],
    *[
        "*",
        "**",
        "_",
        "`",
        "~~",
        "<",
        ">",
        "&amp;",
        "&#27;",
        "\x1b[31m",
        "\x1b",
        "]8;;",
        "\x07",
        "\r",
        "\r\n",
    ],
    *["\t", "\\", "!", "\u202e", "\ud800", "\u00e9", "\U0001f999", "\u200d"],
]
PIECES = st.lists(st.sampled_from(ATOMS) | st.text(max_size=3), max_size=40)
# Whole texts are compared, not times; a deadline would only measure the machine.
FUZZ = settings(deadline=None, max_examples=150)


def assert_streams(pieces: list[str]) -> None:
    stream, mirror, text = BlockStream(), [], ""
    for piece in pieces:
        first, changed = stream.feed(piece)
        mirror[first:] = changed
        text += piece
        assert mirror == stream.nodes == tree(text), repr(text)


@FUZZ
@given(PIECES)
def test_a_stream_equals_the_whole_text_at_every_moment(pieces):
    assert_streams(pieces)


@FUZZ
@given(PIECES)
def test_a_stream_equals_the_whole_text_when_bounds_are_near(pieces):
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in (
            (blocks, "_PARAGRAPH_LINES", 3),
            (blocks, "_TABLE_ROWS", 1),
            (blocks, "_MOST_DEFINITIONS", 2),
            (blocks, "NESTING", 5),
            (blocks, "_LONGEST_INLINE", 30),
            (build, "BLOCK_ELEMENTS", 6),
            (markdown, "MOST_BLOCK_TOKENS", 18),
            (markdown, "MOST_ELEMENTS", 12),
            (clean, "LIMIT", 150),
            (markdown, "LIMIT", 150),
            (clean, "MOST_LINES", 14),
            (markdown, "MOST_LINES", 14),
        ):
            patch.setattr(module, name, value)
        assert_streams(pieces)


@FUZZ
@given(PIECES)
def test_any_text_gives_allowed_nodes_html_and_text(pieces):
    nodes = tree("".join(pieces))
    for node in nodes:
        check(node)
    assert read(to_html(nodes)).faults == []
    to_text(nodes).encode()


@pytest.mark.parametrize(
    "text",
    [
        "[a] and [b]\n\nmore [a]\n\n- x\n\n[a]: https://a.example\n\ny\n\n[b]: https://b.example\n\nz",
        "[a]\n\n[a]: https://a.example\n'a title\nthat goes on\nand ends'\n\nafter\n\nmore\n\nend",
        "- a\n\n  b\n- c\n\n\n- d\ne\n\nf\n\ng",
        "para\nheading?\n---\nx\n\n| a |\n|---|\n| b |\nc\n\nd",
        "> a\nlazy\n\n> b\n\n```py\nx\n```\n```\ny\n\n\n~~~\n```\nend",
        "~~~ x | y\n|-|-|\n| a | b |\n\nend\n\nend\n",
    ],
)
@pytest.mark.parametrize("size", [1, 2, 5])
def test_constructs_that_change_what_is_before_them(text, size):
    assert_streams([text[start : start + size] for start in range(0, len(text), size)])


def test_only_the_unfinished_block_is_parsed_again(monkeypatch):
    parsed = []
    parse = markdown.parse_blocks
    monkeypatch.setattr(
        markdown, "parse_blocks", lambda text, *rest: parsed.append(len(text)) or parse(text, *rest)
    )
    stream = BlockStream()
    paragraph = "a paragraph of *some* length, which is not long.\n\n"
    for _ in range(400):
        for start in range(0, len(paragraph), 10):
            stream.feed(paragraph[start : start + 10])
    assert len(stream.nodes) == 400
    assert max(parsed) < 5 * len(paragraph)


def test_a_long_block_of_code_is_not_lexed_again(monkeypatch):
    from llama_nb.render import highlight

    lexed = []
    lex = highlight._lex
    monkeypatch.setattr(highlight, "_lex", lambda piece, name: lexed.append(len(piece)) or lex(piece, name))
    parsed = []
    parse = markdown.parse_blocks
    monkeypatch.setattr(
        markdown, "parse_blocks", lambda text, *rest: parsed.append(len(text)) or parse(text, *rest)
    )
    code = "```python\n" + "def f(x):\n    return x + 1\n\n" * 700
    stream = BlockStream()
    step = 100
    for start in range(0, len(code), step):
        stream.feed(code[start : start + step])
    assert max(lexed) <= 6_000
    assert sum(lexed) < 25 * len(code)
    assert len(parsed) <= 1
    assert stream.nodes == tree(code)


def test_nothing_changed_is_said():
    stream = BlockStream()
    stream.feed("a\n\nb")
    assert stream.feed("") == (2, [])
    assert stream.feed("\n") == (2, [])
