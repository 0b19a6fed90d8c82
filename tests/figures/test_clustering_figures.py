"""Figures of clustering: what is drawn, and what is told to those who cannot see it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course.figures import alternative
from course.figures import clustering as figures


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_clusters_tells_core_points_from_others():
    points = np.array([[0.0, 0], [1, 0], [2, 0], [9, 9]])
    ax = figures.clusters(points, [0, 0, 0, -1], [True, True, False, False], (1,), 1.5, True)
    noise, full, hollow = ax.collections
    assert [len(each.get_offsets()) for each in (noise, full, hollow)] == [1, 2, 1]
    assert [text.get_text() for text in ax.texts] == ["0", "1", "2", "3"]
    assert ax.patches[0].radius == 1.5
    text = alternative(ax.figure)
    assert "4 points in 1 clusters, 1 are noise, 2 are core points" in text
    assert "circles of radius 1.5 around points [1]" in text


def test_grid_counts_each_cell():
    ax = figures.grid(np.array([[0.0, 0], [0.5, 0.2], [2.5, 0]]), 1.0)
    assert [text.get_text() for text in ax.texts] == ["2", "1"]
    assert "3 by 1 cells of width 1; 2 cells hold any, the fullest 2" in alternative(ax.figure)


def test_cost_map_draws_the_cuts():
    costs = np.zeros((10, 20))
    costs[3, 4], costs[5, 5] = 90, 10
    ax = figures.cost_map(costs, [64, 110])
    assert len(ax.lines) == 2
    assert "the dearest hundredth of them causes 100% of the cost" in alternative(ax.figure)


def test_loads_tells_the_busiest():
    ax = figures.loads({"equal in points": [1, 3], "equal in cost": [2, 2]})
    assert len(ax.patches) == 4
    text = alternative(ax.figure)
    assert "equal in points: the busiest rank has 1.5 times the mean" in text
    assert "equal in cost: the busiest rank has 1.0 times the mean" in text


def test_halo_draws_three_groups():
    points = np.arange(10.0).reshape(5, 2)
    ax = figures.halo(points, [0, 0, 1, 1, 1], 0, [False, False, True, False, False])
    assert [len(each.get_offsets()) for each in ax.collections] == [2, 2, 1]
    assert "Rank 0 owns 2 of 5 points and sees 1 of others" in alternative(ax.figure)


def test_k_distance_falls_and_marks_the_radius():
    ax = figures.k_distance(np.array([1.0, 4.0, 2.0, 3.0]), 5, eps=2.5)
    assert list(ax.lines[0].get_ydata()) == [4, 3, 2, 1]
    assert "a share of 50% of the points is not core" in alternative(ax.figure)


def test_cloud_tells_the_largest():
    points = np.random.default_rng(0).normal(size=(50, 3))
    ax = figures.cloud(points, np.repeat([0, 1, -1], [10, 30, 10]))
    assert "2 clusters, the largest of [30, 10] points; 20% is noise" in alternative(ax.figure)


def test_phases_stacks_and_names_the_longest():
    ax = figures.phases({"1 rank": {"sort": 1.0, "search": 3.0}, "2 ranks": {"search": 2.0}})
    assert [bar.get_width() for bar in ax.patches] == [1, 0, 3, 2]
    assert "1 rank: 4.00 s, most of it search (75%)" in alternative(ax.figure)


def test_scaling_draws_speed_up_and_efficiency():
    ax = figures.scaling(
        (1, 2, 16), {"measured": [1, 1.5, np.nan]}, band=([1, 1.4, 8], [1, 1.8, 12])
    )
    left, right = ax.figure.axes
    assert list(left.lines[1].get_ydata()) == [1, 1.5]
    assert list(right.lines[1].get_ydata()) == [1, 0.75]
    text = alternative(ax.figure)
    assert "measured: 1.50 times on 2 ranks" in text
    assert "the model's range at 16 ranks is 8 to 12" in text
