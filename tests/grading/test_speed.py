"""Verdicts on speed: decided by an interval, never by noise. Times come from a made-up clock."""

import numpy as np
import pytest

from course.grading.compare import equal
from course.grading.speed import Speed, median_interval
from course.grading.trials import Done, Trial


class Clock:
    """Stands for a bench: each run takes `seconds` times a noise with a long tail."""

    def __init__(self, seconds, rng, noise, result=lambda x: x):
        self.seconds, self.rng, self.noise, self.result = seconds, rng, noise, result

    def try_out(self, trial, function, driver, seconds, trace):
        taken = self.seconds * (1 + self.rng.exponential(self.noise) ** 2)
        if taken > seconds:
            return Done(failure=f"took more than {seconds:g} s", kind="deadline")
        return Done([self.result(trial.args[0])], None, [taken])


def draw(rng):
    while True:
        x = int(rng.integers(1000))
        yield Trial((x,), expected=x)


def points(factor, seed, noise=0.6, slower=3.0, **how):
    rng = np.random.default_rng(seed)
    demand = Speed("fast", "f", draw, equal, slower=slower, **how)
    mine, reference = Clock(0.01 * factor, rng, noise), Clock(0.01, rng, noise)
    return demand.mark(mine, reference, rng, 2.0)


@pytest.mark.parametrize(("factor", "expected"), [(0.2, 2.0), (1.0, 2.0), (1.8, 2.0), (9.0, 0.0)])
def test_fifty_times_the_same_mark_under_noise(factor, expected):
    marks = [points(factor, seed).points for seed in range(50)]
    assert marks == [expected] * 50


def test_at_the_limit_nobody_is_failed_by_chance():
    """Where nothing can be decided, the points are kept: at most 1 in 1,000 is failed."""
    lost = sum(points(3.0, seed, noise=0.5).points == 0 for seed in range(300))
    assert lost <= 2


def test_a_slow_one_is_told_how_slow():
    mark = points(9.0, 1)
    assert "times slower than the reference" in mark.losses[0].reason
    assert "at most 3 times" in mark.losses[0].reason


def test_a_fast_one_is_told_how_fast():
    assert "times as long as the reference" in points(1.0, 1).passed[0]


def test_speed_does_not_make_up_for_a_wrong_result():
    rng = np.random.default_rng(0)
    demand = Speed("fast", "f", draw, equal)
    wrong = Clock(0.0001, rng, 0.1, result=lambda x: x + 1)
    mark = demand.mark(wrong, Clock(0.01, rng, 0.1), rng, 2.0)
    assert mark.points == 0 and "the result is wrong" in mark.losses[0].reason


def test_a_reference_that_fails_is_the_lecturers_fault():
    rng = np.random.default_rng(0)
    demand = Speed("fast", "f", draw, equal, seconds=0.01)
    with pytest.raises(RuntimeError, match="the reference solution failed"):
        demand.mark(Clock(0.01, rng, 0.1), Clock(100.0, rng, 0.1), rng, 2.0)


def test_the_interval_holds_the_median_as_often_as_it_says():
    rng = np.random.default_rng(3)
    missed = 0
    for _ in range(2000):
        low, high = median_interval(list(rng.exponential(size=25)), 0.05)
        missed += not low <= np.log(2) <= high
    assert missed / 2000 <= 0.06


def test_too_few_values_give_no_interval():
    assert median_interval([1.0] * 5, 0.01) is None
    assert median_interval([1.0] * 8, 0.01) == (1.0, 1.0)
