"""A real tokenizer cut to size is still one: it loads, and writes what it reads."""

import json

import pytest

from benchmarks.subjects import write_tokenizer
from llama_nb.loading.tokenizer import check_tokenizer, read_tokenizer


@pytest.mark.parametrize("tokens", [1000, 32_000])
def test_a_cut_vocabulary(llama3_tokenizer, tmp_path, tokens):
    folder = write_tokenizer(tmp_path, tokens, llama3_tokenizer)
    assert check_tokenizer(folder, tokens).ids == tokens
    tokenizer = read_tokenizer(folder)
    text = "Grouped-query attention shares keys and values."
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert max(ids) < tokens
    whole = json.loads((llama3_tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [whole[token] for token in tokenizer.convert_ids_to_tokens(ids)] == ids


def test_a_whole_vocabulary_is_copied(llama3_tokenizer, tmp_path):
    folder = write_tokenizer(tmp_path, 128_256, llama3_tokenizer)
    assert (folder / "tokenizer.json").stat().st_size == (llama3_tokenizer / "tokenizer.json").stat().st_size
