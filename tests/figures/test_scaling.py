"""Figures of training time: what they draw, and what they say to those who cannot see them."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course.figures import base, scaling


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_epoch_times_draws_medians():
    ax = scaling.epoch_times({"one": [1.0, 2.0, 4.0], "two": [0.5]}, title="ANN")
    assert [bar.get_width() for bar in ax.patches] == [2.0, 0.5]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one", "two"]
    assert ax.get_xlabel() == "s per epoch"
    text = base.alternative(ax.figure)
    assert "one 2 (quartiles 1.5 to 3)" in text and "two 0.5" in text


def test_speed_up_is_relative_to_the_first():
    ax = scaling.speed_up([1, 2, 4], {"cnn": [8.0, 4.0, 4.0]})
    np.testing.assert_allclose(ax.lines[1].get_ydata(), [1, 2, 2])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), [1, 2, 4])
    assert "cnn reaches 2.00 on 4 ranks" in base.alternative(ax.figure)
    assert ax.get_xscale() == "linear"
    assert scaling.speed_up([1, 128], {"cnn": [1.0, 0.1]}).get_xscale() == "log"


def test_learning_rates_are_drawn_over_epochs():
    ax = scaling.learning_rates(2, {"warm-up": [0.1, 0.2, 0.4]})
    np.testing.assert_allclose(ax.lines[0].get_xdata(), [0, 0.5, 1])
    assert "warm-up goes from 0.1 to 0.4" in base.alternative(ax.figure)


def test_gradient_agreement_states_both_distances():
    joined = np.array([1.0, 2.0])
    ax = scaling.gradient_agreement(joined, joined, [joined + 0.5, joined - 0.5])
    assert len(ax.lines) == 3 and ax.get_legend()
    text = base.alternative(ax.figure)
    assert "by up to 0.5;" in text and "within 0." in text
