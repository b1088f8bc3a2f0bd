"""Watching and changing the routing: what may be asked of it, and what is said when it cannot be.

Each row says what is called and what the answer must name; the model, its chats and what it says next are
the same afterwards, and no file is left behind.
"""

import json
import math
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import llama_nb as llama
from llama_nb.core.errors import EngineError, LlamaError, ModelGone, Stopped, UnsupportedError
from llama_nb.core.stop import StopFlag
from llama_nb.interpret.routing import RoutingTrace
from llama_nb.session.model import Model
from tests.session.fakes import fake_model
from tests.session.mixtures import write_mixture

TEXT = "Once upon a time"
LONG = "word " * 2000

Call = Callable[[Any], Any]
Rows = list[tuple[str, Call, tuple[str, ...]]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama 4 of 4 layers: each second one has 8 experts, of which a token takes one, and a shared one."""
    return write_mixture(tmp_path_factory.mktemp("mixture"))


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Iterator[Model]:
    made = llama.load(str(folder), name="mixed")
    yield made
    made.unload(force=True)


@pytest.fixture
def m(loaded: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """The mixture, which must be as it was when a test is over."""
    for name in tuple(loaded.chats):
        loaded.chats.delete(name)
    monkeypatch.chdir(tmp_path)
    before = state(loaded)
    yield loaded
    assert state(loaded) == before


@pytest.fixture(scope="module")
def trace(loaded: Model) -> RoutingTrace:
    table = pd.DataFrame({"text": [TEXT, "2 + 2 = 4"], "label": ["story", "sum"]})
    return loaded.routing(table)


def state(model: Model) -> tuple[Any, ...]:
    """Which hooks there are, what comes next, and what was said in chats."""
    module = model.loaded.module
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())
    said = tuple((name, chat.messages()) for name, chat in model.chats.items())
    return hooks, model.distribution(TEXT).top(3), said


def says(call: Callable[[], Any], parts: tuple[str, ...], kind: type[LlamaError] = LlamaError) -> None:
    with pytest.raises(kind) as refused:
        call()
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 12


def table(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame(columns)


ASKED: Rows = [
    # one text
    ("no reply yet", lambda m: m.routing(), ("reply",)),
    ("an empty text", lambda m: m.routing(""), ("no text to look at",)),
    ("a blank text", lambda m: m.routing(" \n\t"), ("no text to look at",)),
    ("a text beyond the context", lambda m: m.routing(LONG), ("tokens; the context of", "512")),
    ("half a character", lambda m: m.routing("a\ud800b"), ("half of a character", "position 1")),
    ("a number", lambda m: m.routing(7), ("not at 7",)),
    ("a dict", lambda m: m.routing({"text": TEXT}), ("not at {'text'",)),
    ("a text and a chat", lambda m: m.routing(TEXT, chat="main"), ("a text or reply, and a chat",)),
    ("an empty chat", lambda m: m.routing(chat="mian"), ("'mian' is empty",)),
    ("a column of a text", lambda m: m.routing(TEXT, column="text"), ("column='text'", "no table")),
    ("a label of a text", lambda m: m.routing(TEXT, label="domain"), ("label='domain'", "no table")),
    # many texts
    ("no texts", lambda m: m.routing([]), ("no texts to look at",)),
    ("a table without rows", lambda m: m.routing(table(text=[])), ("no rows",)),
    ("a table without columns", lambda m: m.routing(pd.DataFrame(index=[0])), ("no column 'text'",)),
    ("no such column", lambda m: m.routing(table(text=[TEXT]), column="txt"), ("column='txt'", "'text'")),
    ("no column of texts", lambda m: m.routing(table(a=[TEXT], b=["x"])), ("a, b", "column='a'")),
    ("no such label", lambda m: m.routing(table(text=[TEXT]), label="domain"), ("label='domain'",)),
    (
        "labels that are all missing",
        lambda m: m.routing(table(text=[TEXT], label=[math.nan])),
        ("No text has a label",),
    ),
    ("labels that are lists", lambda m: m.routing(table(text=[TEXT], label=[["a"]])), ("label of text 0",)),
    (
        "a label for every text",
        lambda m: m.routing(table(text=[TEXT] * 300, label=range(300))),
        ("300 different labels", "256 at most"),
    ),
    ("a missing text", lambda m: m.routing(table(text=[TEXT, None])), ("Text 1 is missing",)),
    ("a text that is NaN", lambda m: m.routing(table(text=[TEXT, math.nan])), ("Text 1 is missing",)),
    ("a text that is a number", lambda m: m.routing([TEXT, 7]), ("Text 1 is a int",)),
    ("an empty text among others", lambda m: m.routing([TEXT, "", TEXT]), ("Text 1 is empty",)),
    ("a long text among others", lambda m: m.routing([TEXT, LONG]), ("Text 1 has", "512")),
    ("half a character in one", lambda m: m.routing([TEXT, "\udfff"]), ("Text 1", "half of a character")),
    ("texts and a chat", lambda m: m.routing([TEXT], chat="main"), ("texts, and a chat",)),
    ("a file in no folder", lambda m: m.routing([TEXT], path="nowhere/t.safetensors"), ("nowhere",)),
    # changes
    ("nothing changed", lambda m: m.route(), ("nothing to change", "ban=[(3, 2)]")),
    ("no MoE layer", lambda m: m.route(ban=[(0, 1)]), ("Layer 0 of mixed is no MoE layer", "1, 3")),
    ("no such layer", lambda m: m.route(ban=[(99, 1)]), ("Layer 99", "1, 3")),
    ("no such expert", lambda m: m.route(ban=[(1, 8)]), ("no expert 8 in layer 1", "from 0 to 7")),
    ("an expert of -1", lambda m: m.route(force=[(1, -1)]), ("-1",)),
    ("an expert of 1.5", lambda m: m.route(ban=[(1, 1.5)]), ("1.5",)),
    ("an expert without layer", lambda m: m.route(ban=[3]), ("ban=[(3, 2)]",)),
    ("a pair for a list", lambda m: m.route(ban=(1, 2)), ("ban=[(3, 2)]",)),
    ("ban as a number", lambda m: m.route(ban=3), ("ban is 3",)),
    (
        "all experts forbidden",
        lambda m: m.route(ban=[(1, each) for each in range(8)]),
        ("8 of the 8 experts of layer 1", "0 are left"),
    ),
    (
        "two forced",
        lambda m: m.route(force=[(1, 2), (1, 3)]),
        ("2 experts of layer 1 are forced", "Force one"),
    ),
    ("forbidden and forced", lambda m: m.route(ban=[(1, 2)], force=[(1, 2)]), ("forbidden and forced",)),
    ("top_k of 0", lambda m: m.route(top_k=0), ("top_k is 0",)),
    ("top_k of 9", lambda m: m.route(top_k=9), ("top_k is 9", "From 1 to 8")),
    ("top_k as text", lambda m: m.route(top_k="2"), ("'2'",)),
    ("top_k as truth", lambda m: m.route(top_k=True), ("True",)),
    ("shared of no MoE layer", lambda m: m.route(drop_shared=[0]), ("Layer 0", "1, 3")),
    ("shared as a word", lambda m: m.route(drop_shared="all"), ("drop_shared is 'all'",)),
    ("a part's typo", lambda m: m.route("3.shred"), ("'3.shred'",)),
    ("no such part", lambda m: m.route("3.E99"), ("no expert 99 in layer 3",)),
    ("an effect of nothing", lambda m: m.routing_effect(TEXT), ("nothing to change",)),
    ("an effect on nothing", lambda m: m.routing_effect("", ban=[(1, 2)]), ("no text to look at",)),
    (
        "an effect at no token",
        lambda m: m.routing_effect(TEXT, ban=[(1, 2)], position=99),
        ("no position 99",),
    ),
    ("-1 tokens", lambda m: m.routing_effect(TEXT, ban=[(1, 2)], tokens=-1), ("tokens is -1",)),
    # while it writes
    ("watched: nothing", lambda m: m.watch_routing(""), ("empty",)),
    ("watched: typo", lambda m: m.watch_routing("hi", temprature=1), ("Did you mean 'temperature'",)),
]


@pytest.mark.parametrize(("name", "call", "named"), ASKED, ids=[row[0] for row in ASKED])
def test_what_there_is_not_is_named_with_what_there_is(m: Model, name: str, call: Call, named: Any) -> None:
    says(lambda: call(m), named)
    assert list(Path.cwd().iterdir()) == []


READ: Rows = [
    ("no MoE layer", lambda t: t.column(0), ("Layer 0", "1, 3")),
    ("layer -1", lambda t: t.column(-1), ("Layer -1",)),
    ("layer True", lambda t: t.column(True), ("Layer True",)),
    ("token 999", lambda t: t.text(999), ("no token 999",)),
    ("token 1.5", lambda t: t.scores(1, 1.5), ("no token 1.5",)),
    ("scores of no layer", lambda t: t.scores(2, 0), ("Layer 2", "1, 3")),
    ("no such domain", lambda t: t.select("code"), ("no domain 'code'", "story, sum")),
    ("load of no domain", lambda t: t.expert_load("code"), ("'code'", "story")),
    ("view of no layer", lambda t: t.view(layer=0), ("Layer 0", "1, 3")),
    ("view of no domain", lambda t: t.view(domain="code"), ("no domain 'code'",)),
    ("a cache of none", lambda t: t.cost().moved_bytes(0), ("cache of 0 experts",)),
    ("a cache of nine", lambda t: t.cost().moved_bytes(9), ("cache of 9 experts", "7, 8")),
    ("a bandwidth of 0", lambda t: t.cost().tokens_per_s(2, 0), ("bandwidth is 0",)),
    ("a folder that is not", lambda t: t.save("nowhere/t.safetensors"), ("There is no folder nowhere",)),
    ("no file", lambda t: RoutingTrace.load("nowhere.safetensors"), ("nowhere.safetensors",)),
    ("a folder for a file", lambda t: RoutingTrace.load("."), ("no file",)),
]


@pytest.mark.parametrize(("name", "call", "named"), READ, ids=[row[0] for row in READ])
def test_what_a_trace_has_not_is_named(
    trace: RoutingTrace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: Call, named: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    says(lambda: call(trace), named)
    assert list(tmp_path.iterdir()) == []


def test_texts_without_labels_have_no_domains(m: Model) -> None:
    plain = m.routing([TEXT, TEXT])
    says(plain.domain_table, ("label",))
    says(lambda: plain.select("story"), ("no labels",))
    bare = m.routing([TEXT], keep_logits=False)
    says(lambda: bare.scores(1, 0), ("not kept", "keep_logits=True"))


def _header(change: Callable[[dict[str, Any]], Any]) -> Callable[[bytes], bytes]:
    """Return a change of what stands in a file's header beside the tensors."""

    def changed(data: bytes) -> bytes:
        size = struct.unpack("<Q", data[:8])[0]
        header = json.loads(data[8 : 8 + size])
        about = json.loads(header["__metadata__"]["llama-nb routing"])
        change(about)
        header["__metadata__"]["llama-nb routing"] = json.dumps(about)
        written = json.dumps(header).encode()
        return struct.pack("<Q", len(written)) + written + data[8 + size :]

    return changed


DAMAGE: list[tuple[str, Callable[[bytes], bytes]]] = [
    ("nothing in it", lambda data: b""),
    ("cut in the middle", lambda data: data[: len(data) // 2]),
    ("a header of 2**60 bytes", lambda data: struct.pack("<Q", 2**60) + data[8:]),
    ("another kind of file", lambda data: b"PK\x03\x04" + data),
    ("another version", _header(lambda about: about.update(version=99))),
    ("no version", _header(lambda about: about.pop("version"))),
    ("a title that is a list", _header(lambda about: about.update(title=["x"]))),
    ("a thousand experts", _header(lambda about: about["mixture"].update(experts=1000))),
    ("layers that go back", _header(lambda about: about["mixture"].update(layers=[3, 1]))),
    ("an unknown gate", _header(lambda about: about["mixture"].update(gate="lottery"))),
    ("bytes below 0", _header(lambda about: about["mixture"]["sizes"].update(expert_bytes=-1))),
    ("a size too few", _header(lambda about: about["mixture"]["sizes"].pop("layers"))),
    ("labels that are equal", _header(lambda about: about.update(domains=["story", "story"]))),
    ("a vocabulary without the tokens", _header(lambda about: about.update(vocabulary=[]))),
]


@pytest.mark.parametrize(("name", "change"), DAMAGE, ids=[row[0] for row in DAMAGE])
def test_a_damaged_file_is_refused(
    trace: RoutingTrace, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    path = trace.save(tmp_path / "t.safetensors")
    path.write_bytes(change(path.read_bytes()))
    says(lambda: RoutingTrace.load(path), ("t.safetensors is damaged or no trace", "Save it again"))


def test_what_was_saved_is_what_is_loaded(trace: RoutingTrace, tmp_path: Path) -> None:
    found = RoutingTrace.load(trace.save(tmp_path / "t.safetensors"))
    np.testing.assert_array_equal(found.chosen, trace.chosen)
    assert found.cost() == trace.cost()


LOOKS: dict[str, Callable[[Any], Any]] = {
    "routing": lambda m: m.routing(TEXT),
    "a corpus": lambda m: m.routing([TEXT, TEXT]),
    "route": lambda m: m.route(ban=[(1, 2)]),
    "routing_effect": lambda m: m.routing_effect(TEXT, ban=[(1, 2)]),
    "watch_routing": lambda m: m.watch_routing("hi"),
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_dense_model_names_one_with_experts(look: str, stories260k: Path) -> None:
    dense = llama.load(str(stories260k), name="dense")
    try:
        parts = ("dense has no experts: every token goes through all of it.", "%llama load cria-moe")
        says(lambda: LOOKS[look](dense), parts, UnsupportedError)
    finally:
        dense.unload(force=True)


@pytest.mark.parametrize("look", LOOKS)
def test_an_engine_without_weights_says_what_is_needed(look: str) -> None:
    remote = fake_model()
    says(lambda: LOOKS[look](remote), ("weights", "fake", "%llama load cria"), UnsupportedError)
    assert remote.engine.requests == []


def test_an_unloaded_model_says_how_to_load_it(folder: Path) -> None:
    gone = llama.load(str(folder), name="gone")
    kept = gone.routing(TEXT)
    gone.unload()
    for look in LOOKS.values():
        says(lambda look=look: look(gone), ("unloaded", "%llama load"), ModelGone)
    assert kept.scores(1, 0).shape == (8,)
    assert kept.cost().cache


def test_damaged_weights_are_named(folder: Path) -> None:
    import torch

    damaged = llama.load(str(folder), name="damaged")
    try:
        with torch.no_grad():
            damaged.loaded.module.model.layers[0].feed_forward.down_proj.weight[0, 0] = math.nan
        for look in ("routing", "a corpus", "watch_routing"):
            says(lambda look=look: LOOKS[look](damaged), ("weights",), EngineError)
    finally:
        damaged.unload(force=True)


@pytest.mark.parametrize("look", ["routing", "a corpus", "routing_effect"])
def test_a_stop_before_it_begins_and_in_the_middle(m: Model, look: str) -> None:
    calls: dict[str, Callable[[StopFlag], Any]] = {
        "routing": lambda stop: m.routing(TEXT, stop=stop),
        "a corpus": lambda stop: m.routing([TEXT, TEXT], stop=stop, path="t.safetensors"),
        "routing_effect": lambda stop: m.routing_effect(TEXT, ban=[(1, 2)], stop=stop),
    }
    early = StopFlag()
    early.set()
    says(lambda: calls[look](early), ("stopped",), Stopped)
    middle = StopFlag()
    hook = m.loaded.module.model.layers[2].register_forward_pre_hook(lambda *_: middle.set())
    try:
        says(lambda: calls[look](middle), ("stopped",), Stopped)
    finally:
        hook.remove()
    assert list(Path.cwd().iterdir()) == []


def test_what_goes_wrong_in_the_middle_leaves_the_model_as_it_was(m: Model) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    hook = m.loaded.module.model.layers[2].register_forward_pre_hook(explode)
    try:
        for look in ("routing", "a corpus", "routing_effect"):
            with pytest.raises((ZeroDivisionError, EngineError), match="planted"):
                LOOKS[look](m)
    finally:
        hook.remove()


def test_two_threads_that_look_at_once_see_what_each_would_alone(m: Model) -> None:
    texts = ("Ida lived in a quiet village.", "The sea is blue and the sky is grey.")
    alone = [m.routing(text).weights.copy() for text in texts]
    found: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda text=text: found.update({text: m.routing(text).weights}))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for text, expected in zip(texts, alone, strict=True):
        np.testing.assert_array_equal(found[text], expected)
