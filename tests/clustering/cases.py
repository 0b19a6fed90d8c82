"""Random clustering problems of many kinds, and ways to cut them into chunks."""

from functools import cache
from typing import NamedTuple

import numpy as np
from sklearn.cluster import DBSCAN


class Case(NamedTuple):
    name: str
    data: np.ndarray
    eps: float
    min_samples: int


def expected(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core points by scikit-learn, distances in float64."""
    model = DBSCAN(eps=case.eps, min_samples=case.min_samples, algorithm="kd_tree")
    model.fit(case.data.astype(np.float64))
    return model.labels_, model.core_sample_indices_


@cache
def solved(number: int) -> tuple[Case, np.ndarray, np.ndarray]:
    """The `number`-th problem with its labels and core points, for any ranks and threads."""
    case = make(np.random.default_rng(number), number)
    return case, *expected(case)


def make(rng: np.random.Generator, number: int) -> Case:
    """The `number`-th problem: 1 to 10 dimensions, both types, six kinds of data."""
    d = 1 + number % 10
    n = int(rng.choice((1, 2, 3, 6, 30, 200, 700), p=(0.04, 0.04, 0.04, 0.08, 0.2, 0.3, 0.3)))
    kind = rng.choice(("blob", "lattice", "skewed", "duplicates", "stray", "lines"))
    if kind == "blob":
        data = rng.normal(size=(n, d))
    elif kind == "lattice":  # distances that equal the radius, exactly
        data = rng.integers(0, 6, size=(n, d)).astype(float)
    elif kind == "skewed":
        data = rng.normal(size=(n, d)) * 10 ** rng.uniform(-3, 1, size=(n, 1))
    elif kind == "duplicates":
        data = rng.normal(size=(n // 5 + 1, d))[rng.integers(n // 5 + 1, size=n)]
    elif kind == "stray":
        data = rng.normal(size=(n, d))
        data[0] *= 1e9
    else:
        data = np.zeros((n, d))
        data[:, 0] = rng.uniform(0, 60, size=n)
        data[:, -1] += rng.integers(0, 3, size=n)
    eps = float(rng.choice((1e-3, 0.05, 0.2, 0.5, 1.0, 2.0, 1e6)))
    kind_of_number = rng.choice((np.float32, np.float64))
    min_samples = int(rng.choice((1, 2, 4, 10, 60)))
    return Case(f"{number}: {kind} n={n} d={d}", data.astype(kind_of_number), eps, min_samples)


def cut(rng: np.random.Generator, n: int, ranks: int) -> np.ndarray:
    """Where each rank's chunk begins and ends: even, ragged with empty ones, or all on one."""
    way = rng.integers(3)
    if way == 0:
        return np.arange(ranks + 1) * n // ranks
    if way == 1:
        return np.concatenate(([0], np.sort(rng.integers(0, n + 1, size=ranks - 1)), [n]))
    holder = rng.integers(ranks)
    return np.where(np.arange(ranks + 1) <= holder, 0, n)
