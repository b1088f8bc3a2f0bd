"""The routing explorer without a browser: what it sends, what it does with messages."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from llama_nb.interpret.routing_load import load_of
from llama_nb.magics import live_values
from llama_nb.session.routing_explorer import WINDOW, RoutingLook
from llama_nb.widgets import live_view, routing_explorer
from llama_nb.widgets.live_view import MIME
from llama_nb.widgets.routing_explorer import RoutingExplorer
from tests.render.html_reader import read
from tests.routing_traces import drawn_trace
from tests.traces import HOSTILE
from tests.widgets.conftest import PAGE, Wire

STATE = ("head", "routes_info", "tokens", "load", "view", "paths", "expert", "effect", "cost")
LABELS = ("story", "sum") * 6


def opened(trace: Any, *where: Any) -> RoutingExplorer:
    made = RoutingExplorer(RoutingLook(trace, *where))
    made.fill()
    made.settle(60)
    return made


@pytest.fixture
def explorer(wire: Wire) -> Iterator[RoutingExplorer]:
    made = opened(drawn_trace(120, labels=LABELS))
    yield made
    made.close()


def state(explorer: RoutingExplorer) -> str:
    return json.dumps([getattr(explorer, name) for name in STATE], sort_keys=True)


def say(wire: Wire, explorer: RoutingExplorer, **message: Any) -> None:
    wire.send(explorer.model_id, message)
    explorer.settle(60)


def answers(wire: Wire, kind: str) -> list[dict[str, Any]]:
    return [content for content in wire.customs() if content["kind"] == kind]


def decoded(explorer: RoutingExplorer) -> dict[str, np.ndarray]:
    """The window as a page reads it."""
    info, values = explorer.routes_info, explorer.routes
    count, layers, k = info["stop"] - info["start"], info["layers"], info["k"]
    size = count * layers * k * info["bytes_each"]
    found = {"chosen": np.frombuffer(values[:size], f"<u{info['bytes_each']}").reshape(count, layers, k)}
    for number, name in enumerate(("margin", "entropy", "weight")):
        start = size + number * count * layers
        bytes_ = np.frombuffer(values[start : start + count * layers], np.uint8).reshape(count, layers)
        found[name] = bytes_ / 255 * info["scales"][name]
    assert len(values) == size + 3 * count * layers
    return found


def test_it_opens_empty_and_is_filled(wire: Wire) -> None:
    trace = drawn_trace(40)
    made = RoutingExplorer(RoutingLook(trace, 5))
    assert wire.of(made.model_id)[0]["state"]["head"] == {}
    live_view.begin(made)
    made.settle(60)
    head = made.head
    assert (head["layers"], head["experts"], head["top_k"], head["gate"]) == ([1, 3, 5], 8, 1, "sigmoid")
    assert (head["tokens"], head["shared"], head["scores_kept"], head["alive"]) == (40, True, True, False)
    assert made.view["layer"] == 5
    assert made.tokens["texts"][3] == " w3"
    assert made.tokens["special"] == [0]
    assert made.error == ""
    json.dumps([getattr(made, name) for name in STATE])
    made.close()


@pytest.mark.parametrize(("experts", "k"), [(8, 1), (64, 4), (300, 2)])
def test_a_page_reads_what_the_trace_says(wire: Wire, experts: int, k: int) -> None:
    trace = drawn_trace(50, experts=experts, k=k, layers=(0, 2))
    made = opened(trace)
    page = decoded(made)
    assert (page["chosen"] == trace.chosen).all()
    for name, values in (
        ("margin", trace.margin),
        ("entropy", trace.entropy),
        ("weight", trace.weights[..., 0]),
    ):
        assert np.abs(page[name] - values).max() <= values.max() / 255, name
    made.close()


def test_bytes_and_what_they_are_come_in_one_message(wire: Wire, explorer: RoutingExplorer) -> None:
    sent = [data for data in wire.of(explorer.model_id) if "routes_info" in data.get("state", {})]
    assert all(["routes"] in data["buffer_paths"] for data in sent[1:])
    assert sent[1:]


def test_a_long_text_comes_in_windows(wire: Wire) -> None:
    trace = drawn_trace(WINDOW + 1_000, labels=["a"] * 5)
    made = opened(trace)
    assert (made.routes_info["start"], made.routes_info["stop"]) == (0, WINDOW)
    say(wire, made, kind="window", start=4_500)
    assert (made.routes_info["start"], made.routes_info["stop"]) == (4_500, WINDOW + 1_000)
    assert (decoded(made)["chosen"] == trace.chosen[4_500:]).all()
    assert made.tokens["start"] == 4_500
    assert len(made.tokens["texts"]) == WINDOW - 3_500
    say(wire, made, kind="window", start=1_000)
    begins = [int(start) for start in trace.starts[:-1] if 1_000 <= start < 1_000 + WINDOW]
    assert [at for at, _ in made.tokens["breaks"]] == begins
    assert {label for _, label in made.tokens["breaks"]} == {"a"}
    made.close()


def test_the_load_is_that_of_the_trace(wire: Wire, explorer: RoutingExplorer) -> None:
    trace = explorer._look_at.trace
    load = load_of(trace)
    assert np.abs(np.array(explorer.load["shares"]) - load.shares).max() < 1e-5
    assert (explorer.load["domain"], explorer.load["against"]) == ("", "uniform")
    assert np.abs(np.array(explorer.load["difference"]) - (load.shares - 1 / 8)).max() < 1e-5
    assert explorer.load["cv"] == pytest.approx(load.cv, rel=1e-3)
    assert explorer.load["balance"] == pytest.approx(load.balance, rel=1e-3)
    (*_, last) = explorer.load["information"]
    assert last["layer"] == 5
    assert 0 <= last["bits"] <= 1
    assert 0 < last["p"] <= 1


def test_of_many_tokens_it_is_said_that_labels_are_shuffled(wire: Wire, monkeypatch) -> None:
    monkeypatch.setattr(routing_explorer, "_MANY", 100)
    made = RoutingExplorer(RoutingLook(drawn_trace(120, labels=LABELS)))
    said: list[str] = []
    made.observe(lambda change: said.append(change["new"]), "status")
    made.fill()
    made.settle(60)
    assert said == ["Comparing with shuffled labels \u2026", ""]
    made.close()


def test_a_domain_is_set_against_the_others(wire: Wire, explorer: RoutingExplorer) -> None:
    known = explorer.load["information"]
    say(wire, explorer, kind="domain", name="sum")
    load = load_of(explorer._look_at.trace, "sum")
    assert explorer.view["domain"] == explorer.load["domain"] == "sum"
    assert explorer.load["against"] == "others"
    assert np.abs(np.array(explorer.load["difference"]) - load.difference).max() < 1e-5
    assert explorer.load["information"] == known
    say(wire, explorer, kind="domain", name="")
    assert explorer.load["against"] == "uniform"


def test_one_looks_somewhere_else(wire: Wire, explorer: RoutingExplorer) -> None:
    before = explorer.view["changed"]
    say(wire, explorer, kind="look", layer=5, token=7)
    say(wire, explorer, kind="shade", shade="entropy")
    say(wire, explorer, kind="pane", pane="paths")
    view = explorer.view
    assert (view["layer"], view["token"], view["shade"], view["pane"]) == (5, 7, "entropy", "paths")
    assert view["changed"] > before
    say(wire, explorer, kind="look", layer=1)
    assert (explorer.view["layer"], explorer.view["token"]) == (1, 7)
    say(wire, explorer, kind="look", layer=1, token=None)
    assert explorer.view["token"] is None


def test_scores_are_answered_by_number(wire: Wire, explorer: RoutingExplorer) -> None:
    trace = explorer._look_at.trace
    say(wire, explorer, kind="scores", number=9, layer=3, token=30)
    (found,) = answers(wire, "scores")
    assert (found["number"], found["layer"], found["token"]) == (9, 3, 30)
    assert found["scores"] == pytest.approx(trace.scores(3, 30), rel=1e-3)
    assert found["chosen"] == [
        [int(trace.chosen[30, 1, 0]), pytest.approx(trace.weights[30, 1, 0], rel=1e-3)]
    ]


def test_scores_that_were_not_kept_are_not_answered(wire: Wire) -> None:
    made = opened(drawn_trace(20, logits=False))
    assert made.head["scores_kept"] is False
    say(wire, made, kind="scores", number=1, layer=3, token=3)
    assert answers(wire, "scores") == []
    assert made.error == ""
    made.close()


def test_paths_of_a_domain_and_of_a_token(wire: Wire, explorer: RoutingExplorer) -> None:
    trace = explorer._look_at.trace
    say(wire, explorer, kind="paths", domain="", token=None, layer=1)
    paths = explorer.paths
    assert (paths["tokens"], paths["running"], paths["error"]) == (120, False, "")
    first = trace.chosen[:, :, 0].astype(int)
    for layer, source, target, share in paths["flows"]:
        flowing = ((first[:, layer] == source) & (first[:, layer + 1] == target)).mean()
        assert share == pytest.approx(flowing, rel=1e-3)
    assert sum(share for *_, share in paths["flows"]) + 2 * paths["rest"] == pytest.approx(2, rel=1e-3)
    assert (paths["matrix"]["kind"], paths["matrix"]["next"]) == ("transition", 3)
    assert np.array(paths["matrix"]["values"]).shape == (8, 8)
    say(wire, explorer, kind="paths", domain="sum", token=" w15", layer=5)
    assert (explorer.paths["domain"], explorer.paths["token"]) == ("sum", " w15")
    assert 0 < explorer.paths["tokens"] < 5
    assert explorer.paths["matrix"] is None
    say(wire, explorer, kind="paths", domain="", token="no such token", layer=1)
    assert "No token is left" in explorer.paths["error"]
    assert explorer.paths["running"] is False


def test_experts_that_are_chosen_together(wire: Wire) -> None:
    made = opened(drawn_trace(60, k=2))
    say(wire, made, kind="paths", domain="", token=None, layer=5)
    matrix = made.paths["matrix"]
    assert (matrix["kind"], matrix["layer"], matrix["next"]) == ("together", 5, None)
    values = np.array(matrix["values"])
    assert (values == values.T).all()
    made.close()


def test_an_expert_has_a_page(wire: Wire, explorer: RoutingExplorer) -> None:
    trace = explorer._look_at.trace
    say(wire, explorer, kind="expert", layer=5, expert=2)
    page = explorer.expert
    assert (page["layer"], page["expert"], page["running"], page["error"]) == (5, 2, False, "")
    assert (explorer.view["layer"], explorer.view["expert"]) == (5, 2)
    assert page["share"] == pytest.approx((trace.chosen[:, 2, 0] == 2).mean(), rel=1e-3)
    assert [name for name, _ in page["by_domain"]] == ["story", "sum"]
    assert len(page["by_position"]) == 10
    _, token, _, weight, position = page["contexts"][0]
    assert trace.chosen[position, 2, 0] == 2
    assert trace.text(position) == token
    assert weight == pytest.approx(float(trace.weights[position, 2, 0]), rel=1e-3)
    assert "norms" not in page  # its model is not loaded


def test_what_the_experts_cost(wire: Wire, explorer: RoutingExplorer) -> None:
    say(wire, explorer, kind="cost")
    cost, trace = explorer.cost, explorer._look_at.trace
    assert (cost["running"], cost["error"]) == (False, "")
    assert cost["total_parameters"] == trace.sizes.total_parameters > cost["active_parameters"]
    assert [size for size, *_ in cost["cache"]] == list(range(1, 9))
    assert all(lru <= optimum <= 1 for _, lru, optimum, _ in cost["cache"])
    assert cost["batch"][0][1] == pytest.approx(1 / 8, rel=1e-3)
    assert cost["plan"].startswith("%llama plan tiny")
    assert len(cost["lines"]) >= 2


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "look", "layer": 2},
        {"kind": "look", "layer": "3"},
        {"kind": "look", "layer": True},
        {"kind": "look", "layer": 3, "token": 120},
        {"kind": "look", "layer": 3, "token": -1},
        {"kind": "look", "layer": 3, "token": "first"},
        {"kind": "look"},
        {"kind": "window", "start": 120},
        {"kind": "window", "start": -1},
        {"kind": "window", "start": None},
        {"kind": "domain", "name": "poem"},
        {"kind": "domain", "name": ["sum"]},
        {"kind": "domain"},
        {"kind": "pane", "pane": "settings"},
        {"kind": "pane", "pane": ["paths"]},
        {"kind": "shade", "shade": HOSTILE},
        {"kind": "scores", "number": 1, "layer": 3, "token": 400},
        {"kind": "scores", "number": 1, "layer": 2, "token": 4},
        {"kind": "scores", "layer": 3, "token": 4},
        {"kind": "scores", "number": None, "layer": 3, "token": 4},
        {"kind": "paths", "domain": "poem", "token": None, "layer": 3},
        {"kind": "paths", "domain": "", "token": 3, "layer": 3},
        {"kind": "paths", "domain": "", "token": None, "layer": 4},
        {"kind": "paths", "token": None, "layer": 3},
        {"kind": "expert", "layer": 3, "expert": 8},
        {"kind": "expert", "layer": 0, "expert": 1},
        {"kind": "expert", "layer": 3, "expert": -1},
        {"kind": "expert", "layer": 3},
        {"kind": "whatif", "ban": [[3, 8]], "force": [], "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[2, 1]], "force": [], "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": "all", "force": [], "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[3, True]], "force": [], "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[3]], "force": [], "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": {}, "drop": [], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": [], "drop": [2], "top_k": None, "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": [], "drop": [], "top_k": 9, "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": [], "drop": [], "top_k": 0, "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": [], "drop": [], "top_k": "1", "position": None},
        {"kind": "whatif", "ban": [[3, 1]], "force": [], "drop": [], "top_k": None, "position": "last"},
        {"kind": "whatif", "ban": [[3, 1]] * 5_000, "force": [], "drop": [], "top_k": None},
        {"kind": "whatif"},
        {"kind": "hello"},
        {"kind": "code"},
        {"kind": "code", "part": "../attention"},
        {"kind": HOSTILE},
        {"kind": None},
        {},
    ],
)
def test_what_is_wrong_is_ignored(wire: Wire, explorer: RoutingExplorer, message: dict[str, Any]) -> None:
    before, sent = state(explorer), len(wire.customs())
    say(wire, explorer, **message)
    assert state(explorer) == before
    assert len(wire.customs()) == sent
    assert explorer.error == ""


def test_without_its_model_a_what_if_says_so(wire: Wire, explorer: RoutingExplorer) -> None:
    say(wire, explorer, kind="whatif", ban=[[3, 1]], force=[], drop=[1], top_k=None, position=4)
    assert explorer.view["changes"] == {"ban": [[3, 1]], "force": [], "drop": [1], "top_k": None}
    assert explorer.effect["changed"] == ["L3 E1 forbidden", "L1 shared expert off"]
    assert "not loaded any more" in explorer.effect["error"]
    assert explorer.effect["running"] is False
    say(wire, explorer, kind="whatif", ban=[], force=[], drop=[], top_k=None, position=None)
    assert explorer.effect == {}


def test_an_exception_is_shown(wire: Wire, explorer: RoutingExplorer, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(explorer._look_at, "load", broken)
    say(wire, explorer, kind="domain", name="sum")
    assert explorer.error == "OSError: the disk is gone"


def test_it_may_be_closed_while_it_computes(wire: Wire) -> None:
    made = RoutingExplorer(RoutingLook(drawn_trace(20_000, layers=range(12), experts=32)))
    made.fill()
    wire.send(made.model_id, {"kind": "paths", "domain": "", "token": None, "layer": 3})
    made.close()
    made.settle(30)


@pytest.mark.parametrize("part", ["more", "further"])
def test_the_panes_code_comes_when_it_is_asked_for(wire: Wire, explorer: RoutingExplorer, part: str) -> None:
    say(wire, explorer, kind="code", part=part)
    (code,) = answers(wire, "code")
    assert code["part"] == part
    assert "export" in code["text"]


# --- how it stands in a notebook --------------------------------------------------------------------------


def test_the_twin_follows_what_is_looked_at(wire: Wire, explorer: RoutingExplorer) -> None:
    say(wire, explorer, kind="look", layer=1)
    explorer.send_twin()
    assert "expert in L1" in explorer.twin["text/plain"]
    say(wire, explorer, kind="look", layer=5)
    explorer.send_twin()
    assert "expert in L5" in explorer.twin["text/plain"]


def test_hostile_texts_and_labels_stay_texts(wire: Wire) -> None:
    made = opened(drawn_trace(8, texts=[HOSTILE] * 8, labels=[HOSTILE, "b", HOSTILE, "b"]), 3, HOSTILE)
    made.send_twin()
    html = made.twin["text/html"]
    assert not [fault for fault in read(html).faults if "script" in fault or "onerror=" in fault]
    assert made.tokens["texts"][0] == HOSTILE
    assert made.head["domains"] == [HOSTILE, "b"]
    say(wire, made, kind="paths", domain=HOSTILE, token=HOSTILE, layer=3)
    assert made.paths["tokens"] == 4
    made.close()


def test_a_trace_is_shown_as_the_explorer(wire: Wire, monkeypatch) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(live_values, "detect", lambda: PAGE)
    monkeypatch.setattr(live_view, "detect", lambda: PAGE)
    shell = InteractiveShell()
    uninstall = live_values.install(shell)
    for shown in (drawn_trace(20), drawn_trace(20).view(5)):
        data, _ = shell.display_formatter.format(shown)
        assert MIME in data
        assert "expert in L" in data["text/plain"]
    (*_, last) = live_view.shown(RoutingExplorer)
    assert last.view["layer"] == 5
    uninstall()
    for made in live_view.shown(RoutingExplorer):
        made.close()


def test_it_has_a_stable_name(explorer: RoutingExplorer) -> None:
    assert repr(explorer) == "<RoutingExplorer>"
