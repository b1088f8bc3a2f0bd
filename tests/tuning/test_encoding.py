"""Rows of tokens: texts and pairs of base models, rows that are too long, data that teaches nothing."""

from itertools import pairwise

import numpy as np
import pytest

from llama_nb.core.errors import DataError, TrainingError, UnsupportedError
from llama_nb.core.request import Request
from llama_nb.engines.prompt import PromptBuilder
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.tuning.data import read_data
from llama_nb.tuning.encoding import encode


@pytest.fixture(scope="module")
def cria(root):
    return read_tokenizer(root / "llama_nb" / "bundled" / "cria")


@pytest.fixture(scope="module")
def base(stories260k):
    return read_tokenizer(stories260k)


def encoded(records, tokenizer, **options):
    options = {"max_tokens": 10_000, "trusted": True, **options}
    return encode(read_data(records), tokenizer, tokenizer.chat_template, **options)


def learned(row, tokenizer):
    return tokenizer.decode(row.ids[row.trained].tolist())


def test_a_text_is_learned_wholly_with_its_end(base):
    [row] = encoded(["Once upon a time"], base).rows
    assert row.ids.tolist() == [1, *base.encode("Once upon a time", add_special_tokens=False), 2]
    assert row.ids.dtype == np.int32
    assert row.trained.tolist() == [False] + [True] * (len(row) - 1)
    [again] = encoded(["<s>Once upon a time</s>"], base).rows
    assert again.ids.tolist() == row.ids.tolist()


def test_a_pair_of_a_base_model_is_its_prompt_and_the_rest(base):
    prompts = PromptBuilder(base, None, "base")
    for prompt, completion in (("Once upon", " a time"), ("Tom said:\n", "Hello.")):
        [row] = encoded([{"prompt": prompt, "completion": completion}], base).rows
        asked = prompts.build(Request(prompt)).ids
        assert row.ids[: len(asked)].tolist() == list(asked)
        assert not row.trained[: len(asked)].any()
        assert row.trained[len(asked) :].all()
        assert base.decode(row.ids.tolist(), skip_special_tokens=True).strip() == prompt + completion
        assert row.ids[-1] == base.eos_token_id
    [glued] = encoded([{"prompt": "Who?", "completion": "Tom."}], base).rows
    assert base.decode(glued.ids.tolist(), skip_special_tokens=True).strip() == "Who?\nTom."
    [whole] = encoded([{"prompt": "Who?", "completion": "Tom."}], base, mask="all").rows
    assert whole.trained[1:].all()


def test_a_pair_of_a_chat_model_is_a_conversation(cria):
    pair = encoded([{"prompt": "Who?", "completion": "Tom."}], cria).rows[0]
    turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Tom."}]
    chat = encoded([{"messages": turns}], cria).rows[0]
    assert pair.ids.tolist() == chat.ids.tolist()
    assert pair.trained.tolist() == chat.trained.tolist()
    assert learned(pair, cria) == "Tom.<|eot_id|>"


LONG = [{"prompt": "Say it.", "completion": "word " * 50}, {"prompt": "Say it.", "completion": "word"}]


def test_long_rows_are_cut_and_counted(cria):
    found = encoded(LONG, cria, max_tokens=30)
    assert [(len(row), row.cut > 0) for row in found.rows] == [(30, True), (len(found.rows[1]), False)]
    assert found.rows[0].cut == len(encoded(LONG, cria).rows[0]) - 30
    assert (found.counts["rows"], found.counts["cut"], found.counts["skipped"]) == (2, 1, 0)
    assert found.counts["tokens"] == sum(map(len, found.rows))
    assert found.counts["trained"] == sum(int(row.trained.sum()) for row in found.rows)
    assert found.notes == (
        f"Longer than 30 tokens: 1 of 2 examples; cut off in all: {found.rows[0].cut} tokens.",
    )


def test_long_rows_are_skipped_or_refused_if_asked(cria):
    found = encoded(LONG, cria, max_tokens=30, overlong="skip")
    assert [row.where for row in found.rows] == ["data[1]"]
    assert found.counts["skipped"] == 1
    assert found.notes == ("Longer than 30 tokens, and skipped: 1 of 2 examples.",)
    with pytest.raises(
        DataError, match=r"data\[0\] has \d+ tokens, the longest row is 30.\n.*max_tokens=\d+"
    ):
        encoded(LONG, cria, max_tokens=30, overlong="error")


def test_a_row_whose_answer_is_cut_away_is_left_out(cria):
    records = [{"prompt": "word " * 50, "completion": "Yes."}, *LONG]
    found = encoded(records, cria, max_tokens=30)
    assert [row.where for row in found.rows] == ["data[1]", "data[2]"]
    assert found.counts["skipped"] == 1
    assert "Left out, since the answer lies behind 30 tokens: 1 of 3 examples." in found.notes


def test_empty_answers_are_left_out_and_counted(cria, base):
    for tokenizer in (cria, base):
        found = encoded([{"prompt": "a", "completion": said} for said in ("b", " ", "")], tokenizer)
        assert [row.where for row in found.rows] == ["data[0]"]
        assert found.counts["empty"] == 2
        assert found.notes == ("Left out, since there is nothing to learn in them: 2 of 3 examples.",)
    assert encoded(["x", ""], base).counts["empty"] == 1


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        ([{"messages": [{"role": "user", "content": "<b>Hi</b>"}]}], {},
         r"in data\[0\] none of the \d+ tokens is an answer \(mask assistant\). It reads: '.*<b>Hi</b>"),
        ([{"prompt": "word " * 50, "completion": "Yes."}], {"max_tokens": 20},
         r"in data\[0\] the answer begins at token \d+, behind the 20 (.|\n)*max_tokens=\d+"),
        ([{"prompt": "x", "completion": ""}], {}, r"in data\[0\] none of the \d+ tokens is an answer"),
        (["", " "], {}, "all 2 examples are empty"),
    ],
)  # fmt: skip
def test_data_of_which_nothing_is_learned_is_refused_with_a_sample(cria, records, options, message):
    with pytest.raises(TrainingError, match=rf"There is no token to train on: {message}"):
        encoded(records, cria, **options)


@pytest.mark.parametrize("most", [3, 10, 11, 40])
def test_a_long_text_goes_on_in_further_rows(base, most):
    text = "Once upon a time there was a llama."
    [whole] = encoded([text], base).rows
    found = encoded([text], base, max_tokens=most)
    assert all(len(row) <= most and row.ids[0] == base.bos_token_id for row in found.rows)
    learned = [token for row in found.rows for token in row.ids[row.trained].tolist()]
    assert learned == whole.ids[1:].tolist()
    for row, after in pairwise(found.rows):
        assert after.ids[1] == row.ids[-1]
        assert after.where.startswith("data[0], part ")
    assert found.counts["split"] == (most < len(whole))
    if most < len(whole):
        rest = f"1 of 1 examples, which go on in further rows: {len(found.rows)} in all."
        assert found.notes == (f"Longer than {most} tokens: {rest}",)
    assert encoded([text, "Tom"], base, max_tokens=8, overlong="skip").counts["skipped"] == 1


def test_a_base_model_learns_no_conversations(base):
    turns = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}]
    with pytest.raises(
        UnsupportedError, match=r"data\[0\] is a conversation, and the model, a base model(.|\n)*texts"
    ):
        encoded([{"messages": turns}], base)


def test_who_waits_is_served_between_examples_and_may_end_the_work(cria):
    calls = []
    encoded([{"prompt": "x", "completion": "y"}] * 130, cria, between=lambda: calls.append(1))
    assert len(calls) == 2
    with pytest.raises(ZeroDivisionError):
        encoded([{"prompt": "x", "completion": "y"}] * 130, cria, between=lambda: 1 / 0)


def test_preferences_are_for_another_objective(cria):
    with pytest.raises(DataError, match=r"data\[0\]: a preference has two answers(.|\n)*dpo"):
        encoded([{"prompt": "x", "chosen": "a", "rejected": "b"}], cria)


@pytest.mark.parametrize(("option", "value"), [("mask", "asistant"), ("overlong", "skipp")])
def test_mistyped_options_are_corrected(cria, option, value):
    with pytest.raises(TrainingError, match=rf"{option} is '{value}'(.|\n)*Did you mean"):
        encoded(LONG, cria, **{option: value})
