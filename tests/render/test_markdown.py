"""Markdown to nodes: what each construct becomes, where links may lead, and what is left out."""

import pytest

from llama_nb.render import markdown
from llama_nb.render.clean import LIMIT
from llama_nb.render.markdown import plain, tree
from llama_nb.render.nodes import check, element, plain_text


def test_blocks_and_inline_markup():
    text = "# Head\n\nA *b* **c** `d` ~~e~~\nf\n\n> q\n\n---\n\n3. x\n4. y\n   - z\n"
    assert tree(text) == [
        element("h1", "Head"),
        element(
            "p",
            "A ",
            element("em", "b"),
            " ",
            element("strong", "c"),
            " ",
            element("code", "d"),
            " ",
            element("s", "e"),
            element("br"),
            "f",
        ),
        element("blockquote", element("p", "q")),
        element("hr"),
        element("ol", element("li", "x"), element("li", "y", element("ul", element("li", "z"))), start=3),
    ]


def test_a_table_keeps_its_alignment():
    table = tree("| a | b |\n|:-:|---|\n| 1 | `2` |\n")[0]
    assert table == element(
        "table",
        element("thead", element("tr", element("th", "a", align="center"), element("th", "b"))),
        element(
            "tbody", element("tr", element("td", "1", align="center"), element("td", element("code", "2")))
        ),
    )


def test_html_is_text():
    assert tree("<b onclick=x>a</b>\n\n<script>b</script>") == [
        element("p", "<b onclick=x>a</b>"),
        element("p", "<script>b</script>"),
    ]


def test_code_is_coloured_for_known_languages_only():
    code = "def f():\n    return 1"
    assert tree(f"```python\n{code}\n```")[0]["c"][0]["c"][0] == element("span", "def", **{"class": "ln-k"})
    assert (
        tree(f"```nonsense\n{code}\n```")
        == tree(f"```\n{code}\n```")
        == [element("pre", element("code", code))]
    )


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("[a](https://b.example/c)", "a (b.example)"),
        ("<https://b.example/c>", "https://b.example/c"),
        ("[b.example](https://b.example)", "b.example"),
        ("[https://b.example](https://evil.example)", "https://b.example (evil.example)"),
        ("[https://evil.example.org](https://evil.example)", "https://evil.example.org (evil.example)"),
        ("[](https://b.example)", "b.example"),
        ("[a](https://B.example:8443/c)", "a (b.example:8443)"),
        ("[a][r]\n\n[r]: https://b.example", "a (b.example)"),
    ],
)
def test_a_link_shows_its_host(source, shown):
    node = tree(source)[0]
    assert any(isinstance(child, dict) and child["t"] == "a" for child in node["c"])
    assert plain_text([node]) == shown


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("[a](javascript:x)", "a (javascript link removed)"),
        ("[a](JAVASCRIPT&colon;x)", "a (javascript link removed)"),
        ("[a](data:text/html,x)", "a (data link removed)"),
        ("[a](http://b.example)", "a (http://b.example)"),
        ("[a](https://good.example@evil.example)", "a (https://good.example@evil.example)"),
        ("[a](/hub/logout)", "a (/hub/logout)"),
        ("[a]()", "a (empty link)"),
    ],
)
def test_what_may_not_be_a_link_is_text(source, shown):
    assert tree(source) == [element("p", shown)]


def test_a_homograph_is_shown_in_ascii():
    assert "(xn--80ak6aa92e.example)" in plain_text(
        tree("[apple](https://\u0430\u0440\u0440\u04cf\u0435.example)")
    )


@pytest.mark.parametrize(
    "form", ["![{}](https://b.example/c.png)", "![{}][r]\n\n[r]: https://b.example/c.png"]
)
def test_an_image_is_text(form):
    shown = "image: https://b.example/c.png (not loaded)"
    assert tree(form.format("a cat")) == [element("p", f"{shown}, described as \u201ca cat\u201d")]
    if form.endswith(")"):
        assert tree(form.format("")) == [element("p", shown)]


def test_the_address_of_an_image_is_shortened():
    assert len(plain_text(tree(f"![](https://b.example/{'a' * 900})"))) < 250


def test_a_block_that_nests_too_deep_is_shown_as_written():
    source = "> " * 200 + "deep"
    assert tree(source) == [element("pre", element("code", source))]


def test_a_long_text_ends_in_a_note():
    nodes = tree("word " * 1_000_000)
    assert nodes[-1] == element("p", "\u2026 4.8 MB more are in reply.text")
    assert len(plain_text(nodes[:-1])) <= LIMIT


def test_too_many_elements_end_in_a_note(monkeypatch):
    monkeypatch.setattr(markdown, "MOST_ELEMENTS", 3)
    assert tree("a\n\nb\n\nc\n\nd\n\ne") == [
        *tree("a\n\nb\n\nc"),
        element("p", "\u2026 the rest is in reply.text"),
    ]


def test_rows_beyond_the_bound_are_counted():
    nodes = tree("|a|\n|-|\n" + "|b|\n" * 500 + "\nafter")
    assert "100 more lines are in reply.text" in plain_text(nodes[:1])
    assert nodes[1] == element("p", "after")


def test_a_text_as_typed_keeps_its_marks_and_lines():
    assert plain("*a*\n  b\n\n<c>") == [element("p", "*a*", element("br"), "  b"), element("p", "<c>")]
    for node in plain("a\n" * 100_000):
        check(node)
