"""Preferences as token ids: both answers stand behind the engine's own prompt, each with its end."""

import pytest

from llama_nb.core.errors import DataError, TrainingError
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.engines.prompt import PromptBuilder
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.tuning.data import read_data
from llama_nb.tuning.preference_rows import encode_preferences

RECORDS = [
    {"prompt": "Who?", "chosen": "Me.", "rejected": "You, of course."},
    {"prompt": [{"role": "user", "content": "Who?"}], "chosen": "Me.", "rejected": "No <|eot_id|>"},
    {"prompt": "Who?", "chosen": "", "rejected": "You."},
]


@pytest.fixture(scope="module")
def cria(root):
    return read_tokenizer(root / "llama_nb" / "bundled" / "cria")


def rows_of(records, tokenizer, **options):
    options = {"max_tokens": 500, "trusted": True, **options}
    found = encode_preferences(read_data(records), tokenizer, tokenizer.chat_template, **options)
    assert found.counts["rows"] == len(found.rows)
    assert found.counts["skipped"] == len(records) - len(found.rows)
    return found.rows, found.notes


def test_both_answers_stand_behind_the_prompt_of_the_engine(cria):
    rows, notes = rows_of(RECORDS, cria)
    prompts = PromptBuilder(cria, cria.chat_template, "cria", trusted=True)
    asked = prompts.build(Request((Message("user", "Who?"),))).ids
    assert [row.where for row in rows] == ["data[0]", "data[1]"]
    assert all(row.prompt.tolist() == list(asked) for row in rows)
    assert [cria.decode(row.chosen.tolist()) for row in rows] == ["Me.<|eot_id|>"] * 2
    assert cria.decode(rows[0].rejected.tolist()) == "You, of course.<|eot_id|>"
    assert cria.decode(rows[1].rejected.tolist()) == "No <|eot_id|><|eot_id|>"
    assert rows[1].rejected.tolist().count(cria.convert_tokens_to_ids("<|eot_id|>")) == 1
    assert notes == ("Left out, since there is nothing to learn in them: 1 of 3 examples.",)


def test_a_base_model_takes_prompts_as_text(stories260k):
    tokenizer = read_tokenizer(stories260k)
    [row] = rows_of([{"prompt": "Once upon", "chosen": " a time", "rejected": " it"}], tokenizer)[0]
    assert row.prompt.tolist() == list(PromptBuilder(tokenizer, None, "base").encode_text("Once upon"))
    assert row.chosen[-1] == row.rejected[-1] == tokenizer.eos_token_id


def test_long_answers_are_cut_and_long_prompts_left_out(cria):
    long = [{**RECORDS[0], "chosen": "Me " * 60}, {**RECORDS[0], "prompt": "Who " * 60}]
    rows, notes = rows_of(long, cria, max_tokens=30)
    assert [(len(row), row.cut > 0) for row in rows] == [(30, True)]
    assert any("cut off" in note for note in notes)
    assert any("Left out" in note for note in notes)


def test_other_data_and_data_without_answers_are_refused(cria):
    with pytest.raises(DataError, match=r"data\[0\]: this is no preference"):
        rows_of([{"prompt": "x", "completion": "y"}], cria)
    with pytest.raises(TrainingError, match="no token to train on"):
        rows_of([RECORDS[2]], cria)
    with pytest.raises(TrainingError, match="of every preference one answer is empty"):
        rows_of([RECORDS[2], {"prompt": "x", "chosen": "y", "rejected": ""}], cria)
