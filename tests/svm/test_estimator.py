"""ParallelSVC in one process, against scikit-learn's libsvm."""

import tracemalloc

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import check_estimator

from course.svm import ParallelSVC
from tests.svm.cases import KERNELS, assert_like_libsvm, blobs


def test_check_estimator():
    # scikit-learn excepts its own SVC from this one: it compares digits beyond `tol`.
    excepted = {
        "check_sample_weight_equivalence_on_dense_data": "iterative, and gamma='scale' is of X"
    }
    results = check_estimator(
        ParallelSVC(), on_fail=None, on_skip=None, expected_failed_checks=excepted
    )
    failed = [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"]
    assert not failed
    assert any("sample_weight" in r["check_name"] and r["status"] == "passed" for r in results)
    assert sum(r["status"] == "passed" for r in results) > 40


@pytest.mark.parametrize("precision", ["single", "double"])
@pytest.mark.parametrize("parameters", KERNELS, ids=lambda p: p["kernel"])
def test_like_libsvm(parameters, precision):
    X, y = blobs([70, 110, 90, 65])
    X_test, _ = blobs([60, 60, 60, 60], seed=1)
    model = ParallelSVC(precision=precision, n_jobs=2, **parameters).fit(X, y)
    assert_like_libsvm(model, X, y, X_test, **parameters)


@pytest.mark.parametrize("class_weight", ["balanced", {0: 5.0, 1: 0.3}])
def test_two_classes_with_weights(class_weight):
    X, y = blobs([150, 40])
    X_test, _ = blobs([80, 80], seed=1)
    parameters = {"C": 3.0, "gamma": 0.2, "class_weight": class_weight}
    model = ParallelSVC(**parameters).fit(X, y)
    assert_like_libsvm(model, X, y, X_test, **parameters)
    np.testing.assert_array_equal(model.support_vectors_, X[model.support_])


@pytest.mark.parametrize("sizes", [[90, 70], [60, 80, 50]], ids=["2", "3"])
@pytest.mark.parametrize("options", [{}, {"cache_size": 0.02, "working_set": 16}])
def test_sample_weights(sizes, options):
    X, y = blobs(sizes)
    weight = np.random.default_rng(5).choice([0.0, 0.3, 1.0, 6.0], len(y))
    parameters = {"C": 2.0, "class_weight": "balanced", "tol": 1e-5}
    model = ParallelSVC(new_per_step=8, **parameters, **options).fit(X, y, weight)
    oracle = SVC(**parameters).fit(X, y, weight)
    np.testing.assert_allclose(model.decision_function(X), oracle.decision_function(X), atol=1e-3)
    np.testing.assert_array_equal(model.n_support_, oracle.n_support_)
    np.testing.assert_array_equal(model.support_vectors_, X[model.support_])
    assert (weight[model.support_] > 0).all()


def test_a_weight_of_two_is_a_point_twice():
    X, y = blobs([60, 80, 50])
    weight = np.random.default_rng(6).integers(0, 4, len(y))
    parameters = {"C": 2.0, "gamma": 0.3, "tol": 1e-6, "decision_function_shape": "ovo"}
    weighted = ParallelSVC(**parameters).fit(X, y, sample_weight=weight)
    repeated = ParallelSVC(**parameters).fit(X.repeat(weight, axis=0), y.repeat(weight))
    np.testing.assert_allclose(
        weighted.decision_function(X), repeated.decision_function(X), atol=1e-4
    )


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.r_[-1.0, np.ones(19)], "[Nn]egative"),
        (np.ones(7), "sample_weight.shape == \\(7,\\)"),
        (np.r_[np.zeros(10), np.ones(10)], "in every class, got none of class"),
    ],
)
def test_refuses_bad_weights(weight, message):
    X, _ = blobs([10, 10])
    with pytest.raises(ValueError, match=message):
        ParallelSVC().fit(X, np.repeat([0, 1], 10), weight)


def test_gammas_by_name_and_labels_of_any_kind():
    X, y = blobs([50, 60, 40])
    names = np.array(["water", "soil", "crop"])[y]
    for gamma in ("scale", "auto"):
        model = ParallelSVC(gamma=gamma).fit(X, names)
        oracle = SVC(gamma=gamma).fit(X, names)
        assert (model.predict(X) == oracle.predict(X)).mean() > 0.99
        np.testing.assert_allclose(
            model.decision_function(X), oracle.decision_function(X), atol=2e-2
        )


def test_shrinking_and_memory_change_nothing():
    X, y = blobs([400, 380], d=4)
    parameters = {"C": 50.0, "gamma": 0.3, "tol": 1e-4}
    whole = ParallelSVC(shrinking=False, **parameters).fit(X, y)
    shrunk = ParallelSVC(**parameters).fit(X, y)
    # 0.3 MB holds 96 rows of 780 floats: decomposition with a cache.
    small = ParallelSVC(cache_size=0.3, working_set=64, new_per_step=32, **parameters).fit(X, y)
    for other in (shrunk, small):
        np.testing.assert_allclose(other.objective_, whole.objective_, rtol=1e-5)
        np.testing.assert_allclose(
            other.decision_function(X), whole.decision_function(X), atol=3e-3
        )


def test_automatic_precision_guards_large_kernel_values():
    X, y = blobs([60, 60], seed=3)
    poly = {"kernel": "poly", "gamma": 1.0, "coef0": 1.0, "degree": 4}
    assert ParallelSVC(**poly).fit(30 * X, y).precision_ == "double"
    assert ParallelSVC(gamma=1.0).fit(X, y).precision_ == "single"
    assert ParallelSVC(gamma=1.0, C=1e6).fit(X, y).precision_ == "double"


def test_far_from_the_origin():
    X, y = blobs([80, 80])
    near = ParallelSVC(gamma=0.5).fit(X, y)
    far = ParallelSVC(gamma=0.5).fit(X + 1e4, y)
    np.testing.assert_allclose(far.decision_function(X + 1e4), near.decision_function(X), atol=5e-3)


def test_works_inside_scikit_learn():
    X, y = blobs([60, 60, 60])
    ours = cross_val_score(ParallelSVC(C=2.0), X, y, cv=4)
    theirs = cross_val_score(SVC(C=2.0), X, y, cv=4)
    np.testing.assert_allclose(ours, theirs, atol=0.03)
    assert clone(ParallelSVC(C=7.0)).C == 7.0


def test_stops_at_max_iter_and_says_so():
    X, y = blobs([100, 100])
    with pytest.warns(ConvergenceWarning, match="max_iter=5"):
        model = ParallelSVC(C=100.0, max_iter=5).fit(X, y)
    assert model.fit_status_ == 1 and model.n_iter_.tolist() == [5]


def test_threads_give_the_same_model():
    X, y = blobs([50, 70, 60, 40])
    one = ParallelSVC(n_jobs=1).fit(X, y)
    three = ParallelSVC(n_jobs=3).fit(X, y)
    np.testing.assert_array_equal(one.dual_coef_, three.dual_coef_)
    np.testing.assert_allclose(one.decision_function(X), three.decision_function(X), atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": 0}, "C must be positive, got 0"),
        ({"kernel": "cubic"}, "kernel must be one of"),
        ({"gamma": "wide"}, "gamma must be a number"),
        ({"gamma": -1.0}, "gamma must not be negative"),
        ({"precision": "half"}, "precision must be one of"),
        ({"n_jobs": 0}, "n_jobs must be None, -1 or at least 1"),
        ({"working_set": 1}, "working_set must be at least 2"),
        ({"max_iter": 0}, "max_iter must be -1 or positive"),
    ],
)
def test_refuses_bad_parameters(parameters, message):
    X, y = blobs([10, 10])
    with pytest.raises(ValueError, match=message):
        ParallelSVC(**parameters).fit(X, y)


def test_refuses_one_class():
    X, _ = blobs([10, 10])
    with pytest.raises(ValueError, match="at least two classes"):
        ParallelSVC().fit(X, np.ones(20))


def test_memory_stays_within_the_budget():
    """The Gram matrix has 16 MB; 3 MB of rows, blocks and the data must do."""
    X, y = blobs([1000, 1000], d=5)
    model = ParallelSVC(C=1.0, gamma=0.2, cache_size=3, working_set=128, new_per_step=64)
    model.fit(X[:400], y[:400])  # compile outside of the measurement
    tracemalloc.start()
    model.fit(X, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    whole = ParallelSVC(C=1.0, gamma=0.2).fit(X, y)
    np.testing.assert_allclose(model.objective_, whole.objective_, rtol=1e-5)
