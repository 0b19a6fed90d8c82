"""ParallelSVC on 1, 2, 3, 4 and 7 ranks against one process and against libsvm."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

from course.svm import ParallelSVC
from tests.ranks import RANKS, mpiexec_json
from tests.svm.cases import KERNELS, blobs


@cache
def results(ranks):
    return mpiexec_json(Path(__file__).with_name("ranks_svm.py"), ranks)


@pytest.fixture(params=RANKS)
def found(request):
    return results(request.param)


def test_pairs_over_ranks(found):
    X, y = blobs([60, 80, 50])
    X_test, _ = blobs([40, 40, 40], seed=1)
    oracle = SVC(C=5.0, gamma=0.7, decision_function_shape="ovo", tol=1e-6).fit(X, y)
    expected = oracle.decision_function(X_test)
    np.testing.assert_allclose(found["pairs"], expected, atol=3e-3)
    clear = np.abs(expected).min(axis=1) > 3e-3
    np.testing.assert_array_equal(
        np.array(found["pairs_labels"])[clear], oracle.predict(X_test)[clear]
    )
    serial = ParallelSVC(C=5.0, gamma=0.7, decision_function_shape="ovo").fit(X, y)
    # Ranks predict slices of other lengths, which BLAS may add up in another order.
    np.testing.assert_allclose(found["pairs"], serial.decision_function(X_test), atol=1e-5)
    assert found["few"] == serial.predict(X_test[:2]).tolist()
    assert found["same"], "ranks disagree about the model"


@pytest.mark.parametrize("case", ["whole", "small", "tiny", "cache", "weights", "double"])
def test_one_pair_on_all_ranks(found, case):
    X, y = blobs([150, 130], seed=2)
    weights = {0: 3.0, 1: 0.5} if case == "weights" else None
    oracle = SVC(C=5.0, gamma=0.7, class_weight=weights, tol=1e-6).fit(X, y)
    serial = ParallelSVC(C=5.0, gamma=0.7, class_weight=weights, tol=1e-5, precision="double").fit(
        X, y
    )
    objective, decision = found["decomposed"][case]
    np.testing.assert_allclose(objective, serial.objective_, rtol=1e-3 if case == "tiny" else 1e-5)
    atol = 3e-2 if case == "tiny" else 4e-3
    np.testing.assert_allclose(decision, oracle.decision_function(X[:50]), atol=atol)


def test_every_kernel_on_all_ranks(found):
    X, y = blobs([150, 130], seed=2)
    for parameters in KERNELS:
        serial = ParallelSVC(precision="double", tol=1e-5, **parameters).fit(X, y)
        np.testing.assert_allclose(
            found["kernels"][parameters["kernel"]], serial.objective_, rtol=2e-4
        )


def test_fewer_points_than_ranks(found):
    X, y = np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])
    oracle = SVC(gamma=1.0).fit(X, y)
    np.testing.assert_allclose(found["three"], oracle.decision_function(X), atol=2e-3)


def test_all_ranks_raise_together(found):
    assert all("at least two classes" in message for message in found["one class"])
    if len(found["different"]) > 1:
        assert all("ranks [1] differ from rank 0" in message for message in found["different"])
        assert all("ranks [1] differ from rank 0" in message for message in found["parameters"])


def test_sample_weights_on_all_ranks(found):
    X, y = blobs([60, 80, 50])
    X_test, _ = blobs([40, 40, 40], seed=1)
    weight = np.random.default_rng(5).choice([0.0, 0.3, 1.0, 6.0], len(y))
    oracle = SVC(C=2.0, gamma=0.2, decision_function_shape="ovo", tol=1e-6).fit(X, y, weight)
    for values in found["weighted"]:
        np.testing.assert_allclose(values, oracle.decision_function(X_test), atol=4e-3)
    if len(found["own weights"]) > 1:
        assert all("differ from rank 0" in message for message in found["own weights"])


def test_shared_counter_gives_each_number_once(found):
    assert found["counter"] == list(range(50))


def test_grid_search_as_scikit_learn(found):
    X, y = blobs([60, 80, 50])
    search = GridSearchCV(SVC(tol=1e-5), {"gamma": [0.1, 0.5], "C": [1.0, 10.0, 100.0]}, cv=5).fit(
        X, y
    )
    for score, parameters in zip(
        search.cv_results_["mean_test_score"], search.cv_results_["params"], strict=True
    ):
        row = [0.1, 0.5].index(parameters["gamma"])
        column = [1.0, 10.0, 100.0].index(parameters["C"])
        assert found["grid"][row][column] == pytest.approx(score, abs=0.011)  # 2 of 190 points
