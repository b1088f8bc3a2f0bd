"""The tokenizer of a GGUF cuts text as the model's own tokenizer.json does, control tokens included."""

import random
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from llama_nb import bundled
from llama_nb.core.errors import LoadError
from llama_nb.loading import gguf_tokenizer
from llama_nb.loading.gguf_file import read_gguf
from tests.gguf_models import write_gguf, write_vocabulary

TEXTS = [
    "Once upon a time there was a girl.", " two  spaces\n\nnew 1234567 lines é漢字", "<s>a</s>", "", "   ",
    "<|eot_id|>hi<|start_header_id|> there", "I'm don't 'Re WE'LL", "tab\there  \n \n x", "😀🏳️‍🌈 emoji",
    "\n", "def f(x):\n    return x**2 # ok", "日本語テキスト русский العربية", "CamelCase ALLCAPS",
    "a" * 300, "[PAD1] <0x41> ▁x", "\u00a0nbsp", "https://a.b/c?d=e&f=1,000.00",
]  # fmt: skip
PIECES = ["a", "B", " ", "\n", "1", "é", "漢", ".", "'s", "<s>", "token", "ing", "\t", "😀", "<|eot_id|>"]


def texts() -> list[str]:
    draw = random.Random(0)
    return [*TEXTS, *("".join(draw.choices(PIECES, k=30)) for _ in range(200))]


def same(ours: Any, theirs: Any) -> None:
    for text in texts():
        ids = theirs(text).input_ids
        assert ours(text).input_ids == ids, text
        assert ours.decode(ids) == theirs.decode(ids)
        plain = theirs(text, add_special_tokens=False).input_ids
        assert ours(text, add_special_tokens=False).input_ids == plain
    assert len(ours) == len(theirs)
    assert (ours.bos_token, ours.eos_token) == (theirs.bos_token, theirs.eos_token)
    added = [one.backend_tokenizer.get_added_tokens_decoder() for one in (ours, theirs)]
    known = [{number: (token.content, token.special) for number, token in one.items()} for one in added]
    assert known[0] == known[1]


@pytest.mark.parametrize("model", ["stories260k", "llama3_tokenizer"])
def test_it_cuts_text_as_the_original(tmp_path: Path, model: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(model)
    header = read_gguf(write_vocabulary(folder, tmp_path / "v.gguf"))
    same(gguf_tokenizer.read(header), PreTrainedTokenizerFast.from_pretrained(folder))


def test_a_tokenizer_json_in_the_file_is_taken(tmp_path: Path) -> None:
    folder = bundled.folder("cria")
    path = write_gguf(folder, tmp_path / "m.gguf", pre="cria's own", whole_tokenizer=True)
    ours = gguf_tokenizer.read(read_gguf(path))
    same(ours, PreTrainedTokenizerFast.from_pretrained(folder))
    assert ours.chat_template == (folder / "chat_template.jinja").read_text()


def test_rules_that_are_not_known_are_refused(tmp_path: Path) -> None:
    path = write_gguf(bundled.folder("cria"), tmp_path / "m.gguf", pre="cria's own")
    with pytest.raises(LoadError, match=r"m\.gguf cuts text by rules called \"cria's own\""):
        gguf_tokenizer.read(read_gguf(path))


def test_texts_of_a_gpt2_begin_with_nothing(tmp_path: Path) -> None:
    folder = bundled.folder("cria")
    plain = gguf_tokenizer.read(
        read_gguf(write_gguf(folder, tmp_path / "m.gguf", pre="gpt-2", drop="tokenizer.ggml.add_bos_token"))
    )
    first = gguf_tokenizer.read(
        read_gguf(write_gguf(folder, tmp_path / "n.gguf", drop="tokenizer.ggml.add_bos_token"))
    )
    assert first("a").input_ids == [2040, *plain("a").input_ids]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"tokenizer.ggml.model": "bert"}, "of kind 'bert'"),
        ({"tokenizer.huggingface.json": "{}"}, "is damaged"),
        ({"tokenizer.huggingface.json": "[" * 100_000}, "is damaged"),
    ],
)
def test_what_is_no_tokenizer_of_a_llama(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    path = write_gguf(bundled.folder("cria"), tmp_path / "m.gguf", keys=keys)
    with pytest.raises(LoadError, match=says):
        gguf_tokenizer.read(read_gguf(path))


def test_a_tokenizer_json_of_another_model(tmp_path: Path, stories260k: Path) -> None:
    other = (bundled.folder("cria") / "tokenizer.json").read_text()
    path = write_gguf(stories260k, tmp_path / "m.gguf", keys={"tokenizer.huggingface.json": other})
    with pytest.raises(LoadError, match="2,048 tokens beside 512"):
        gguf_tokenizer.read(read_gguf(path))


@pytest.mark.parametrize(
    ("keys", "rows", "says"),
    [
        ({}, 500, "512 tokens for an embedding of 500 rows"),
        ({"tokenizer.ggml.bos_token_id": 512}, 512, "bos token is number 512 of 512"),
        ({"tokenizer.ggml.eos_token_id": 2**31}, 512, "eos token is number 2,147,483,648 of 512"),
    ],
)
def test_numbers_that_are_none_of_the_tokens(
    tmp_path: Path, stories260k: Path, keys: dict[str, Any], rows: int, says: str
) -> None:
    header = read_gguf(write_gguf(stories260k, tmp_path / "m.gguf", keys=keys))
    with pytest.raises(LoadError, match=says):
        gguf_tokenizer.check_tokenizer(header, rows)
