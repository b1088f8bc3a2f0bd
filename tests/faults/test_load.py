"""A model's folder that is damaged, contradicts itself or holds something else: refused with a sentence.

What the answer must name stands in each row; the same bytes are in the folder afterwards.
"""

import json
import os
import pickle
import struct
from pathlib import Path

import pytest
import torch

from llama_nb.loading.headers import read_header
from llama_nb.loading.open import load_checked
from tests.faults.broken_models import (
    INDEX,
    Bomb,
    Row,
    config,
    cut,
    gguf,
    header,
    index_entry,
    linked_outside,
    only,
    only_gguf,
    refuse,
    remove,
    rename_tensors,
    sharded,
    shards,
    together,
    weights,
    write,
)  # fmt: skip
from tests.models import edit_json

LFS = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 442208\n"
)
PAGE = "<!DOCTYPE html><html><head><title>Log in</title></head><body>Please log in</body></html>"
SAFE, TOKENIZER = "model.safetensors", "tokenizer.json"


def norm(**changes: object) -> object:
    """Change what the header says of one tensor."""
    return header(lambda entries: entries["model.norm.weight"].update(changes))


DAMAGED = (
    Row("cut in half", cut(lambda size: size // 2), (SAFE, "522,496", "1,044,992", "cut", "hf download")),
    Row("one byte short", cut(lambda size: size - 1), ("1,044,991", "1,044,992", "cut")),
    Row("cut inside the header", cut(lambda size: 100), (SAFE, "header", "100 bytes", "cut")),
    Row("seven bytes", cut(lambda size: 7), (SAFE, "7 bytes", "cut")),
    Row("empty weights", cut(lambda size: 0), (SAFE, "empty")),
    Row("bytes after the end", lambda m: weights(m).open("ab").write(b"x"), ("1,044,993", "damaged")),
    Row("a web page as weights", write(SAFE, PAGE), ("web page", "log-in", "licence")),
    Row("a web page as config", write("config.json", "\n  " + PAGE), ("config.json", "web page")),
    Row("a web page as tokenizer", write(TOKENIZER, PAGE), (TOKENIZER, "web page")),
    Row("an XML error as weights", write(SAFE, "<?xml version='1.0'?><Error>"), ("error message",)),
    Row("a text as weights", write(SAFE, "Entry not found, sorry"), ("Entry not found",)),
    Row("JSON as weights", write(SAFE, '{"error": "Repository not found"}'), ("Repository not",)),
    Row("an LFS pointer", write(SAFE, LFS), ("Git LFS pointer", "442,208", "git lfs pull")),
    Row("an LFS pointer as tokenizer", write(TOKENIZER, LFS), (TOKENIZER, "git lfs pull")),
    Row("noise as weights", write(SAFE, bytes(range(128, 256)) * 9), ("not a safetensors file",)),
    Row("a header that is no JSON", write(SAFE, b"\x05" + b"\0" * 7 + b"{abc\xff" * 9), ("damaged",)),
    Row("a header that is a list", write(SAFE, b"\x02" + b"\0" * 7 + b"[]"), ("header", "list")),
    Row("a header of 99 MB", write(SAFE, struct.pack("<Q", 99_000_000) + b"{"), ("cut", "99,000,008")),
    Row("overlapping tensors", norm(data_offsets=[0, 256]), ("overlap",)),
    Row("a negative shape", norm(shape=[-64]), ("model.norm.weight",)),
    Row("a shape of text", norm(shape="64"), ("model.norm.weight",)),
    Row("an unknown dtype", norm(dtype="F33"), ("F33",)),
    Row("a dtype that is a list", norm(dtype=["F32"]), ("model.norm.weight",)),
    Row("a tensor that is null", header(lambda h: h.update({"x.weight": None})), ("x.weight",)),
    Row("weights that are a folder", together(remove(SAFE), lambda m: weights(m).mkdir()), ("not a file",)),
    Row("weights that are a pipe", together(remove(SAFE), lambda m: os.mkfifo(weights(m))), ("not a file",)),
    Row("weights without rights", lambda m: weights(m).chmod(0), (SAFE, "cannot be read")),
)  # fmt: skip

CONTRADICTIONS = (
    Row("hidden size", config(hidden_size=128),
        ("hidden_size", "config says 128", "weights 64", "config.json is from another model")),
    Row("vocabulary", config(vocab_size=600), ("vocab_size: config says 600, weights 512",)),
    Row("feed-forward width", config(intermediate_size=256),
        ("intermediate_size: config says 256, weights 172",)),
    Row("key/value heads", config(num_key_value_heads=2), ("num_key_value_heads: config says 2, weights 4",)),
    Row("heads", config(num_attention_heads=16), ("num_attention_heads: config says 16, weights 8",)),
    Row("head width", config(head_dim=16), ("head_dim: config says 16, weights 8", "128 x 64", "64 x 64")),
    Row("two layers missing", config(num_hidden_layers=7),
        ("9 tensors missing in each of layers 5 and 6", "says 7 layers", "hold 5")),
    Row("a layer missing", config(num_hidden_layers=6), ("9 tensors missing in layer 5",)),
    Row("30 layers missing", config(num_hidden_layers=35), ("9 tensors missing in each of layers 5 to 34",)),
    Row("two layers too many", config(num_hidden_layers=3),
        ("layers 3 and 4", "more than config.json describes")),
    Row("untied without a head", config(tie_word_embeddings=False),
        ("lm_head.weight missing", "tie_word_embeddings")),
    Row("biases", config(attention_bias=True), ("4 tensors missing in each of layers 0 to 4",)),
    Row("another prefix", rename_tensors("model.", "transformer."), ("named otherwise", "transformer.")),
    Row("one tensor gone", rename_tensors("model.norm.weight", "other.scale"),
        ("model.norm.weight missing", "other.scale")),
    Row("integer weights", norm(dtype="I32"), ("model.norm.weight", "I32")),
)  # fmt: skip

CONFIGS = (
    Row("no config", remove("config.json"), ("config.json", TOKENIZER, SAFE)),
    Row("an empty config", write("config.json", ""), ("config.json", "empty")),
    Row("a broken config", write("config.json", '{"model_type": "llama",\n  "hidden_size": 64,,\n}'),
        ("line 2", "column 21", "64,,")),
    Row("a cut config", cut(lambda size: 100, "config.json"), ("config.json", "line", "column")),
    Row("a config that is a list", write("config.json", "[1]"), ("config.json", "list")),
    Row("a config in Latin-1", write("config.json", b'{"a": "\xe9"}'), ("config.json", "UTF-8")),
    Row("100,000 brackets", write("config.json", "[" * 100_000), ("config.json", "nested")),
    Row("an empty object", write("config.json", "{}"), ("model_type", "llama")),
    Row("an unknown kind", config(model_type="lama"), ("'lama'", "llama", "Did you mean 'llama'")),
    Row("a kind of another family", config(model_type="bert"), ("'bert'", "llama")),
    Row("a kind that is a number", config(model_type=7), ("7", "llama")),
    Row("a kind that is a list", config(model_type=["llama"]), ("llama",)),
    Row("a classifier", config(architectures=["LlamaForSequenceClassification"]), ("Classification", "text")),
    Row("a size that is text", config(hidden_size="64"), ("hidden_size", "'64'")),
    Row("a size of zero", config(num_hidden_layers=0), ("num_hidden_layers", "0")),
    Row("a billion layers", config(num_hidden_layers=10**9), ("num_hidden_layers", "1000000000")),
    Row("no size", config(intermediate_size=None), ("intermediate_size",)),
    Row("heads that do not divide", config(num_key_value_heads=3), ("8", "3", "multiple")),
    Row("an unknown activation", config(hidden_act="sillu"), ("hidden_act 'sillu'",)),
    Row("an unknown rope", config(rope_parameters={"rope_type": "banana", "rope_theta": 1e4}),
        ("rope_type 'banana'",)),
    Row("quantised by its config only", config(quantization_config={"quant_method": "gptq", "bits": 4}),
        ("21 tensors missing in each of layers 0 to 4",)),
    Row("custom code", config(auto_map={"AutoModelForCausalLM": "modeling.Evil"}), ("auto_map", "refused")),
)  # fmt: skip

TOKENIZERS = (
    Row("no tokenizer", remove(TOKENIZER), ("tokenizer.json is missing",)),
    Row("only SentencePiece", together(remove(TOKENIZER), write("tokenizer.model", b"\n\x0b")),
        ("tokenizer.json is missing", "tokenizer.model")),
    Row("an empty tokenizer", write(TOKENIZER, "{}"), (TOKENIZER, "not a tokenizer")),
    Row("a tokenizer with a number", write(TOKENIZER, '{"model": 3}'), ("not a tokenizer",)),
    Row("half a tokenizer",
        write(TOKENIZER, json.dumps({"model": {"type": "BPE", "vocab": {str(n): n for n in range(512)}}})),
        ("not a tokenizer", "added_tokens")),
    Row("ids of letters", write(TOKENIZER, '{"model": {"vocab": {"a": "b"}}}'), ("not a tokenizer", "ids")),
    Row("more tokens than rows",
        lambda m: edit_json(m / TOKENIZER, added_tokens=[{"id": 600, "content": "<x>", "special": True}]),
        ("601", "512", "another model")),
    Row("far fewer tokens than rows",
        write(TOKENIZER, '{"model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []}}'),
        ("2 tokens", "512", "another model")),
    Row("broken settings", write("tokenizer_config.json", "{"), ("tokenizer_config.json", "line 1")),
    Row("a tokenizer with custom code",
        lambda m: edit_json(m / "tokenizer_config.json", auto_map={"AutoTokenizer": ["tok.Evil", None]}),
        ("tokenizer_config.json", "auto_map", "refused")),
)  # fmt: skip


def adapter(model: Path) -> None:
    (model / "config.json").unlink()
    weights(model).rename(model / "adapter_model.safetensors")
    write("adapter_config.json", '{"base_model_name_or_path": "meta-llama/Llama-3.2-1B"}')(model)


FILES = (
    Row("no weights", remove(SAFE), ("no weights", "config.json", TOKENIZER)),
    Row("a pickle", only("pytorch_model.bin", pickle.dumps(Bomb())),
        ("pytorch_model.bin", "refused", "python -m llama_nb.loading.convert")),
    Row("a .pth pickle", only("consolidated.00.pth", pickle.dumps(Bomb())),
        ("consolidated.00.pth", "refused")),
    Row("a pickle named safetensors", write(SAFE, pickle.dumps(Bomb())), ("pickle", "not read")),
    Row("a zip named safetensors", write(SAFE, b"PK\x03\x04" + b"\0" * 99), ("pickle",)),
    Row("a GGUF named safetensors", write(SAFE, gguf(1)), ("GGUF",)),
    Row("only a GGUF of zeros", only("tiny.gguf", gguf(1)), ("tiny.gguf is damaged", "the name of a key")),
    Row("a GGUF of garbage", only("tiny.gguf", b"\x93NUMPY" * 40), ("tiny.gguf", "not a GGUF")),
    Row("a GGUF with 1e12 tensors", only("tiny.gguf", gguf(10**12)), ("1,000,000,000,000 tensors",)),
    Row("a GGUF with 1e12 keys", only("tiny.gguf", gguf(1, 10**12)), ("1,000,000,000,000 keys",)),
    Row("a GGUF of version 77", only("tiny.gguf", gguf(1, version=77)), ("version 77",)),
    Row("a GGUF of 10 bytes", only("tiny.gguf", gguf(1)[:10]), ("cut", "10 bytes")),
    Row("an empty GGUF", only("tiny.gguf", b""), ("empty",)),
    Row("a GGUF cut in half", together(only_gguf(), cut(lambda size: size // 2, "tiny.gguf")),
        ("tiny.gguf is damaged", "should take")),
    Row("a GGUF of two layers more", only_gguf(keys={"llama.block_count": 7}),
        ("tiny.gguf contradicts itself: 9 tensors missing in each of layers 5 and 6",)),
    Row("a GGUF of 2,000 layers more", only_gguf(keys={"llama.block_count": 2005}),
        ("tiny.gguf says that it has 2,005 layers", "47 tensors")),
    Row("a part of a GGUF", only_gguf(keys={"split.count": 3}),
        ("one of 3 parts", "llama-gguf-split --merge")),
    Row("a GGUF quantised again", only_gguf(kind="Q8_0"), ("quantised already (Q8_0)",), {"quant": "int8"}),
    Row("an adapter", adapter, ("LoRA adapter", "meta-llama/Llama-3.2-1B")),
    Row("next to nothing", remove(SAFE, "config.json", TOKENIZER), ("no weights", "README.md")),
    Row("weights linked outside", linked_outside(SAFE), (SAFE, "leads out", "refused")),
    Row("a config linked outside", linked_outside("config.json"), ("config.json", "leads out", "refused")),
    Row("a tokenizer linked outside", linked_outside(TOKENIZER), (TOKENIZER, "leads out", "refused")),
    Row("settings linked outside", linked_outside("tokenizer_config.json"),
        ("tokenizer_config.json", "refused")),
    Row("generation linked outside", linked_outside("generation_config.json"),
        ("generation_config", "refused")),
    Row("a dangling link", together(remove(SAFE), lambda m: weights(m).symlink_to("gone")), (SAFE,)),
    Row("one shard missing", sharded(lambda m, files: files[1].unlink()),
        ("Shard 2 of 3 is missing", "MB", "model-00002")),
    Row("two shards missing", sharded(lambda m, files: [file.unlink() for file in files[1:]]),
        ("Shards 2, 3 of 3 are missing",)),
    Row("one shard cut", sharded(lambda m, files: os.truncate(files[2], 5000)),
        ("model-00003", "cut", "5,000")),
    Row("no index", sharded(lambda m, files: (m / INDEX).unlink()), (INDEX, "3 of 3 shards")),
    Row("an index that leads up", index_entry("../evil.safetensors"), ("../evil", "outside", "refused")),
    Row("an absolute index", index_entry("/etc/evil.safetensors"), ("/etc/evil", "outside", "refused")),
    Row("an index with backslashes", index_entry("..\\evil.safetensors"), ("outside", "refused")),
    Row("an index of pickles", index_entry("model.bin"), ("model.bin", "refused")),
    Row("an index that disagrees", index_entry("model-00001-of-00003.safetensors"),
        ("norm.weight", "lies in")),
    Row("an index of nothing", sharded(lambda m, files: write(INDEX, "{}")(m)), ("weight_map",)),
    Row("an index of numbers", sharded(lambda m, files: write(INDEX, '{"weight_map": {"a": 1}}')(m)),
        ("weight_map",)),
)  # fmt: skip

ROWS = (*DAMAGED, *CONTRADICTIONS, *CONFIGS, *TOKENIZERS, *FILES)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_is_refused_with_a_sentence(row: Row, model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if "rights" in row.name and os.geteuid() == 0:
        pytest.skip("root reads every file")
    row.build(model)
    refuse(row, model, model, capfd)


def test_the_untouched_copy_loads(model: Path) -> None:
    loaded = load_checked(model)
    assert loaded.checked.parameters == 260_032
    assert set(read_header(weights(model))) == set(loaded.checked.tensors)


def test_shards_load_like_one_file(model: Path) -> None:
    whole = load_checked(model).module.state_dict()
    shards(model)
    parts = load_checked(model).module.state_dict()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
