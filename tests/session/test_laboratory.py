"""The sampling laboratory without a page: places, parameters, what comes of them, on real models."""

import json
import threading
import time

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import llama_nb as llama
from llama_nb.core.errors import LlamaError, MessageError, ModelGone, PresetError, SamplingError
from llama_nb.core.sampling import STAGES, Sampling
from llama_nb.core.stop import StopFlag
from llama_nb.runtime import settings
from llama_nb.session.laboratory import AHEAD, DRAWS, Laboratory, shortest_order
from llama_nb.session.laboratory_view import (
    ROWS,
    controls_record,
    place_record,
    row_ids,
    stage_cards,
    view_record,
)
from llama_nb.session.latest import Latest
from llama_nb.session.subject import find_subject, text_subject
from tests.models import write_random_llama
from tests.session.fakes import fake_model

LILY = "Once upon a time, there was a little girl named Lily. She loved to play outside."


@pytest.fixture(autouse=True)
def _no_settings():
    settings.clear_sampling()
    yield
    settings.clear_sampling()


@pytest.fixture(scope="module")
def cria():
    model = llama.load("cria", name="cria for the laboratory")
    yield model
    if model.alive:
        model.unload(force=True)


@pytest.fixture(scope="module")
def reply(cria):
    return cria.chat("Tell me a story about a llama.", seed=3, temperature=1.1, max_tokens=60)


def opened(model, given=None, position=None, **options):
    made = Laboratory(model, find_subject(model, given, **options))
    assert made.look(position, StopFlag())
    return made


def test_it_stands_where_the_model_was_least_sure_and_tries_the_replys_own_parameters(cria, reply):
    laboratory = opened(cria, reply)
    entropies = [token.entropy for token in reply.tokens if token.id is not None]
    assert laboratory.position == entropies.index(max(entropies))
    assert laboratory.sampling == reply.sampling.replace(seed=None)
    assert laboratory.distribution.chosen == reply.tokens[laboratory.position].id
    assert not laboratory.applied()


@pytest.mark.parametrize("position", [0, 7, -1])
def test_a_place_is_what_distribution_gives(cria, reply, position):
    laboratory = opened(cria, reply, position)
    found = cria.distribution(reply, position=position)
    ours = {row["id"]: row for row in view_record(laboratory)["rows"]}
    for id_, row in ours.items():
        assert row["before"] == pytest.approx(found.token(id_).before, rel=1e-3, abs=1e-6)
        assert row["after"] == pytest.approx(found.token(id_).after, rel=1e-3, abs=1e-6)
    likeliest = {row.id for row in found.top(ROWS)}
    assert likeliest <= set(ours)


def test_behind_the_last_token_nothing_stands_yet(cria, reply):
    laboratory = opened(cria, reply, len(laboratory_tokens(cria, reply)))
    view = view_record(laboratory)
    assert view["chosen"] is None
    assert view["place"] == "the token after the reply"


def laboratory_tokens(model, reply):
    return find_subject(model, reply).tokens


def test_the_same_dice_write_on_as_the_reply_went_on(cria, reply):
    ids = [token.id for token in reply.tokens if token.id is not None]
    laboratory = opened(cria, reply, 5)
    laboratory.seed = reply.seed
    ahead = [event.id for event in laboratory.ahead(StopFlag()) if event.id is not None]
    assert ahead == ids[5 : 5 + AHEAD]


def test_another_token_in_its_place_leads_elsewhere(cria, reply):
    laboratory = opened(cria, reply, 5)
    other = next(row["id"] for row in view_record(laboratory)["rows"] if row["id"] != reply.tokens[5].id)
    changed = "".join(event.text for event in laboratory.ahead(StopFlag(), other))
    assert changed
    with pytest.raises(MessageError, match="no token"):
        laboratory.ahead(StopFlag(), 10**9)


def test_looking_and_writing_on_leave_the_chat_as_it_is(cria, reply):
    fresh = cria.chat("And then?", chat="left alone", seed=1, max_tokens=12)
    again = cria.chat("More.", chat="left alone", seed=2, max_tokens=12).text
    cria.chats.delete("left alone")
    assert cria.chat("And then?", chat="left alone", seed=1, max_tokens=12).text == fresh.text
    laboratory = opened(cria, chat="left alone", position=3)
    for _ in laboratory.ahead(StopFlag()):
        pass
    laboratory.look(8, StopFlag())
    assert cria.chat("More.", chat="left alone", seed=2, max_tokens=12).text == again
    laboratory.close()
    cria.chats.delete("left alone")


def test_a_text_says_how_likely_each_of_its_tokens_is(cria):
    laboratory = opened(cria, LILY)
    assert laboratory.position == len(laboratory.subject.tokens)
    assert laboratory.unread
    told = []
    laboratory.read_chances(StopFlag(), lambda: told.append(1))
    rows = place_record(laboratory, newer=False)["tokens"]
    assert told
    assert rows[0][2] is None
    laboratory.look(4, StopFlag())
    chosen = laboratory.distribution.token(laboratory.subject.tokens[4].id)
    assert rows[4][2] == pytest.approx(chosen.before, rel=1e-2)
    assert not laboratory.unread


def test_positions_that_are_none_are_refused_with_those_there_are(cria, reply):
    subject = find_subject(cria, LILY)
    assert subject.check(-1) == len(subject.tokens) - 1
    for wrong in (0, len(subject.tokens) + 1, -1000, True, "3"):
        with pytest.raises(MessageError):
            subject.check(wrong)
    assert find_subject(cria, reply).check(0) == 0


def test_what_cannot_be_looked_at_says_what_to_do(cria):
    with pytest.raises(MessageError, match="empty"):
        find_subject(cria, chat="nobody")
    with pytest.raises(MessageError, match="no text"):
        text_subject(cria.engine, "   ")
    with pytest.raises(MessageError, match="context"):
        find_subject(cria, "word " * 5000)
    fake = fake_model()
    with pytest.raises(LlamaError, match="laboratory needs the logits"):
        find_subject(fake, "hello")


def test_parameters_change_and_come_back_and_a_wrong_one_changes_nothing(cria, reply):
    laboratory = opened(cria, reply, 5)
    before = view_record(laboratory)
    laboratory.change({"temperature": 0.3, "top_k": 5})
    after = view_record(laboratory)
    assert sum(row["after"] > 0 for row in after["rows"]) <= 5
    assert after["values"]["temperature"] == 0.3
    for wrong, error in (({"temperature": -1}, SamplingError), ({"preset": "creativ"}, PresetError)):
        with pytest.raises(error):
            laboratory.change(wrong)
    assert view_record(laboratory) == after
    laboratory.change({"temperature": None, "top_k": None})
    assert view_record(laboratory) == before
    laboratory.change({"preset": "creative"})
    laboratory.reset()
    assert view_record(laboratory) == before


def test_applying_makes_it_the_sessions_and_the_line_says_so(cria, reply):
    laboratory = opened(cria, reply, 5)
    settings.set_sampling("top_k", 7)
    settings.set_sampling("seed", 4)
    laboratory.change({"temperature": 0.4, "min_p": 0.1, "top_p": cria.default_sampling.top_p})
    line = laboratory.apply()
    assert laboratory.applied()
    assert "--temperature 0.4" in line
    assert "--min-p 0.1" in line
    held = settings.get_sampling_overrides()
    assert (held["temperature"], held["seed"]) == (0.4, 4)
    assert cria.sampling.top_k == laboratory.sampling.top_k
    laboratory.reset()
    laboratory.as_session()
    assert laboratory.sampling.temperature == 0.4


def test_draws_are_counted_for_the_rows_and_the_rest(cria, reply):
    laboratory = opened(cria, reply)
    laboratory.change({"temperature": 1.5, "top_p": 1})
    draws = view_record(laboratory, draws=True)["draws"]
    assert sum(draws["counts"]) + draws["others"] == DRAWS
    assert view_record(laboratory, draws=True)["draws"] == draws
    laboratory.seed += 1
    assert view_record(laboratory, draws=True)["draws"] != draws


def test_cards_say_what_acts_what_is_off_and_what_has_no_effect(cria, reply):
    laboratory = opened(cria, reply, 5)
    laboratory.change({"temperature": 0.7, "top_p": 0.8, "top_k": 0, "xtc_probability": 0.5})
    cards = {card["name"]: card for card in stage_cards(laboratory.distribution, laboratory.sampling)}
    assert list(cards)[:2] == ["logits", "repetition_penalty"]
    assert (cards["top_p"]["state"], cards["top_k"]["state"]) == ("on", "off")
    assert cards["top_p"]["removed"] > 0
    assert cards["xtc"]["value"] == "0.5"
    laboratory.change({"temperature": 0})
    cards = {card["name"]: card for card in stage_cards(laboratory.distribution, laboratory.sampling)}
    assert cards["top_p"]["state"] == "idle"
    assert "temperature 0" in cards["top_p"]["reason"]
    assert cards["greedy"]["kept"] == 1
    assert "temperature" not in cards


def test_rows_behind_each_stage_add_up_with_the_tail(cria, reply):
    laboratory = opened(cria, reply)
    laboratory.change({"temperature": 2, "top_p": 0.95, "min_p": 0.001})
    view = view_record(laboratory)
    for step in range(sum(card["state"] == "on" for card in view["stages"])):
        total = sum(row["steps"][step] for row in view["rows"]) + view["rest"]["steps"][step]
        assert total == pytest.approx(1, abs=1e-3)
    assert view["rest"]["count"] + len(view["rows"]) == view["vocabulary"]
    json.dumps([view, controls_record(laboratory)], allow_nan=False)


def test_stages_are_reordered_and_hostile_orders_are_refused(cria, reply):
    laboratory = opened(cria, reply)
    laboratory.change({"temperature": 2, "top_p": 0.9})
    first = view_record(laboratory)["rows"]
    laboratory.reorder(["top_p", "temperature"])
    assert [stage.name for stage in laboratory.distribution.stages] == ["logits", "top_p", "temperature"]
    assert view_record(laboratory)["rows"] != first
    assert "--order top_p" in laboratory.line()
    for wrong in (["top_p", "top_p"], ["<script>"]):
        with pytest.raises(SamplingError):
            laboratory.reorder(wrong)


@hypothesis_settings(max_examples=60, deadline=None)
@given(names=st.lists(st.sampled_from(STAGES), unique=True))
def test_the_shortest_order_has_the_stages_act_in_that_order(names):
    order = shortest_order(names)
    stages = Sampling(order=order).stages()
    assert [name for name in stages if name in names] == names
    assert shortest_order(Sampling().stages()) == ()


def test_what_a_grammar_forbids_is_the_first_stage_and_holds_for_what_follows(cria):
    held = cria.json("Is the sea blue?", choice="yes,no", seed=1)
    laboratory = opened(cria, held, 0)
    cards = stage_cards(laboratory.distribution, laboratory.sampling)
    assert [card["name"] for card in cards[:2]] == ["logits", "grammar"]
    assert cards[1]["removed"] > 1000
    other = "no" if held.text == "yes" else "yes"
    laboratory.change({"temperature": 1, "top_p": 1})
    row = next(
        row for row in view_record(laboratory)["rows"] if row["after"] and other.startswith(row["text"])
    )
    ahead = "".join(event.text for event in laboratory.ahead(StopFlag(), row["id"]))
    assert row["text"] + ahead == other


def test_a_chat_without_tokens_in_memory_is_looked_at_behind_its_end(cria):
    cria.chat("Hello.", chat="restored", max_tokens=6)
    cria.chats["restored"]._replies.clear()
    laboratory = opened(cria, chat="restored")
    assert laboratory.subject.kind == "chat"
    assert view_record(laboratory)["place"] == "the next token of chat restored"
    assert "".join(event.text for event in laboratory.ahead(StopFlag())) is not None
    cria.chats.delete("restored")


def test_an_unloaded_model_leaves_what_was_seen(stories260k):
    model = llama.load(str(stories260k), name="soon gone")
    laboratory = opened(model, LILY, 5)
    laboratory.look(6, StopFlag())
    model.unload()
    laboratory.change({"temperature": 0.2})
    assert laboratory.look(5, StopFlag())
    assert view_record(laboratory)["rows"][0]["text"]
    with pytest.raises(ModelGone):
        laboratory.look(7, StopFlag())
    laboratory.close()


def test_long_texts_of_llama_3_are_looked_at_from_a_cache(llama3_tokenizer, tmp_path):
    folder = write_random_llama(
        tmp_path / "random", tokenizer_from=llama3_tokenizer, layers=1, hidden=16, heads=2, context=2048
    )
    model = llama.load(str(folder), name="random with 128,256 tokens")
    laboratory = opened(model, " <img onerror=x> ".join(f"word {n}" for n in range(150)))
    assert laboratory.distribution.vocabulary == 128_256
    key = laboratory._places._own_key
    end = len(laboratory.subject.tokens)
    assert model.engine.cached_tokens(key, laboratory.subject.ids) >= end - 1
    assert laboratory.look(end - 50, StopFlag())
    assert model.engine.cached_tokens(key, laboratory.subject.ids) >= end - 1
    assert len(row_ids(laboratory.distribution)) in (ROWS, ROWS + 1)
    laboratory.close()
    assert model.engine.cached_tokens(key, laboratory.subject.ids) == 0
    model.unload()


def test_only_the_newest_work_is_done_and_the_one_before_is_stopped():
    latest, done, begun = Latest("test"), [], threading.Event()

    def slow(flag):
        begun.set()
        flag.wait(30)
        done.append("slow")

    latest.put(slow)
    assert begun.wait(10)
    latest.put(lambda flag: done.append("never"), delay_s=30)
    started = time.monotonic()
    latest.put(lambda flag: done.append("newest"))
    latest.join(20)
    assert done == ["slow", "newest"]
    assert time.monotonic() - started < 10
    latest.put(lambda flag: done.append("stopped"), delay_s=30)
    latest.stop()
    latest.join(10)
    assert done == ["slow", "newest"]
