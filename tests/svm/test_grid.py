"""Grid search in one process: against scikit-learn, resumed, in little memory, refused."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from course.svm.grid import GridResult, grid_search
from tests.svm.cases import blobs

GRID = {"gammas": [0.05, 0.3, 2.0], "Cs": [1.0, 1000.0, 10.0], "folds": 5}


@pytest.fixture(scope="module")
def data():
    return blobs([80, 60, 70], spread=1.3)


@pytest.fixture(scope="module")
def whole(data):
    return grid_search(*data, **GRID, threads=1)


def test_accuracies_are_those_of_scikit_learn(data, whole):
    X, y = data
    tight = grid_search(X, y, **GRID, tol=1e-5)
    for g, gamma in enumerate(GRID["gammas"]):
        for c, C in enumerate(GRID["Cs"]):
            right = cross_val_score(SVC(C=C, gamma=gamma, tol=1e-5), X, y, cv=5).mean()
            assert tight.accuracy[g, c] == pytest.approx(right, abs=1e-12), (gamma, C)
            assert whole.accuracy[g, c] == pytest.approx(right, abs=0.01)
    assert whole.best == pytest.approx(tight.best)


def test_votes_near_the_boundary_are_those_of_the_optimum():
    X, y = blobs([250, 250], spread=2.0, seed=4)
    gammas, Cs = [0.1, 0.5], [1.0, 10.0, 100.0]
    rough = grid_search(X, y, gammas, Cs, folds=5, tol=0.05)
    for g, gamma in enumerate(gammas):
        for c, C in enumerate(Cs):
            exact = cross_val_score(SVC(C=C, gamma=gamma, tol=1e-5), X, y, cv=5).mean()
            assert rough.accuracy[g, c] == pytest.approx(exact, abs=1e-12), (gamma, C)


@pytest.mark.parametrize("options", [{"threads": 3}, {"cache_size": 0.5}, {"threads": 1}])
def test_threads_and_memory_change_nothing(data, whole, options):
    other = grid_search(*data, **GRID, **options)
    np.testing.assert_allclose(other.accuracy, whole.accuracy, atol=1e-12)


def test_goes_on_where_it_stopped(data, whole, tmp_path):
    class Stop(Exception):
        pass

    started = []

    def progress(done, of):
        started.append((done, of))
        if done == 5:
            raise Stop

    journal = tmp_path / "search.jsonl"
    with pytest.raises(Stop):
        grid_search(*data, **GRID, threads=1, journal=journal, progress=progress)
    assert started == [(k, 9) for k in range(1, 6)]
    left = []
    result = grid_search(*data, **GRID, journal=journal, progress=lambda *a: left.append(a))
    assert sorted(left) == [(k, 5) for k in range(1, 6)]
    np.testing.assert_array_equal(result.accuracy, whole.accuracy)
    left.clear()
    again = grid_search(*data, **GRID, journal=journal, progress=lambda *a: left.append(a))
    assert not left
    np.testing.assert_array_equal(again.accuracy, whole.accuracy)
    assert [path.name for path in tmp_path.iterdir()] == ["search.jsonl"]

    journal.write_text(journal.read_text()[:-20])  # killed while it wrote
    result = grid_search(*data, **GRID, journal=journal, progress=lambda *a: left.append(a))
    assert left == [(1, 1)]
    np.testing.assert_array_equal(result.accuracy, whole.accuracy)
    with pytest.raises(ValueError, match="belongs to a search with other data"):
        grid_search(*data, **{**GRID, "folds": 4}, journal=journal)


def test_a_class_with_few_points(data):
    X, y = data
    X, y = np.r_[X, [[9.0] * 6]], np.r_[y, 3]  # one point: absent from one training
    with pytest.warns(UserWarning, match="least populated class"):
        ours = grid_search(X, y, [0.1], [10.0], folds=5, tol=1e-5)
        theirs = cross_val_score(SVC(C=10.0, gamma=0.1, tol=1e-5), X, y, cv=5).mean()
    assert ours.accuracy[0, 0] == pytest.approx(theirs, abs=1e-12)


def test_the_table_has_the_form_of_the_slide():
    result = GridResult(
        np.array([2.0, 8.0]), np.array([1.0, 100.0]),
        np.array([[0.489, 0.7321], [0.6418, 0.77]]), np.array([[60.0, 90.0], [6.0, 864.6]]), 1.0,
    )  # fmt: skip
    assert result.best == (8.0, 100.0)
    rows = [line.split() for line in result.table().splitlines()]
    assert rows[0] == ["gamma/C", "1", "100"]
    assert rows[2] == ["8", "64.18", "(0.10)", "77.00", "(14.41)"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gammas": []}, "gammas must be one or more positive numbers"),
        ({"Cs": [1.0, -1.0]}, "Cs must be one or more positive numbers"),
        ({"folds": 1}, "folds must be at least 2"),
        ({"folds": 1000}, "folds must be at least 2"),
        ({"X": np.zeros(3)}, "expected X of shape"),
        ({"X": np.full((210, 6), np.nan)}, "X must be finite"),
        ({"y": np.ones(210)}, "at least two classes"),
        ({"journal": "no/such/folder/file"}, "there is no folder"),
    ],
)
def test_refuses(data, change, message):
    arguments = {"X": data[0], "y": data[1], **GRID, **change}
    with pytest.raises(ValueError, match=message):
        grid_search(**arguments)
