"""The preview shows the rows that a run would train on, with what is cut, doubled or empty."""

from types import SimpleNamespace

import pytest

from llama_nb.core.errors import DataError, TrainingError
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.tuning.data import read_data
from llama_nb.tuning.preview import preview
from llama_nb.tuning.recipe import Recipe


@pytest.fixture(scope="module")
def parts(root):
    """A loaded cria as far as a preview looks at it."""
    tokenizer = read_tokenizer(root / "llama_nb" / "bundled" / "cria")
    return SimpleNamespace(
        name="cria",
        loaded=SimpleNamespace(tokenizer=tokenizer, chat_template=tokenizer.chat_template),
        engine=SimpleNamespace(context=1024, trusted=True),
    )


def records(count):
    return [{"prompt": f"What is {n}?", "completion": "It is " + "very " * n + "good."} for n in range(count)]


def test_what_would_be_learned_is_shown(parts):
    data = read_data([*records(20), records(1)[0], {"prompt": "x", "completion": ""}])
    found = preview(data, parts, Recipe.of(validation=0.1, packing=False, batch=2, accumulate=2))
    figures = dict(found.view["figures"])
    assert figures["rows"] == f"{len(found.encoded.rows)} + 2 for validation"
    assert figures["steps an epoch"].endswith(" of 4 rows")
    assert found.view["tokens"] == sum(len(row) for row in found.encoded.rows)
    assert found.view["trained"] == sum(int(row.trained.sum()) for row in found.encoded.rows)
    assert sum(found.view["lengths"]["counts"]) == len(found.encoded.rows)
    said = "\n".join(found.view["notes"])
    assert "Read as prompt_completion" in said
    assert "Repeated: 1 of 22 examples; data[0] is there 2 times." in said
    assert "Empty answers, which teach nothing: 1 of 22 examples, first data[21]." in said
    [first, *_] = found.view["samples"]
    assert "".join(token["text"] for token in first["tokens"] if token["trained"]).endswith("good.<|eot_id|>")
    assert found.view["command"] == "m.train(data)"
    assert repr(found).startswith("22 prompts with an answer from a list, as cria would learn\n")
    assert "text/html" in found._repr_mimebundle_()


def test_long_rows_are_shown_as_they_are_cut(parts):
    recipe = Recipe.of(max_tokens=40, validation=0)
    found = preview(read_data(records(60)), parts, recipe, command="%llama train x")
    longest = found.view["samples"][-1]
    assert len(longest["tokens"]) == 40
    assert longest["cut"] > 0
    assert found.view["lengths"]["edges"][-1] > 40 + longest["cut"]
    assert any("Longer than 40 tokens" in note for note in found.view["notes"])
    assert repr(found).endswith("Next: %llama train x")


def test_the_longest_row_is_chosen_as_a_run_chooses_it(parts):
    assert preview(read_data(records(3)), parts, Recipe()).view["most"] == 256


def test_one_example_is_enough(parts):
    found = preview(read_data(records(1)), parts, Recipe())
    assert len(found.view["samples"]) == 1
    assert found.view["lengths"]["counts"] == [1]


def test_preferences_are_shown_with_the_chosen_answer(parts):
    data = read_data([{"prompt": "Who?", "chosen": "Me.", "rejected": "You."}])
    found = preview(data, parts, Recipe.of(objective="dpo"))
    assert "".join(token["text"] for token in found.view["samples"][0]["tokens"] if token["trained"]) == (
        "Me.<|eot_id|>"
    )
    assert any("chosen answers are shown" in note for note in found.view["notes"])
    assert dict(found.view["figures"])["steps an epoch"] == "1 of 4 pairs"
    assert found.view["command"] == 'm.train(data, objective="dpo")'
    with pytest.raises(DataError, match="this is no preference"):
        preview(read_data(records(3)), parts, Recipe.of(objective="dpo"))


def test_data_of_which_nothing_is_learned_is_refused(parts):
    with pytest.raises(TrainingError, match="no token to train on"):
        preview(read_data([{"prompt": "x", "completion": ""}]), parts, Recipe())
