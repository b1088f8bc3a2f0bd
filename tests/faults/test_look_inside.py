"""FAULTS.md, Look inside: what may be asked of a model's inside, and what is said when it cannot be.

Each row says what is called and what the answer must name; the model, its chats and what it says next are
the same afterwards.
"""

import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import llama_nb as llama
from llama_nb.core.errors import EngineError, FitError, LlamaError, ModelGone, Stopped, UnsupportedError
from llama_nb.core.stop import StopFlag
from llama_nb.interpret.attention import AttentionTrace
from llama_nb.session.model import Model
from tests.session.fakes import fake_model

TEXT = "Once upon a time"
CLEAN, CORRUPT = "Ida lived in a quiet village.", "Noah lived in a quiet village."
LONG = "word " * 2000

Call = Callable[[Any], Any]


@pytest.fixture(scope="module")
def loaded() -> Iterator[Model]:
    made = llama.load("cria", name="inside")
    yield made
    made.unload(force=True)


@pytest.fixture
def m(loaded: Model) -> Iterator[Model]:
    """The bundled model, which must be as it was when a test is over."""
    for name in tuple(loaded.chats):
        loaded.chats.delete(name)
    before = state(loaded)
    yield loaded
    assert state(loaded) == before


@pytest.fixture(scope="module")
def trace(loaded: Model) -> AttentionTrace:
    return loaded.attention(TEXT)


def state(model: Model) -> tuple[Any, ...]:
    """How attention is computed, which hooks there are, what comes next, and what was said in chats."""
    module = model.loaded.module
    hooks = sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())
    said = tuple((name, chat.messages()) for name, chat in model.chats.items())
    return module.config._attn_implementation, hooks, model.distribution(TEXT).top(3), said


def says(call: Callable[[], Any], parts: tuple[str, ...], kind: type[LlamaError] = LlamaError) -> None:
    with pytest.raises(kind) as refused:
        call()
    for part in parts:
        assert part in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 12


LOOKS: dict[str, Callable[[Model, Any], Any]] = {
    "attention": lambda m, text: m.attention(text),
    "lens": lambda m, text: m.lens(text),
    "heads": lambda m, text: m.heads(text=text),
    "anatomy": lambda m, text: m.anatomy(text),
    "ablate": lambda m, text: m.ablation(text, "3.5"),
    "patch": lambda m, text: m.patch(text, CORRUPT, 5, 6),
}
TEXTS = [
    ("empty", "", ("no text to look at",)),
    ("blank", " \n\t", ("no text to look at",)),
    ("too long", LONG, ("tokens; the context of", "1,024", "Shorten it")),
    ("half a character", "a\ud800b", ("half of a character", "position 1")),
    ("a number", 7, ("not at 7",)),
    ("bytes", b"text", ("not at b'text'",)),
    ("a dict", {"role": "user"}, ("not at {'role': 'user'}",)),
]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize(("name", "text", "named"), TEXTS, ids=[row[0] for row in TEXTS])
def test_what_cannot_be_read_is_named(m: Model, look: str, name: str, text: Any, named: tuple[str, ...]):
    says(lambda: LOOKS[look](m, text), named)


ASKED: list[tuple[str, Call, tuple[str, ...]]] = [
    # layers
    ("layer 99", lambda m: m.attention(TEXT, layers=[99]), ("no layer 99", "6, from 0 to 5")),
    ("layer -1", lambda m: m.attention(TEXT, layers=[-1]), ("no layer -1", "from 0 to 5")),
    ("layer 1.5", lambda m: m.attention(TEXT, layers=[1.5]), ("no layer 1.5",)),
    ("a layer as text", lambda m: m.attention(TEXT, layers=["0"]), ("no layer '0'",)),
    ("no layer", lambda m: m.attention(TEXT, layers=[]), ("layers is []", "layers=[0, 3]")),
    ("layers as a number", lambda m: m.attention(TEXT, layers=3), ("layers is 3", "layers=[0, 3]")),
    ("layers as a word", lambda m: m.attention(TEXT, layers="al"), ("layers is 'al'", '"all"')),
    ("no texts", lambda m: m.attention([]), ("no texts",)),
    ("texts that are none", lambda m: m.attention([TEXT, 7]), ("texts[1]",)),
    ("a text and a chat", lambda m: m.attention(TEXT, chat="main"), ("a text or reply, and a chat",)),
    ("an empty chat", lambda m: m.attention(chat="mian"), ("'mian' is empty",)),
    ("no reply yet", lambda m: m.heads(chat="mian"), ("'mian' is empty",)),
    # scores of heads
    ("a score's typo", lambda m: m.heads("inducktion"), ("'inducktion'", "Did you mean 'induction'")),
    ("a score that is none", lambda m: m.heads(3), ("no score 3", "entropy")),
    # the lens
    ("top 0", lambda m: m.lens(TEXT, top=0), ("top is 0", "1 to 50")),
    ("top 51", lambda m: m.lens(TEXT, top=51), ("top is 51", "1 to 50")),
    ("top as text", lambda m: m.lens(TEXT, top="5"), ("top is '5'", "whole number")),
    ("position 99", lambda m: m.lens(TEXT, positions=[99]), ("no position 99", "5 tokens", "0 to 4")),
    ("no position", lambda m: m.lens(TEXT, positions=[]), ("positions is []",)),
    ("a slice behind the end", lambda m: m.lens(TEXT, positions=slice(9, 99)), ("none of the 5 tokens",)),
    ("positions as a word", lambda m: m.lens(TEXT, positions="all"), ("positions is 'all'",)),
    ("position 1.5", lambda m: m.lens(TEXT, positions=[1.5]), ("1.5", "whole number")),
    ("no tuned lens there", lambda m: m.lens(TEXT, tuned="./lens"), ("no tuned lens at", "lens")),
    ("two tokens to track", lambda m: m.lens(TEXT, track=["zzz zz"]), ("not one token but", "' Paris'")),
    ("no such token", lambda m: m.lens(TEXT, track=[10**6]), ("no token 1000000", "2,048")),
    # parts to turn off
    ("nothing off", lambda m: m.ablation(TEXT), ("nothing to turn off", "heads=[(3, 5)]")),
    ("nothing off in a block", lambda m: m.ablate(), ("nothing to turn off",)),
    ("head 99", lambda m: m.ablation(TEXT, "3.99"), ("no head 99 in layer 3", "6, from 0 to 5")),
    ("off: layer 99", lambda m: m.ablate("99"), ("no layer 99", "6, from 0 to 5")),
    ("3.x", lambda m: m.ablate("3.x"), ("'3.x'", "3.attn and 3.mlp")),
    ("3.mpl", lambda m: m.ablation(TEXT, "3.mpl"), ("'3.mpl'", "3.mlp")),
    ("3.5.1", lambda m: m.ablation(TEXT, "3.5.1"), ("'3.5.1'",)),
    ("no part", lambda m: m.ablation(TEXT, ""), ("'' names no part",)),
    ("a negative part", lambda m: m.ablation(TEXT, "-1"), ("'-1' names no part",)),
    ("a part as a number", lambda m: m.ablation(TEXT, 3), ("3 names no part",)),
    ("a head without layer", lambda m: m.ablate(heads=[5]), ("its layer and its number", "(3, 5)")),
    ("a pair for a list", lambda m: m.ablate(heads=(3, 5)), ("its layer and its number",)),
    ("heads as a number", lambda m: m.ablate(heads=3), ("heads is 3", "heads=[(3, 5)]")),
    ("mlps as a number", lambda m: m.ablate(mlps=3), ("mlps is 3", "mlps=[3]")),
    ("layers as a word, off", lambda m: m.ablate(layers="all"), ("layers is 'all'",)),
    ("an MLP that is not", lambda m: m.ablate(mlps=[99]), ("no layer 99",)),
    ("a head of -1", lambda m: m.ablate(heads=[(3, -1)]), ("from 0, not -1",)),
    ("a mode's typo", lambda m: m.ablate("3", mode="maen"), ("'maen'", "zero, mean")),
    ("over an empty text", lambda m: m.ablate("3", mode="mean", over=" "), ("there is no text",)),
    ("over a long text", lambda m: m.ablate("3", mode="mean", over=LONG), ("over has", "1,024")),
    ("over, and zeros", lambda m: m.ablate("3", over=TEXT), ("zeros need none", 'mode="mean"')),
    ("off, position 99", lambda m: m.ablation(TEXT, "3", position=99), ("no position 99", "5 tokens")),
    ("off, position 1.5", lambda m: m.ablation(TEXT, "3", position=1.5), ("no position 1.5",)),
    ("-1 tokens", lambda m: m.ablation(TEXT, "3", tokens=-1), ("tokens is -1", "0 or more")),
    ("tokens as text", lambda m: m.ablation(TEXT, "3", tokens="5"), ("tokens is '5'", "whole number")),
    # patching
    ("unequal texts", lambda m: m.patch("Ida ran", "Ida ran home"), ("tokens", "equally many")),
    ("equal texts", lambda m: m.patch(CLEAN, CLEAN), ("the same",)),
    ("an answer of two tokens", lambda m: m.patch(CLEAN, CORRUPT, "zz zz", " a"), ("not one token",)),
    ("no answer", lambda m: m.patch(CLEAN, CORRUPT, "", " a"), ("not one token",)),
    ("token 10**9", lambda m: m.patch(CLEAN, CORRUPT, 10**9, 5), ("no token 1000000000", "2,048")),
    ("token -1", lambda m: m.patch(CLEAN, CORRUPT, -1, 5), ("-1 is no token",)),
    ("one answer", lambda m: m.patch(CLEAN, CORRUPT, " a", " a"), ("' a'", "no difference")),
    ("a site's typo", lambda m: m.patch(CLEAN, CORRUPT, site="heads"), ("'heads'", "Did you mean 'head'")),
    ("patching position 99", lambda m: m.patch(CLEAN, CORRUPT, positions=[99]), ("99", "tokens")),
    # while it writes
    ("watched: nothing", lambda m: m.watch_attention(""), ("empty",)),
    ("watched: layer 99", lambda m: m.watch_attention("hi", layers=[99]), ("no layer 99",)),
    ("watched: typo", lambda m: m.watch_attention("hi", temprature=1), ("Did you mean 'temperature'",)),
]


@pytest.mark.parametrize(("name", "call", "named"), ASKED, ids=[row[0] for row in ASKED])
def test_what_there_is_not_is_named_with_what_there_is(m: Model, name: str, call: Call, named: Any):
    says(lambda: call(m), named)


READ: list[tuple[str, Call, tuple[str, ...]]] = [
    ("layer 99", lambda t: t.row(99, 0, 0), ("Layer 99 was not captured", "0 to 5")),
    ("layer -1", lambda t: t.matrix(-1, 0), ("Layer -1",)),
    ("head 99", lambda t: t.row(0, 99, 0), ("no head 99", "0 to 5")),
    ("head 1.0", lambda t: t.matrix(0, 1.0), ("no head 1.0",)),
    ("token 99", lambda t: t.row(0, 0, 99), ("no token 99", "0 to 4")),
    ("token -99", lambda t: t.column(0, 0, -99), ("no token -99",)),
    ("token 1.5", lambda t: t.top(1.5), ("no token 1.5",)),
    ("rows backwards", lambda t: t.rows(0, [0], 3, 1), ("from 3 up to 1",)),
    ("rows behind the end", lambda t: t.rows(0, [0], 0, 99), ("up to 99", "5")),
    ("no head", lambda t: t.rows(0, [], 0, 1), ("No head",)),
    ("a text that is not there", lambda t: t.top("sea"), ("No token is 'sea'", "trace.texts")),
    ("no links", lambda t: t.top(0, n=0), ("n is 0",)),
    ("a threshold of 5", lambda t: t.to_frame(0, 0, threshold=5), ("threshold is 5", "0 to 1")),
    ("a threshold of NaN", lambda t: t.to_frame(0, 0, threshold=math.nan), ("threshold is nan",)),
    ("a folder that is not", lambda t: t.save("nowhere/t.attention"), ("cannot be written", "nowhere")),
    ("no file", lambda t: AttentionTrace.load("nowhere.attention"), ("nowhere.attention",)),
]


@pytest.mark.parametrize(("name", "call", "named"), READ, ids=[row[0] for row in READ])
def test_what_a_trace_has_not_is_named(
    trace: AttentionTrace, tmp_path: Any, monkeypatch: Any, name: str, call: Call, named: Any
):
    monkeypatch.chdir(tmp_path)
    says(lambda: call(trace), named)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_computes_with_sdpa_is_seen(m: Model) -> None:
    assert m.loaded.module.config._attn_implementation == "sdpa"
    rows = m.attention(TEXT).matrix(5, 0)
    np.testing.assert_allclose(rows.sum(-1), 1, atol=1e-5)


EVERY: dict[str, Callable[[Any], Any]] = {
    **{name: (lambda m, look=look: look(m, CLEAN)) for name, look in LOOKS.items()},
    "ablate, in a block": lambda m: m.ablate("3"),
    "attention, live": lambda m: m.watch_attention("hi"),
}


@pytest.mark.parametrize("look", EVERY)
def test_an_engine_without_weights_says_what_is_needed(look: str) -> None:
    remote = fake_model()
    says(lambda: EVERY[look](remote), ("weights", "fake", "%llama load cria"), UnsupportedError)
    assert remote.engine.requests == []


@pytest.mark.parametrize("look", EVERY)
def test_an_unloaded_model_says_how_to_load_it(look: str) -> None:
    gone = llama.load("cria", name="gone")
    kept = gone.attention(TEXT)
    gone.unload()
    says(lambda: EVERY[look](gone), ("unloaded", "%llama load"), ModelGone)
    assert kept.row(5, 0, -1).sum() == pytest.approx(1, abs=1e-5)


def test_more_than_half_of_the_memory_is_refused_with_what_helps(m: Model, monkeypatch: Any) -> None:
    monkeypatch.setattr("llama_nb.session.attention.available_memory", lambda _device: 50_000)
    say = (
        "5 tokens on 6 layers",
        "50.0 kB of memory are free",
        "fewer layers",
        "shorter text",
        "offload=True",
    )
    says(lambda: m.attention(TEXT), say, FitError)
    assert m.attention(TEXT, offload=True).length == 5


def test_damaged_weights_are_named_by_layer() -> None:
    import torch

    damaged = llama.load("cria", name="damaged")
    try:
        with torch.no_grad():
            damaged.loaded.module.model.layers[2].mlp.down_proj.weight[0, 0] = math.nan
        for look in ("attention", "lens", "heads", "ablate", "patch", "attention, live"):
            says(lambda look=look: EVERY[look](damaged), ("NaN", "weights"), EngineError)
        assert damaged.attention(TEXT, layers=[0, 1, 2]).row(2, 0, -1).sum() == pytest.approx(1, abs=1e-5)
        assert damaged.loaded.module.config._attn_implementation == "sdpa"
    finally:
        damaged.unload(force=True)


@pytest.mark.parametrize("look", ["attention", "lens", "heads", "ablate", "patch", "anatomy"])
def test_a_stop_before_it_begins_and_in_the_middle(m: Model, look: str) -> None:
    calls: dict[str, Callable[[StopFlag], Any]] = {
        "attention": lambda stop: m.attention(CLEAN, stop=stop),
        "lens": lambda stop: m.lens(CLEAN, stop=stop),
        "heads": lambda stop: m.heads(text=CLEAN, stop=stop),
        "anatomy": lambda stop: m.anatomy(CLEAN, stop=stop),
        "ablate": lambda stop: m.ablation(CLEAN, "3.5", stop=stop),
        "patch": lambda stop: m.patch(CLEAN, CORRUPT, 5, 6, stop=stop),
    }
    early = StopFlag()
    early.set()
    says(lambda: calls[look](early), ("stopped",), Stopped)
    middle = StopFlag()
    hook = m.loaded.module.model.layers[3].register_forward_pre_hook(lambda *_: middle.set())
    try:
        says(lambda: calls[look](middle), ("stopped",), Stopped)
    finally:
        hook.remove()


def test_what_goes_wrong_in_the_middle_leaves_the_model_as_it_was(m: Model) -> None:
    def explode(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    hook = m.loaded.module.model.layers[3].register_forward_pre_hook(explode)
    try:
        for look in ("attention", "lens", "heads", "anatomy", "patch"):
            with pytest.raises((ZeroDivisionError, EngineError), match="planted"):
                EVERY[look](m)
    finally:
        hook.remove()


def test_a_callback_that_raises_ends_what_it_watches_and_says_so() -> None:
    model = llama.load("cria", name="watched")
    try:
        with pytest.raises(ZeroDivisionError):
            model.watch_attention("Tell me a story.", max_tokens=5, on_rows=lambda _: 1 // 0)
        before = model.loaded.module.config._attn_implementation
        reply, watched = model.watch_attention("Tell me a story.", max_tokens=5, seed=1)
        assert before == "sdpa"
        assert watched.length == watched.prompt + len(reply.tokens) - 1
    finally:
        model.unload(force=True)


def test_two_threads_that_look_at_once_see_what_each_would_alone(m: Model) -> None:
    texts = (CLEAN, "The sea is blue and the sky is grey.")
    alone = [m.attention(text).matrix(4, 2) for text in texts]
    found: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda text=text: found.update({text: m.attention(text).matrix(4, 2)}))
        for text in texts
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for text, expected in zip(texts, alone, strict=True):
        np.testing.assert_array_equal(found[text], expected)
