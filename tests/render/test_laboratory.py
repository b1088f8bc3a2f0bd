"""The laboratory's twin: what it says in text and HTML, with hostile texts in every place."""

import pytest

from llama_nb.render.laboratory import LaboratoryTwin, to_html, to_text
from tests.render.html_reader import read

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\x1b[31m"
STAGE = {"name": "logits", "kept": 3, "removed": 0, "mass": 1.0, "entropy": 0.9, "top": [[HOSTILE, 0.6]]}
TOKEN = {"id": 1, "text": HOSTILE, "special": False, "before": 0.6, "after": 0.8, "removed_by": None}
RECORD = {
    "place": HOSTILE,
    "vocabulary": 3,
    "sampling": {},
    "no_effect": {},
    "stages": [STAGE],
    "tokens": [TOKEN],
    "rest": {"before": 0.4, "after": 0.2},
    "chosen": TOKEN,
}


@pytest.mark.parametrize("record", [None, RECORD])
def test_hostile_texts_stay_texts(record):
    twin = LaboratoryTwin(HOSTILE, record, HOSTILE, HOSTILE, HOSTILE)
    shown = read(to_html(twin))
    assert shown.faults == []
    for said in (shown.text, to_text(twin)):
        assert "onerror" in said
        assert "\x1b" not in said


def test_it_says_where_it_stood_what_was_written_and_the_line():
    twin = LaboratoryTwin("reply of cria", RECORD, "a time", "%llama set --temperature 2", " long ago")
    for said in (read(to_html(twin)).text, to_text(twin)):
        for part in (
            "Sampling laboratory: reply of cria",
            "a\u00b7time",
            "long\u00b7ago",
            "--temperature 2",
            "60 %",
        ):
            assert part in said


def test_before_the_first_look_it_says_so():
    assert "No place was looked at." in to_text(LaboratoryTwin("text of cria", None))
