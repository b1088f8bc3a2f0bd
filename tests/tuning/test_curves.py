"""Curves that grow with a run: thinned to what a page draws, and never running back."""

import math

import pytest

from llama_nb.tuning.curves import COLUMNS, MOST_POINTS, Curves, Points, common


def lines(first, last, loss=lambda step: 4.0 - step / 1000):
    return [
        {"step": step, "loss": loss(step), "tokens": 100, "seconds": 0.5} for step in range(first, last + 1)
    ]


def curves_of(*records):
    made = Curves()
    for each in records:
        made.add(each)
    return made


def test_a_short_run_is_shown_step_by_step():
    made = curves_of(lines(1, 5), [{"step": 5, "validation_loss": 2.5}])
    points = made.points()
    assert points.stride == 1
    assert points.steps == [1, 2, 3, 4, 5]
    assert points.loss == [4.0 - step / 1000 for step in range(1, 6)]
    assert points.tokens_per_s == [200.0] * 5
    assert points.lr == [None] * 5
    assert points.validation == [(5, 2.5)]
    assert len({len(getattr(points, name)) for name in COLUMNS}) == 1


def test_a_long_run_is_thinned_and_its_last_step_is_there():
    made = curves_of(lines(1, 2 * MOST_POINTS + 7))
    points = made.points()
    assert points.stride == 4
    assert len(points.steps) <= MOST_POINTS
    assert points.steps[:2] == [4, 8]
    assert points.steps[-1] == 2 * MOST_POINTS + 7
    assert points.loss[0] == pytest.approx(4.0 - 2.5 / 1000)


def test_smoothing_begins_at_the_first_loss_and_grows_with_the_run():
    made = curves_of([{"step": 1, "loss": 4.0}, {"step": 2, "loss": 2.0}])
    assert made.smoothed == pytest.approx([4.0, 4.0 - 2.0 / (1 + 1 / 12)])
    steady = curves_of(lines(1, 50, lambda _: 3.0))
    assert steady.smoothed == pytest.approx([3.0] * 50)
    jump = curves_of(lines(1, 2001, lambda step: 3.0 if step <= 2000 else 4.0))
    assert jump.smoothed[-1] == pytest.approx(3.02)


def test_a_short_run_that_falls_fast_is_not_smoothed_away():
    falling = curves_of(lines(1, 80, lambda step: 6 * math.exp(-step / 5)))
    assert max(abs(one - other) for one, other in zip(falling.smoothed, falling.loss, strict=True)) < 0.6


def test_steps_that_are_done_again_replace_what_was_measured():
    made = curves_of(
        lines(1, 10), [{"step": 5, "validation_loss": 2.0}, {"step": 10, "validation_loss": 1.5}]
    )
    made.add([{"step": 6, "loss": 9.0}])
    assert made.steps == [1, 2, 3, 4, 5, 6]
    assert made.loss[-1] == 9.0
    assert made.validation == [(5, 2.0)]
    straight = curves_of(lines(1, 5), [{"step": 6, "loss": 9.0}])
    assert made.smoothed == straight.smoothed


@pytest.mark.parametrize("loss", [math.nan, math.inf, None, "4", True, [4.0], 10**400])
def test_what_is_no_number_is_unknown(loss):
    made = curves_of([{"step": 1, "loss": loss, "lr": loss, "seconds": loss, "tokens": loss, "memory": loss}])
    points = made.points()
    assert points.loss == points.lr == points.tokens_per_s == points.memory == points.smoothed == [None]


@pytest.mark.parametrize("step", [None, "1", 1.5, -1, True, 2**60])
def test_a_line_without_a_step_is_left_out(step):
    made = Curves()
    assert not made.add([{"step": step, "loss": 1.0}])
    assert len(made) == 0


def test_a_gap_in_the_losses_leaves_the_smoothed_one_where_it_was():
    made = curves_of([{"step": 1, "loss": 4.0}, {"step": 2, "loss": None}, {"step": 3, "loss": 4.0}])
    assert made.smoothed == pytest.approx([4.0, 4.0, 4.0])


def test_the_difference_of_two_looks_is_what_came_between():
    made = curves_of(lines(1, 5), [{"step": 5, "validation_loss": 2.5}])
    before = made.points()
    made.add([*lines(6, 8), {"step": 8, "validation_loss": 2.0}])
    after = made.points()
    assert common(before, after) == (5, 1)
    rest = after.behind(5, 1)
    assert rest.steps == [6, 7, 8]
    assert rest.validation == [(8, 2.0)]
    assert common(before, before) == (5, 1)
    assert common(Points(stride=2), after) is None


def test_the_last_point_of_a_thinned_curve_changes_until_it_is_whole():
    made = curves_of(lines(1, MOST_POINTS + 1))
    before = made.points()
    made.add(lines(MOST_POINTS + 2, MOST_POINTS + 3))
    after = made.points()
    assert before.stride == after.stride == 2
    assert common(before, after) == (len(before.steps) - 1, 0)


def test_many_validations_keep_the_last():
    made = curves_of([{"step": step, "validation_loss": float(step)} for step in range(1, 1000)])
    assert len(made.points().validation) <= MOST_POINTS
    assert made.points().validation[-1] == (999, 999.0)
    assert made.best() == (1, 1.0)


def test_points_that_are_made_bit_by_bit_are_those_made_at_once():
    growing, last = Curves(), 0
    for step in (3, 599, 601, 602, 1500, 2700, 2500, 2900):
        growing.add(lines(min(last, step - 1) + 1, step))
        assert growing.points() == curves_of(lines(1, step)).points()
        last = step
