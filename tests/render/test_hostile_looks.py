"""The corpus of hostile texts as every text in the twins of what looks inside: names, titles, tokens.

A token's text comes from a tokenizer's file, a title from a chat's name, a model's name from a folder.
"""

import re
from collections.abc import Callable
from typing import Any

import pytest

from llama_nb.render import ablation, anatomy, attention, heads, lens, patching
from llama_nb.render.tokens import TokenRow
from tests.hostile.corpus import Case, cases
from tests.render import test_anatomy as of_anatomy
from tests.render import test_attention as of_attention
from tests.render import test_causes as of_causes
from tests.render import test_heads as of_heads
from tests.render import test_lens as of_lens
from tests.render.html_reader import read
from tests.render.test_hostile import CONTROLS

CASES = cases("http://127.0.0.1:9")
# These are ours: names of parts of a model, and of what is measured.
OURS = {"site", "kinds", "layers", "off"}
# What a picture of ours has, which is made of bytes that no text reaches; and names for screen readers.
HARMLESS = ("<img>", "src=data:image/png;base64,", "alt=", "width=", "height=", "aria-label=", "title=")
READABLE = [mark for mark in CONTROLS if mark != "\u200b"]  # between dollars, so that they make no formula

Bundle = dict[str, str]


def poisoned(value: Any, text: str) -> Any:
    """The same record with `text` for every text that is not ours."""
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        return {key: each if key in OURS else poisoned(each, text) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(poisoned(each, text) for each in value)
    return value


def _attention(text: str, watched: bool) -> Bundle:
    tokens = tuple(TokenRow(id=at, text=text, special=at == 0) for at in range(4))
    texts = dict.fromkeys(range(4), text)
    twin = of_attention.twin(title=text, facts=(text,), tokens=tokens, texts=texts)
    return attention.bundle(twin, watched=watched)


def _lens(text: str, watched: bool) -> Bundle:
    made = of_lens.record(of_lens.column(0, "a"), of_lens.column(1, "b"), tuned="a", notes=["a"])
    return lens.bundle(poisoned(made, text), watched=watched)


def _anatomy(text: str, watched: bool) -> Bundle:
    made = of_anatomy.record(model=text, measured={**of_anatomy.measured(), "title": text})
    return anatomy.bundle(made, watched=watched)


def _heads(text: str, watched: bool) -> Bundle:
    found = of_heads.scores(model=text, title=text)
    return heads.bundle(found.record(), watched=watched)


TWINS: dict[str, Callable[[str, bool], Bundle]] = {
    "attention": _attention,
    "lens": _lens,
    "anatomy": _anatomy,
    "heads": _heads,
    "ablation": lambda text, watched: ablation.bundle(poisoned(of_causes.effect(), text), watched=watched),
    "patching": lambda text, watched: patching.bundle(poisoned(of_causes.mapped(), text), watched=watched),
}


@pytest.mark.parametrize("watched", [True, False], ids=["watched", "unwatched"])
@pytest.mark.parametrize("look", TWINS)
def test_a_twin_of_hostile_texts_is_a_page_of_texts(look: str, watched: bool) -> None:
    for case in CASES:
        made = TWINS[look](case.text, watched)
        page = read(made["text/html"])
        assert [fault for fault in page.faults if not fault.startswith(HARMLESS)] == [], case.name
        assert page.open == made["text/html"].count("<img "), case.name
        assert page.hosts == [], case.name
        for text in made.values():
            assert not [mark for mark in READABLE if mark in text], case.name
            text.encode()
        assert not re.search(r">[^<>]*\$[^<>]*\$[^<>]*<", made["text/html"]), f"{case.name}: a formula"


def test_every_text_of_these_records_is_reached() -> None:
    mark = Case("mark", "\u2042")
    for look, twin in TWINS.items():
        assert mark.text in twin(mark.text, True)["text/html"], look
