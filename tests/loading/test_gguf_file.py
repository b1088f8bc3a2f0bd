"""The header of a GGUF: what it says, against the gguf package's reader; and what is wrong with a file."""

import contextlib
import json
import struct
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from gguf import GGUFReader
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llama_nb.core.errors import LoadError
from llama_nb.loading.gguf_file import GgufArray, read_gguf
from llama_nb.loading.gguf_types import FILE_TYPES, TENSOR_TYPES
from llama_nb.loading.headers import read_header
from tests.gguf_models import gguf_name, write_gguf
from tests.models import edit_json, write_random_llama

U32, F32, STRING, ARRAY, U64 = 4, 6, 8, 9, 10


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...] = (32,), kind: int = 0, offset: int = 0) -> bytes:
    sizes = struct.pack(f"<{len(shape)}Q", *shape)
    return text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset)


def build(keys: list[bytes], tensors: list[bytes], *, version: int = 3, data: int = 4096) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    body = head + b"".join(keys) + b"".join(tensors)
    return body + b"\0" * (-len(body) % 32 + data)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, stories260k: Path) -> Path:
    return write_gguf(stories260k, tmp_path_factory.mktemp("gguf") / "stories.gguf", kind="Q8_0")


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q5_1", "Q4_0"])
def test_it_agrees_with_the_packages_reader(tmp_path: Path, stories260k: Path, kind: str) -> None:
    path = write_gguf(stories260k, tmp_path / "m.gguf", kind=kind)
    header, theirs = read_gguf(path), GGUFReader(path)
    assert header.type == kind
    assert [
        (one.name, one.type, list(one.shape)[::-1], one.offset, one.bytes) for one in header.tensors.values()
    ] == [
        (one.name, one.tensor_type.name, one.shape.tolist(), one.data_offset, one.n_bytes)
        for one in theirs.tensors
    ]
    assert header.bytes == sum(one.n_bytes for one in theirs.tensors)
    assert header.parameters == 260_032
    assert set(header.keys) == {name for name in theirs.fields if not name.startswith("GGUF.")}
    assert header.keys["llama.block_count"] == 5
    tokens = theirs.fields["tokenizer.ggml.tokens"].contents()
    assert header.array("tokenizer.ggml.tokens") == tokens
    assert header.array("tokenizer.ggml.scores") == theirs.fields["tokenizer.ggml.scores"].contents()
    assert header.array("tokenizer.ggml.nothing") is None


def test_the_tables_are_those_of_the_package() -> None:
    for number, stored in TENSOR_TYPES.items():
        kind = GGMLQuantizationType(number)
        assert (stored.name, (stored.weights, stored.bytes)) == (kind.name, GGML_QUANT_SIZES[kind])
    assert all(
        LlamaFileType(number).name.split("_", 1)[1] == name for number, name in FILE_TYPES.items() if number
    )
    assert TENSOR_TYPES[12].bits == 4.5
    assert TENSOR_TYPES[8].bits == 8.5
    assert TENSOR_TYPES[14].bits == 6.5625


def test_the_config_is_that_of_the_original(small: Path, stories260k: Path) -> None:
    original = json.loads((stories260k / "config.json").read_text())
    config = read_gguf(small).config()
    # transformers takes the width of a head from hidden size and heads where a config does not say it.
    same = {name: value for name, value in original.items() if name in config}
    assert {name: config[name] for name in same} == same
    assert set(same) >= {
        "hidden_size",
        "vocab_size",
        "rope_parameters",
        "tie_word_embeddings",
        "rms_norm_eps",
    }


def test_an_untied_head_and_its_names(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k)
    header = read_gguf(write_gguf(folder, tmp_path / "m.gguf"))
    assert not header.config()["tie_word_embeddings"]
    stored = read_header(folder / "model.safetensors")
    assert {name: one.shape for name, one in header.tensors.items()} == {
        gguf_name(name): info.shape for name, info in stored.items()
    }


def test_the_scaling_of_llama_3_is_found_in_its_tensor(tmp_path: Path, stories260k: Path) -> None:
    folder = write_random_llama(tmp_path / "m", tokenizer_from=stories260k, hidden=128, heads=2, kv_heads=1)
    rope = {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 32.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }  # fmt: skip
    edit_json(folder / "config.json", rope_parameters=rope)
    header = read_gguf(write_gguf(folder, tmp_path / "m.gguf"))
    assert header.config()["rope_parameters"] == rope
    assert "rope_freqs.weight" in header.tensors
    assert header.parameters == sum(one.parameters for one in header.tensors.values()) - 32


def test_other_rotary_factors_are_refused(tmp_path: Path) -> None:
    keys = [key("general.architecture", STRING, text("llama"))]
    sizes = {"embedding_length": 128, "block_count": 1, "attention.head_count": 2, "vocab_size": 9}
    keys += [key(f"llama.{name}", U32, struct.pack("<I", size)) for name, size in sizes.items()]
    (tmp_path / "m.gguf").write_bytes(build(keys, [tensor("rope_freqs.weight")]))
    with pytest.raises(LoadError, match="rotary frequencies"):
        read_gguf(tmp_path / "m.gguf").config()


@pytest.mark.parametrize("architecture", ["llama4", "mixtral by experts"])
def test_experts(tmp_path: Path, architecture: str) -> None:
    kind = "llama4" if architecture == "llama4" else "llama"
    sizes = {
        "embedding_length": 64, "block_count": 4, "attention.head_count": 4, "attention.head_count_kv": 2,
        "feed_forward_length": 256, "expert_feed_forward_length": 128, "expert_count": 16,
        "expert_used_count": 1, "vocab_size": 9, "context_length": 99,
    }  # fmt: skip
    keys = [key("general.architecture", STRING, text(kind))]
    keys += [key(f"{kind}.{name}", U32, struct.pack("<I", size)) for name, size in sizes.items()]
    (tmp_path / "m.gguf").write_bytes(build(keys, [tensor("output.weight")]))
    config = read_gguf(tmp_path / "m.gguf").config()
    assert config["num_local_experts"] == 16
    if kind == "llama4":
        assert config["model_type"] == "llama4_text"
        assert (config["intermediate_size"], config["intermediate_size_mlp"]) == (128, 256)
    else:
        assert config["model_type"] == "mixtral"


def test_numbers_by_layer(tmp_path: Path) -> None:
    def with_heads(*heads: int) -> Path:
        array = struct.pack(f"<IQ{len(heads)}I", U32, len(heads), *heads)
        keys = [key("general.architecture", STRING, text("llama"))]
        sizes = {"embedding_length": 64, "block_count": 2, "attention.head_count": 4, "vocab_size": 9}
        keys += [key(f"llama.{name}", U32, struct.pack("<I", size)) for name, size in sizes.items()]
        keys.append(key("llama.attention.head_count_kv", ARRAY, array))
        (tmp_path / "m.gguf").write_bytes(build(keys, [tensor("output.weight")]))
        return tmp_path / "m.gguf"

    assert read_gguf(with_heads(2, 2)).config()["num_key_value_heads"] == 2
    with pytest.raises(LoadError, match="2 values that differ"):
        read_gguf(with_heads(2, 4)).config()


def test_values_of_every_kind(tmp_path: Path) -> None:
    values = {
        0: ("<B", 200), 1: ("<b", -3), 2: ("<H", 60000), 3: ("<h", -300), 4: ("<I", 4 * 10**9), 5: ("<i", -5),
        6: ("<f", 0.5), 7: ("<?", True), 10: ("<Q", 2**63), 11: ("<q", -(2**60)), 12: ("<d", 0.1),
    }  # fmt: skip
    keys = [key(f"k.{kind}", kind, struct.pack(form, value)) for kind, (form, value) in values.items()]
    keys.append(key("k.text", STRING, text("ä" * 9)))
    keys.append(key("k.texts", ARRAY, struct.pack("<IQ", STRING, 2) + text("one") + text(b"\xff\xfe")))
    keys.append(key("k.many", ARRAY, struct.pack("<IQ", U64, 600) + b"\0" * 4800))
    (tmp_path / "m.gguf").write_bytes(build(keys, [tensor("a")], version=2))
    header = read_gguf(tmp_path / "m.gguf")
    assert {name: header.keys[name] for name in list(header.keys)[:11]} == {
        f"k.{kind}": value for kind, (_, value) in values.items()
    }
    assert header.keys["k.text"] == "ä" * 9
    assert header.array("k.texts") == ["one", "\ufffd\ufffd"]
    assert header.array("k.many") == [0] * 600
    assert (header.name, header.type, header.parts, header.architecture) == ("m", "F32", 1, "")


def test_one_part_of_several(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(
        build([key("split.count", 2, struct.pack("<H", 3))], [tensor("output.weight")])
    )
    assert read_gguf(tmp_path / "m.gguf").parts == 3


BROKEN: list[tuple[str, bytes, str]] = [
    ("1e12 tensors", b"GGUF" + struct.pack("<IQQ", 3, 10**12, 0) + b"\0" * 99, "1,000,000,000,000 tensors"),
    ("2**64-1 keys", b"GGUF" + struct.pack("<IQQ", 3, 0, 2**64 - 1) + b"\0" * 99, "more than a file of 123"),
    ("garbage", b"\x93NUMPY" * 40, "not a GGUF file"),
    ("big-endian", b"GGUF" + struct.pack(">IQQ", 3, 1, 1) + b"\0" * 99, "big-endian"),
    ("version 1", b"GGUF" + struct.pack("<III", 1, 0, 0) + b"\0" * 99, "version 1"),
    ("10 bytes", b"GGUF" + b"\3" * 6, "cut: 10 bytes"),
    ("nothing", b"", "empty"),
    ("an endless key", build([text("k")[:-1] + b"\xff" * 40], []), "damaged"),
    ("a key of 2**63 bytes", build([struct.pack("<Q", 2**63)], []), "9,223,372,036,854,775,808 bytes"),
    ("a key of no text", build([key("k", 0, b"\0").replace(b"k", b"\xff")], []), "is no text"),
    ("a key with a line break", build([key("k\n", 0, b"\0")], []), "the name of a key is 'k"),
    ("a key twice", build([key("k", 0, b"\0")] * 2, []), "'k' is there twice"),
    ("a value of type 99", build([key("k", 99, b"\0" * 8)], []), "type 99"),
    ("a text of 2**62 bytes", build([key("k", STRING, struct.pack("<Q", 2**62))], []), "the value of k"),
    ("an array of arrays", build([key("k", ARRAY, struct.pack("<IQ", ARRAY, 1))], []), "array of arrays"),
    ("an array of type 77", build([key("k", ARRAY, struct.pack("<IQ", 77, 1))], []), "type 77"),
    ("2**61 numbers", build([key("k", ARRAY, struct.pack("<IQ", U64, 2**61))], []), "should follow"),
    ("1e9 texts", build([key("k", ARRAY, struct.pack("<IQ", STRING, 10**9))], []), "1,000,000,000 texts"),
    (
        "a text in an array that leaves the file",
        build([key("k", ARRAY, struct.pack("<IQQ", STRING, 1, 2**40))], []),
        "a text of k",
    ),
    ("a tensor twice", build([], [tensor("t"), tensor("t", offset=128)]), "t is there twice"),
    ("two tensors at one place", build([], [tensor("t"), tensor("u")]), "t and u overlap"),
    ("a tensor outside", build([], [tensor("t", offset=2**40)]), "the tensor t should take 128 bytes"),
    ("an offset of 2**64-32", build([], [tensor("t", offset=2**64 - 32)]), "should take"),
    ("an offset in between", build([], [tensor("t", offset=7)]), "should take"),
    ("a tensor of 2**128 values", build([], [tensor("t", (2**63, 2**63, 2, 2))]), "should take"),
    ("a tensor of none", build([], [tensor("t", (0, 4))]), "4 x 0"),
    ("5 dimensions", build([], [tensor("t", (1, 1, 1, 1, 1))]), "5 dimensions"),
    ("no dimension", build([], [tensor("t", ()), tensor("u")]), "0 dimensions"),
    ("rows of 33 in blocks of 32", build([], [tensor("t", (33, 2), kind=8)]), "blocks of 32"),
    ("a type that was removed", build([], [tensor("t", kind=4)]), "t as type 4"),
    (
        "an alignment of 3",
        build([key("general.alignment", U32, b"\3\0\0\0")], [tensor("t")]),
        "alignment is 3",
    ),
    ("an alignment of text", build([key("general.alignment", STRING, text("x"))], []), "alignment is x"),
    ("a web page", b"<!DOCTYPE html><html>log in</html>", "web page"),
    ("a pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 4000\n", "LFS pointer"),
]


@pytest.mark.parametrize(("content", "says"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_what_is_refused(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "tiny.gguf").write_bytes(content)
    with pytest.raises(LoadError) as caught:
        read_gguf(tmp_path / "tiny.gguf")
    assert says in caught.value.message
    assert "tiny.gguf" in caught.value.message
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.hint


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.gguf"):
        with pytest.raises(LoadError, match="not a file"):
            read_gguf(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path, small: Path) -> None:
    raw = small.read_bytes()
    for size in [*range(0, len(raw) - 1, 4999), 23, 24, 25, len(raw) - 40]:
        (tmp_path / "cut.gguf").write_bytes(raw[:size])
        with pytest.raises(LoadError):
            read_gguf(tmp_path / "cut.gguf")


def test_the_longest_vocabulary_that_is_read_takes_no_time(tmp_path: Path) -> None:
    texts = struct.pack("<IQ", STRING, 2**20) + b"\0" * 2**23
    (tmp_path / "m.gguf").write_bytes(build([key("k", ARRAY, texts)], [tensor("t")]))
    begun = time.process_time()
    array = read_gguf(tmp_path / "m.gguf").keys["k"]
    assert isinstance(array, GgufArray)
    assert array.length == 2**20
    assert time.process_time() - begun < 2  # 0.4 s when nothing else runs


def test_more_texts_than_any_vocabulary_has(tmp_path: Path) -> None:
    array = struct.pack("<IQ", STRING, 2**20 + 1) + b"\0" * (2**23 + 8)
    (tmp_path / "m.gguf").write_bytes(build([key("k", ARRAY, array)], [tensor("t")]))
    with pytest.raises(LoadError, match="1,048,577 texts"):
        read_gguf(tmp_path / "m.gguf")


def test_many_tensors_take_no_time(tmp_path: Path) -> None:
    tensors = [tensor(f"t{number}", (8,), offset=32 * number) for number in range(2**15)]
    (tmp_path / "m.gguf").write_bytes(build([], tensors, data=32 * 2**15))
    begun = time.process_time()
    assert len(read_gguf(tmp_path / "m.gguf").tensors) == 2**15
    assert time.process_time() - begun < 2  # 0.4 s when nothing else runs


Change = Callable[[bytearray], None]


def _flip(where: int, value: int) -> Change:
    def change(raw: bytearray) -> None:
        raw[where % len(raw)] = value

    return change


def _number(where: int, value: int, width: int) -> Change:
    def change(raw: bytearray) -> None:
        place = where % (len(raw) - width)
        raw[place : place + width] = value.to_bytes(8, "little")[:width]

    return change


def _cut(where: int, count: int) -> Change:
    def change(raw: bytearray) -> None:
        del raw[where % len(raw) :][:count]
        raw[where % len(raw) : where % len(raw) + count] = b""

    return change


PLACES = st.integers(0, 15_000)  # the header of the small model has 14 kB
EXTREMES = st.sampled_from(
    [0, 1, 2**8, 2**16, 2**31 - 1, 2**32 - 1, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
)
CHANGES = st.one_of(
    st.builds(_flip, PLACES, st.integers(0, 255)),
    st.builds(_number, PLACES, EXTREMES, st.sampled_from([4, 8])),
    st.builds(_cut, PLACES, st.integers(1, 64)),
)


@given(changes=st.lists(CHANGES, min_size=1, max_size=4))
@settings(max_examples=400, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_header_is_read_or_refused(tmp_path: Path, small: Path, changes: list[Change]) -> None:
    raw = bytearray(small.read_bytes())
    for change in changes:
        change(raw)
    path = tmp_path / "changed.gguf"
    path.write_bytes(raw)
    tracemalloc.start()
    with contextlib.suppress(LoadError):
        header = read_gguf(path)
        header.config()
        assert header.bytes <= len(raw)
        assert header.type
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**23
