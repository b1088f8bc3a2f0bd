"""A reply that begins with tokens goes on as if it had chosen them: text, draws, penalties, limits."""

import math

import pytest

from llama_nb.core.errors import ContextOverflow, MessageError, SchemaError
from llama_nb.core.events import TokenEvent
from llama_nb.core.grammar import Grammar
from llama_nb.core.messages import Message
from llama_nb.core.request import Request
from llama_nb.core.sampling import Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.engines.detokenize import StopStrings
from tests.engines.opening import LILY, ids, run, text

ASKED = (Message("user", "Once upon a time"),)


def go_on(engine, given, begun, *, key=None, surprise=None, grammar=None, **sampling) -> list[TokenEvent]:
    request = Request(
        given,
        Sampling(**sampling),
        cache_key=key,
        begun=tuple(begun),
        surprise=surprise,
        grammar=grammar,
        alternatives=3,
    )
    return list(engine.stream(request, StopFlag()))


def begun_text(engine, given, begun, **sampling) -> str:
    return "".join(engine.begun_texts(Request(given, Sampling(**sampling), begun=tuple(begun))))


def surprises(events: list[TokenEvent], tau: float, eta: float) -> list[float]:
    """Where mirostat stands before each token, from what was recorded."""
    stands = [2 * tau]
    for event in events:
        if event.id is not None:
            stands.append(stands[-1] - eta * (-event.sampled / math.log(2) - tau))
    return stands


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0},
        {"temperature": 1.2, "seed": 5, "frequency_penalty": 0.4},
        {"temperature": 1.0, "seed": 6, "xtc_probability": 0.5, "xtc_threshold": 0.001, "top_p": 1.0},
        {"temperature": 1.0, "seed": 9, "mirostat_tau": 4.0, "mirostat_eta": 0.5, "dry_multiplier": 0.8},
        {"temperature": 1.0, "seed": 4, "no_repeat_ngram": 2, "repetition_penalty": 1.3},
    ],
    ids=["greedy", "penalty", "xtc", "mirostat", "ngram"],
)
def test_the_rest_is_the_same_from_every_token_on(cria_like, sampling):
    whole = run(cria_like, ASKED, key="begun", max_tokens=16, **sampling)
    tau, eta = sampling.get("mirostat_tau", 0), sampling.get("mirostat_eta", 0)
    stands = surprises(whole, tau, eta) if tau else [None] * 17
    for count in range(1, 17):
        begun = ids(whole)[:count]
        rest = go_on(cria_like, ASKED, begun, key="begun", surprise=stands[count], max_tokens=16, **sampling)
        assert ids(rest) == ids(whole)[count:]
        assert begun_text(cria_like, ASKED, begun, **sampling) + text(rest) == text(whole)
        assert rest[-1].finish.reason == whole[-1].finish.reason == "length"
        prompt = len(cria_like.prompt(Request(ASKED)).ids)
        assert rest[-1].finish.usage.prompt_tokens == prompt + count
        if count < 16:
            assert rest[-1].finish.usage.cached_tokens == prompt + count - 1


@pytest.mark.parametrize("letters", ["naïve 🦙🦙 text", "日本語の文"])
def test_characters_that_span_tokens_stay_whole(cria_like, stories, letters):
    for engine in (cria_like, stories):
        tokens = engine.tokenize(letters)
        assert len(tokens) > len(letters.split())
        for count in range(1, len(tokens)):
            kept = begun_text(engine, LILY, tokens[:count])
            assert "\ufffd" not in kept
            rest = go_on(engine, LILY, tokens[:count], temperature=0, max_tokens=count + 3)
            full = engine._decode([*tokens[:count], *ids(rest)])
            assert (kept + text(rest)).strip() == full.strip()


def test_a_stop_string_across_the_border_is_found(stories):
    whole = run(stories, LILY, temperature=0, max_tokens=40)
    shown = text(whole)
    stop = shown[20:32]
    expected = run(stories, LILY, temperature=0, max_tokens=40, stop=(stop,))
    assert expected[-1].finish.reason == "stop_string"
    for count in range(1, len(ids(expected))):
        begun = ids(whole)[:count]
        rest = go_on(stories, LILY, begun, temperature=0, max_tokens=40, stop=(stop,))
        assert begun_text(stories, LILY, begun, stop=(stop,)) + text(rest) == text(expected)
        assert (rest[-1].finish.reason, rest[-1].finish.detail) == ("stop_string", stop)


def test_a_stop_string_that_was_passed_ends_nothing_and_is_text(stories):
    whole = run(stories, LILY, temperature=0, max_tokens=40)
    stop = text(whole)[20:26]
    begun = ids(whole)[:20]
    assert stop in stories._decode(begun)
    rest = go_on(stories, LILY, begun, temperature=0, max_tokens=40, stop=(stop,))
    assert begun_text(stories, LILY, begun, stop=(stop,)) + text(rest) == text(whole)
    stops = StopStrings(["ab", "ba"])
    assert [stops.pass_over(piece) for piece in ("xa", "ba")] == ["x", "ab"]
    assert (stops.feed("!") + stops.flush(), stops.found) == ("a!", None)


def test_limits_count_what_it_begins_with(stories):
    whole = ids(run(stories, LILY, temperature=0, max_tokens=10))
    for begun in (whole, [*whole, 5, 6]):
        (only,) = go_on(stories, LILY, begun, temperature=0, max_tokens=10)
        assert (only.id, only.finish.reason) == (None, "length")
    room = stories.context - len(stories.prompt(Request(LILY)).ids)
    (only,) = go_on(stories, LILY, [5] * room, temperature=0, max_tokens=None)
    assert only.finish.reason == "context"
    with pytest.raises(ContextOverflow):
        go_on(stories, (5,) * stories.context, [5])


def test_one_that_begins_with_its_end_is_over(cria_like):
    end = min(cria_like._ends)
    begun = [*cria_like.tokenize("Hello"), end]
    (only,) = go_on(cria_like, ASKED, begun, temperature=0)
    assert (only.text, only.id, only.finish.reason) == ("", None, "end")
    assert begun_text(cria_like, ASKED, begun) == "Hello"


@pytest.mark.parametrize("bad", [-1, 10**9, True, "5", 1.0])
def test_what_is_no_token_is_refused(stories, bad):
    with pytest.raises(MessageError, match="Token 1 that the reply begins with"):
        go_on(stories, LILY, [5, bad])
    with pytest.raises(MessageError, match="Token 0"):
        stories.begun_texts(Request(LILY, begun=(bad,)))


def test_tokens_and_a_last_message_do_not_go_together(cria_like):
    request = Request((*ASKED, Message("assistant", "I")), begun=(5,), continue_last=True)
    with pytest.raises(MessageError, match="not both"):
        list(cria_like.stream(request, StopFlag()))


def test_a_grammar_stands_behind_what_it_begins_with(stories):
    grammar = Grammar("choice", '["yes, of course", "no, never"]', "answer")
    request = Request(LILY, Sampling(seed=2), grammar=grammar)
    whole = list(stories.stream(request, StopFlag()))
    for count in range(1, len(ids(whole)) + 1):
        begun = ids(whole)[:count]
        rest = go_on(stories, LILY, begun, grammar=grammar, seed=2)
        assert ids(rest) == ids(whole)[count:]
        assert begun_text(stories, LILY, begun) + text(rest) == text(whole)
        assert (rest[-1].finish.reason, rest[-1].finish.complete) == ("end", True)
    with pytest.raises(SchemaError, match="does not fit"):
        go_on(stories, LILY, stories.tokenize("maybe"), grammar=grammar, temperature=0)


def test_the_prompt_shows_what_it_begins_with(cria_like):
    tokens = cria_like.tokenize("Hello there")
    plain, begun = (cria_like.prompt(Request(ASKED, begun=ids)) for ids in ((), tokens))
    assert begun.ids == (*plain.ids, *tokens)
    assert begun.text == plain.text + "Hello there"
    assert begun.spans == plain.spans


def test_in_a_batch_it_is_what_it_is_alone(stories):
    whole = run(stories, LILY, temperature=0, max_tokens=8)
    request = Request(
        LILY, Sampling(temperature=0, max_tokens=8), begun=tuple(ids(whole)[:5]), alternatives=3
    )
    rows = list(stories.stream_many([request, Request(LILY, Sampling(max_tokens=2))], StopFlag()))
    first = [row.event for row in rows if row.row == 0]
    assert ids(first) == ids(whole)[5:]


def test_what_a_token_had_after_the_sampler_is_recorded(stories):
    events = run(stories, LILY, temperature=1.5, seed=3, max_tokens=30, alternatives=2, top_p=1.0, top_k=0)
    known = [event for event in events if any(other.id == event.id for other in event.alternatives)]
    beyond = [event for event in events if event not in known]
    assert known
    assert beyond
    for event in known:
        (own,) = (other for other in event.alternatives if other.id == event.id)
        assert event.sampled == own.sampled
    assert all(event.sampled is not None for event in beyond)
    assert [event.sampled for event in run(stories, LILY, temperature=0, max_tokens=2)] == [0.0, 0.0]
