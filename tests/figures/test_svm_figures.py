"""Figures and widget of the SVM notebook: what they draw and what they say."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course.figures import alternative
from course.figures import svm as figures
from course.widgets import svm as widgets

X = np.array([[0.0, 0.0], [1.0, 0.2], [0.2, 1.0], [2.0, 2.0], [2.2, 1.5], [1.6, 2.4]])
y = np.array([1, 1, 1, 2, 2, 2])


def decide(points):
    return points.sum(axis=1) - 2.5


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_margin_draws_classes_and_support_vectors():
    extent, values = widgets.field(X, decide, points=20)
    assert extent == (-0.5, 2.7, -0.5, 2.9) and values.shape == (20, 20)
    assert values[0, 0] == pytest.approx(-3.5) and values[-1, -1] == pytest.approx(3.1)
    ax = figures.margin(X, y, extent, values, [1, 4])
    assert [len(line.get_xdata()) for line in ax.lines] == [3, 3, 2]
    assert "6 points of two classes" in alternative(ax.figure)
    assert "2 are circled" in alternative(ax.figure)


def test_margin_refuses_other_shapes():
    with pytest.raises(ValueError, match="two classes"):
        figures.margin(X, np.zeros(6), (0, 1, 0, 1), np.zeros((2, 2)), [])


def test_land_cover_draws_each_map():
    labels = np.array([[0, 1], [2, 2]])
    axes = figures.land_cover({"a": labels, "b": np.where(labels > 1, -1, labels)}, ["x", "y", "z"])
    assert [ax.get_title() for ax in axes] == ["a", "b"]
    assert "50.0 % are black" in alternative(axes[0].figure)
    with pytest.raises(ValueError, match="classes below 2"):
        figures.land_cover({"a": labels}, ["x", "y"])
    with pytest.raises(ValueError, match="at least one map"):
        figures.land_cover({}, ["x"])


def test_grid_shows_accuracy_and_minutes():
    accuracy, minutes = [[50.0, 60.0], [70.5, 65.0]], [[1.0, 2.0], [3.0, 4.25]]
    ax = figures.grid(accuracy, minutes, [2, 8], [1, 100], mark=(0, 1))
    assert "70.50\n(3.00)" in [text.get_text() for text in ax.texts]
    told = alternative(ax.figure)
    assert "Best: gamma 8, C 1." in told and "10.25" in told and "gamma 2, C 100 is framed" in told
    with pytest.raises(ValueError, match="expected shape"):
        figures.grid(accuracy, minutes, [2], [1, 100])


def test_collectives_are_in_milliseconds():
    ax = figures.collectives({"loop": 0.002, "Allreduce": 0.001}, ranks=4)
    assert [bar.get_width() for bar in ax.patches] == [2.0, 1.0]
    assert "loop 2.00 ms" in alternative(ax.figure)
    with pytest.raises(ValueError, match="at least one variant"):
        figures.collectives({}, ranks=2)


def test_sliders_and_kernel_retrain():
    asked = []

    def train(C, gamma, kernel):
        asked.append((C, gamma, kernel))
        return decide, np.array([0])

    box = widgets.margin(X, y, train, C=1.0, gamma=10.0)
    box.children[0].value = 100.0
    box.children[2].value = "linear"
    assert asked == [(1.0, 10.0, "rbf"), (100.0, 10.0, "rbf"), (100.0, 10.0, "linear")]
