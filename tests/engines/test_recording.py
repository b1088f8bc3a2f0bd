"""What stands in a recording: values that come back equal, and damage that is named and left out."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llama_nb.core import errors
from llama_nb.core.events import Alternative, Finish, TokenEvent, Usage
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message, ToolCall
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.base import Prompt, PromptSpan
from llama_nb.engines.recorded import read_recording
from llama_nb.engines.recording import (
    Damaged,
    ModelFacts,
    RecordedReply,
    digest,
    error_record,
    prompt_record,
    read_error,
    read_facts,
    read_prompt,
    read_reply,
    request_record,
    sampling_record,
)
from llama_nb.engines.replay_engine import ReplayEngine

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = st.integers(0, 200_000)
LOGPROBS = st.floats(max_value=0, allow_nan=False) | st.just(-math.inf)
ALTERNATIVES = st.builds(Alternative, IDS, TEXTS, LOGPROBS, st.none() | LOGPROBS, st.booleans())
FIGURES = st.none() | st.floats(0, 1)
TOKENS = st.builds(
    TokenEvent,
    text=TEXTS,
    id=st.none() | IDS,
    logprob=st.none() | LOGPROBS,
    entropy=st.none() | st.floats(0, 20),
    alternatives=st.lists(ALTERNATIVES, max_size=3).map(tuple),
    elapsed_s=st.floats(0, 1e4),
    forbidden=FIGURES,
    sampled=st.none() | LOGPROBS,
)
USAGES = st.builds(Usage, IDS, IDS, IDS, st.none() | st.floats(0, 1e4), st.floats(0, 1e4))
FINISHES = st.builds(
    Finish,
    st.sampled_from(["end", "length", "stopped", "stop_string", "context"]),
    USAGES,
    st.none() | st.integers(0, 2**63 - 1),
    TEXTS,
    st.none() | st.booleans(),
)


def through_json(record):
    return json.loads(json.dumps(record, ensure_ascii=False))


@settings(max_examples=200, deadline=None)
@given(st.lists(TOKENS, min_size=1, max_size=5), FINISHES, st.sets(IDS))
def test_a_reply_comes_back_equal(tokens, finish, special):
    from dataclasses import replace

    tokens[-1] = replace(tokens[-1], finish=finish)
    reply = RecordedReply(tuple(tokens), finish, None, frozenset(special))
    assert read_reply(through_json(reply.to_record())) == reply


def test_what_decides_the_prompt_is_the_question():
    messages = (Message("user", "hi"), Message("assistant", "", (ToolCall("f", {"a": 1}),)))
    plain = Request(messages)
    same = Request(messages, Sampling(seed=3), cache_key="x", alternatives=3, purpose="y")
    assert digest(request_record(plain)) == digest(through_json(request_record(same)))
    others = [
        Request(messages[:1]),
        Request("hi"),
        Request((1, 2)),
        Request(messages, continue_last=True),
        Request(messages, begun=(1,)),
        Request(messages, tools=({"name": "f"},)),
        Request(messages, grammar=Grammar("regex", "a+", "r")),
    ]
    digests = {digest(request_record(request)) for request in (plain, *others)}
    assert len(digests) == len(others) + 1
    named = Request(messages, grammar=Grammar("regex", "a+", "another name"))
    assert digest(request_record(named)) in digests


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature="0"),
        Sampling(seed=2**62, stop="a"),
        Sampling(logit_bias={"sun": 2, 3: -1}),
    ],
    ids=str,
)
def test_sampling_is_the_same_after_json(sampling):
    record = through_json(sampling_record(sampling))
    assert record == sampling_record(sampling)
    assert Sampling(**record) == sampling


def test_prompts_errors_and_facts_come_back_equal():
    prompt = Prompt((1, 2, 3), "<b>hi", (PromptSpan("user", 0, 2),), ("<|eot_id|>",))
    assert read_prompt(through_json(prompt_record(prompt))) == prompt
    for error in (errors.SchemaError("no", "do"), errors.ContextOverflow("long")):
        back = read_error(through_json(error_record(error)))
        assert (type(back), back.message, back.hint) == (type(error), error.message, error.hint)
    assert type(read_error({"kind": "SystemExit", "message": "x"})) is errors.EngineError
    assert type(read_error({"kind": "nearest", "message": "x"})) is errors.EngineError
    facts = ModelFacts(
        "a/b", "b", "f" * 16, "llama", 10, 20, "float32", "cpu", 40, "nf4", ("left out",), "t", True, True
    )
    assert read_facts(through_json(facts.to_record())) == facts
    assert read_facts(through_json(facts.to_record())).id == facts.id


# --- damage ---------------------------------------------------------------------------------------------

GOOD = RecordedReply(
    (TokenEvent("a", 1, -0.5, 0.2, (Alternative(1, "a", -0.5, -0.1),), 0.1),),
    Finish("end", Usage(1, 0, 1, 0.1, 0.2), 7),
    None,
    frozenset({1}),
).to_record()
TOKEN = GOOD["tokens"][0]


def token(place, value):
    return {**GOOD, "tokens": [[*TOKEN[:place], value, *TOKEN[place + 1 :]]]}


DAMAGED = [
    {**GOOD, "tokens": "many"},
    {**GOOD, "tokens": [[]]},
    {**GOOD, "tokens": [None]},
    {**GOOD, "tokens": None},
    {**GOOD, "special": [-1]},
    {**GOOD, "special": {"a": 1}},
    {**GOOD, "finish": "end"},
    {**GOOD, "finish": {**GOOD["finish"], "reason": "because"}},
    {**GOOD, "finish": {**GOOD["finish"], "reason": ["end"]}},
    {**GOOD, "finish": {**GOOD["finish"], "usage": [1, 2]}},
    {**GOOD, "finish": {**GOOD["finish"], "usage": [1, 0, 1, 0.1, "now"]}},
    {**GOOD, "finish": {**GOOD["finish"], "seed": 2**70}},
    {**GOOD, "finish": {**GOOD["finish"], "seed": True}},
    {**GOOD, "finish": {**GOOD["finish"], "complete": "yes"}},
    {**GOOD, "error": "broken"},
    {**GOOD, "error": {"kind": "EngineError"}},
    token(0, None),
    token(0, 5),
    token(1, -1),
    token(1, 2**40),
    token(1, 1.5),
    token(1, True),
    token(2, math.nan),
    token(2, math.inf),
    token(2, "high"),
    token(2, 10**400),
    token(4, None),
    token(7, {}),
    token(7, [[1, "a", -0.5, None]]),
    token(7, [[1, None, -0.5, None, 0]]),
    token(7, [[1, "a", None, None, 0]]),
    token(7, [[1, "a", -0.5, None, 0]] * 101),
]


@pytest.mark.parametrize("record", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_reply_is_found(record):
    with pytest.raises(Damaged):
        read_reply(record)
    assert read_reply(GOOD)


FACTS = ModelFacts("fake", "fake", "f" * 16, "llama", 10, 100, "float32", "cpu", 40)
MODEL = {"recording": 1, "take": "t", "type": "model", "model": "m", "facts": FACTS.to_record()}
REPLY = {
    "recording": 1,
    "take": "t",
    "type": "reply",
    "model": "m",
    "request": {"text": "hi"},
    "sampling": {},
    **GOOD,
}
LINES = [
    (b"\xff\xfe\x00", "no JSON"),
    (b"{", "no JSON"),
    (b"[" * 100_000, "no JSON"),
    (b"[]", "no JSON object"),
    (b"1" * 10_000, "no JSON"),
    (json.dumps({**REPLY, "recording": "1"}).encode(), "its format"),
    (json.dumps({**REPLY, "take": None}).encode(), "take"),
    (json.dumps({**REPLY, "model": "other"}).encode(), "not described"),
    (json.dumps({**REPLY, "type": "poem"}).encode(), "not known"),
    (json.dumps({**REPLY, "request": []}).encode(), "request"),
    (json.dumps({**REPLY, "sampling": None}).encode(), "sampling"),
    (json.dumps({**MODEL, "facts": {**FACTS.to_record(), "context": -5}}).encode(), "context"),
    (json.dumps({**MODEL, "model": "n", "facts": {"name": "x"}}).encode(), "source"),
    (json.dumps({**MODEL, "facts": {**FACTS.to_record(), "name": "\x1b[31m"}}).encode(), "cannot be shown"),
    (json.dumps({**MODEL, "type": "names", "names": [[1, 2]]}).encode(), "names"),
    (json.dumps({**MODEL, "type": "names", "names": [[1, 2, True]]}).encode(), "a token"),
    (json.dumps({**MODEL, "type": "answer", "call": 7}).encode(), "call"),
]


@pytest.mark.parametrize(("line", "why"), LINES, ids=range(len(LINES)))
def test_a_damaged_line_costs_itself_only(tmp_path, line, why):
    path = tmp_path / "a.jsonl"
    good = [json.dumps(MODEL).encode(), json.dumps(REPLY).encode()]
    path.write_bytes(b"\n".join([good[0], line, b"", good[1], b""]))
    found = read_recording(path)
    assert found.replies == 1
    ((number, said),) = found.skipped
    assert number == 2
    assert why in said
    engine = ReplayEngine(found.models["m"], "fake", "a.jsonl")
    assert [event.text for event in engine.stream(Request("hi"), StopFlag())] == ["a"]


def test_a_later_format_a_huge_file_and_no_file_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    with pytest.raises(errors.RecordingError, match=r"no file a\.jsonl"):
        read_recording(path)
    with pytest.raises(errors.RecordingError, match="no file"):
        read_recording(tmp_path)
    path.write_text(json.dumps({**MODEL, "recording": 2}))
    with pytest.raises(errors.RecordingError, match=r"later version of llama-nb \(format 2, not 1\)"):
        read_recording(path)
    monkeypatch.setattr("llama_nb.engines.recorded.LARGEST_FILE", 10)
    with pytest.raises(errors.RecordingError, match="more than"):
        read_recording(path)


def test_what_is_damaged_inside_is_refused_when_it_is_asked_for(tmp_path):
    path = tmp_path / "a.jsonl"
    answer = {**MODEL, "type": "answer", "call": "prompt", "asked": {"text": "hi"}, "value": {"ids": ["x"]}}
    broken = {**REPLY, "request": {"text": "broken"}, "tokens": [1]}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (MODEL, answer, broken)))
    engine = ReplayEngine(read_recording(path).models["m"], "fake", "a.jsonl")
    with pytest.raises(errors.RecordingError, match=r"a\.jsonl is damaged"):
        engine.prompt(Request("hi"))
    with pytest.raises(errors.RecordingError, match=r"a\.jsonl is damaged: a token"):
        next(engine.stream(Request("broken"), StopFlag()))


def test_parameters_of_another_version_are_named(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in (MODEL, {**REPLY, "sampling": {"luck": 3}})))
    engine = ReplayEngine(read_recording(path).models["m"], "fake", "a.jsonl")
    with pytest.raises(errors.RecordingError, match="luck was 3, and is not set now"):
        next(engine.stream(Request("hi"), StopFlag()))
