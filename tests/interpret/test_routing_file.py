"""Routing in files: what comes back, what stays in the file, and files that were damaged or made up."""

import dataclasses
import json
import os
import stat

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from llama_nb.core.errors import TraceError
from llama_nb.interpret import routing_file
from llama_nb.interpret.routing import RoutingTrace
from llama_nb.interpret.routing_file import FORMAT
from tests.routing_traces import drawn_trace

LABELS = ("story", "sum", "", "story")


def corpus():
    """A trace whose tokens have their texts by their ids."""
    trace = drawn_trace(41, labels=LABELS)
    words = dict(zip(trace.ids.tolist(), trace.texts(), strict=True))
    passages = dataclasses.replace(trace._routing.passages, words=words)
    trace._kept = dataclasses.replace(trace._routing, passages=passages)
    return trace


def alike(one, other):
    for name in ("ids", "chosen", "weights", "margin", "entropy", "mass", "starts", "special"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype, name
        assert np.array_equal(ours, theirs), name
    assert (one.logits is None) == (other.logits is None)
    assert one.logits is None or np.array_equal(one.logits, other.logits)
    for name in ("model", "fingerprint", "title", "prompt", "off", "labels", "domains", "mixture"):
        assert getattr(one, name) == getattr(other, name), name
    assert one.texts() == other.texts()


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"labels": LABELS, "k": 2},
        {"logits": False, "gate": "softmax", "shared": False},
        {"experts": 300, "k": 3, "layers": (0, 7)},
    ],
)
def test_what_is_saved_comes_back(tmp_path, how, monkeypatch):
    monkeypatch.setattr(routing_file, "_BLOCK", 64)
    trace = drawn_trace(41, **how)
    path = trace.save(tmp_path / "a.safetensors")
    alike(RoutingTrace.load(path), trace)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    with safe_open(path, framework="np") as file:  # others can read it, too
        assert np.array_equal(file.get_tensor("chosen"), trace.chosen)


def test_a_corpus_comes_back(tmp_path):
    trace = corpus()
    alike(RoutingTrace.load(trace.save(tmp_path / "a.safetensors")), trace)


def test_a_trace_that_was_read_outlives_its_file(tmp_path):
    trace = drawn_trace(50)
    path = trace.save(tmp_path / "a.safetensors")
    found = RoutingTrace.load(path)
    path.unlink()
    alike(found, trace)
    again = found.save(path)
    alike(RoutingTrace.load(again), trace)


def test_a_file_is_not_replaced_unasked(tmp_path):
    path = drawn_trace(5).save(tmp_path / "a.safetensors")
    with pytest.raises(TraceError, match=r"a file a.safetensors already\.\nReplace it with overwrite=True"):
        drawn_trace(6).save(path)
    drawn_trace(6).save(path, overwrite=True)
    assert RoutingTrace.load(path).length == 6


def test_where_nothing_can_be_written(tmp_path):
    with pytest.raises(TraceError, match=r"There is no folder .*missing"):
        drawn_trace(5).save(tmp_path / "missing" / "a.safetensors")
    with pytest.raises(TraceError, match="is a folder"):
        drawn_trace(5).save(tmp_path, overwrite=True)
    with pytest.raises(TraceError, match="There is no file"):
        RoutingTrace.load(tmp_path / "a.safetensors")


def test_what_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(TraceError, match="No space left"):
        drawn_trace(5).save(tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


def changed(path, change):
    """Write the file again with its header and tensors changed."""
    with safe_open(path, framework="np") as file:
        header = json.loads(file.metadata()[FORMAT])
    tensors = load_file(path)
    change(header, tensors)
    save_file(tensors, path, metadata={FORMAT: json.dumps(header)})


def put(name, place, value):
    """Return a change of one number of a tensor."""

    def change(_header, tensors):
        tensors[name].flat[place] = value

    return change


def say(**values):
    """Return a change of keys of the header."""
    return lambda header, _tensors: header.update(values)


def say_mixture(**values):
    """Return a change of what the header says of the model."""
    return lambda header, _tensors: header["mixture"].update(values)


def cut(name, rows):
    """Return a change that makes a tensor shorter."""
    return lambda _header, tensors: tensors.update({name: tensors[name][:rows].copy()})


DAMAGE = {
    "an expert that is none": put("chosen", 3, 8),
    "a weight that is no number": put("weights", 3, np.nan),
    "a weight below 0": put("weights", 3, -1),
    "an infinite margin": put("margin", 3, np.inf),
    "a negative entropy": put("entropy", 3, -1),
    "an infinite logit": put("logits", 3, np.inf),
    "a mass that is no number": put("mass", 0, np.nan),
    "a token below 0": put("ids", 3, -1),
    "a token without a text": put("ids", 3, 4_000),
    "texts that overlap": put("starts", 1, 40),
    "texts that begin late": put("starts", 0, 1),
    "a label that is none": put("about", 1, 7),
    "fewer margins than tokens": cut("margin", 5),
    "no entropies": lambda _header, tensors: tensors.pop("entropy"),
    "weights in another format": lambda _, tensors: tensors.update(weights=tensors["weights"].astype("f8")),
    "another version": say(version=2),
    "a title that is no text": say(title=5),
    "half a character": say(model="\ud800"),
    "a prompt that is too long": say(prompt=42),
    "fewer texts than tokens": say(texts=["a"]),
    "labels twice": say(domains=["sum", "sum"]),
    "no vocabulary": say(vocabulary=None),
    "a vocabulary of other things": say(vocabulary=[[1, 2]]),
    "nothing of the model": say(mixture=None),
    "layers in disorder": say_mixture(layers=[5, 3, 1]),
    "one layer too many": say_mixture(layers=[1, 3, 5, 7]),
    "no layers": say_mixture(layers=[]),
    "more experts": say_mixture(experts=10**9),
    "fewer experts": say_mixture(experts=4),
    "another gate": say_mixture(gate="coin"),
    "a size that is none": say_mixture(sizes={"total": 5}),
}


@pytest.mark.parametrize("change", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_seen(tmp_path, change):
    path = corpus().save(tmp_path / "a.safetensors")
    changed(path, lambda header, tensors: None)
    RoutingTrace.load(path)
    changed(path, change)
    with pytest.raises(TraceError, match=r"a\.safetensors is damaged or no trace"):
        RoutingTrace.load(path)


def test_other_files(tmp_path):
    path = tmp_path / "a.safetensors"
    whole = drawn_trace(41).save(path).read_bytes()
    for content in (b"", b"hello", whole[:200], whole[:-5], b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(TraceError, match="damaged or no trace"):
            RoutingTrace.load(path)
    path.unlink()
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(TraceError, match="another kind of file"):
        RoutingTrace.load(path)
