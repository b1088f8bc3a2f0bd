"""Why each token came, as a value made of what was recorded."""

import math

import pytest

from llama_nb.core.errors import MessageError
from llama_nb.core.events import Alternative, Finish, TokenEvent, Usage
from llama_nb.core.sampling import Sampling
from llama_nb.session.reply import Reply
from tests.session.fakes import fake_model


def reply_of(*events, special=(), sampling=None):
    reply = Reply(kind="chat", model_name="m", fingerprint="f", sampling=sampling or Sampling(), user="u")
    for event in events:
        reply.append(event)
    reply.end(Finish("end", Usage(1, 0, len(events), 0.1, 0.2)))
    reply.special = frozenset(special)
    return reply


SUN = TokenEvent(
    " sun",
    5,
    math.log(0.2),
    1.5,
    (
        Alternative(4, " moon", math.log(0.5), math.log(0.6)),
        Alternative(5, " sun", math.log(0.2), math.log(0.4)),
    ),
)
RARE = TokenEvent(" xylem", 99, math.log(1e-4), 0.5, (Alternative(4, " moon", math.log(0.9), None),))
END = TokenEvent("", 2, math.log(0.99), 0.1, (Alternative(2, "<|eot_id|>", math.log(0.99), 0.0),))


def test_each_token_has_its_figures_and_its_alternatives():
    view = reply_of(SUN, RARE, END, special=[2]).why()
    assert len(view) == 3
    sun, rare, end = view.tokens
    assert (sun.text, sun.rank, sun.sampled) == (" sun", 2, math.log(0.4))
    assert (rare.text, rare.rank, rare.sampled) == (" xylem", None, None)
    assert (end.text, end.special, end.rank) == ("<|eot_id|>", True, 1)
    assert [special for _, special in end.alternatives] == [True]
    frame = view.to_frame()
    assert frame["likeliest"].tolist() == [" moon", " moon", "<|eot_id|>"]
    assert frame["probability"].tolist() == pytest.approx([0.2, 1e-4, 0.99])
    assert repr(view) == "WhyView(3 tokens by probability)"


def test_the_view_stays_as_the_reply_was():
    reply = fake_model().chat("hello")
    view = reply.why("entropy")
    assert view.by == "entropy"
    assert view.reply is reply
    assert len(view) == len(reply.tokens)
    assert view.tokens[0].alternatives == ()
    assert "by entropy" in view._repr_mimebundle_()["text/plain"]


def test_a_reply_knows_its_control_tokens_when_it_is_done():
    model = fake_model()
    assert model.last is None
    reply = model.chat("hello")
    assert reply.special == {0}  # as the fake engine has it
    assert model.last is reply


def test_a_closing_event_without_a_token_is_none():
    reply = reply_of(SUN, TokenEvent("rest"))
    assert len(reply.why()) == 1


@pytest.mark.parametrize(
    ("reply", "by", "says"),
    [
        (reply_of(SUN), "probabilty", "probability"),
        (reply_of(SUN), "", "One of"),
        (reply_of(), "probability", "no tokens"),
        (reply_of(TokenEvent("hi", 1)), "entropy", "engine gives none"),
    ],
)
def test_what_cannot_be_shown_is_refused(reply, by, says):
    with pytest.raises(MessageError, match=says):
        reply.why(by)
