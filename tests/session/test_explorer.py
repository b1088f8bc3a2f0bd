"""The attention explorer without a page: what is looked at, and how few bytes its maps are."""

import gc

import numpy as np
import pytest

from llama_nb.core.errors import TraceError
from llama_nb.core.stop import StopFlag
from llama_nb.session.explorer import Explorer
from llama_nb.session.explorer_effect import interventions, names_of, read_parts
from llama_nb.session.explorer_maps import bands, links, thumbs_side
from llama_nb.session.explorer_records import head_record, tokens_record, view_record
from llama_nb.session.known_traces import find_trace, identify
from tests.traces import HOSTILE, random_trace


def shown(found) -> np.ndarray:
    """What a page has once all bands of a map have arrived."""
    picture = None
    for band in found:
        info = band.info
        if picture is None or picture.shape != (info["height"], info["width"]):
            picture = np.zeros((info["height"], info["width"]), np.uint8)
        first, last = info["band"]
        picture[first:last] = np.frombuffer(band.bytes, np.uint8).reshape(last - first, info["width"])
    return picture


def test_it_begins_in_the_middle_and_looks_at_everything():
    explorer = Explorer(random_trace(20, layers=(2, 3, 5)))
    assert explorer.layer == 3
    assert explorer.rows == explorer.cols == (0, 20)
    assert explorer.query == 19


def test_a_map_is_its_weights():
    trace = random_trace(40)
    explorer = Explorer(trace, 1, 2)
    expected = np.round(255 * np.sqrt(trace.matrix(1, 2)))
    assert np.abs(shown(explorer.map(StopFlag())) - expected).max() <= 1
    explorer.zoom((10, 20), (0, 15))
    assert np.abs(shown(explorer.map(StopFlag())) - expected[10:20, :15]).max() <= 1


def test_a_map_that_takes_long_is_coarse_first_and_then_each_row_once():
    trace = random_trace(5_000, layers=(0,), heads=1, kv_heads=1)
    found = list(Explorer(trace, 0, 0).map(StopFlag()))
    assert (found[0].info["height"], found[0].info["done"]) == (86, 0)
    rows = [tuple(band.info["band"]) for band in found[1:]]
    assert [first for first, _ in rows] == [0, *(last for _, last in rows[:-1])]
    assert rows[-1][1] == 512
    assert found[-1].info["done"] == 1
    assert all(last - first >= 16 for first, last in rows[:-1])
    assert sum(len(band.bytes) for band in found) == 512 * 512 + 86 * 86


def test_many_small_steps_are_few_bands():
    from llama_nb.interpret.tiles import Tile

    values = np.zeros((512, 512), np.uint8)
    steps = [Tile(0, 0, (0, 5_000), (0, 5_000), values, 0.5, done=row / 512) for row in range(513)]
    found = list(bands(iter(steps)))
    assert len(found) == 1 + 32
    assert sum(len(band.bytes) for band in found[1:]) == 512 * 512


def test_a_coarse_pixel_is_the_largest_of_those_that_it_replaces():
    from llama_nb.interpret.tiles import Tile

    values = np.random.default_rng(0).integers(0, 255, (10, 9), np.uint8)
    first = Tile(0, 0, (0, 10), (0, 9), values, 0.5, done=0.0)
    (band,) = bands(iter([first]))
    coarse = np.frombuffer(band.bytes, np.uint8).reshape(2, 2)
    assert coarse[0, 0] == values[:6, :6].max()
    assert coarse[1, 1] == values[6:, 6:].max()


def test_a_stopped_map_ends():
    from llama_nb.core.errors import Stopped

    stop = StopFlag()
    stop.set("something newer")
    with pytest.raises(Stopped):
        list(Explorer(random_trace(5_000, layers=(0,)), 0, 0).map(stop))


def test_two_heads_and_their_difference():
    trace, other = random_trace(30), random_trace(25, seed=1)
    explorer = Explorer(trace, 0, 1)
    explorer.compare(identify(other), 2, 3)
    assert explorer.mode == "two"
    expected = np.round(255 * np.sqrt(other.matrix(2, 3)))
    assert np.abs(shown(explorer.second_map(StopFlag())) - expected).max() <= 1
    explorer.choose("difference")
    less = trace.matrix(0, 1)[:25, :25] - other.matrix(2, 3)
    expected = 128 + np.round(127 * np.sign(less) * np.sqrt(np.abs(less)))
    bands_of = list(explorer.second_map(StopFlag()))
    assert bands_of[-1].info["signed"] is True
    assert np.abs(shown(bands_of) - expected).max() <= 1
    explorer.alone()
    assert explorer.mode == "one"
    assert list(explorer.second_map(StopFlag())) == []


def test_a_window_behind_the_end_of_the_other_text_is_empty():
    explorer = Explorer(random_trace(30), 0, 0)
    explorer.compare(identify(other := random_trace(10, seed=1)), 0, 0)
    explorer.zoom((20, 30), (0, 30))
    assert list(explorer.second_map(StopFlag())) == []
    assert other.length == 10


def grown(trace, by: int):
    """The same trace with so many rows more, as a reply on its way adds them."""
    longer = random_trace(trace.length + by)
    trace.ids, trace.texts, trace.special = longer.ids, longer.texts, longer.special
    trace._captured = longer.captured()
    return trace


def test_it_follows_a_trace_that_grows():
    explorer = Explorer(grown(random_trace(10), 0))
    grown(explorer.trace, 5)
    # What it says is of one moment, although the trace is longer by now.
    assert head_record(explorer)["tokens"] == view_record(explorer, (), 0)["rows"][1] == 10
    explorer.grow()
    assert explorer.rows == explorer.cols == (0, 15)
    assert explorer.query == 14
    assert len(shown(explorer.map(StopFlag()))) == 15


def test_a_window_and_a_chosen_token_stay_where_they_are_when_it_grows():
    explorer = Explorer(random_trace(10))
    explorer.zoom((0, 4), (0, 4))
    explorer.ask(3)
    grown(explorer.trace, 5)
    explorer.grow()
    assert explorer.rows == (0, 4)
    assert explorer.query == explorer.position == 3


def test_links_are_the_strongest_and_the_rest():
    trace = random_trace(100)
    found = Explorer(trace, 0, 0).row(90)
    row = trace.row(0, 0, 90)
    assert len(found["links"]) == 64
    assert [at for at, _ in found["links"]] == list(np.argsort(-row, kind="stable")[:64])
    assert found["rest"] == pytest.approx(np.sort(row)[:-64].sum(), rel=1e-3)
    assert [[at, trace.texts[at], trace.special[at]] for at, _ in found["links"]] == found["tokens"]


def test_who_reads_a_token():
    trace = random_trace(50)
    found = Explorer(trace, 1, 3).column(10, StopFlag())
    column = trace.matrix(1, 3)[:, 10]
    at, weight = found["links"][0]
    assert at == column.argmax()
    assert weight == pytest.approx(column.max(), rel=1e-4)
    assert all(at >= 10 for at, _ in found["links"])


def test_a_value_is_exact_and_nothing_where_nobody_may_read():
    trace = random_trace(50)
    explorer = Explorer(trace, 1, 3)
    assert explorer.value(40, 7) == pytest.approx(float(trace.matrix(1, 3)[40, 7]), abs=1e-6)
    assert explorer.value(7, 40) is None


@pytest.mark.parametrize(
    "act",
    [
        lambda e: e.look(7, 0),
        lambda e: e.look(0, 4),
        lambda e: e.look(0, -1),
        lambda e: e.zoom((0, 21), (0, 20)),
        lambda e: e.zoom((5, 5), (0, 20)),
        lambda e: e.zoom((-1, 5), (0, 20)),
        lambda e: e.ask(20),
        lambda e: e.ask(-1),
        lambda e: e.compare("t0", 0, 0),
        lambda e: e.compare(e.id, 9, 0),
        lambda e: e.choose("two"),
        lambda e: e.choose("three"),
        lambda e: e.row(20),
        lambda e: e.row(0, second=True),
        lambda e: e.value(0, 20),
        lambda e: e.thumbs(9, StopFlag()),
    ],
)
def test_what_names_nothing_is_refused_and_changes_nothing(act):
    explorer = Explorer(random_trace(20), 1, 1)
    before = view_record(explorer, (), 0)
    with pytest.raises(TraceError):
        act(explorer)
    assert view_record(explorer, (), 0) == before


def test_traces_are_found_while_somebody_holds_them():
    trace = random_trace(5)
    name = identify(trace)
    assert identify(trace) == name
    assert find_trace(name) is trace
    del trace
    gc.collect()
    with pytest.raises(TraceError, match="any more"):
        find_trace(name)


def test_small_maps_of_all_heads_are_few_bytes():
    assert [thumbs_side(heads) for heads in (4, 8, 16, 32, 64, 128)] == [64, 64, 64, 48, 32, 24]
    info, values = Explorer(random_trace(30)).thumbs(0, StopFlag())
    assert info == {"layer": 0, "side": 64, "heads": 4}
    assert len(values) == 4 * 64 * 64


def test_the_records_are_json_and_bounded():
    import json

    trace = random_trace(3_000, texts=[HOSTILE * 10] * 3_000, layers=(0,), prompt=2_990)
    explorer = Explorer(trace, 0, 0)
    head = head_record(explorer)
    assert (head["tokens"], head["prompt"], head["kinds"]) == (3_000, 2_990, ["full"])
    assert head["alive"] is False
    tokens = tokens_record(trace, -5, 10**9)
    assert (tokens["start"], len(tokens["texts"]), tokens["special"]) == (0, 1_024, [0])
    assert max(map(len, tokens["texts"])) == 200
    assert tokens_record(trace, 2_999, 5)["texts"] == []
    json.dumps([head, tokens, view_record(explorer, [(0, "mlp")], 3)])


def test_what_was_off_is_said():
    trace = random_trace(4)
    trace.off = "L3 H5 off"
    assert head_record(Explorer(trace))["title"] == "text, L3 H5 off"


def test_other_traces_are_offered():
    trace, other = random_trace(10), random_trace(12, seed=2)
    identify(other)
    offered = {each["id"]: each for each in head_record(Explorer(trace))["others"]}
    assert offered[identify(other)]["tokens"] == 12
    assert identify(trace) not in offered
    assert offered[identify(other)]["title"] == "\u201cw1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w \u2026\u201d"


def test_a_reply_is_known_by_its_own_words():
    reply = random_trace(
        9, texts=["<bos>", "ask", "ed", " An", "na", " gave", " it", " back", "."], prompt=3, seed=4
    )
    reply.title = "reply in chat main"
    name = identify(reply)
    (offered,) = [each for each in head_record(Explorer(random_trace(3)))["others"] if each["id"] == name]
    assert offered["title"] == "reply in chat main: \u201cAnna gave it back.\u201d"


def test_copied_weights_are_those_of_the_window():
    trace = random_trace(20, texts=["a\tb\n", *["x"] * 19])
    explorer = Explorer(trace, 0, 0)
    explorer.zoom((5, 8), (0, 3))
    lines = explorer.data(StopFlag()).splitlines()
    assert lines[0] == "query\ttoken\tkey\ttoken\tweight"
    assert len(lines) == 1 + 9
    query, _, key, text, weight = next(line for line in lines if "\t0\t" in line).split("\t")
    assert text == "a\\tb\\n"
    assert float(weight) == pytest.approx(float(trace.value(0, 0, int(query), int(key))), rel=1e-5)


def test_scores_come_with_their_meanings():
    found = Explorer(random_trace(30)).scores(StopFlag())
    assert {"induction", "sink", "entropy"} <= {each["name"] for each in found}
    assert all(len(each["values"]) == 3 and len(each["values"][0]) == 4 for each in found)
    assert all(each["meaning"] and each["label"] for each in found)


@pytest.mark.parametrize(
    "given",
    [
        None,
        "3.5",
        [[0]],
        [[0, 4]],
        [[9, 0]],
        [["0", 0]],
        [[0, "router"]],
        [[0, True]],
        [[True, 0]],
        [[0, None]],
    ],
)
def test_parts_that_are_none_are_refused(given):
    assert read_parts(given, random_trace(5)) is None


def test_parts_are_read_once_each():
    parts = read_parts([[0, 3], [1, "mlp"], [0, 3], [2, "layer"], [2, "attention"]], random_trace(5))
    assert parts == ((0, 3), (1, "mlp"), (2, "layer"), (2, "attention"))
    assert names_of(parts) == ["L0 H3", "L1 MLP", "L2", "L2 attention"]
    assert {each.mode for each in interventions(parts, "mean")} == {"mean"}


def test_links_of_nothing():
    assert links(np.zeros(5, np.float32), 3) == {"links": [], "rest": 0.0}
