"""Functions as tools: what the model is told of them, and what they get."""

import dataclasses
import datetime as dt
import enum
import functools
import inspect
import os
import random
import subprocess
from typing import Annotated, Literal

import pydantic
import pytest
from transformers.utils import get_json_schema

import llama_nb
from llama_nb.core.errors import ToolError
from llama_nb.session.tool_function import read_docstring, read_tool, read_tools
from tools.cria import tool_calls


def weather(city: str) -> dict:
    """Get the weather in a city.

    Args:
        city: The name of the city.
    """
    return {"city": city}


def parameters(function):
    return read_tool(function).description["function"]["parameters"]


def test_the_description_is_what_transformers_writes():
    theirs = get_json_schema(weather)
    del theirs["function"]["return"]  # Meta documents no return type
    assert read_tool(weather).description == theirs


def test_the_description_is_what_cria_was_trained_on():
    described = tool_calls.describe(random.Random(0), "weather")
    told = read_tool(weather).description
    assert list(told["function"]) == list(described["function"])
    assert list(told["function"]["parameters"]) == list(described["function"]["parameters"])
    assert [*told["function"]["parameters"]["properties"]["city"]] == ["type", "description"]


class Unit(enum.Enum):
    C = "celsius"
    F = "fahrenheit"


@dataclasses.dataclass
class Place:
    name: str
    height: float = 0.0


class Recipe(pydantic.BaseModel):
    title: str
    minutes: int


def test_every_kind_of_hint_is_described_and_read():
    def cook(
        recipe: Recipe,
        place: Place,
        unit: Unit,
        mode: Literal["fast", "slow"],
        when: dt.date,
        names: list[str],
        size: Annotated[int, pydantic.Field(ge=1, description="How many.")] = 2,
        schema: str | None = None,
        model_config: bool = False,
    ) -> str:
        return ""

    told = parameters(cook)
    assert told["required"] == ["recipe", "place", "unit", "mode", "when", "names"]
    assert told["properties"]["mode"]["enum"] == ["fast", "slow"]
    assert told["properties"]["size"] == {
        "type": "integer",
        "default": 2,
        "description": "How many.",
        "minimum": 1,
    }
    assert "title" not in str(told["properties"]["names"])
    assert set(told["$defs"]) == {"Recipe", "Place", "Unit"}
    given = read_tool(cook).read(
        {
            "recipe": {"title": "Pancakes", "minutes": "20"},
            "place": {"name": "Oslo"},
            "unit": "celsius",
            "mode": "fast",
            "when": "2024-02-29",
            "names": ["a"],
            "schema": None,
        }
    )
    assert given == {
        "recipe": Recipe(title="Pancakes", minutes=20),
        "place": Place("Oslo"),
        "unit": Unit.C,
        "mode": "fast",
        "when": dt.date(2024, 2, 29),
        "names": ["a"],
        "schema": None,
    }


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({}, "city: Field required"),
        ({"city": 3}, "city: Input should be a valid string"),
        ({"city": "Oslo", "country": "N"}, "country: Extra inputs are not permitted"),
        ({"argument_0": "Oslo"}, "city: Field required"),
        ({"city": None}, "city: Input should be a valid string"),
    ],
)
def test_wrong_arguments_are_named_for_the_model(arguments, named):
    with pytest.raises(ToolError) as caught:
        read_tool(weather).read(arguments)
    assert named in caught.value.message
    assert len(caught.value.message) < 500


def test_methods_and_partials_with_a_name_are_functions_too():
    class Station:
        def read(self, city: str) -> str:
            """Read the station."""
            return city

    tool = read_tool(Station().read)
    assert tool.function(**tool.read({"city": "Oslo"})) == "Oslo"
    named = functools.wraps(weather)(functools.partial(weather))
    assert read_tool(named).name == "weather"


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda city: city, "'<lambda>' is no name"),
        (print, "print"),
        (eval, "eval"),
        (os.system, "its parameter 'command' has no type hint"),
        (subprocess.run, "run takes any number of arguments"),
        (Recipe, "Recipe is a class"),
        ("weather", "is a str, not a function"),
        (3, "is a int, not a function"),
        (functools.partial(weather, "Oslo"), "not a function"),
    ],
)
def test_what_cannot_be_described_is_refused_by_name(function, named):
    with pytest.raises(ToolError) as caught:
        read_tool(function)
    assert named in caught.value.message
    assert caught.value.hint


def test_each_parameter_that_lacks_something_is_named():
    def no_hint(city): ...
    def stars(*cities: str): ...
    def more(**cities: str): ...
    def by_position(city: str, /): ...
    def unknown(city: "Nowhere"): ...  # noqa: F821
    def odd(thing: Place.__class__ | subprocess.Popen): ...

    told = {
        no_hint: "its parameter 'city' has no type hint",
        stars: "*cities",
        more: "**cities",
        by_position: "by position only",
        unknown: "'Nowhere'",
        odd: "odd cannot be described",
    }
    for function, named in told.items():
        with pytest.raises(ToolError) as caught:
            read_tool(function)
        assert named in caught.value.message, caught.value.message


def test_several_tools_need_names_of_their_own():
    assert list(read_tools(weather)) == ["weather"]
    with pytest.raises(ToolError, match="Two tools are called 'weather'"):
        read_tools([weather, weather])
    for nothing in ([], "weather", {"weather": weather}, None):
        with pytest.raises(ToolError):
            read_tools(nothing)


def test_the_decorator_leaves_the_function_as_it_is_and_finds_mistakes_at_once():
    @llama_nb.tool(safe=True)
    def clock(city: str) -> str:
        """Get the time."""
        return f"12:30 in {city}"

    @llama_nb.tool
    def plain(city: str) -> str:
        return city

    assert clock("Oslo") == "12:30 in Oslo"
    assert read_tool(clock).safe
    assert not read_tool(plain).safe
    assert read_tool(plain).description["function"]["description"] == "plain"
    with pytest.raises(ToolError, match="no type hint"):

        @llama_nb.tool(safe=True)
        def broken(city): ...


STYLES = {
    "google": """Get the weather.

    It is measured.

    Args:
        city: The name
            of the city.
        unit (str, optional): Of the degrees.

    Returns:
        dict: no parameter
    """,
    "numpy": """Get the weather.

    Parameters
    ----------
    city : str
        The name
        of the city.
    unit
        Of the degrees.

    Returns
    -------
    result : dict
        No parameter.
    """,
    "sphinx": """Get the weather.

    :param city: The name of the city.
    :param str unit: Of the degrees.
    :returns: no parameter
    """,
}


@pytest.mark.parametrize("style", STYLES)
def test_docstrings_of_every_style(style):
    told, texts = read_docstring(inspect.cleandoc(STYLES[style]))
    assert told == "Get the weather."
    assert texts == {"city": "The name of the city.", "unit": "Of the degrees."}


@pytest.mark.parametrize(
    "text", ["", "One line", "Args:", "Args:\n    x", "Note:\n    y: z", ":param", "-----"]
)
def test_odd_docstrings_break_nothing(text):
    read_docstring(text)
