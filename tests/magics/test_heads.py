"""%llama heads: on random tokens, a text, a chat's reply; and what it refuses."""

import pytest

import llama_nb as llama
from llama_nb.interpret.head_scores import HeadScores


@pytest.fixture
def stories(shell, stories260k):
    made = llama.load(str(stories260k), name="stories")
    yield made
    made.unload(force=True)


def test_all_scores_and_one(shell, stories):
    found = shell("scores = %llama heads")
    assert found.ok
    every = shell.names["scores"]
    assert isinstance(every, HeadScores)
    assert every.title == "random tokens, twice"
    one = shell("%llama heads --kind previous").value
    assert [kind.name for kind in one.kinds] == ["previous"]
    assert one.scores["previous"].tolist() == every.scores["previous"].tolist()


def test_a_text_on_the_line_and_in_the_cell(shell, stories):
    line = shell('%llama heads "Once upon a time" --kind sink').value
    cell = shell("%%llama heads kept << --kind sink\nOnce upon a time").value
    assert (line.title, line.tokens) == ("text", len(stories.tokens("Once upon a time")) + 1)
    assert shell.names["kept"].scores["sink"].tolist() == line.scores["sink"].tolist()
    assert cell is None or cell is shell.names["kept"]


REFUSED = [
    ("%llama heads --kind inducton", "--kind is 'inducton'"),
    ("%llama heads --chat nobody", "nobody"),
    ('%llama heads "a b" --chat main', "a text and a chat"),
    ("%%llama heads\n  ", "no text"),
    ("%%llama heads\n", "no text"),
    ("%llama heads --model nobody", "nobody"),
]


@pytest.mark.parametrize(("line", "named"), REFUSED)
def test_a_mistake_is_named(shell, stories, line, named):
    found = shell(line)
    assert not found.ok
    assert named in str(found.error)


def test_a_remote_model_is_refused_with_what_can(shell, model):
    error = shell("%llama heads").error
    assert "in this kernel" in str(error)
