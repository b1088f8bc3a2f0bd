"""%llama sampling: what it refuses, and what it shows where no page watches."""

import pytest

import llama_nb as llama
from llama_nb.session.distribution import Distribution


@pytest.fixture
def stories(shell, stories260k):
    made = llama.load(str(stories260k), name="stories")
    yield made
    made.unload(force=True)


def test_without_a_page_it_is_the_distribution_at_the_place(shell, stories):
    found = shell('d = %llama sampling "Once upon a time, there"')
    assert found.ok
    made = shell.names["d"]
    assert isinstance(made, Distribution)
    assert made.place == "the next token"
    at = shell('%llama sampling "Once upon a time, there" --position 3').value
    assert at.place == "token 3 of the text"
    assert at.chosen is not None
    body = shell("%%llama sampling --text\nOnce upon a time, there").value
    assert body.to_record() == made.to_record()


def test_the_newest_reply_and_that_of_a_chat(shell, stories):
    stories.complete("Once upon a time", max_tokens=6, seed=1)
    found = shell("%llama sampling --position -1").value
    assert found.place == "token 5 of the reply"


REFUSED = [
    ("%llama sampling", "There is no reply to look at yet"),
    ("%llama sampling --chat nobody", "'nobody' is empty"),
    ('%llama sampling "a b" --position 99', "no position 99"),
    ('%llama sampling "a b" --position x', "invalid int value: 'x'"),
    ('%llama sampling "a b" --chat main', "a text and a chat"),
    ("%llama sampling --postion 3", "--position"),
    ("%llama sampling --model nobody", "nobody"),
]


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_a_mistake_is_named(shell, stories, line, named):
    found = shell(line)
    assert not found.ok
    assert named in str(found.error)


def test_a_remote_model_is_refused_with_what_can(shell, model):
    assert "laboratory needs the logits" in str(shell('%llama sampling "hello"').error)
