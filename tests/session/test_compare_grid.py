"""What is compared: models, samplings and seeds become a grid; what is refused before anything is sent."""

import pytest

from llama_nb.core.errors import LoadError, MessageError, ModelGone, SamplingError
from llama_nb.runtime import settings
from llama_nb.session import registry
from llama_nb.session.compare_grid import MOST_CELLS, read_grid
from tests.session.fakes import fake_model


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """No model but those of the test, and no parameters of another."""
    monkeypatch.setattr(registry, "_models", {})
    monkeypatch.setattr(registry, "_current", None)
    yield
    settings.clear_sampling()


@pytest.fixture
def current():
    model = fake_model(name="tiny")
    registry._models["tiny"] = model
    registry.use("tiny")
    return model


def labels(grid):
    return [slot.label for slot in grid.slots]


def references(grid):
    return [other.number if (other := grid.reference_of(slot)) else None for slot in grid.slots]


def test_models_are_columns_and_everything_else_rows(current):
    grid = read_grid(["tiny", "cria"], 2, {"temperature": [0, 0.7]})
    assert grid.columns == ("tiny", "cria")
    assert grid.rows == ("temperature 0", "temperature 0.7, seed 1", "temperature 0.7, seed 2")
    assert [slot.number for slot in grid.slots] == [1, 2, 3, 4, 5, 6]
    assert labels(grid)[:3] == ["tiny, temperature 0", "cria, temperature 0", "tiny, temperature 0.7, seed 1"]
    assert [slot.seed for slot in grid.slots] == [None, None, 1, 1, 2, 2]
    assert references(grid) == [None, 1, None, 3, None, 5]


def test_with_one_model_samplings_are_columns_and_its_greedy_answer_is_computed_once(current):
    grid = read_grid(None, 3, {"temperature": [0, 1.2]})
    assert (grid.columns, grid.rows) == (("temperature 0", "temperature 1.2"), ("seed 1", "seed 2", "seed 3"))
    assert [(slot.row, slot.column, slot.span) for slot in grid.slots] == [
        (0, 0, 3), (0, 1, 1), (1, 1, 1), (2, 1, 1),
    ]  # fmt: skip
    assert references(grid) == [None, 1, 1, 1]
    assert "the same with every seed" in grid.notes[0]


def test_with_one_sampling_seeds_are_columns(current):
    grid = read_grid(None, 3, {"temperature": 1})
    assert (grid.columns, grid.rows) == (("seed 1", "seed 2", "seed 3"), ("",))
    assert labels(read_grid(None, [7, 8, 7], {})) == ["seed 7", "seed 8"]


def test_only_what_differs_is_in_a_label(current):
    grid = read_grid(["tiny", "cria"], 1, {"temperature": 0.7, "top_p": [0.5, 1], "max_tokens": 9})
    assert labels(grid) == ["tiny, top_p 0.5", "cria, top_p 0.5", "tiny, top_p 1", "cria, top_p 1"]
    assert labels(read_grid(None, 1, {})) == ["tiny"]
    assert labels(read_grid(None, 1, {"preset": ["precise", "creative"]})) == ["precise", "creative"]


def test_lists_are_varied_but_a_parameter_that_is_a_list_is_one_value(current):
    (slot,) = read_grid(None, 1, {"stop": ["a", "b"], "temperature": ["0.5", 0.5]}).slots
    assert slot.variant.options == {"stop": ["a", "b"], "temperature": 0.5}


def test_a_reference_can_be_named(current):
    grid = read_grid(None, 3, {"temperature": 1}, reference=2)
    assert references(grid) == [2, None, 2]


def test_the_session_decides_what_a_call_leaves_open(current):
    settings.change_sampling({"temperature": 0, "seed": 5})
    (slot,) = read_grid(None, 3, {}).slots
    assert slot.seed is None
    settings.clear_sampling("temperature")
    (slot,) = read_grid(None, None, {}).slots
    assert slot.seed == 5


def test_a_source_may_have_a_quantisation_or_a_dtype(current):
    subjects = read_grid(["cria", "cria:int8", "cria:bfloat16", "cria:auto"], 1, {}).subjects
    assert [(one.label, one.source, one.dtype, one.quant) for one in subjects] == [
        ("cria", "cria", "auto", None),
        ("cria:int8", "cria", "auto", "int8"),
        ("cria:bfloat16", "cria", "bfloat16", None),
        ("cria:auto", "cria", "auto", "auto"),
    ]


def test_what_is_loaded_is_used_and_not_loaded_again(current):
    for given in (None, "tiny", current, [current], "tiny:float32"):
        (subject,) = read_grid(given, 1, {}).subjects
        assert subject.model is current
    (subject,) = read_grid("tiny:int8", 1, {}).subjects
    assert (subject.model, subject.source, subject.quant) == (None, "tiny", "int8")


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        ((["cria", "cria"], 1, {}), MessageError, "cria is named twice"),
        (([], 1, {}), MessageError, "No models are named"),
        (("nope", 1, {}), LoadError, "nope"),
        (("cria:int9", 1, {}), LoadError, "'int9'"),
        (("cria:4bit", 1, {}), LoadError, "Did you mean 'nf4'"),
        (("./nowhere", 1, {}), LoadError, "does not exist"),
        ((None, 0, {}), MessageError, "seeds is 0"),
        ((None, True, {}), MessageError, "seeds is True"),
        ((None, [], {}), MessageError, "empty list"),
        ((None, [-1], {}), SamplingError, "seed is -1"),
        ((None, 2, {"seed": 1}), MessageError, "Both seed and seeds"),
        ((None, 1, {"temprature": [1]}), SamplingError, "temperature"),
        ((None, 1, {"temperature": [0.5, -1]}), SamplingError, "-1"),
        ((None, 1, {"temperature": []}), SamplingError, "empty list"),
        ((None, 1, {"preset": ["precise", "wild"]}), SamplingError, "wild"),
        ((None, 9, {"temperature": [1, 2, 3, 4, 5, 6, 7, 8]}), MessageError, f"At most {MOST_CELLS}"),
        ((None, 2, {}, 3), MessageError, "The reference is cell 3"),
        ((None, 2, {}, 0), MessageError, "The reference is cell 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(current, arguments, error, says):
    with pytest.raises(error) as caught:
        read_grid(*arguments)
    assert says in str(caught.value)


def test_a_model_that_is_gone_names_its_source(current):
    current._engine = None
    with pytest.raises(ModelGone, match="tiny"):
        read_grid(current, 1, {})
