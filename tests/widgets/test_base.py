"""Typos, failing callbacks, the repr, the twins, and subshells."""

import pytest

from llama_nb.core.errors import EngineError, LlamaError
from llama_nb.widgets.base import STATIC, Widget, let_subshells_answer
from llama_nb.widgets.traits import Count, Flag, Nodes, Record, Text, Texts


class Dial(Widget):
    _esm = "export default { render() {} }"
    value = Count()
    label = Text("dial")

    def received(self, message):
        raise EngineError(f"cannot {message['do']}", "Try `%llama status`.")


@pytest.fixture
def dial(wire):
    made = Dial(value=3)
    yield made
    made.close()


def test_traits_sync_unless_they_say_otherwise():
    for trait in (Count(), Flag(), Nodes(), Record("Header"), Text(), Texts()):
        assert trait.metadata["sync"] is True


def test_own_traits_are_what_our_classes_define():
    assert Dial.own_traits() == ("error", "label", "value")


def test_a_typo_is_refused_with_the_nearest_name(wire):
    with pytest.raises(LlamaError, match=r"Dial has no option 'valeu'") as refused:
        Dial(valeu=3)
    assert refused.value.hint == "Did you mean 'value'?"


def test_a_name_like_nothing_is_refused_with_all_names(wire):
    with pytest.raises(LlamaError) as refused:
        Dial(zzz=3)
    assert refused.value.hint == "It has: error, label, value."


def test_an_error_in_a_callback_appears_in_the_page(dial, wire, caplog):
    wire.send(dial.model_id, {"do": "that"})
    assert dial.error == "cannot that\nTry `%llama status`."
    assert {"error": dial.error} in wire.updates()
    assert "failed" in caplog.text


def test_another_exception_is_named(dial, caplog):
    dial.guard(lambda: 1 / 0)()
    assert dial.error == "ZeroDivisionError: division by zero"


def test_what_is_no_message_is_ignored(dial, wire):
    wire.send(dial.model_id, ["not", "a", "message"])
    assert dial.error == ""


def test_the_repr_is_the_same_each_time(dial):
    assert repr(dial) == "<Dial>"


def test_the_bundle_has_twins_for_pages_without_widgets(dial):
    data, _ = dial._repr_mimebundle_()
    assert data["text/plain"] == "<Dial>"
    assert data["text/html"] == '<pre style="white-space:pre-wrap">&lt;Dial&gt;</pre>'
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == dial.model_id


def test_closing_closes_the_layout_too(wire):
    dial = Dial()
    dial.close()
    dial.close()
    opened = [comm for comm, kind, _ in wire.messages if kind == "comm_open"]
    closed = [comm for comm, kind, _ in wire.messages if kind == "comm_close"]
    assert sorted(opened) == sorted(closed)


class AskingComm:
    """As ipykernel 7.4's: answers are routed to the subshell that opened the comm."""

    def _reply_subshell_for(self, data, default):
        return "the cell's shell"


def test_a_comm_that_routes_answers_lets_them_keep_their_subshell():
    comm = AskingComm()
    let_subshells_answer(comm)
    assert comm._reply_subshell_for({}, "subshell-1") == "subshell-1"


def test_a_comm_that_does_not_is_left_alone():
    let_subshells_answer(plain := object())
    assert not hasattr(plain, "_reply_subshell_for")


@pytest.mark.parametrize(
    "path", sorted(STATIC.glob("*.js")) + sorted(STATIC.glob("*.css")), ids=lambda path: path.name
)
def test_a_bundle_is_small(path):
    assert path.stat().st_size < 30_000
