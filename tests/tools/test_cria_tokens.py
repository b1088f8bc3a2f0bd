"""Tokenizer, chat template, loss weights and rows."""

import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from tools.cria import conversation, rendering, tokenizer, tool_calls
from tools.cria.rows import RowMaker
from tools.cria.words import seeded

MIXTURE = {"128": {"chat": 1.0, "copies": 1.0, "repeated_tokens": 1.0}, "512": {"tool_chat": 1.0}}


@pytest.fixture(scope="module")
def small() -> Tokenizer:
    return tokenizer.learn(tokenizer.corpus(1, 150), 700, 60)


@pytest.fixture(scope="module")
def loaded(small, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save(small, folder, 1024)
    return AutoTokenizer.from_pretrained(folder)


def test_any_text_comes_back_from_its_tokens(small):
    rng = random.Random(5)
    texts = ["", "  two  spaces ", "\n\n\ttab", "7 + 8 = 15.", "hé ñ 你好 🦙 नमस्ते", "a\u0000b"]
    texts += [
        "".join(chr(rng.choice((rng.randrange(128), rng.randrange(0x2FFF)))) for _ in range(60))
        for _ in range(50)
    ]
    for text in texts:
        assert small.decode(small.encode(text, add_special_tokens=False).ids) == text


def test_every_byte_is_a_token_and_digits_stand_alone(small):
    vocabulary = small.get_vocab()
    assert set(tokenizer.pre_tokenizers.ByteLevel.alphabet()) <= set(vocabulary)
    assert small.encode("2047", add_special_tokens=False).tokens == ["2", "0", "4", "7"]
    assert small.get_vocab_size() == 700


def test_a_rare_word_is_cut_alike_with_and_without_a_space(small):
    for word in ("zorvik", "plunquex", "mivvo"):
        inside = small.encode(f" {word}", add_special_tokens=False).tokens
        assert "".join(inside).removeprefix("Ġ") == word
        assert small.encode(word, add_special_tokens=False).tokens == inside[1:]


def test_plain_text_begins_with_the_mark(loaded):
    assert loaded("Hello").input_ids[0] == loaded.convert_tokens_to_ids(rendering.BOS)
    assert loaded.bos_token == rendering.BOS
    assert loaded.pad_token == rendering.PAD


def _example(number: int) -> tuple[list[dict], list[dict] | None]:
    rng = seeded("template", number)
    messages = [{"role": "system", "content": " Be kind. "}] if number % 2 else []
    messages += [{"role": "user", "content": "Hi\n"}, {"role": "assistant", "content": "Hello!"}]
    if number % 3:
        return messages, None
    return messages + tool_calls.messages(tool_calls.use(rng, "weather")), tool_calls.tool_box(rng)


@pytest.mark.parametrize("number", range(12))
def test_the_template_writes_what_the_trainer_writes(loaded, small, number):
    messages, tools = _example(number)
    pieces = rendering.render(messages, tools)
    text = loaded.apply_chat_template(messages, tools=tools, tokenize=False)
    assert text == "".join(piece for piece, _ in pieces)
    ids, _ = RowMaker(small, 1, MIXTURE).encode(pieces)
    assert loaded.apply_chat_template(messages, tools=tools)["input_ids"] == ids
    prompt = loaded.apply_chat_template(
        messages[:-1], tools=tools, tokenize=False, add_generation_prompt=True
    )
    assert text.startswith(prompt)


def test_the_template_takes_parts_tool_roles_and_no_system(loaded):
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    text = loaded.apply_chat_template(parts, tokenize=False)
    assert text == f"{rendering.BOS}<|start_header_id|>user<|end_header_id|>\n\nHi{rendering.EOT}"
    result = loaded.apply_chat_template([{"role": "tool", "content": {"time": "10:30"}}], tokenize=False)
    assert result.endswith('ipython<|end_header_id|>\n\n{"time": "10:30"}<|eot_id|>')


def test_only_what_the_assistant_writes_has_full_weight(small):
    messages, tools = _example(3)
    ids, weights = RowMaker(small, 1, MIXTURE).encode(rendering.render(messages, tools))
    learned = small.decode(
        [i for i, w in zip(ids, weights, strict=True) if w == 1.0], skip_special_tokens=False
    )
    written = [rendering.call_text(m) + rendering.EOM if m.get("tool_calls") else m["content"] + rendering.EOT
               for m in messages if m["role"] == "assistant"]  # fmt: skip
    assert learned == "".join(written)


def test_rows_are_full_and_a_function_of_their_place(small):
    rows, again = RowMaker(small, 1, MIXTURE), RowMaker(small, 1, MIXTURE)
    for step in range(6):
        ids, weights = rows.row(128, step, 0)
        assert len(ids) == len(weights) == 128
        assert (ids, weights) == again.row(128, step, 0)
        assert max(ids) < small.get_vocab_size()
    assert rows.row(128, 0, 0) != rows.row(128, 0, 1)


def test_conversations_fit_rows():
    long = conversation.long_chat(seeded("long")).pieces
    assert len("".join(text for text, _ in long)) > 3000
