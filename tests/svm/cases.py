"""Small data sets and checks that several SVM tests share."""

from itertools import combinations

import numpy as np
from sklearn.svm import SVC

KERNELS = [
    {"kernel": "linear", "C": 2.0},
    {"kernel": "poly", "C": 1.0, "gamma": 0.5, "coef0": 1.0, "degree": 3},
    {"kernel": "rbf", "C": 5.0, "gamma": 0.7},
    {"kernel": "sigmoid", "C": 1.0, "gamma": 0.005, "coef0": 0.1},
]


def blobs(sizes, d=6, spread=1.6, seed=0):
    """Overlapping Gaussian classes, one of each size in `sizes`, in random order."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), d))
    X = np.concatenate(
        [c + spread * rng.normal(size=(n, d)) for c, n in zip(centres, sizes, strict=True)]
    )
    y = np.repeat(np.arange(len(sizes)), sizes)
    order = rng.permutation(len(y))
    return X[order], y[order]


def dual_objective(model, X, y, pair):
    """Objective of one pair, from scikit-learn's attributes and its own kernel."""
    from sklearn.metrics.pairwise import pairwise_kernels

    i, j = pair
    classes = np.unique(y)
    ends = np.concatenate([[0], np.cumsum(model.n_support_)])
    beta = np.concatenate(
        [model.dual_coef_[j - 1, ends[i] : ends[i + 1]], model.dual_coef_[i, ends[j] : ends[j + 1]]]
    )
    points = np.r_[ends[i] : ends[i + 1], ends[j] : ends[j + 1]]
    vectors = model.support_vectors_[points]
    parameters = {
        "linear": {},
        "poly": {"gamma": model.gamma, "coef0": model.coef0, "degree": model.degree},
        "rbf": {"gamma": model.gamma},
        "sigmoid": {"gamma": model.gamma, "coef0": model.coef0},
    }[model.kernel]
    K = pairwise_kernels(vectors, metric=model.kernel, **parameters)
    if len(classes) == 2:
        beta = -beta
    return 0.5 * beta @ K @ beta - np.abs(beta).sum()


def assert_like_libsvm(model, X, y, X_test, **parameters):
    """Compare with `sklearn.svm.SVC`: objective, offsets, predictions, decision values."""
    oracle = SVC(tol=model.tol, decision_function_shape="ovo", **parameters).fit(X, y)
    reference = SVC(tol=1e-6, decision_function_shape="ovo", **parameters).fit(X, y)
    pairs = list(combinations(range(len(oracle.classes_)), 2))
    ours = np.array([dual_objective(model, X, y, p) for p in pairs])
    theirs = np.array([dual_objective(reference, X, y, p) for p in pairs])
    np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(model.objective_, theirs, rtol=2e-4, atol=2e-4)
    np.testing.assert_allclose(model.intercept_, reference.intercept_, atol=2e-2)
    sums = np.abs(model.dual_coef_).sum()
    assert abs(sums / np.abs(oracle.dual_coef_).sum() - 1) < 2e-3

    model = model.set_params(decision_function_shape="ovo")
    values, expected = model.decision_function(X_test), reference.decision_function(X_test)
    np.testing.assert_allclose(values, expected, rtol=2e-2, atol=3e-2)
    clear = np.abs(expected if expected.ndim > 1 else expected[:, None]).min(axis=1) > 1e-2
    assert clear.mean() > 0.4
    np.testing.assert_array_equal(model.predict(X_test)[clear], reference.predict(X_test)[clear])
