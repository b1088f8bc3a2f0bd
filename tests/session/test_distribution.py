"""The distribution of a next token: the sampler's own, at every place, and without the model afterwards."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import llama_nb as llama
from llama_nb.core.errors import LlamaError, MessageError, ModelGone, SamplingError, UnsupportedError
from llama_nb.core.sampling import Sampling
from llama_nb.engines.base import NextToken
from llama_nb.engines.sampler import Sampler
from llama_nb.runtime import settings as session_settings
from llama_nb.session.distribution import Distribution
from llama_nb.session.token_names import TokenNames
from tests.engines.logits import SHAPES, make_logits
from tests.session.fakes import fake_model

LILY = "Once upon a time, there was a little girl named Lily."


class Names:
    """An engine as far as names of tokens need one."""

    def token_texts(self, ids):
        return [f"t{token}" for token in ids]

    def is_special(self, token):
        return token == 0

    def tokenize(self, text):
        return tuple(ord(char) for char in text.strip())


ENGINE = Names()


def made(logits, prompt=(1, 2), reply=(), head=1000, allowed=None, **sampling):
    return Distribution(
        NextToken(logits, tuple(prompt), tuple(reply), allowed=allowed),
        Sampling(**{"temperature": 1, "top_p": 1, **sampling}),
        TokenNames(ENGINE),
        place="here",
        head=head,
    )


@pytest.fixture(scope="module")
def stories(stories260k):
    model = llama.load(str(stories260k), name="stories for distributions")
    yield model
    if model.alive:
        model.unload()


CHAINS = [
    {},
    {"temperature": 0},
    {"temperature": 0, "repetition_penalty": 1.4},
    {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05},
    {"temperature": 1.5, "typical_p": 0.8, "top_n_sigma": 1.5},
    {"repetition_penalty": 1.3, "presence_penalty": 0.5, "frequency_penalty": 0.5, "penalty_window": 3},
    {"xtc_probability": 1, "xtc_threshold": 0.02},
    {"dynatemp_range": 0.4, "epsilon_cutoff": 1e-3, "eta_cutoff": 1e-2},
    {"mirostat_tau": 3},
    {"dry_multiplier": 1, "no_repeat_ngram": 2, "banned": ["A"], "logit_bias": {7: 20}},
    {"top_p": 0.5, "temperature": 2, "order": ("top_p", "temperature", "repetition_penalty")},
]


def test_probabilities_behind_each_stage_begin_with_the_models_and_end_with_the_samplers():
    found = made(make_logits("normal", 5000, 3), temperature=0.7, top_k=40, top_p=0.9)
    behind = [found.behind(stage) for stage in range(len(found.stages))]
    np.testing.assert_allclose(behind[0], found.before, rtol=1e-6)
    np.testing.assert_allclose(behind[-1], found.after, rtol=1e-6)
    assert [np.count_nonzero(chances) for chances in behind] == [stage.kept for stage in found.stages]
    assert all(chances.sum() == pytest.approx(1, abs=1e-4) for chances in behind)


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_what_the_sampler_draws_from(shape, chain):
    logits = make_logits(shape, 5000, 4)
    prompt, reply = (1, 2, 3, 1, 2), (4, 1, 2)
    found = made(logits, prompt, reply, head=50, **chain)
    sampler = Sampler(found.sampling, prompt, reply, TokenNames(ENGINE).words(found.sampling, 5000))
    choice = sampler.choose(logits, lambda: 0.5, 100)
    beyond = choice.steps[-1][1].tail is not None if choice.steps else False
    for candidate in choice.candidates:
        if candidate.sampled is None and beyond:
            continue  # the record knows the head only
        chance = 0.0 if candidate.sampled is None else np.exp(candidate.sampled)
        assert found.after[candidate.id] == pytest.approx(chance, rel=1e-5, abs=1e-9)
        assert found.before[candidate.id] == pytest.approx(np.exp(candidate.logprob), rel=1e-4, abs=1e-9)
    assert found.after.sum() == pytest.approx(1, abs=1e-5)
    assert found.after[choice.id] > 0


@pytest.mark.parametrize("shape", SHAPES)
def test_before_is_the_softmax_and_temperature_one_changes_nothing(shape):
    logits = make_logits(shape, 3000, 1).astype(np.float64)
    weights = np.exp(logits - logits.max())
    found = made(logits.astype(np.float32))
    np.testing.assert_allclose(found.before, weights / weights.sum(), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.after, found.before, rtol=1e-6)
    heat = np.exp((logits - logits.max()) / 0.5)
    np.testing.assert_allclose(found.replace(temperature=0.5).after, heat / heat.sum(), rtol=1e-4, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(CHAINS), st.sampled_from(SHAPES), st.integers(0, 50), st.sampled_from([1, 7, 300]))
def test_the_stages_add_up_whatever_is_listed(chain, shape, seed, head):
    logits = make_logits(shape, 400, seed)
    found = made(logits, (1, 2, 3, 1, 2), (4, 1, 2), head=head, **chain)
    wide = made(logits, (1, 2, 3, 1, 2), (4, 1, 2), head=400, **chain)
    assert [(s.name, s.kept, s.removed) for s in found.stages] == [
        (s.name, s.kept, s.removed) for s in wide.stages
    ]
    np.testing.assert_allclose(found.after, wide.after, rtol=1e-5, atol=1e-9)
    assert found.stages[0].name == "logits"
    assert found.stages[0].mass == 1 or shape == "masked"
    kept = found.stages[0].kept
    for stage in found.stages[1:]:
        assert stage.kept + stage.removed == kept
        assert 1 <= stage.kept <= kept
        assert 0 <= stage.lost <= 1
        assert 0 <= stage.mass <= 1 + 1e-6
        assert stage.entropy >= 0
        kept = stage.kept
    assert kept == np.count_nonzero(found.after) or found.after[found.after > 0].min() < 1e-30
    gone = {row.removed_by for row in wide.top(400) if row.removed_by}
    assert gone <= {stage.name for stage in wide.stages if stage.removed}


@pytest.mark.parametrize("chain", CHAINS, ids=str)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.01])
def test_a_grammar_is_the_first_stage(share, chain):
    logits = make_logits("normal", 5000, 6)
    allowed = np.random.default_rng(8).random(5000) < share
    found = made(logits, (1, 2, 3), (4, 1), head=60, allowed=allowed, **chain)
    assert [stage.name for stage in found.stages[:2]] == ["logits", "grammar"]
    grammar = found.stages[1]
    assert (grammar.kept, grammar.removed) == (np.count_nonzero(allowed), np.count_nonzero(~allowed))
    assert grammar.mass == pytest.approx(float(found.before[allowed].sum(dtype=float)), abs=1e-5)
    assert not found.after[~allowed].any()
    sampler = Sampler(found.sampling, (1, 2, 3), (4, 1), TokenNames(ENGINE).words(found.sampling, 5000))
    choice = sampler.choose(logits, lambda: 0.5, 60, allowed)
    for candidate in choice.candidates:
        assert candidate.forbidden is not bool(allowed[candidate.id])
        if candidate.forbidden:
            assert candidate.sampled is None
            assert found.token(candidate.id).removed_by == "grammar"
    assert found.after[choice.id] > 0
    wider = found.replace(temperature=2)
    assert wider.stages[1].name == "grammar"
    assert not wider.after[~allowed].any()


def test_a_held_reply_can_be_looked_into(stories):
    reply = stories.json(LILY, choice=["yes", "no"], temperature=0)
    first = stories.distribution(reply, position=0)
    assert first.stages[1].name == "grammar"
    assert first.stages[1].mass == pytest.approx(1 - reply.tokens[0].forbidden, abs=1e-5)
    assert first.chosen == reply.tokens[0].id
    assert first.after[first.chosen] == 1
    ruled_out = {row.text for row in first.top(10) if row.removed_by == "grammar"}
    assert ruled_out >= {other.text for other in reply.tokens[0].alternatives[:5] if other.forbidden}
    assert "grammar" in first._repr_mimebundle_()["text/plain"]
    behind = stories.distribution(reply)  # nothing is asked for behind its end
    assert behind.stages[0].name == "logits"
    assert "grammar" not in [stage.name for stage in behind.stages]
    assert "ruled out by the grammar" in reply.why()._repr_mimebundle_()["text/plain"]


def test_each_stage_says_what_it_took():
    logits = np.log(np.array([0.5, 0.25, 0.15, 0.07, 0.03], np.float32))
    found = made(logits, top_k=4, top_p=0.7)
    assert [(stage.name, stage.kept, stage.removed) for stage in found.stages] == [
        ("logits", 5, 0),
        ("top_k", 4, 1),
        ("top_p", 2, 2),
    ]
    assert [stage.mass for stage in found.stages] == pytest.approx([1, 0.97, 0.75], abs=1e-6)
    assert found.stages[1].lost == pytest.approx(0.03, abs=1e-6)
    assert found.stages[2].lost == pytest.approx(0.22 / 0.97, abs=1e-6)
    assert found.stages[2].entropy == pytest.approx(-(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3)))
    assert found.stages[2].top == (("t0", pytest.approx(2 / 3)), ("t1", pytest.approx(1 / 3)))
    rows = {row.id: row for row in found.top(5)}
    assert [rows[token].removed_by for token in range(5)] == [None, None, "top_p", "top_p", "top_k"]
    assert rows[0].special
    assert rows[1].after == pytest.approx(1 / 3)
    frame = found.to_frame()
    assert list(frame.columns) == ["id", "text", "special", "before", "after", "removed_by"]
    assert frame["id"].tolist() == [0, 1, 2, 3, 4]


def test_a_token_that_the_sampling_lifts_is_listed_from_any_rank():
    logits = make_logits("normal", 5000, 0)
    least = int(logits.argmin())
    found = made(logits, head=10, logit_bias={least: 100})
    assert found.top(1)[0].id == least
    assert least in set(found.to_frame()["id"])
    assert found.token(least).after > 0.9


def test_xtc_counts_as_often_as_it_acts():
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    found = made(logits, xtc_probability=0.25, xtc_threshold=0.1)
    expected = 0.75 * np.array([0.5, 0.3, 0.15, 0.05]) + 0.25 * np.array([0, 0, 0.75, 0.25])
    np.testing.assert_allclose(found.after, expected, atol=1e-6)
    assert found.stages[-1].kept == 2
    counts = {row.id: row.count for row in found.resample(20_000, seed=1)}
    for token, chance in enumerate(expected):
        assert abs(counts[token] - 20_000 * chance) < 5 * np.sqrt(20_000 * chance * (1 - chance))


@pytest.mark.parametrize("shape", ["normal", "flat", "masked"])
def test_resampling_follows_the_distribution_beyond_the_head_too(shape):
    found = made(make_logits(shape, 3000, 2), head=5)
    n = 50_000
    rows = found.resample(n, seed=3)
    assert sum(row.count for row in rows) == n
    assert [row.count for row in rows] == sorted((row.count for row in rows), reverse=True)
    assert all(found.after[row.id] > 0 for row in rows)
    drawn = np.zeros(3000)
    for row in rows:
        drawn[row.id] = row.count
        assert row.expected == pytest.approx(n * found.after[row.id])
    often = found.after * n >= 10
    squares = (drawn - n * found.after)[often] ** 2 / (n * found.after[often])
    assert squares.mean() < 1.5
    assert found.resample(n, seed=3) == rows
    assert found.resample(10) != ()


def test_resampling_is_the_samplers_own_draw():
    logits = make_logits("normal", 1000, 5)
    found = made(logits, top_p=0.8, temperature=1.2)
    counts = np.zeros(1000)
    random = np.random.default_rng(0)
    for _ in range(3000):
        counts[Sampler(found.sampling, [1, 2]).choose(logits, random.random).id] += 1
    for row in found.resample(100_000, seed=1)[:10]:
        assert counts[row.id] == pytest.approx(row.count * 0.03, abs=5 * np.sqrt(row.count * 0.03))


@pytest.mark.parametrize("n", [0, -1, 2.5, "many", True, 10**9])
def test_how_many_draws_has_a_range(n):
    with pytest.raises(SamplingError, match="whole number"):
        made(make_logits("normal", 50, 0)).resample(n)


def test_other_parameters_need_no_model():
    logits = make_logits("normal", 3000, 7)
    found = made(logits, (1, 2, 1), top_p=0.9)
    for chain in CHAINS:
        other = found.replace(**{"top_p": 1, **chain})
        np.testing.assert_allclose(other.after, made(logits, (1, 2, 1), **chain).after, rtol=1e-6)
    assert found.replace(preset="creative", min_p=0.2).sampling.min_p == 0.2
    assert found.sampling.top_p == 0.9
    with pytest.raises(SamplingError, match="temperature"):
        found.replace(temprature=1)


def test_what_is_kept_is_one_row_of_float32():
    found = made(np.zeros(128_256, np.float32))
    assert found.nbytes == 513_024
    assert "513,024" in Distribution.__doc__


# --- where it is looked at ------------------------------------------------------------------------


def test_every_place_of_a_reply_is_what_its_token_was_chosen_from(stories):
    options = {"temperature": 1.2, "top_p": 0.95, "repetition_penalty": 1.2, "frequency_penalty": 0.3}
    reply = stories.complete(LILY, seed=3, max_tokens=12, mirostat_tau=4, **options)
    for position, token in enumerate(reply.tokens):
        found = stories.distribution(position=position)
        assert found.chosen == token.id
        assert found.sampling == reply.sampling
        assert found.place == f"token {position} of the reply"
        assert np.log(found.before[token.id]) == pytest.approx(token.logprob, abs=1e-4)
        assert found.stages[0].entropy == pytest.approx(token.entropy, abs=1e-4)
        for other in token.alternatives:
            chance = 0.0 if other.sampled is None else np.exp(other.sampled)
            assert found.after[other.id] == pytest.approx(chance, abs=1e-4)
    assert stories.distribution(reply, position=-1).chosen == reply.tokens[-1].id
    assert stories.distribution(reply).chosen is None
    assert stories.distribution(reply, position=0, temperature=0).stages[-1].name == "greedy"


def test_after_a_text_and_in_a_text(stories):
    found = stories.distribution(LILY, temperature=0)
    assert stories.complete(LILY, temperature=0, max_tokens=1).tokens[0].id == found.stages[-1].kept * int(
        found.after.argmax()
    )
    ids = stories.engine.prompt(stories.last.request).ids
    within = stories.distribution(LILY, position=4)
    assert within.chosen == ids[4]
    assert stories.distribution(LILY, position=-1).chosen == ids[-1]
    assert "Lily." in found.place


def test_the_session_and_presets_decide_as_for_a_reply(stories):
    session_settings.set_sampling("top_k", 7)
    try:
        assert stories.distribution(LILY).sampling == stories.sampling
        assert stories.distribution(LILY, preset="creative").sampling.top_k == 0
        assert stories.distribution(LILY, preset="creative", top_k=3).sampling.top_k == 3
    finally:
        session_settings.clear_sampling()


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="cria for distributions")
    yield model
    model.unload()


def test_after_a_chat_as_it_stands(cria):
    reply = cria.chat("What is a token?", temperature=0, max_tokens=5)
    behind = cria.distribution(temperature=0)
    more = cria.complete("x", temperature=0, max_tokens=1)
    assert more.done
    assert behind.place == "the next token of chat main"
    asked = cria.distribution("What is a token?", chat="fresh", temperature=0)
    assert int(asked.after.argmax()) == reply.tokens[0].id
    whole = cria.chat("What is a token?", chat="other", temperature=0, max_tokens=6)
    assert int(behind.after.argmax()) == whole.tokens[5].id
    assert cria.distribution(whole, position=2).chosen == whole.tokens[2].id


def test_a_conversation_goes_on_as_if_nobody_had_looked(cria):
    def talk(name, look):
        cria.chat("What is a token?", chat=name, temperature=0, max_tokens=8)
        if look:
            cria.distribution(position=2)
            cria.distribution("and now?", chat=name)
        return cria.chat("Why?", chat=name, temperature=0, max_tokens=8)

    looked, plain = talk("looked", True), talk("plain", False)
    assert looked.logprobs == plain.logprobs
    assert looked.usage.cached_tokens == plain.usage.cached_tokens > 0


FAULTS = [
    (lambda m: m.distribution(""), "no text"),
    (lambda m: m.distribution(chat="empty"), "empty"),
    (lambda m: m.distribution(3), "takes a text or a Reply"),
    (lambda m: m.distribution(LILY, position=10_000), "no token 10000"),
    (lambda m: m.distribution(LILY, position=0), "nothing to choose it from"),
    (lambda m: m.distribution(LILY, position="a"), "whole number"),
    (lambda m: m.distribution(LILY, head=0), "head"),
    (lambda m: m.distribution(LILY, chat="main", position=1), "not those of a chat"),
    (lambda m: m.distribution(LILY, temprature=1), "temperature"),
    (lambda m: m.distribution(LILY, positon=1), "position"),
    (lambda m: m.distribution(LILY, temperature=-1), "temperature"),
    (lambda m: m.distribution(LILY, preset="creativ"), "creative"),
    (lambda m: m.distribution("a\ud800"), "half of a character"),
    (lambda m: m.distribution(LILY, logit_bias={10**9: 1}), "vocabulary"),
]


@pytest.mark.parametrize(("call", "says"), FAULTS, ids=[says for _, says in FAULTS])
def test_what_cannot_be_looked_at_is_named(stories, call, says):
    with pytest.raises(LlamaError, match=says):
        call(stories)


def test_without_a_reply_or_logits_it_says_what_to_do():
    with pytest.raises(MessageError, match="no reply yet"):
        fake_model().distribution(position=0)
    with pytest.raises(UnsupportedError, match="%llama load"):
        fake_model().distribution("Once upon")


def test_it_outlives_its_model(stories260k):
    model = llama.load(str(stories260k), name="short")
    found = model.distribution(LILY, head=20)
    model.unload()
    assert found.replace(temperature=0).stages[-1].kept == 1
    assert found.resample(10, seed=1)
    assert found.top(3)[0].text != f"#{found.top(3)[0].id}"
    assert "before and after" in found._repr_mimebundle_()["text/plain"]
    with pytest.raises(ModelGone, match="tokenizer"):
        found.replace(banned=["park"])
    with pytest.raises(ModelGone):
        model.distribution(LILY)
