"""HPDBSCAN on one rank, against scikit-learn: equal labels, number by number."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone, is_clusterer
from sklearn.cluster import DBSCAN
from sklearn.utils.estimator_checks import check_estimator

from course.clustering import HPDBSCAN
from tests.clustering import cases


# Its base classes would cost every rank 70 MB, see course.clustering.base.
@pytest.mark.filterwarnings("ignore:Estimator HPDBSCAN does not inherit")
def test_is_a_scikit_learn_estimator():
    check_estimator(HPDBSCAN())


@pytest.mark.parametrize("threads", [1, 3])
def test_equals_scikit_learn(threads):
    for number in range(1000, 1300):
        case, labels, core = cases.solved(number)
        model = HPDBSCAN(case.eps, case.min_samples, threads=threads).fit(case.data)
        assert np.array_equal(model.labels_, labels), case.name
        assert np.array_equal(model.core_sample_indices_, core), case.name


@pytest.mark.parametrize("d", [2, 3, 5])
def test_large_cells_with_leaves_and_threads(d):
    """Cells of hundreds of points, full and not, close to each other."""
    rng = np.random.default_rng(d)
    data = rng.normal(size=(6000, d)) * np.repeat(10.0 ** rng.uniform(-2, 0.5, 60), 100)[:, None]
    data += np.repeat(rng.uniform(0, 4, size=(60, d)), 100, axis=0)
    for min_samples in (5, 300):
        for eps in (0.1, 0.5, 1.0):
            model = HPDBSCAN(eps, min_samples, threads=4).fit(data)
            want = DBSCAN(eps=eps, min_samples=min_samples, algorithm="kd_tree").fit(data)
            assert np.array_equal(model.labels_, want.labels_)
            assert np.array_equal(model.core_sample_indices_, want.core_sample_indices_)


def test_radius_itself_counts():
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    assert HPDBSCAN(5.0, 2).fit(points).n_clusters_ == 1
    assert HPDBSCAN(np.nextafter(5.0, 0), 2).fit(points).n_clusters_ == 0


def test_border_point_joins_the_lowest_cluster():
    """The point in the middle touches both clusters, whichever comes first in the input."""
    left = np.array([[-1.0], [-1.1], [-1.2], [-1.3]])
    middle = np.array([[0.0]])
    for first, second in ((left, -left), (-left, left)):
        labels = HPDBSCAN(1.0, 4).fit_predict(np.concatenate((middle, first, second)))
        assert labels.tolist() == [0] + 4 * [0] + 4 * [1]


def test_input_stays_as_it_was():
    for d in (1, 2, 5):
        data = np.random.default_rng(0).normal(size=(500, d))
        data[0] = 1e12
        before = data.copy()
        HPDBSCAN(0.01, 3).fit(data)
        assert np.array_equal(data, before)


@pytest.mark.parametrize(
    ("parameters", "error", "text"),
    [
        ({"eps": 0.0}, ValueError, "eps must be a finite number above 0, got 0.0"),
        ({"eps": np.nan}, ValueError, "eps must be a finite number"),
        ({"eps": "1"}, TypeError, "eps must be a number, got '1'"),
        ({"eps": 1e-200}, ValueError, "square"),
        ({"min_samples": 0}, ValueError, "min_samples must be at least 1, got 0"),
        ({"min_samples": 2.5}, TypeError, "min_samples must be a whole number, got 2.5"),
        ({"threads": 0}, ValueError, "threads must be at least 1, got 0"),
    ],
)
def test_refuses_parameters(parameters, error, text):
    with pytest.raises(error, match=text):
        HPDBSCAN(**parameters).fit([[0.0, 1.0]])


def test_refuses_nan():
    with pytest.raises(ValueError, match="NaN"):
        HPDBSCAN().fit([[0.0, np.nan]])


def test_has_parameters():
    model = clone(HPDBSCAN(eps=2.0, min_samples=7, threads=2))
    assert model.get_params() == {"eps": 2.0, "min_samples": 7, "comm": None, "threads": 2}
    assert repr(model) == "HPDBSCAN(eps=2.0, min_samples=7, threads=2)"
    assert model.set_params(eps=3.0) is model and model.eps == 3.0
    with pytest.raises(ValueError, match="Invalid parameter 'radius'"):
        model.set_params(radius=1.0)
    assert is_clusterer(model)


@pytest.mark.parametrize(("d", "kind"), [(2, np.float64), (3, np.float32), (5, np.float32)])
def test_holds_three_times_the_input_at_most(d, kind):
    """Beside the input twice as much; what compiled kernels allocate does not show."""
    data = np.random.default_rng(0).normal(size=(100_000, d)).astype(kind)
    model = HPDBSCAN(1.0, 5, threads=2).fit(data[:100])
    tracemalloc.start()
    try:
        model.fit(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0 < peak < 2 * data.nbytes


def test_needs_no_scikit_learn_and_no_mpi_alone():
    code = (
        "import sys, numpy; from course.clustering import HPDBSCAN\n"
        "HPDBSCAN(threads=1).fit(numpy.zeros((5, 2)))\n"
        "heavy = {'matplotlib', 'tensorflow', 'sklearn', 'mpi4py'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)
