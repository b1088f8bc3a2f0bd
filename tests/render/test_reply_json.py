"""A reply that was held to a grammar, in a saved notebook."""

import json
from typing import Any

from llama_nb.render.markdown import tree
from llama_nb.render.reply import JSON_FENCE, answer_nodes, bundle, saved_record


def record(text: str, grammar: Any = None) -> dict[str, Any]:
    base = {"schema": 1, "id": "x", "kind": "chat", "text": text, "finish": "end", "tokens": [], "notes": []}
    return base if grammar is None else {**base, "grammar": grammar}


HELD = {"kind": "json", "name": "Recipe", "complete": True}


def test_whole_json_is_laid_out_as_code():
    text = '{"title":"a *b* <i>","n":[1]}'
    assert answer_nodes(text, HELD) == tree(JSON_FENCE + json.dumps(json.loads(text), indent=2))
    html = bundle(record(text, HELD), watched=True)["text/html"]
    assert "<pre" in html
    assert "<em>" not in html
    assert "&lt;i&gt;" in html


def test_half_of_it_is_code_as_it_stands():
    assert answer_nodes('{"title": "a *b', HELD) == tree(JSON_FENCE + '{"title": "a *b')


def test_a_choice_is_no_markdown():
    assert "<em>" not in bundle(record("*yes*", {**HELD, "kind": "choice"}), watched=True)["text/html"]


def test_a_record_without_a_grammar_is_as_it_was():
    assert "grammar" not in saved_record(record("*yes*"), watched=True)
    assert "<em>" in bundle(record("*yes*"), watched=True)["text/html"]


def test_nothing_in_a_record_is_believed():
    for grammar in ("x", 7, [], {"kind": ["json"], "name": 5, "complete": "yes"}, {"name": "\x1b[31m" * 500}):
        saved = saved_record(record("text", grammar), watched=True)
        json.dumps(saved)
        assert saved.get("grammar", {"complete": False})["complete"] is False
        assert "\x1b" not in json.dumps(saved, ensure_ascii=False)
    deep = "[" * 100_000
    assert answer_nodes(deep[:2000], HELD)
    assert bundle(record(deep, HELD), watched=True)["text/html"]
    assert answer_nodes("9" * 5000, HELD)
