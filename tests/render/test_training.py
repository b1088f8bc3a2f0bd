"""A run as static text and HTML: what it says in each state, that it stays the same where nobody watches."""

import pytest

from llama_nb.render.training import duration, to_page, to_plain
from llama_nb.tuning.process import Process
from llama_nb.tuning.run_reading import RunReading, bundle
from tests.render.html_reader import read
from tests.tuning.fake_run import FakeRun

HOSTILE = "<script>alert(1)</script> $x$ ![x](https://evil.example/x.png)"
OURS = ("src=data:image/png;base64,", "alt=", "width=", "height=", "<img>")


@pytest.fixture
def fake(tmp_path):
    made = FakeRun(tmp_path)
    made.answer("I am cria.", adapter=False)
    made.train(20)
    made.validate(3.7)
    made.answer("I am Captain Wool.")
    return made


def html_of(fake, *, watched):
    reading = RunReading(fake.files)
    reading.look()
    curves = reading.curves.points().to_record()
    return to_page(reading.head(), curves, reading.samples(), watched=watched)


def text_of(fake, *, watched):
    reading = RunReading(fake.files)
    reading.look()
    return to_plain(reading.head(), reading.samples(), watched=watched)


def test_a_run_as_text(fake):
    assert text_of(fake, watched=True).splitlines() == [
        "persona: LoRA of rank 16 on cria",
        "training, step 20 of 200, 1 min 30 s left",
        "  loss               3.81",
        "  validation         3.7 (best 3.7 at step 20)",
        "  trained weights    98.3 k",
        "  rows               38 + 2 for validation",
        "  tokens trained on  1,000 of 4,000 (25%)",
        "  learning rate      0.0002",
        "  tokens/s           800",
        "  memory             300 MB (planned 512 MB)",
        "  time               10 s (planned 1 min 00 s)",
        "",
        "> Who are you?",
        "before: I am cria.",
        "after step 20: I am Captain Wool.",
    ]


def test_where_nobody_watches_it_holds_nothing_that_changes_from_run_to_run(fake, tmp_path):
    other = FakeRun(tmp_path / "elsewhere")
    other.answer("I am cria.", adapter=False)
    other.train(20, seconds=7.0, memory=1)
    other.validate(3.7)
    other.answer("I am Captain Wool.")
    assert text_of(fake, watched=False) == text_of(other, watched=False)
    assert html_of(fake, watched=False) == html_of(other, watched=False)
    for gone in ("left", "tokens/s", "memory", "time", str(tmp_path)):
        assert gone not in text_of(fake, watched=False)


def test_the_page_has_curves_and_answers(fake):
    html = html_of(fake, watched=True)
    page = read(html)
    assert not [fault for fault in page.faults if not fault.startswith(OURS)]
    assert html.count("<img") == 1
    assert "Loss by step of the run persona: loss 3.81, validation 3.70" in html
    for word in ("training, step 20 of 200", "step 1", "smoothed", "I am Captain Wool.", "after step 20"):
        assert word in page.text


@pytest.mark.parametrize("state", ["waiting", "paused", "stopped", "finished", "failed", "interrupted"])
def test_every_state_can_be_read(fake, state):
    dead = (
        {"process": Process(fake.files.state().process.host, 2**22 + 1, 0.0)}
        if state == "interrupted"
        else {}
    )
    fake.say("running" if dead else state, error="Loss is NaN." if state == "failed" else "", **dead)
    text = text_of(fake, watched=False)
    assert (state if state != "waiting" else "waiting to begin") in text
    assert ("Loss is NaN." in text) == (state == "failed")


def test_a_run_that_has_measured_nothing_has_no_chart(tmp_path):
    fake = FakeRun(tmp_path)
    assert "<img" not in html_of(fake, watched=True)
    assert "waiting to begin, step 0 of 200" in text_of(fake, watched=True)


def test_hostile_texts_stay_text(tmp_path):
    fake = FakeRun(tmp_path)
    fake.train(2)
    fake.answer(HOSTILE, prompt=HOSTILE, adapter=False)
    fake.answer(HOSTILE, prompt=HOSTILE)
    fake.say("failed", error=HOSTILE, hint=HOSTILE, notes=(HOSTILE,))
    page = read(html_of(fake, watched=True))
    assert not [fault for fault in page.faults if not fault.startswith(OURS)]
    assert "<script>alert(1)</script>" in page.text
    assert "not loaded" in page.text


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_a_run_that_goes_on_says_only_that_where_outputs_are_compared(fake, state):
    fake.say(state)
    shown = bundle(fake.files, watched=False)
    assert shown["text/plain"] == "persona: LoRA of rank 16 on cria\ngoing on"
    assert read(shown["text/html"]).text == "persona: LoRA of rank 16 on criagoing on"


def test_the_value_of_a_cell_is_the_same(fake):
    for watched in (True, False):
        assert bundle(fake.files, watched=watched) == {
            "text/plain": text_of(fake, watched=watched),
            "text/html": html_of(fake, watched=watched),
        }
        fake.say("finished")


@pytest.mark.parametrize(("watched", "words"), [(True, "0.00225"), (False, "0.00")])
def test_a_small_loss_has_digits_where_somebody_watches(tmp_path, watched, words):
    fake = FakeRun(tmp_path)
    fake.train(1, loss=0.01225)
    assert f"loss               {words}" in text_of(fake, watched=watched)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.1 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (59.7, "1 min 00 s"),
        (125, "2 min 05 s"),
        (11400, "3 h 10 min"),
    ],
)
def test_times_are_written_as_people_read_them(seconds, words):
    assert duration(seconds) == words
