"""The corpus of hostile answers through tree, HTML, stream and bundle: only what is allowed comes out."""

import json
import time

import pytest

from llama_nb.render.html import to_html
from llama_nb.render.markdown import MOST_ELEMENTS, BlockStream, tree
from llama_nb.render.nodes import Node, attribute, check, plain_text
from llama_nb.render.reply import MIME, bundle
from llama_nb.render.text import to_text
from tests.hostile.corpus import Case, cases, heavy_cases
from tests.render.html_reader import read
from tests.render.records import record

CANARY = "http://127.0.0.1:9"
CASES = cases(CANARY)
# What a terminal or a reader must not meet.
CONTROLS = [
    chr(code) for code in [*range(9), *range(11, 32), *range(0x7F, 0xA0), *range(0x202A, 0x202F), 0x200B]
]


def test_the_corpus_is_large_and_its_names_are_unique():
    assert len(CASES) >= 160
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(CANARY in case.text for case in CASES) > 80
    assert sum("window.__hostile" in case.text for case in CASES) > 120


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_answer_is_only_shown(case: Case):
    nodes = tree(case.text)
    for node in nodes:
        check(node)
    html = to_html(nodes)
    read_back = read(html)
    assert read_back.faults == []
    assert read_back.open == 0
    assert not any(mark in html for mark in CONTROLS)
    assert not any(mark in to_text(nodes) for mark in CONTROLS)
    html.encode()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_answer_streams_to_the_same_nodes(case: Case):
    stream, mirror = BlockStream(), []
    for start in range(0, len(case.text), 23):
        first, blocks = stream.feed(case.text[start : start + 23])
        mirror[first:] = blocks
    assert mirror == stream.nodes == tree(case.text)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_link_shows_where_it_leads(case: Case):
    for node in tree(case.text):
        for host, shown in _links(node):
            assert host in shown


def _links(node: Node) -> list[tuple[str, str]]:
    """Return each link's host, and the text of it with what follows."""
    if isinstance(node, str):
        return []
    children = node.get("c", [])
    found = []
    for index, child in enumerate(children):
        found += _links(child)
        if not isinstance(child, str) and child["t"] == "a":
            host = str(attribute(child, "href")).lower().split("/")[2].split("?")[0].split("#")[0]
            found.append((host, plain_text(children[index : index + 2]).lower()))
    return found


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_every_part_of_a_record_may_be_hostile(case: Case):
    hostile = record(
        text=case.text,
        user=case.text,
        system=case.text,
        notes=[case.text],
        detail=case.text,
        finish="error",
        model={"name": case.text, "fingerprint": case.text},
        tokens=[[1, case.text, -1.0, 1.0]],
    )
    for watched in (True, False):
        made = bundle(hostile, watched=watched)
        assert read(made["text/html"]).faults == []
        for node in [*made[MIME]["nodes"], *made[MIME]["user_nodes"]]:
            check(node)
        json.dumps(made, ensure_ascii=False, allow_nan=False).encode()


HEAVY = heavy_cases()


@pytest.mark.parametrize("case", HEAVY, ids=[case.name for case in HEAVY])
def test_a_heavy_answer_neither_hangs_nor_overflows(case: Case):
    began = time.monotonic()
    made = bundle(record(text=case.text), watched=True)
    assert time.monotonic() - began < 20
    for node in made[MIME]["nodes"]:
        check(node)
    assert sum(map(_elements, made[MIME]["nodes"])) <= MOST_ELEMENTS + 10
    sizes = {
        kind: len(value if isinstance(value, str) else json.dumps(value)) for kind, value in made.items()
    }
    assert sum(sizes.values()) < 6_000_000, sizes


def _elements(node: Node) -> int:
    return 0 if isinstance(node, str) else 1 + sum(map(_elements, node.get("c", [])))


@pytest.mark.parametrize("case", HEAVY, ids=[case.name for case in HEAVY])
def test_a_heavy_answer_streams_to_the_same_nodes(case: Case):
    stream, mirror = BlockStream(), []
    size = len(case.text) // 3 + 1
    for start in range(0, len(case.text), size):
        first, blocks = stream.feed(case.text[start : start + size])
        mirror[first:] = blocks
    assert mirror == tree(case.text)
