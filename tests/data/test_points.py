"""Generated point sets: shapes, seeds, and what their docstrings promise."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from course.data import points


@pytest.mark.parametrize(
    ("generate", "d"),
    [
        (points.skewed_plane, 2),
        (points.street_scan, 3),
        (lambda n, seed=0: points.brain_tissue(n, seed)[0], 3),
    ],
)
def test_shape_type_and_seed(generate, d):
    data = generate(1000)
    assert data.shape == (1000, d) and data.dtype == np.float32
    assert np.isfinite(data).all()
    assert np.array_equal(data, generate(1000, seed=0))
    assert not np.array_equal(data, generate(1000, seed=1))
    assert generate(0).shape == (0, d)


def test_twenty_points_are_as_described():
    model = DBSCAN(eps=1, min_samples=4).fit(points.twenty_points())
    noise = (model.labels_ < 0).sum()
    border = 20 - noise - len(model.core_sample_indices_)
    assert (model.labels_.max() + 1, border, noise) == (2, 5, 3)


def test_plane_has_very_dense_cells():
    data = points.skewed_plane(1_000_000)
    assert data.min() >= 0 and data.max() <= 100
    _, counts = np.unique(np.floor(data / 0.02), axis=0, return_counts=True)
    assert counts.max() > 1000 and np.median(counts) == 1


def test_street_has_ground_and_fronts():
    data = points.street_scan(20_000)
    assert -0.1 < data[:, 0].min() and data[:, 0].max() < 202
    assert 0.3 < (np.abs(data[:, 2]) < 0.05).mean() < 0.5
    assert (np.abs(np.abs(data[:, 1]) - 7) < 0.05).mean() > 0.25


def test_tissue_layers_differ_in_density():
    data, layer = points.brain_tissue(50_000)
    fold = 200 * np.sin(2 * np.pi * data[:, 0] / 1700) * np.cos(2 * np.pi * data[:, 1] / 2600)
    depth = data[:, 2] - fold
    ends = np.array((0, *points.LAYER_ENDS))
    density = np.bincount(layer, minlength=7)[1:] / np.diff(ends)
    for number, end in enumerate(points.LAYER_ENDS, start=1):
        assert depth[layer == number].max() < end + 0.01
    np.testing.assert_allclose(density / density[1], points.LAYER_DENSITIES, rtol=0.1)
