"""Traces in files: what was saved comes back, and what was tampered with does not."""

import json
import stat

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import llama_nb as llama
from llama_nb.core.errors import TraceError
from llama_nb.interpret.attention import AttentionTrace
from llama_nb.interpret.attention_file import FORMAT, load_trace
from llama_nb.interpret.capture import capture_attention
from tests.interpret.attention_models import make, tokens

LENGTH = 21
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\n\u202e"


def trace_of(name: str = "llama 4", dtype: torch.dtype = torch.float32) -> AttentionTrace:
    return AttentionTrace(
        capture_attention(make(name).to(dtype), tokens(LENGTH), layers=[0, 1, 3]),
        model="tiny \u00e9",
        fingerprint="0123456789abcdef",
        title="reply in chat main",
        ids=tokens(LENGTH),
        texts=[HOSTILE, *(f"t{at}" for at in range(LENGTH - 1))],
        special=[at in (0, 7) for at in range(LENGTH)],
        prompt=15,
        off="L0 H1 off",
    )


@pytest.mark.parametrize("name", ["llama, grouped", "llama 4", "mistral", "gemma 2", "gpt-oss"])
def test_a_trace_comes_back(name, tmp_path):
    trace = trace_of(name)
    path = trace.save(tmp_path / "a.safetensors")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = AttentionTrace.load(path)
    for attribute in ("model", "fingerprint", "title", "ids", "texts", "special", "prompt", "off"):
        assert getattr(again, attribute) == getattr(trace, attribute)
    for attribute in ("layers", "heads", "kv_heads", "length", "dtype", "nbytes"):
        assert getattr(again, attribute) == getattr(trace, attribute)
    assert repr(again) == repr(trace)
    for layer in trace.layers:
        assert again.kind(layer) == trace.kind(layer)
        ours, theirs = (each.rows(layer, range(6), 0, LENGTH) for each in (again, trace))
        assert np.array_equal(ours, theirs)


def test_half_precision_comes_back(tmp_path):
    trace = trace_of("llama, grouped", torch.bfloat16)
    again = load_trace(trace.save(tmp_path / "half.safetensors"))
    assert again.dtype == "bfloat16"
    assert np.array_equal(again.matrix(1, 2), trace.matrix(1, 2))


def test_it_is_written_whole_and_replaces_nothing_unasked(tmp_path, monkeypatch):
    trace = trace_of()
    path = trace.save(tmp_path / "a.safetensors")
    before = path.read_bytes()
    with pytest.raises(TraceError, match="overwrite=True"):
        trace.save(path)
    assert trace.save(path, overwrite=True).read_bytes() == before
    with pytest.raises(TraceError, match="cannot be written"):
        trace.save(tmp_path / "nowhere" / "a.safetensors")

    def full(*_args: object, **_how: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("llama_nb.interpret.attention_file.save_file", full)
    with pytest.raises(TraceError, match="no space left"):
        trace.save(path, overwrite=True)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.safetensors"]


def test_the_name_is_public(tmp_path):
    path = trace_of().save(str(tmp_path / "a.safetensors"))
    assert llama.AttentionTrace.load(str(path)).prompt == 15


@pytest.fixture
def parts(tmp_path):
    """What is in a file: its header and its tensors."""
    path = trace_of("gpt-oss").save(tmp_path / "whole.safetensors")
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()[FORMAT]), {
            name: file.get_tensor(name) for name in sorted(file.keys())
        }


def _layer(header, **changes):
    return {"layers": [{**header["layers"][0], **changes}, *header["layers"][1:]]}


HEADERS = {
    "another version": lambda header: {"version": 2},
    "text for a number": lambda header: {"prompt": "3"},
    "a prompt beyond the end": lambda header: {"prompt": LENGTH + 1},
    "fewer texts": lambda header: {"texts": header["texts"][:-1]},
    "fewer tokens": lambda header: {"ids": header["ids"][:-1], "texts": header["texts"][:-1]},
    "no tokens": lambda header: {"ids": [], "texts": [], "special": []},
    "a token that is none": lambda header: {"ids": [-1, *header["ids"][1:]]},
    "a token that is a fraction": lambda header: {"ids": [0.5, *header["ids"][1:]]},
    "a text that is none": lambda header: {"texts": [7, *header["texts"][1:]]},
    "a text of half characters": lambda header: {"texts": ["\ud800", *header["texts"][1:]]},
    "a text without end": lambda header: {"texts": ["x" * 100_000, *header["texts"][1:]]},
    "a control token outside": lambda header: {"special": [LENGTH]},
    "a model that is no name": lambda header: {"model": ["tiny"]},
    "heads that share unequally": lambda header: {"kv_heads": 4},
    "more heads": lambda header: {"heads": 12},
    "another dtype": lambda header: {"dtype": "float64"},
    "a dtype that it is not": lambda header: {"dtype": "float16"},
    "no layers": lambda header: {"layers": []},
    "layers that are none": lambda header: {"layers": [0, 1]},
    "a layer twice": lambda header: _layer(header, number=1),
    "a layer without tensors": lambda header: _layer(header, number=2),
    "a kind that is none": lambda header: _layer(header, kind="round"),
    "a mask that is none": lambda header: _layer(header, mask=2),
    "an infinite scaling": lambda header: _layer(header, scaling=float("inf")),
    "a softcap of nothing": lambda header: _layer(header, softcap=0),
    "a softcap that is text": lambda header: _layer(header, softcap="2"),
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_that_cannot_be_is_refused(what, parts, tmp_path):
    header, tensors = parts
    changed = json.dumps({**header, **HEADERS[what](header)})
    save_file(tensors, tmp_path / "bad.safetensors", metadata={FORMAT: changed})
    with pytest.raises(TraceError, match=r"bad\.safetensors is damaged or no trace"):
        load_trace(tmp_path / "bad.safetensors")


TENSORS = {
    "a query missing": lambda tensors: {"q.0": None},
    "a key of another width": lambda tensors: {"k.1": tensors["k.1"][:, :, :4].contiguous()},
    "a key of another length": lambda tensors: {"k.1": tensors["k.1"][:, :5].contiguous()},
    "a query without width": lambda tensors: {"q.1": tensors["q.1"][:, :, :0].contiguous()},
    "numbers that are none": lambda tensors: {"q.3": torch.full_like(tensors["q.3"], float("nan"))},
    "a mask beyond the end": lambda tensors: {"last.0": tensors["last.0"] + LENGTH},
    "a mask before the start": lambda tensors: {"first.0": tensors["first.0"] - LENGTH},
    "a mask of other numbers": lambda tensors: {"first.0": tensors["first.0"].long()},
    "bits of another size": lambda tensors: {"bits.0": torch.zeros((LENGTH, 9), dtype=torch.uint8)},
    "sinks of another size": lambda tensors: {"sinks.0": tensors["sinks.0"][:2].contiguous()},
}


@pytest.mark.parametrize("what", TENSORS)
def test_tensors_that_cannot_be_are_refused(what, parts, tmp_path):
    header, tensors = parts
    changed = {**tensors, **TENSORS[what](tensors)}
    kept = {name: tensor for name, tensor in changed.items() if tensor is not None}
    save_file(kept, tmp_path / "bad.safetensors", metadata={FORMAT: json.dumps(header)})
    with pytest.raises(TraceError, match=r"bad\.safetensors is damaged or no trace"):
        load_trace(tmp_path / "bad.safetensors")


def test_what_is_no_trace_is_refused(tmp_path, parts):
    with pytest.raises(TraceError, match="There is no file"):
        load_trace(tmp_path / "none.safetensors")
    with pytest.raises(TraceError, match="There is no file"):
        load_trace(tmp_path)
    path = tmp_path / "x.safetensors"
    whole = trace_of().save(tmp_path / "y.safetensors").read_bytes()
    contents = (b"", b"hello", b"\xff" * 8 + b"{}", whole[:-100], whole[:50], b"PK\x03\x04" + whole)
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(TraceError, match=r"x\.safetensors is damaged"):
            load_trace(path)
    for metadata in (None, {"format": "pt"}, {FORMAT: "{"}, {FORMAT: "[]"}, {FORMAT: "[" * 200_000}):
        save_file(parts[1], path, metadata=metadata)
        with pytest.raises(TraceError, match=r"x\.safetensors is damaged"):
            load_trace(path)
