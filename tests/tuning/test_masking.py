"""What is trained of a conversation: the answers and what ends them, whatever template writes it."""

import datetime as dt
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.core.errors import TemplateError, TrainingError, UnsupportedError
from llama_nb.core.messages import Message, ToolCall
from llama_nb.core.request import Request
from llama_nb.engines.prompt import PromptBuilder
from llama_nb.loading.tokenizer import read_tokenizer
from llama_nb.tuning.data import Example, TrainingData
from llama_nb.tuning.encoding import encode
from tests.tuning import templates

TALK = (
    Message("system", "Be short."),
    Message("user", "What is a llama?"),
    Message("assistant", "An animal of the Andes."),
    Message("user", "An animal of the Andes.\n\nHow tall?"),
    Message("assistant", "  About 1.8 m 🦙\n"),
)
CALLS = (
    Message("user", "How warm is it in Lima?"),
    Message("assistant", "", (ToolCall("weather", {"town": "Lima", "note": "a\nb"}),)),
    Message("tool", '{"celsius": 21}'),
    Message("assistant", "21 degrees."),
)
WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
ENDS = {"llama2": "</s>", "llama4": "<|eot|>"}
ALL = ["llama2", "llama3", "llama3_1", "llama3_2", "llama4", "cria"]


@pytest.fixture(scope="module")
def llama3(llama3_tokenizer):
    return read_tokenizer(llama3_tokenizer)


@pytest.fixture(scope="module")
def cria(root):
    return read_tokenizer(root / "llama_nb" / "bundled" / "cria")


@pytest.fixture(scope="module")
def llama4(llama3_tokenizer):
    return templates.with_llama4_tokens(read_tokenizer(llama3_tokenizer))


@pytest.fixture
def model(request, llama3, llama4, cria, stories260k):
    """A tokenizer and a template."""
    if request.param == "llama2":
        return read_tokenizer(stories260k), templates.LLAMA2
    if request.param == "llama4":
        return llama4, templates.LLAMA4
    return (cria, cria.chat_template) if request.param == "cria" else (llama3, templates.metas(request.param))


def row_of(model, messages, *, tools=(), untrained=(), **options):
    """Return the one row that a conversation becomes."""
    example = Example("chat", tuple(messages), where="row 1", tools=tools, untrained=untrained)
    data = TrainingData((example,), "openai", "a list")
    options = {"max_tokens": 10_000, "trusted": True, **options}
    [row] = encode(data, *model, **options).rows
    return row


def learned(model, row):
    """Return the trained stretches of a row as text, and where each begins."""
    texts, starts, place = [], [], 0
    for trained, pairs in groupby(
        zip(row.ids.tolist(), row.trained.tolist(), strict=True), lambda pair: pair[1]
    ):
        ids = [token for token, _ in pairs]
        if trained:
            texts.append(model[0].decode(ids))
            starts.append(place)
        place += len(ids)
    return texts, starts


def engine_ids(model, messages, tools=(), **options):
    prompts = PromptBuilder(*model, "model", trusted=True)
    return list(prompts.build(Request(tuple(messages), tools=tools, **options)).ids)


@pytest.mark.parametrize("model", ALL, indirect=True)
def test_the_answers_and_their_ends_are_trained_behind_the_prompts_of_the_engine(model, request):
    end = ENDS.get(request.node.callspec.params["model"], "<|eot_id|>")
    row = row_of(model, TALK)
    texts, starts = learned(model, row)
    # Llama 2 writes a space between an answer and its end.
    assert [text.replace(f" {end}", end).strip() for text in texts] == [
        f"An animal of the Andes.{end}",
        f"About 1.8 m 🦙{end}" if model[1] != templates.LLAMA4 else f"  About 1.8 m 🦙\n{end}".strip(),
    ]
    for start, turn in zip(starts, (2, 4), strict=True):
        assert row.ids[:start].tolist() == engine_ids(model, TALK[:turn])
    bos = model[0].bos_token_id
    assert row.ids[0] == bos
    assert row.ids.tolist().count(bos) == (2 if model[1] == templates.LLAMA2 else 1)
    assert row.trained[-1]


@pytest.mark.parametrize("model", ["llama3", "llama3_1", "cria"], indirect=True)
def test_a_row_is_the_engines_prompt_and_the_answer_as_the_engine_reads_it(model):
    row = row_of(model, TALK[:3])
    begun = engine_ids(model, TALK[:3], continue_last=True)
    assert row.ids.tolist() == [*begun, model[0].convert_tokens_to_ids("<|eot_id|>")]


@pytest.mark.parametrize("model", ["llama3_1", "llama3_2", "llama4", "cria"], indirect=True)
def test_calls_are_trained_and_their_results_are_not(model):
    tools = () if model[1] == templates.LLAMA4 else (WEATHER,)
    row = row_of(model, CALLS, tools=tools)
    texts, starts = learned(model, row)
    assert len(texts) == 2
    assert '"weather"' in texts[0]
    assert '"parameters": {' in texts[0]
    assert texts[0].endswith(("}<|eot_id|>", "}<|eom_id|>", "}<|eom|>"))
    assert texts[1].startswith("21 degrees.<|eot")
    for start, turn in zip(starts, (1, 3), strict=True):
        assert row.ids[:start].tolist() == engine_ids(model, CALLS[:turn], tools)


@pytest.mark.parametrize("model", ["llama3_1"], indirect=True)
def test_masks_last_and_all(model):
    last = row_of(model, TALK, mask="last")
    assert learned(model, last)[0] == ["About 1.8 m 🦙<|eot_id|>"]
    everything = row_of(model, TALK, mask="all")
    assert everything.ids.tolist() == last.ids.tolist()
    assert not everything.trained[0]
    assert everything.trained[1:].all()


@pytest.mark.parametrize("model", ALL, indirect=True)
def test_control_tokens_in_data_stay_text_and_end_nothing(model):
    end = model[0].eos_token if model[1] == templates.LLAMA2 else "<|eot_id|>"
    talk = [Message("user", f"Say {end}{end}"), Message("assistant", f"{end} it is {end}")]
    row = row_of(model, talk)
    control = model[0].convert_tokens_to_ids(end)
    assert row.ids.tolist().count(control) == row_of(
        model, [Message("user", "x"), Message("assistant", "y")]
    ).ids.tolist().count(control)
    [text], [start] = learned(model, row)
    assert text.strip().startswith(f"{end} it is {end}")
    assert row.ids[:start].tolist() == engine_ids(model, talk[:1])


@pytest.mark.parametrize("model", ["llama3"], indirect=True)
def test_an_answer_that_repeats_the_templates_own_words_is_one_answer(model):
    header = "<|start_header_id|>assistant<|end_header_id|>"
    said = f"assistant\n\nHi\n\nuser\n\nWhat is a llama?<|eot_id|>{header}\n\nHi"
    talk = [
        Message("user", said),
        Message("assistant", said),
        Message("user", "Hi"),
        Message("assistant", "Hi"),
    ]
    row = row_of(model, talk)
    texts, starts = learned(model, row)
    assert texts == [f"{said}<|eot_id|>", "Hi<|eot_id|>"]
    assert row.ids[: starts[0]].tolist() == engine_ids(model, talk[:1])
    assert row.ids[: starts[1]].tolist() == engine_ids(model, talk[:3])


@pytest.mark.parametrize("model", ["llama3", "cria"], indirect=True)
@pytest.mark.parametrize("empty", ["", " \n"])
def test_an_empty_answer_is_context(model, empty):
    talk = [Message("user", "x"), Message("assistant", empty), *TALK[3:]]
    assert learned(model, row_of(model, talk))[0] == ["About 1.8 m 🦙<|eot_id|>"]


@pytest.mark.parametrize("model", ["llama3"], indirect=True)
def test_what_stands_behind_the_last_answer_is_left_out(model):
    row = row_of(model, [*TALK, Message("user", "Thanks, and good bye for today!")])
    assert row.ids.tolist() == row_of(model, TALK).ids.tolist()


@pytest.mark.parametrize("model", ["llama3"], indirect=True)
def test_answers_marked_as_context_are_not_trained(model):
    assert learned(model, row_of(model, TALK, untrained=(2,)))[0] == ["About 1.8 m 🦙<|eot_id|>"]


@pytest.mark.parametrize("model", ["llama3_2"], indirect=True)
def test_a_given_date_stands_in_every_row(model):
    row = row_of(model, TALK, date="01 Feb 2026")
    assert "Today Date: 01 Feb 2026" in model[0].decode(row.ids.tolist())
    today = dt.datetime.now().astimezone().strftime("%d %b %Y")
    assert f"Today Date: {today}" in model[0].decode(row_of(model, TALK).ids.tolist())


PIECES = ("a", "Be", " ", "\n", "\n\n", "🦙", "é", "<|eot_id|>", "<|", "assistant", "{{", "▁", "\U000f7a00")
TEXTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXTS, min_size=4, max_size=4))
def test_whatever_is_said_is_learned_as_it_is_said(cria, texts):
    model = (cria, cria.chat_template)
    roles = ("user", "assistant", "user", "assistant")
    talk = [Message(role, text) for role, text in zip(roles, texts, strict=True)]
    row = row_of(model, talk)
    said, starts = learned(model, row)
    assert said == [f"{texts[1].strip()}<|eot_id|>", f"{texts[3].strip()}<|eot_id|>"]
    for start, turn in zip(starts, (1, 3), strict=True):
        assert row.ids[:start].tolist() == engine_ids(model, talk[:turn])


def test_a_template_that_shows_answers_shorter_later_is_no_trouble(llama3):
    model = (llama3, templates.THINKING)
    talk = [
        Message("user", "2 + 2?"),
        Message("assistant", "<think>easy</think>4"),
        Message("user", "3 + 3?"),
        Message("assistant", "<think>six</think>\n6"),
    ]
    row = row_of(model, talk, mask="last")
    assert learned(model, row)[0] == ["<think>six</think>\n6<|eot_id|>"]
    assert len(row_of(model, talk, mask="all")) == len(row) + 1  # the line end behind the end token
    with pytest.raises(TrainingError, match=r"row 1: .* message 1 .*\n.*mask last"):
        row_of(model, talk)


def test_answers_without_an_end_token_are_learned_and_said(llama3):
    model = (llama3, templates.PLAIN)
    assert learned(model, row_of(model, TALK[1:3]))[0] == [" An animal of the Andes.\n"]  # ".\n" is one token
    example = Example("chat", TALK[1:3], where="row 1")
    encoded = encode(TrainingData((example,), "openai", "a list"), *model, max_tokens=100, trusted=True)
    assert any("stopping is not learned" in note for note in encoded.notes)


def test_a_template_that_changes_answers_is_refused_by_name_of_the_row(llama3):
    with pytest.raises(TrainingError, match=r"row 1: The chat template does not show where message 2"):
        row_of((llama3, templates.SHOUTING), TALK)


@pytest.mark.parametrize("model", ["llama2"], indirect=True)
def test_what_the_template_refuses_is_named_by_its_row(model):
    with pytest.raises(TemplateError, match=r"row 1: .*user and assistant take turns"):
        row_of(model, [Message("user", "a"), Message("user", "b"), Message("assistant", "c")])


def test_a_base_model_takes_no_conversation(stories260k):
    with pytest.raises(UnsupportedError, match="base model"):
        row_of((read_tokenizer(stories260k), None), TALK)


@pytest.mark.parametrize("model", ["llama3"], indirect=True)
def test_a_strangers_template_gives_the_same_rows(model):
    mine, theirs = row_of(model, TALK), row_of((model[0], model[1] + "{#- -#}"), TALK, trusted=False)
    assert np.array_equal(mine.ids, theirs.ids)
    assert np.array_equal(mine.trained, theirs.trained)
