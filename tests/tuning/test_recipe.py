"""Recipes: checked when they are made, the same again from JSON, explained parameter by parameter."""

import dataclasses
import json

import pytest

from llama_nb.core.errors import TrainingError
from llama_nb.tuning.parameters import PARAMETERS
from llama_nb.tuning.recipe import HELP, Recipe


def test_every_parameter_is_explained_and_every_explanation_is_a_parameters():
    names = [field.name for field in dataclasses.fields(Recipe)]
    assert list(HELP) == names == list(PARAMETERS)
    for what, turned in HELP.values():
        assert len(what) > 10
        assert len(turned) > 10
        assert turned.endswith(".")


def test_a_recipe_is_the_same_again_from_a_file():
    recipe = Recipe.of(
        rank="8", lr="2e-4", target="q_proj, v_proj", packing="off", steps=40, sample_prompts=["Who are you?"]
    )
    assert (recipe.rank, recipe.alpha, recipe.lr, recipe.packing) == (8, 16.0, 2e-4, False)
    assert recipe.target == ("q_proj", "v_proj")
    assert Recipe.of(**json.loads(json.dumps(recipe.to_dict()))) == recipe


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, "rank is 0, outside its range"),
        ({"rank": 2.5}, "whole number"),
        ({"lr": "fast"}, "'fast', which is not a number"),
        ({"lr": float("nan")}, "outside its range"),
        ({"dropout": 1}, "outside its range"),
        ({"mask": "asistant"}, "Did you mean 'assistant'"),
        ({"schedule": "cosin"}, "Did you mean 'cosine'"),
        ({"method": "prefix"}, "lora, dora, rslora, full"),
        ({"lrate": 1}, "'lrate' is not a parameter of training"),
        ({"acumulate": 2}, "Did you mean 'accumulate'"),
        ({"steps": 5, "epochs": 1}, "both steps=5 and epochs=1"),
        ({"validation": 1.5}, "whole number"),
        ({"warmup": 2.5}, "whole number"),
        ({"target": ","}, "names no layer"),
        ({"packing": "perhaps"}, "true or false"),
        ({"report_to": "wanb"}, "Did you mean 'wandb'"),
        ({"sample_prompts": ["", "x"]}, "at least one word"),
    ],
)
def test_what_cannot_be_is_refused_with_what_could(options, said):
    with pytest.raises(TrainingError) as caught:
        Recipe.of(**options)
    assert said in str(caught.value)


def test_what_depends_on_other_options_is_chosen():
    assert Recipe.of().lr is None
    assert Recipe.of().for_model(4096).lr == 2e-4
    assert Recipe.of().for_model(2048).lr == 4e-4
    assert Recipe.of().for_model(128).lr == 6.4e-3
    assert Recipe.of().for_model(64).lr == 1e-2
    assert (
        Recipe.of(method="full").for_model(4096).lr == Recipe.of(objective="dpo").for_model(4096).lr == 2e-5
    )
    assert Recipe.of(method="full", lr=1e-3).for_model(4096).lr == 1e-3
    assert Recipe.of(rank=64).alpha == 128
    assert Recipe.of(rank=64, alpha=8).alpha == 8
    assert Recipe.of(rank=None, lr=None) == Recipe()
    changed = Recipe.of(rank=64, alpha=8, lr=1e-3).replace(method="full")
    assert (changed.alpha, changed.lr) == (8, 1e-3)


def test_lengths_shares_and_counts():
    assert Recipe().steps_for(100) == 300
    assert Recipe().steps_for(10) == 60
    assert Recipe().steps_for(2) == 40
    assert Recipe.of(accumulate=4).steps_for(1) == 5
    assert Recipe.of(epochs=2.5, accumulate=4).steps_for(10) == 7
    assert Recipe.of(steps=9).steps_for(10) == 9
    assert Recipe.of(warmup=0.1).warmup_steps(40) == 4
    assert Recipe.of(warmup=7).warmup_steps(40) == 7
    assert Recipe.of(warmup=70).warmup_steps(40) == 40
    assert Recipe.of(validation=0.1).validation_rows(50) == 5
    assert Recipe.of(validation=9).validation_rows(5) == 4
    assert Recipe.of(validation=0).validation_rows(50) == 0
    assert Recipe().every("save", 200) == 20
    assert Recipe.of(save_every=0).every("save", 200) == 0
    assert Recipe.of(evaluate_every=7).every("evaluate", 200) == 7
    assert Recipe.of(evaluate_every=7).every("sample", 200) == 50
    assert Recipe.of(evaluate_every=7, sample_every=3).every("sample", 200) == 3
