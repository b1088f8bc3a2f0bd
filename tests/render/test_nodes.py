"""The allowlist of nodes: what is in it passes, everything else is refused."""

import pytest

from llama_nb.render.html import to_html
from llama_nb.render.nodes import MAX_DEPTH, TreeError, check, element, link_host


def nested(depth):
    node = "text"
    for _ in range(depth):
        node = element("div", node)
    return node


@pytest.mark.parametrize(
    "node",
    [
        "text",
        element("p", "a", element("br"), element("a", "b", href="https://b.example/c?d#e")),
        element("ol", element("li"), start=3),
        element("td", align="right"),
        element("span", "def", **{"class": "ln-k"}),
        nested(MAX_DEPTH),
    ],
)
def test_allowed(node):
    check(node)


@pytest.mark.parametrize(
    "node",
    [
        None,
        1,
        ["text"],
        {"t": "script"},
        {"t": "img", "a": {"src": "x"}},
        {"t": "p", "a": {"onclick": "x"}},
        {"t": "p", "a": {"class": "ln-k"}},
        {"t": "p", "extra": 1},
        {"t": "p", "c": "text"},
        {"t": "p", "c": [None]},
        {"t": "p", "a": []},
        {"t": ["p"]},
        {"c": []},
        {"t": "br", "c": ["a"]},
        {"t": "a", "a": {"href": "http://b.example"}},
        {"t": "a", "a": {"href": "javascript:x"}},
        {"t": "a", "a": {"href": "https://a@b.example"}},
        {"t": "a", "a": {"href": "https://b.example", "target": "_top"}},
        {"t": "ol", "a": {"start": -1}},
        {"t": "ol", "a": {"start": True}},
        {"t": "ol", "a": {"start": "1"}},
        {"t": "td", "a": {"align": "justify"}},
        {"t": "span", "a": {"class": "jp-Dialog"}},
        {"t": "div", "c": [{"t": "p", "c": [{"t": "iframe"}]}]},
        nested(MAX_DEPTH + 1),
        nested(50_000),
    ],
    ids=range(26),
)
def test_refused(node):
    with pytest.raises(TreeError):
        check(node)


@pytest.mark.parametrize(
    ("href", "host"),
    [
        ("https://a.example", "a.example"),
        ("HTTPS://A.example:8443/b?c=d&e=(f)#g", "a.example:8443"),
        ("https://xn--a.example./b", "xn--a.example."),
        ("https://a.example\\@b.example", None),
        ('https://a.example/"onclick=', None),
        ("https://a.example/ b", None),
        ("https://a.example\n", None),
        ("https://a@b.example", None),
        ("https://[::1]/", None),
        ("https://", None),
        ("https://a..b", None),
        ("//a.example", None),
        (" https://a.example", None),
        ("https://a.example/" + "b" * 2000, None),
    ],
)
def test_link_host(href, host):
    assert link_host(href) == host


def test_html_leaves_out_what_is_not_allowed():
    bad = {
        "t": "p",
        "a": {"onclick": "x", "style": "position:fixed"},
        "c": ["a", {"t": "script", "c": ["b"]}, {"t": "a", "a": {"href": "javascript:x"}, "c": ["c"]}],
    }
    link = "color:var(--jp-content-link-color, inherit);text-decoration:underline"
    assert (
        to_html([bad])
        == f'<p style="margin:0.4em 0">a<a style="{link}" rel="noopener noreferrer nofollow">c</a></p>'
    )
    assert "text" not in to_html([nested(MAX_DEPTH + 5)])
