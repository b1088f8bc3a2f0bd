"""Applying a difference gives the new tree, and the difference of a growing text is small."""

import json
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from llama_nb.render.markdown import BlockStream
from llama_nb.widgets.delta import difference

texts = st.text("ab ", max_size=4)
nodes = st.recursive(
    texts,
    lambda inner: st.builds(
        lambda tag, attributes, children: {
            "t": tag,
            **({"a": attributes} if attributes else {}),
            **({"c": children} if children else {}),
        },
        st.sampled_from(["p", "em", "a"]),
        st.dictionaries(st.just("href"), st.sampled_from(["https://a.example", "https://b.example"])),
        st.lists(inner, max_size=3),
    ),
    max_leaves=8,
)
trees = st.lists(nodes, max_size=4)


def apply(blocks, delta, depth=0):
    """What the page does, in its own words (labextension/widgets/delta.ts)."""
    if depth < len(delta["path"]):
        at = delta["path"][depth]
        return [*blocks[:at], {**blocks[at], "c": apply(blocks[at].get("c", []), delta, depth + 1)}]
    kept = list(blocks[: delta["keep"]])
    if delta["grow"]:
        kept[-1] += delta["grow"]
    return [*kept, *delta["add"]]


def tidy(tree):
    """The tree with no children written in one way."""
    return [node if isinstance(node, str) else {**node, "c": tidy(node.get("c", []))} for node in tree]


def p(*children):
    return {"t": "p", "c": list(children)}


@given(trees, trees)
def test_the_difference_makes_the_new_tree(old, new):
    before = json.dumps(old)
    change = difference(old, new)
    assert tidy(old if change is None else apply(old, change)) == tidy(new)
    assert (change is None) <= (tidy(old) == tidy(new))
    assert json.dumps(old) == before


def test_a_growing_paragraph_sends_what_was_added():
    change = difference([p("one"), p("two and")], [p("one"), p("two and three")])
    assert change == {"path": [1], "keep": 1, "grow": " three", "add": []}


def test_a_growing_code_block_sends_its_last_tokens():
    code = [{"t": "span", "a": {"class": "ln-k"}, "c": [f"word{index}"]} for index in range(500)]
    tree = [{"t": "pre", "c": [{"t": "code", "c": code}]}]
    longer = [{"t": "pre", "c": [{"t": "code", "c": [*code, " end"]}]}]
    change = difference(tree, longer)
    assert change == {"path": [0, 0], "keep": 500, "grow": "", "add": [" end"]}


def test_a_changed_attribute_replaces_the_element():
    old = [{"t": "a", "a": {"href": "https://a.example"}, "c": ["x"]}]
    new = [{"t": "a", "a": {"href": "https://b.example"}, "c": ["xy"]}]
    assert difference(old, new) == {"path": [], "keep": 0, "grow": "", "add": new}


def test_a_text_that_was_rewritten_is_replaced():
    assert difference(["a *b"], [p("a ", {"t": "em", "c": ["b"]})]) == {
        "path": [],
        "keep": 0,
        "grow": "",
        "add": [p("a ", {"t": "em", "c": ["b"]})],
    }


# --- the same cases for the page --------------------------------------------------------------------

CASES = Path(__file__).parents[2] / "labextension" / "tests" / "deltas.json"


def streamed() -> list[list[dict]]:
    """Trees as they follow each other while an answer is written."""
    text = (
        "# A *title*\n\nOne **two** `three` [four](https://a.example).\n\n- a\n- b\n  - c\n\n"
        "1. x\n2. y\n\n```python\ndef f(x):\n    return x + 1\n```\n\n"
        "| a | b |\n|:-|-:|\n| 1 | 2 |\n\n> quoted\n"
    )
    stream = BlockStream()
    trees: list[list[dict]] = [[]]
    for at in range(0, len(text), 9):
        first, blocks = stream.feed(text[at : at + 9])
        trees.append([*trees[-1][:first], *blocks])
    return trees


def cases() -> list[dict]:
    pairs = [(old, new, difference(old, new)) for old, new in pairwise(streamed())]
    return [{"old": old, "change": change, "new": new} for old, new, change in pairs if change]


def test_the_page_is_tested_with_the_deltas_of_a_real_answer():
    assert json.loads(CASES.read_text()) == cases(), "run `python -m tests.widgets.test_delta`"


if __name__ == "__main__":
    CASES.write_text(json.dumps(cases(), separators=(",", ":")) + "\n")
