"""Tiles against whole matrices: every pixel, at every size, while they grow and when they are stopped."""

import itertools
import time
from types import SimpleNamespace

import numpy as np
import pytest

import llama_nb as llama
from llama_nb.core.errors import Stopped, TraceError
from llama_nb.interpret import tiles
from llama_nb.interpret.shelf import Shelf
from llama_nb.interpret.tiles import difference_tile, difference_tiles, thumbnails, tile
from tests.interpret.matrices import Matrices


def pooled(matrix, height, width, choose):
    """What the tile must show, a rectangle at a time."""
    tall, wide = matrix.shape
    found = np.empty((height, width), np.float32)
    for y, x in np.ndindex(found.shape):
        rows = slice(y * tall // height, max(y * tall // height + 1, (y + 1) * tall // height))
        cols = slice(x * wide // width, max(x * wide // width + 1, (x + 1) * wide // width))
        found[y, x] = choose(matrix[rows, cols])
    return found


def as_bytes(weights):
    return np.rint(255 * np.sqrt(weights)).astype(np.uint8)


def furthest(values):
    return values.flat[np.abs(values).argmax()]


@pytest.fixture(autouse=True)
def small_work(monkeypatch):
    """Small maps take several blocks, so that what is between blocks is tried."""
    monkeypatch.setattr(tiles, "_BLOCK", 700)
    monkeypatch.setattr(tiles, "_AT_ONCE", 5_000)
    monkeypatch.setattr(tiles, "_PAUSE_S", 0.0)


@pytest.mark.parametrize(
    ("rows", "cols", "size"),
    [
        ((0, 100), (0, 100), 512),
        ((0, 100), (0, 100), 32),
        ((0, 100), (0, 100), 100),
        ((3, 97), (0, 61), 17),
        ((40, 41), (0, 100), 8),
        ((10, 90), (50, 51), 7),
        ((99, 100), (99, 100), 512),
    ],
)
def test_a_tile_is_the_largest_weight_of_each_rectangle(rows, cols, size):
    trace = Matrices(100)
    *_, last = tile(trace, 0, 1, rows, cols, size)
    window = trace.weights[0, 1, slice(*rows), slice(*cols)]
    shape = tuple(min(size, side) for side in window.shape)
    assert last.values.shape == shape
    assert last.values.dtype == np.uint8
    assert (last.values == as_bytes(pooled(window, *shape, np.max))).all()
    assert (last.done, last.pool, last.signed) == (1.0, "max", False)
    assert last.peak == pytest.approx(window.max())
    assert (last.rows, last.cols, last.layer, last.head) == (rows, cols, 0, 1)


def test_a_large_map_is_looked_at_first_and_then_grows_from_the_top():
    trace = Matrices(100)
    made = list(tile(trace, 0, 0, (0, 100), (0, 100), 48))
    exact = as_bytes(pooled(trace.weights[0, 0], 48, 48, np.max))
    assert [one.done for one in made] == sorted(one.done for one in made)
    assert (made[0].done, made[-1].done) == (0.0, 1.0)
    assert len(made) > 5
    assert made[0].values.any(), "the look shows something already"
    assert (made[0].values <= exact).all(), "of some rows a weight is never larger than of all"
    for one in made:
        rows = int(one.done * 48)
        assert (one.values[:rows] == exact[:rows]).all()
    for before, after in itertools.pairwise(made):
        assert before.peak <= after.peak


def test_a_small_map_comes_at_once_and_a_quiet_one_only_when_it_is_done():
    trace = Matrices(60)
    assert [one.done for one in tile(trace, 0, 0, (0, 60), (0, 60), progressive=False)] == [1.0]
    large = Matrices(100)
    assert [one.done for one in tile(large, 0, 0, (0, 100), (0, 100), progressive=False)] == [1.0]


def test_pictures_come_no_faster_than_told(monkeypatch):
    monkeypatch.setattr(tiles, "_PAUSE_S", 0.05)
    monkeypatch.setattr(tiles, "_SAMPLED", 1)
    began = time.monotonic()
    made = list(tile(Matrices(100, pause_s=0.01), 0, 0, (0, 100), (0, 100)))
    assert 3 <= len(made) <= 2 + (time.monotonic() - began) / 0.05


def test_it_stops_between_blocks():
    trace = Matrices(100)
    answers = iter([None] * 3)
    with pytest.raises(Stopped, match="enough"):
        list(
            tile(trace, 0, 0, (0, 100), (0, 100), progressive=False, stopped=lambda: next(answers, "enough"))
        )
    assert trace.asked == 3 * 7
    with pytest.raises(Stopped):
        thumbnails(trace, 0, stopped=lambda: "enough")


def test_a_finished_tile_is_not_computed_again():
    trace = Matrices(100)
    *_, first = tile(trace, 0, 0, (0, 100), (0, 100), 20)
    asked = trace.asked
    (again,) = tile(trace, 0, 0, (0, 100), (0, 100), 20)
    assert again is first
    assert trace.asked == asked
    trace.length = 99  # a trace that grew (here: another length) is another map
    *_, other = tile(trace, 0, 0, (0, 99), (0, 99), 20)
    assert trace.asked > asked
    assert other is not first


@pytest.mark.parametrize(
    ("rows", "cols"), [((0, 101), (0, 5)), ((5, 5), (0, 5)), ((-1, 3), (0, 5)), ((0, 5), (7, 3))]
)
def test_windows_outside_are_refused(rows, cols):
    with pytest.raises(TraceError, match="There are no"):
        list(tile(Matrices(100), 0, 0, rows, cols))


@pytest.mark.parametrize("size", [512, 30])
def test_a_difference_shows_what_is_furthest_from_equal(size):
    one, other = Matrices(90, seed=1), Matrices(80, seed=2)
    made = difference_tile(one, (0, 0), other, (0, 1), (10, 80), (0, 80), size)
    difference = one.weights[0, 0, 10:80, :80] - other.weights[0, 1, 10:80, :80]
    shape = tuple(min(size, side) for side in difference.shape)
    expected = pooled(difference, *shape, furthest)
    signed = 128 + np.rint(127 * np.sign(expected) * np.sqrt(np.abs(expected)))
    assert (made.values == signed.astype(np.uint8)).all()
    assert made.peak == pytest.approx(np.abs(difference).max())
    assert made.signed
    assert {one.done for one in difference_tiles(one, (0, 0), other, (0, 1), (0, 80), (0, 80), size)} > {
        0.0,
        1.0,
    }
    with pytest.raises(TraceError, match="up to 90"):
        difference_tile(one, (0, 0), other, (0, 1), (0, 90), (0, 90))


def test_a_head_differs_in_nothing_from_itself():
    trace = Matrices(50)
    made = difference_tile(trace, (0, 1), trace, (0, 1), (0, 50), (0, 50))
    assert (made.values == 128).all()
    assert made.peak == 0


def test_thumbnails_show_the_last_row_of_each_pixel():
    trace = Matrices(200, heads=3)
    made = thumbnails(trace, 0, side=16, rows=16)
    assert made.shape == (3, 16, 16)
    assert trace.asked == 3 * 16, "one row a pixel and no more"
    for head in range(3):
        for pixel in range(16):
            row = trace.weights[0, head, (pixel + 1) * 200 // 16 - 1][None]
            assert (made[head, pixel] == as_bytes(pooled(row, 1, 16, np.max))[0]).all()


def test_thumbnails_of_few_tokens_are_whole():
    trace = Matrices(5, heads=2)
    made = thumbnails(trace, 0, side=16)
    for head in range(2):
        assert (made[head] == as_bytes(pooled(trace.weights[0, head], 16, 16, np.max))).all()
    exact = thumbnails(Matrices(64), 0, side=16, rows=64)
    assert (exact[0] == as_bytes(pooled(Matrices(64).weights[0, 0], 16, 16, np.max))).all()


def test_a_shelf_holds_what_was_asked_for_last():
    shelf = Shelf(100, lambda value: value.size)
    for name in "abc":
        shelf.put(name, SimpleNamespace(size=40, name=name))
    assert shelf.get("a") is None
    assert shelf.get("b").name == "b"
    shelf.put("d", SimpleNamespace(size=40, name="d"))
    assert shelf.get("c") is None
    assert shelf.get("b") is not None, "what was asked for stays"
    shelf.put("b", SimpleNamespace(size=10, name="new"))
    shelf.put("e", SimpleNamespace(size=50, name="e"))
    assert [shelf.get(name) is not None for name in "bde"] == [True, True, True]
    shelf.put("f", SimpleNamespace(size=101, name="f"))
    assert shelf.get("f") is None
    assert shelf.get("e") is not None, "nothing is dropped for what is not kept"


def test_tiles_of_a_real_trace_equal_its_matrix_and_teach_it_its_sums(monkeypatch):
    model = llama.load("cria")
    trace = model.attention("The cat sat on the mat, and the dog sat on the cat. " * 6, layers=[3])
    model.unload(force=True)
    length = trace.length
    monkeypatch.setattr(tiles, "_BLOCK", 20 * length)
    *_, whole = tile(trace, 3, 3, (0, length), (0, length), progressive=False)
    assert (whole.values == as_bytes(trace.matrix(3, 3))).all()
    found, rows = [], trace.rows

    def counted(*args, **options):
        found.append(args)
        return rows(*args, **options)

    monkeypatch.setattr(trace, "rows", counted)
    trace.log_sums(3, 3)
    assert not found, "a pass over all rows is what the sums of a column need"
    *_, window = tile(trace, 3, 3, (length // 2, length), (0, 9))
    assert (window.values == whole.values[length // 2 :, :9]).all()
    monkeypatch.setattr(trace, "rows", rows)
    for head, small in enumerate(thumbnails(trace, 3, side=8, rows=8)):
        sampled = trace.matrix(3, head)[[(pixel + 1) * length // 8 - 1 for pixel in range(8)]]
        assert np.abs(small.astype(int) - as_bytes(pooled(sampled, 8, 8, np.max))).max() <= 1
