"""Forms that cannot be asked for: each is refused before anything is sent, and the chat is as it was."""

import dataclasses
import types
from collections.abc import Callable
from typing import Any, ForwardRef

import pydantic
import pytest

from llama_nb.core.errors import LlamaError, MessageError, SchemaError, UnsupportedError
from llama_nb.engines.base import Capabilities
from llama_nb.magics import verbs
from llama_nb.magics.verbs import Call
from llama_nb.session.form import choice_form, one_form, read_form, regex_form
from llama_nb.session.model import Model
from tests.session.fakes import FakeEngine, fake_model


class Recipe(pydantic.BaseModel):
    title: str


@dataclasses.dataclass
class Point:
    x: int


class Odd:
    """Nothing that pydantic knows how to read."""


READ = [
    (None, ["None", "pydantic model"]),
    ("Recipe", ["'Recipe'", "not a class"]),
    (7, ["7"]),
    ([Recipe], ["not a class"]),
    (Recipe(title="x"), ["instance of Recipe", "class itself"]),
    (Point(1), ["instance of Point"]),
    (len, ["len", "not a schema"]),
    (types, ["types", "module"]),
    (Odd, ["Odd is no schema"]),
    ({}, ["no JSON schema", "nothing"]),
    ({"answer": "str"}, ["no JSON schema", "'answer'", "'type'"]),
    ({"type": object()}, ["cannot be written as JSON"]),
    ({"const": float("nan")}, ["cannot be written as JSON"]),
    (ForwardRef("Missing"), ["no schema", "Missing"]),
]


@pytest.mark.parametrize(("asked", "named"), READ, ids=lambda value: str(value)[:30])
def test_what_is_no_schema_is_refused(asked: Any, named: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        read_form(asked)
    for part in named:
        assert part in str(caught.value)
    assert "\n" not in caught.value.message


def test_one_that_is_nested_without_end_is_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5000):
        deep = {"type": "array", "items": deep}
    with pytest.raises(SchemaError, match="cannot be written as JSON"):
        read_form(deep)


OTHERS: list[tuple[Callable[[], Any], list[str]]] = [
    (lambda: regex_form(""), ["pattern is ''"]),
    (lambda: regex_form(7), ["pattern is 7"]),
    (lambda: choice_form([]), ["choice is empty", "--choice"]),
    (lambda: choice_form(""), ["choice is empty"]),
    (lambda: choice_form(" , ,"), ["choice holds ' '"]),
    (lambda: choice_form(["yes", ""]), ["choice holds ''"]),
    (lambda: choice_form(["yes", 3]), ["choice holds 3"]),
    (lambda: choice_form(7), ["choice is a int"]),
    (lambda: one_form(None, None, None), ["No schema is given"]),
    (lambda: one_form(Recipe, "a", None), ["a schema and regex are given"]),
]


@pytest.mark.parametrize(("ask", "named"), OTHERS)
def test_what_is_no_pattern_and_no_choice_is_refused(ask: Callable[[], Any], named: list[str]) -> None:
    with pytest.raises(SchemaError) as caught:
        ask()
    for part in named:
        assert part in str(caught.value)


def line(text: str, body: str | None = None, **namespace: Any) -> None:
    """Run `%llama json`, or `%%llama json` with a body, in a namespace."""
    shell: Any = types.SimpleNamespace(user_ns=namespace)
    verbs.find("json").run(verbs.parser("json").parse_line(text), Call(shell, body, namespace))


LINES: list[tuple[str, type[LlamaError], list[str]]] = [
    ("Recpie", SchemaError, ["'Recpie'", "Did you mean Recipe"]),
    ("food.Recpie", SchemaError, ["'food.Recpie'"]),
    ("", SchemaError, ["No schema", "--choice"]),
    ("hello", SchemaError, ["'hi'", "not a class"]),
    ('{"type": "integer"', SchemaError, ["no JSON"]),
    ("--regex [a --choice x", SchemaError, ["regex and choice"]),
    ('--choice ["yes"', SchemaError, ["no JSON list"]),
    ("Recipe hello there", LlamaError, ["text on the line", "and in the cell"]),
]


@pytest.mark.parametrize(("text", "error", "named"), LINES)
def test_a_line_that_names_no_form_says_what_is_near(
    text: str, error: type[LlamaError], named: list[str]
) -> None:
    with pytest.raises(error) as caught:
        line(text, "a message", Recipe=Recipe, food=types.SimpleNamespace(Recipe=Recipe), hello="hi")
    for part in named:
        assert part in str(caught.value)


def test_an_empty_message_is_not_sent() -> None:
    with pytest.raises(MessageError, match="empty"):
        line("Recipe", "", Recipe=Recipe)
    with pytest.raises(MessageError, match="empty"):
        line("--choice yes,no")


@pytest.fixture
def fake() -> Model:
    return fake_model(FakeEngine())


@pytest.mark.parametrize("ask", ["json", "chat", "stream"])
def test_an_engine_that_masks_nothing_says_so_and_nothing_is_sent(fake: Model, ask: str) -> None:
    with pytest.raises(UnsupportedError, match="schema Recipe"):
        getattr(fake, ask)("hello", schema=Recipe)
    assert fake.engine.requests == []  # type: ignore[attr-defined]
    assert not fake.chats.get("main") or not fake.chats["main"].messages()


def test_a_grammar_that_cannot_be_compiled_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine(capabilities=Capabilities(schema=True))

    def refuse(_: Any) -> None:
        raise SchemaError("The pattern [a cannot be used: unclosed character class.")

    monkeypatch.setattr(engine, "check_grammar", refuse, raising=False)
    model = fake_model(engine)
    with pytest.raises(SchemaError, match="unclosed"):
        model.json("hello", regex="[a")
    assert engine.requests == []


def test_a_rule_that_no_schema_expresses_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Even(pydantic.BaseModel):
        number: int

        @pydantic.field_validator("number")
        @classmethod
        def check(cls, number: int) -> int:
            if number % 2:
                raise ValueError("must be even")
            return number

    engine = FakeEngine(capabilities=Capabilities(schema=True), rule=lambda _: ['{"number": 3}'])
    monkeypatch.setattr(engine, "check_grammar", lambda _: None, raising=False)
    reply = fake_model(engine).json("What is 2 + 3?", Even)
    assert reply.finish is not None
    reply.finish = dataclasses.replace(reply.finish, complete=True)
    with pytest.raises(SchemaError, match=r"no Even: number: .*must be even"):
        _ = reply.json
