"""Training as a user asks for it: what is refused before anything begins, and what is told on the way."""

import pytest

from llama_nb.core import events
from llama_nb.core.errors import DataError, LlamaError, TrainingError, UnsupportedError
from llama_nb.session.resuming import resume
from llama_nb.session.runs import compare_runs
from llama_nb.session.training import stop_trainings, training_on
from llama_nb.session.training_progress import follow
from tests.magics import fake as scripted
from tests.tuning.fake_run import FakeRun

ROWS = [{"prompt": "Who are you?", "completion": "Captain Wool."}]


@pytest.fixture
def told():
    """The events of the test."""
    found = []
    unsubscribe = events.subscribe(found.append)
    yield found
    unsubscribe()


@pytest.fixture
def model(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = scripted.install()
    yield made
    made.unload(force=True)


@pytest.mark.parametrize(
    ("data", "options", "kind", "words"),
    [
        (ROWS, {}, UnsupportedError, ["fake", "weights are not in this kernel", "%llama load cria"]),
        (ROWS, {"rnak": 8}, TrainingError, ["'rnak'", "'rank'"]),
        (ROWS, {"rank": 0}, TrainingError, ["rank is 0", "1"]),
        (ROWS, {"lr": -1}, TrainingError, ["lr is -1"]),
        (ROWS, {"steps": 5, "epochs": 1}, TrainingError, ["steps=5", "epochs=1"]),
        (None, {}, TrainingError, ["no data", "m.train('data.jsonl')"]),
        ("  ", {}, TrainingError, ["no data"]),
        ([], {}, DataError, ["no examples"]),
        ("nope.jsonl", {}, DataError, ["nope.jsonl"]),
        (ROWS, {"format": "opnai"}, DataError, ["opnai", "openai"]),
    ],
)
@pytest.mark.parametrize("verb", ["train", "preview"])
def test_what_is_wrong_is_said_before_there_is_a_run(model, tmp_path, verb, data, options, kind, words):
    with pytest.raises(kind) as caught:
        getattr(model, verb)(data, **options)
    assert isinstance(caught.value, LlamaError)
    for word in words:
        assert word in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_model_whose_weights_are_elsewhere_has_no_training(model):
    assert training_on(model) is None
    assert stop_trainings([model]) == []


def test_a_run_goes_on_only_with_its_model(tmp_path):
    fake = FakeRun(tmp_path)
    fake.train(3)
    fake.say("stopped")
    with pytest.raises(TrainingError) as caught:
        resume(fake.run)
    assert "trains cria, which is not loaded here" in str(caught.value)
    assert "%llama load cria" in str(caught.value)
    fake.say("finished")
    with pytest.raises(TrainingError, match="is finished"):
        resume(fake.run.folder)


def test_waiting_tells_the_plan_and_the_steps(tmp_path, told):
    fake = FakeRun(tmp_path)
    fake.train(1)

    def execute(event):
        """Do the next step when the last one was told."""
        if not isinstance(event, events.Progress) or event.ended:
            return
        if fake.done < 5:
            fake.train(1)
        else:
            fake.validate(3.5)
            fake.say("finished")

    unsubscribe = events.subscribe(execute)
    assert follow(fake.run) == fake.run
    unsubscribe()
    notes = [event.text for event in told if isinstance(event, events.Note)]
    assert notes == ["persona: 200 steps take about 512 MB of memory and about 1 min 00 s."]
    steps = [event for event in told if isinstance(event, events.Progress)]
    assert {(event.what, event.total, event.unit) for event in steps} == {("Training persona", 200, "steps")}
    assert [(event.done, event.ended) for event in steps] == [
        *((step, False) for step in range(1, 6)),
        (5, True),
    ]
    assert steps[-1].detail == "loss 3.95, validation 3.50"


def test_waiting_for_a_run_that_failed_raises_what_it_said(tmp_path):
    fake = FakeRun(tmp_path)
    fake.say("failed", error="The loss is NaN.", hint="Take a lower rate.")
    with pytest.raises(TrainingError, match=r"The loss is NaN\.\nTake a lower rate\."):
        follow(fake.run)


def test_one_run_is_no_comparison(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    FakeRun(tmp_path / "runs")
    for names in ((), ("persona",), ("persona",) * 7):
        with pytest.raises(TrainingError, match="cannot be compared"):
            compare_runs(*names)
    with pytest.raises(TrainingError, match="personna"):
        compare_runs("persona", "personna")
