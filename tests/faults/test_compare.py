"""What can go wrong in one cell of a comparison: it is said there, the others go on, nothing stays loaded."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from llama_nb.core.events import ComparisonChanged, subscribe
from llama_nb.interpret import quality
from llama_nb.runtime import devices
from llama_nb.session import registry
from llama_nb.session.compare import compare
from tests.faults.broken_models import config, cut, remove, write
from tests.models import write_random_llama

STORY = "Once upon a time, there was a little girl who lived in a big house by the sea."


def nothing(model: Path) -> None:
    del model


def not_numbers(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    tensors["model.layers.2.mlp.up_proj.weight"].fill_(torch.nan)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})


# What is done to the other model's folder, how it is named, and what its cell's error says.
ROWS: list[tuple[str, Callable[[Path], object], str, tuple[str, ...]]] = [
    ("weights cut in half", cut(lambda size: size // 2), "", ("model.safetensors", "cut")),
    ("weights are a web page", write("model.safetensors", "<html>Log in</html>"), "", ("web page",)),
    ("no tokenizer", remove("tokenizer.json"), "", ("tokenizer.json",)),
    ("config of another model", config(hidden_size=128), "", ("128", "64")),
    ("weights that are not numbers", not_numbers, "", ("NaN", "layer 2")),
    ("a quantisation for GPUs", nothing, ":int4-torchao", ("int4-torchao",)),
]


@pytest.fixture
def good(stories260k: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sound model called `good`, the only one that is loaded; `model` is a copy to break."""
    torch.set_num_threads(1)
    monkeypatch.setattr(registry, "_models", {})
    monkeypatch.setattr(registry, "_current", None)
    loaded = registry.load(stories260k, device="cpu", name="good")
    yield
    assert registry.loaded() == {"good": loaded}
    assert registry.current() is loaded
    assert loaded.complete("Once", temperature=0, max_tokens=3).text
    loaded.unload(force=True)


@pytest.mark.usefixtures("good")
@pytest.mark.parametrize(("build", "tail", "says"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_it_is_the_error_of_its_cell(
    model: Path, build: Callable[[Path], object], tail: str, says: tuple[str, ...]
) -> None:
    build(model)
    found = compare(STORY, [f"./{model.name}{tail}", "good"], temperature=0, max_tokens=4)
    assert [cell.state for cell in found] == ["failed", "done"]
    for part in says:
        assert part in str(found.cell(1).error)
    assert found.cell(2).parting.place is None
    shown = found._repr_mimebundle_()
    assert says[0] in shown["text/plain"]
    assert says[0] in shown["text/html"]


@pytest.mark.usefixtures("good")
def test_a_message_too_long_for_one_context_is_that_models_error(model: Path, stories260k: Path) -> None:
    short = write_random_llama(model.parent / "short", tokenizer_from=stories260k, context=16)
    found = compare(STORY, ["good", str(short)], temperature=0, max_tokens=4)
    assert [cell.state for cell in found] == ["done", "failed"]
    assert "16" in str(found.cell(2).error)


@pytest.mark.usefixtures("good")
def test_no_memory_for_one_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_memory", lambda device="cpu": 100_000)
    found = compare(STORY, ["good", f"./{model.name}"], temperature=0, max_tokens=4)
    assert [cell.state for cell in found] == ["done", "failed"]
    assert type(found.cell(2).error).__name__ == "FitError"


@pytest.mark.usefixtures("good")
def test_a_divergence_that_fails_spoils_no_answer(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(quality, "divergences", fail)
    found = compare(STORY, ["good", f"./{model.name}:nf4"], temperature=0, max_tokens=4)
    assert [cell.state for cell in found] == ["done", "done"]
    assert "out of memory" in found.cell(2).divergence_note
    assert "out of memory" in found._repr_mimebundle_()["text/plain"]


@pytest.mark.usefixtures("good")
def test_a_stop_while_it_measures_keeps_the_answers(model: Path) -> None:
    def stop(event: object) -> None:
        if (
            isinstance(event, ComparisonChanged)
            and event.cell is not None
            and event.cell.state == "measuring"
        ):
            event.comparison.stop()

    unsubscribe = subscribe(stop)
    try:
        found = compare(STORY, ["good", f"./{model.name}:nf4"], temperature=0, max_tokens=4)
    finally:
        unsubscribe()
    assert found.stopped
    assert all(cell.answered for cell in found)
    assert [cell.state for cell in found] == ["done", "done"]


@pytest.mark.usefixtures("good")
def test_an_observer_that_raises_harms_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: object) -> None:
        if isinstance(event, ComparisonChanged):
            raise ZeroDivisionError

    unsubscribe = subscribe(fail)
    try:
        found = compare(STORY, ["good"], temperature=[0, 1], max_tokens=4)
    finally:
        unsubscribe()
    assert all(cell.answered for cell in found)
    assert "an observer failed" in caplog.text
