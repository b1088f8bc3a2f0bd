"""A mask is exact: what it allows leads to a text of the grammar, what it forbids does not."""

import contextlib
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tokenizers import Tokenizer

from llama_nb.core.errors import SchemaError, UnsupportedError
from llama_nb.core.events import TokenEvent
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines import grammar as masks
from llama_nb.engines.grammar import Grammars
from llama_nb.engines.head import find_head
from llama_nb.engines.json_schema import can_end
from llama_nb.engines.sampler import Sampler
from llama_nb.engines.transformers_engine import TransformersEngine
from tests.engines.logits import SHAPES, make_logits
from tests.engines.opening import LILY, open_folder
from tests.schemas import random_schema

TEXTS = ["yes", "yes!", "no", "maybe", "né 😀", 'a"b\\c', "yes, please\nnow"]
RECIPE = {
    "type": "object",
    "properties": {"title": {"type": "string", "maxLength": 12}, "minutes": {"type": "integer"}},
    "required": ["title", "minutes"],
    "additionalProperties": False,
}


def as_json(schema: Any) -> Grammar:
    return Grammar("json", json.dumps(schema, ensure_ascii=False), "Thing")


def as_choice(texts: list[str]) -> Grammar:
    return Grammar("choice", json.dumps(texts, ensure_ascii=False), "choice")


@pytest.fixture(scope="module")
def tokenizers(root: Path, stories260k: Path, llama3_tokenizer: Path) -> dict[str, tuple[Tokenizer, int]]:
    """Two byte-level BPEs and a SentencePiece with byte fallback as Llama 2 has it, each with its end."""
    folders = {"cria": root / "llama_nb" / "bundled" / "cria", "stories": stories260k}
    folders["llama3"] = llama3_tokenizer
    found = {name: Tokenizer.from_file(str(path / "tokenizer.json")) for name, path in folders.items()}
    ends = {"cria": "<|eot_id|>", "stories": "</s>", "llama3": "<|eot_id|>"}
    return {name: (backend, backend.token_to_id(ends[name])) for name, backend in found.items()}


@pytest.fixture(scope="module")
def open_grammars(tokenizers: dict[str, tuple[Tokenizer, int]]) -> Callable[[str], Grammars]:
    made = {
        name: Grammars(backend, backend.get_vocab_size(), [end], name)
        for name, (backend, end) in tokenizers.items()
    }
    return made.__getitem__


@pytest.fixture
def cria(open_grammars: Callable[[str], Grammars]) -> Grammars:
    return open_grammars("cria")


NAMES = ["cria", "stories", "llama3"]


@pytest.mark.parametrize("name", NAMES)
def test_the_mask_is_what_trying_every_token_says(name, tokenizers, open_grammars):
    backend, end = tokenizers[name]
    texts = [text.encode() for text in TEXTS]
    pieces = token_bytes(backend)
    dice = random.Random(name)
    for _ in range(4):
        state, written = open_grammars(name).begin(as_choice(TEXTS)), b""
        while not state.ended:
            expected = {
                token
                for token, piece in enumerate(pieces)
                if piece and any(text.startswith(written + piece) for text in texts)
            }
            expected |= {end} if written in texts else set()
            allowed = state.allowed()
            assert len(allowed) == backend.get_vocab_size()
            assert set(np.flatnonzero(allowed).tolist()) == expected
            assert state.fulfilled == (written in texts)
            token = dice.choice(sorted(expected))
            state.feed(token)
            written += pieces[token] if token != end else b""
        assert written in texts


def token_bytes(backend: Tokenizer) -> list[bytes]:
    """The bytes that each token stands for; none for a control token."""
    pieces = [b""] * backend.get_vocab_size()
    added, vocabulary = backend.get_added_tokens_decoder(), backend.get_vocab()
    for name, token in vocabulary.items():
        if token in added:
            continue
        if name.startswith("<0x") and len(name) == 6:
            pieces[token] = bytes([int(name[3:5], 16)])
        elif "\u0120" in vocabulary:  # byte-level: a space is this letter
            pieces[token] = bytes(LETTERS[letter] for letter in name)
        else:
            pieces[token] = name.replace("\u2581", " ").encode()
    return pieces


def byte_letters() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes are themselves, the others follow from 256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + place): byte for place, byte in enumerate(others)}


LETTERS = byte_letters()


@pytest.mark.parametrize("left", [0, 1, 7, 900, 1100, 5000])
def test_the_head_of_what_a_mask_leaves_is_exact(left):
    random_ = np.random.default_rng(left)
    logits = np.full(128_256, -np.inf, np.float32)
    some = random_.choice(len(logits), left, replace=False)
    logits[some] = random_.standard_normal(left)
    head = find_head(logits, 1000)
    expected = np.argsort(-logits, kind="stable")[: min(left, 1000)]
    assert head.ids.tolist() == expected.tolist()
    assert (head.tail is None) == (left <= 1000)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_left_is_the_distribution_over_the_allowed_tokens(shape, cria):
    state = cria.begin(as_json(RECIPE))
    allowed = state.allowed()
    logits = make_logits(shape, 2048, 5)
    choice = Sampler(Sampling(temperature=1, top_p=1), []).choose(logits, lambda: 0.4, 20, allowed)
    chances = np.exp(logits.astype(np.float64) - logits.max())
    chances /= chances.sum()
    left = np.where(allowed, chances, 0.0)
    assert choice.forbidden == pytest.approx(1 - left.sum(), abs=1e-5)
    head = choice.steps[-1][1]
    if left.sum() > 0:
        expected = left / left.sum()
        assert head.chances() == pytest.approx(expected[head.ids], rel=1e-4)
        assert expected[head.ids].sum() == pytest.approx(1, abs=1e-6)
    assert allowed[choice.id]
    for candidate in choice.candidates:
        assert (candidate.sampled is None) == (not allowed[candidate.id] or not left[candidate.id])
        if np.isfinite(logits[candidate.id]):
            assert candidate.logprob == pytest.approx(np.log(chances[candidate.id]), abs=1e-4)


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_chain_does_the_mask_wins(seed, cria):
    random_ = np.random.default_rng(seed)
    allowed = np.zeros(2048, bool)
    allowed[random_.choice(2048, size=1 + seed % 3, replace=False)] = True
    some = np.flatnonzero(allowed)
    logits = make_logits(SHAPES[seed % len(SHAPES)], 2048, seed)
    sampling = Sampling(
        temperature=seed % 2 * 0.8,
        repetition_penalty=1.5,
        frequency_penalty=2,
        no_repeat_ngram=1,
        logit_bias={int(token): -100 for token in some},
        top_k=3,
        xtc_probability=1,
        xtc_threshold=0.01,
        top_n_sigma=0.5,
        mirostat_tau=0.5 if seed % 3 == 0 else 0,
    )
    sampler = Sampler(sampling, some.tolist(), some.tolist())
    for _ in range(5):
        choice = sampler.choose(logits, lambda: 0.9, 5, allowed)
        assert allowed[choice.id]
        assert 0 <= choice.forbidden <= 1


@pytest.mark.parametrize("name", NAMES)
def test_whatever_is_allowed_leads_to_a_text_that_parses_and_validates(name, tokenizers, open_grammars):
    backend, end = tokenizers[name]
    grammars, dice, finished = open_grammars(name), random.Random(11), 0
    for number in range(50):
        schema = random_schema(random.Random(number))
        state, ids = grammars.begin(as_json(schema)), []
        while not state.ended and len(ids) < 300:
            # Any allowed token, but an end as soon as there may be one, and mostly no white space.
            options = np.flatnonzero(state.allowed())
            token = end if state.fulfilled else int(dice.choice(options))
            state.feed(token)
            ids.append(token)
        if state.fulfilled:
            finished += 1
            text = backend.decode([token for token in ids if token != end], skip_special_tokens=True)
            jsonschema.validate(json.loads(text), schema)
    assert finished >= 45


REFUSED = [
    (as_json({"type": "banana"}), ["Thing", "banana"]),
    (as_json({"type": "array", "uniqueItems": True}), ["uniqueItems"]),
    (as_json({"$ref": "#/$defs/Step"}), ["/$defs/Step' does not exist"]),
    (as_json({"$ref": "https://example.org/schema.json"}), ["example.org"]),
    (as_json({"type": "integer", "minimum": 5, "maximum": 3}), ["minimum (5)", "maximum (3)"]),
    (as_json({"enum": []}), ["empty"]),
    (as_json({"type": "string", "pattern": "(?=a)b"}), ["Thing", "look"]),
    (as_json({"type": "string", "format": "banana"}), ["banana"]),
    (as_json({"type": "number", "minimum": 10**40}), ["Thing"]),
    (Grammar("regex", "[a", "[a"), ["[a", "unclosed character class"]),
    (Grammar("regex", "(?=a)b", "look"), ["look-around"]),
    (Grammar("regex", r"(a)\1", "twice"), ["backreferences"]),
    (Grammar("regex", "[^\\x{0}-\\x{10FFFF}]", "nothing"), ["no text fulfils it"]),
    (
        as_json({"$ref": "#/$defs/N", "$defs": {"N": {"type": "object", "properties": {
            "next": {"$ref": "#/$defs/N"}}, "required": ["next"]}}}),
        ["no end", "optional"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("grammar", "named"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_followed_is_refused_in_one_sentence(cria, grammar, named):
    with pytest.raises(SchemaError) as caught:
        cria.check(grammar)
    for part in named:
        assert part in str(caught.value)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 300


DEEP = '{"type":"array","items":' * 200 + '{"type":"string"}' + "}" * 200
HOSTILE = [
    Grammar("json", DEEP, "deep"),
    Grammar("json", DEEP * 200, "long"),
    Grammar("regex", "x" * 600_000, "long"),
    Grammar("regex", "(((a{1000}){1000}){1000}){1000}", "powers"),
    as_json({"enum": [f"value {number}" for number in range(100_000)]}),
    as_json({"type": "object", "properties": {f"k{number}": {"type": "string"} for number in range(3000)}}),
]


@pytest.mark.parametrize("grammar", HOSTILE, ids=lambda grammar: grammar.name)
def test_a_hostile_grammar_costs_a_few_seconds_at_most(cria, grammar):
    started = time.monotonic()
    with contextlib.suppress(SchemaError):
        state = cria.begin(grammar)
        for _ in range(20):
            state.feed(int(state.allowed().argmax()))
    assert time.monotonic() - started < masks.COMPILE_S + 3


def test_one_that_takes_too_long_is_left(cria, monkeypatch):
    monkeypatch.setattr(masks, "COMPILE_S", 0.05)
    monkeypatch.setattr(masks, "_compile", lambda *_: time.sleep(1))
    with pytest.raises(SchemaError, match="too large"):
        cria.check(as_json({"type": "integer", "title": "slow"}))


def test_a_catastrophic_pattern_is_followed_quickly(cria):
    state = cria.begin(Grammar("regex", "(a*)*b", "pattern"))
    started = time.monotonic()
    for _ in range(100):
        state.feed(int(np.flatnonzero(state.allowed())[-1]))
        if state.ended:
            break
    assert time.monotonic() - started < 2


def test_a_grammar_is_compiled_once(cria, monkeypatch):
    grammar = as_json({"type": "integer", "title": "once"})
    cria.check(grammar)
    monkeypatch.setattr(masks, "_compile", lambda *_: pytest.fail("compiled again"))
    cria.check(Grammar(grammar.kind, grammar.text, grammar.name))
    one, other = cria.begin(grammar), cria.begin(grammar)
    one.feed(int(one.allowed().argmax()))
    assert (other.allowed() == cria.begin(grammar).allowed()).all()  # replies do not share a state


def test_a_tokenizer_that_cannot_be_masked_is_named(monkeypatch):
    backend = type("Backend", (), {"to_str": lambda _: "{}", "get_vocab_size": lambda *_, **__: 3})()
    with pytest.raises(UnsupportedError, match="odd"):
        Grammars(backend, 3, [2], "odd").check(as_json({"type": "null"}))


def test_more_logits_than_tokens_and_fewer(tokenizers):
    backend, end = tokenizers["cria"]
    for size in (2048 + 37, 2000):
        state = Grammars(backend, size, [end], "cria").begin(as_choice(["yes", "no"]))
        mask = state.allowed()
        assert mask.shape == (size,)
        assert not mask[2048:].any()


ENDLESS = {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}


@pytest.mark.parametrize(
    ("schema", "ends"),
    [
        ({"type": "object", "properties": {"a": {"$ref": "#"}}}, True),
        (ENDLESS, False),
        ({"type": "array", "items": {"$ref": "#"}}, True),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, False),
        ({"anyOf": [{"$ref": "#"}, {"type": "null"}]}, True),
        ({"anyOf": [{"$ref": "#"}]}, False),
        ({"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1}, False),
        ({"allOf": [{"type": "object"}, {"$ref": "#"}]}, False),
        ({"type": "object", "properties": {"a": ENDLESS, "b": {"$ref": "#/properties/a"}}}, True),
        ({"$ref": "#/nowhere"}, True),
        (True, True),
    ],
)
def test_whether_a_schema_comes_to_an_end(schema, ends):
    assert can_end(schema) is ends


# --- in the engine ------------------------------------------------------------------------------------


def generate(engine: TransformersEngine, grammar: Grammar, **sampling: Any) -> list[TokenEvent]:
    request = Request(LILY, Sampling(**sampling), grammar=grammar, alternatives=3)
    return list(engine.stream(request, StopFlag()))


def test_a_base_model_with_byte_fallback_writes_json(stories):
    for seed in range(3):
        events = generate(stories, as_json(RECIPE), seed=seed, temperature=1, max_tokens=150)
        text = "".join(event.text for event in events)
        finish = events[-1].finish
        assert all(event.forbidden is not None for event in events)
        if finish.complete:
            assert finish.reason == "end"
            jsonschema.validate(json.loads(text), RECIPE)


def test_it_ends_where_nothing_can_follow_and_says_when_it_is_whole(stories):
    events = generate(stories, as_choice(["yes", "no"]), temperature=0)
    assert "".join(event.text for event in events) in {"yes", "no"}
    assert (events[-1].finish.reason, events[-1].finish.complete) == ("end", True)
    cut = generate(stories, as_json(RECIPE), temperature=0, max_tokens=4)
    assert (cut[-1].finish.reason, cut[-1].finish.complete) == ("length", False)
    stopped = generate(stories, Grammar("regex", "[a-z ]+", "words"), temperature=0, max_tokens=5)
    assert (stopped[-1].finish.reason, stopped[-1].finish.complete) == ("length", True)
    strings = generate(stories, Grammar("regex", "[a-z ]{20}x", "words"), temperature=0, stop=(" ",))
    assert (strings[-1].finish.reason, strings[-1].finish.complete) == ("stop_string", False)
    free = list(stories.stream(Request(LILY, Sampling(max_tokens=2)), StopFlag()))
    assert free[-1].finish.complete is None
    assert free[0].forbidden is None


def test_the_same_seed_writes_the_same(stories):
    one, other = (generate(stories, as_json(RECIPE), seed=4, temperature=1, max_tokens=60) for _ in range(2))
    assert [event.id for event in one] == [event.id for event in other]


def test_a_banned_word_that_must_come_comes(stories):
    events = generate(stories, as_choice(["zebra"]), temperature=0, banned=("zebra", "z"), no_repeat_ngram=1)
    assert "".join(event.text for event in events) == "zebra"


def test_a_stopped_reply_goes_on_as_if_it_had_never_stopped(cria_chat):
    question = (Message("user", "Write JSON."),)
    options = {"seed": 3, "temperature": 1.0}
    grammar = as_json(RECIPE)
    whole = list(
        cria_chat.stream(Request(question, Sampling(**options, max_tokens=90), grammar=grammar), StopFlag())
    )
    begun = Request(question, Sampling(**options, max_tokens=7), cache_key="stopped", grammar=grammar)
    first = list(cria_chat.stream(begun, StopFlag()))
    text = "".join(event.text for event in first)
    going_on = Request(
        (*question, Message("assistant", text)),
        Sampling(**options, max_tokens=83),
        cache_key="stopped",
        continue_last=True,
        grammar=grammar,
    )
    rest = list(cria_chat.stream(going_on, StopFlag()))
    assert [event.id for event in (*first, *rest)] == [event.id for event in whole]
    wrong = Request(
        (*question, Message("assistant", "Once")), Sampling(), continue_last=True, grammar=grammar
    )
    with pytest.raises(SchemaError, match="does not fit"):
        next(cria_chat.stream(wrong, StopFlag()))


def test_rows_of_a_batch_are_held_each_to_its_own_grammar(cria_chat):
    asked = (Message("user", "Write JSON."),)
    grammars = [as_json(RECIPE), as_choice(["yes", "no"]), None]
    requests = [Request(asked, Sampling(temperature=0, max_tokens=50), grammar=one) for one in grammars]
    alone = ["".join(event.text for event in cria_chat.stream(one, StopFlag())) for one in requests]
    texts = ["", "", ""]
    for row in cria_chat.stream_many(requests, StopFlag()):
        texts[row.row] += row.event.text
    assert texts == alone


@pytest.fixture(scope="module")
def cria_chat(root: Path) -> Iterator[TransformersEngine]:
    engine = open_folder(root / "llama_nb" / "bundled" / "cria")
    yield engine
    engine.close()
