"""Replies held to a form, on the bundled model: whatever ends by itself parses and validates."""

import enum
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jsonschema
import pydantic
import pytest

import llama_nb as llama
from llama_nb.core.errors import SchemaError, UnsupportedError
from llama_nb.session.model import Model
from tests.schemas import random_schema

ASKED = "What is a token? As JSON."


class Answer(pydantic.BaseModel):
    answer: str


class Recipe(pydantic.BaseModel):
    title: str = pydantic.Field(max_length=12)
    minutes: int = pydantic.Field(ge=1, le=90)
    kind: Literal["soup", "cake"]
    tags: set[str] = pydantic.Field(default=set(), max_length=2)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    x: int
    y: Colour


@pytest.fixture(scope="module")
def loaded() -> Iterator[Model]:
    m = llama.load("cria", name="cria for json")
    yield m
    m.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Model:
    loaded.chats.clear("main")
    return loaded


def test_a_pydantic_model_comes_back_as_an_instance(m: Model) -> None:
    system = 'Answer as a JSON object with the key "answer".'
    reply = m.json("What is a token?", Answer, system=system, temperature=0)
    assert isinstance(reply.json, Answer)
    assert "token" in reply.json.answer.lower()
    assert reply.json is reply.json
    assert reply.to_record()["grammar"] == {"kind": "json", "name": "Answer", "complete": True}
    assert [message.role for message in m.chats["main"].messages()][-2:] == ["user", "assistant"]
    assert m.chat("and in one word?", temperature=0).form is None


@pytest.mark.parametrize("number", range(50))
def test_every_reply_that_ends_parses_and_validates(m: Model, number: int) -> None:
    schema = random_schema(random.Random(1000 + number), depth=1 + number % 2)
    for seed in range(2 if number % 5 == 0 else 1):
        reply = m.json(ASKED, schema, seed=seed, temperature=0.8, max_tokens=90)
        assert reply.finish is not None
        if reply.finish.complete:
            jsonschema.validate(reply.json, schema)
        else:
            assert reply.finish.reason == "length"
            with pytest.raises(SchemaError, match="max_tokens"):
                _ = reply.json


def test_types_that_pydantic_reads(m: Model) -> None:
    point = m.json(ASKED, Point, temperature=0, max_tokens=60).json
    assert isinstance(point, Point)
    assert isinstance(point.y, Colour)
    assert m.json(ASKED, Colour, temperature=0).json in set(Colour)
    assert all(
        isinstance(n, int) for n in m.chat(ASKED, schema=list[Literal[1, 2]], seed=1, max_tokens=40).json
    )


def test_a_choice_and_a_pattern(m: Model) -> None:
    reply = m.json("Is a llama an animal?", choice=["yes", "no", "maybe"], temperature=0)
    assert reply.json == reply.text
    assert reply.json in {"yes", "no", "maybe"}
    assert m.json("What is 2 + 3?", regex="[0-9]{2}", temperature=0).json.isdecimal()
    assert m.json("Is a llama an animal?", choice="yes, no", temperature=0).json in {"yes", "no"}


def test_the_note_says_what_the_grammar_forbade(m: Model) -> None:
    reply = m.json("What is a token?", Answer, temperature=0, max_tokens=60)
    note = reply.notes[-1]
    assert "schema Answer" in note
    assert "gave way to" in note
    first = reply.tokens[0]
    assert (first.forbidden or 0) > 0.5
    assert first.alternatives[0].sampled is None


def test_one_that_is_cut_off_says_what_is_missing(m: Model) -> None:
    reply = m.json(ASKED, Recipe, temperature=0, max_tokens=8)
    assert reply.finish is not None
    assert reply.finish.reason == "length"
    with pytest.raises(SchemaError) as caught:
        _ = reply.json
    assert "Recipe" in caught.value.message
    assert "missing: " in caught.value.message
    assert "kind" in caught.value.message
    assert "--max-tokens" in caught.value.hint
    assert isinstance(reply.partial, dict)


def test_the_same_seed_gives_the_same_object_and_a_rerun_is_held_too(m: Model) -> None:
    first = m.json(ASKED, Recipe, seed=5, temperature=1, max_tokens=100)
    again = first.rerun()
    assert again.text == first.text
    assert again.form is first.form
    other = first.rerun(seed=6)
    assert other.request is not None
    assert other.request.grammar == first.request.grammar


def test_it_streams_and_can_be_stopped(m: Model) -> None:
    stream = m.stream(ASKED, schema={"type": "string", "minLength": 400}, seed=1, max_tokens=300)
    for count, _ in enumerate(stream):
        if count == 5:
            stream.reply.stop()
    assert stream.reply.finish is not None
    assert stream.reply.finish.reason == "stopped"
    with pytest.raises(SchemaError, match="stopped"):
        _ = stream.reply.json


def test_two_threads_share_a_schema(m: Model) -> None:
    texts: list[str] = []

    def ask() -> None:
        texts.append(m.json([{"role": "user", "content": ASKED}], Recipe, seed=2, max_tokens=60).text)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts[0] == texts[1]


def test_a_plain_reply_that_is_json_can_be_read(m: Model) -> None:
    reply = m.chat("What is a token?", system='Answer as a JSON object with the key "answer".', temperature=0)
    assert reply.form is None
    assert reply.json == json.loads(reply.text)
    with pytest.raises(SchemaError, match="not JSON"):
        _ = m.chat("What is a token?", chat="plain words", temperature=0).json


def test_a_base_model_goes_on_with_the_text(stories260k: Path) -> None:
    base = llama.load(str(stories260k), name="stories for json")
    try:
        reply = base.json(
            "Once upon a time, there was a", choice=["girl", "boy", "little dog"], temperature=0
        )
        assert (reply.kind, reply.chat) == ("complete", None)
        assert reply.json in {"girl", "boy", "little dog"}
        number = base.complete(
            "Tom had", schema={"type": "integer", "minimum": 10, "maximum": 99}, seed=1
        ).json
        assert 10 <= number <= 99
        with pytest.raises(UnsupportedError, match="base model"):
            base.json("Hello", Answer, chat="main")
    finally:
        base.unload(force=True)
