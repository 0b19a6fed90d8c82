"""Figures of communication: what is drawn, what is told, and bad input."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course.figures import alternative
from course.figures import mpi as figures


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_timeline_draws_and_tells_the_shares():
    ax = figures.timeline([0, 0, 1], [0.0, 0.4, 0.0], [0.4, 0.5, 0.25], [0, 2, 1],
                          ["", "Allreduce", "Recv"])  # fmt: skip
    bars = [patch for patch in ax.patches if patch.get_width()]
    assert sorted(round(bar.get_width()) for bar in bars) == [100, 250, 400]
    assert ax.get_xlabel() == "time (ms)"
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rank 0", "rank 1"]
    text = alternative(ax.figure)
    assert "rank 0 computes 80%, waits 0% and transfers 20%" in text
    assert "rank 1 computes 0%, waits 50% and transfers 0%" in text


def test_timeline_bad_input():
    with pytest.raises(ValueError, match="one shape"):
        figures.timeline([0], [0.0, 1.0], [1.0], [0])
    with pytest.raises(ValueError, match="at least one interval"):
        figures.timeline([], [], [], [])


def test_matrix():
    ax = figures.communication_matrix([[0, 2000], [500, 0]])
    np.testing.assert_allclose(ax.images[0].get_array(), [[0, 2], [0.5, 0]])
    assert "rank 0 to rank 1 2 kB; rank 1 to rank 0 0.5 kB" in alternative(ax.figure)
    nothing = figures.communication_matrix(np.zeros((3, 3)))
    assert "nothing" in alternative(nothing.figure)
    with pytest.raises(ValueError, match=r"shape \(ranks, ranks\), got \(2, 3\)"):
        figures.communication_matrix(np.zeros((2, 3)))


def test_wait_graph():
    ax = figures.wait_graph({0: [1], 1: [0], 2: [0, 1]}, 3, [0, 1], {2: "Barrier"})
    arrows = [note for note in ax.texts if getattr(note, "arrow_patch", None)]
    assert len(arrows) == 4
    text = alternative(ax.figure)
    assert "rank 2 waits for rank 0 and 1" in text and "ring is 0 → 1 → 0" in text
    itself = figures.wait_graph({0: [0]}, 1, [0])
    assert "rank 0 waits for rank 0" in alternative(itself.figure)
    with pytest.raises(ValueError, match="from 0 to 1"):
        figures.wait_graph({0: [2]}, 2)


def test_cost_model():
    sizes = np.array([8.0, 800.0])
    ax = figures.cost_model(sizes, {"ring": [1e-6, 2e-6]}, {"ring": [1e-6, 3e-6]})
    assert ax.get_xscale() == ax.get_yscale() == "log"
    points, line = ax.lines
    np.testing.assert_allclose(points.get_ydata(), [1, 2])
    assert points.get_color() == line.get_color()
    assert "ring, measured, goes from 1 to 2 microseconds" in alternative(ax.figure)
