"""Run by test_ranks.py on each number of ranks; prints what rank 0 found as JSON."""

import json
import os

import numpy as np
from mpi4py import MPI

from course.svm import ParallelSVC
from course.svm.grid import grid_search
from course.svm.queue import SharedCounter
from tests.svm.cases import KERNELS, blobs

comm = MPI.COMM_WORLD
assert comm.size == int(os.environ["COURSE_EXPECTED_RANKS"]), "wrong number of ranks"
found: dict = {}


def gathered_equal(array: np.ndarray) -> bool:
    """Tell whether all ranks hold the same array."""
    return all(np.array_equal(array, other) for other in comm.allgather(np.asarray(array)))


def raised(work) -> list[str]:
    """Return the message of each rank's exception."""
    message = ""
    try:
        work()
    except (ValueError, RuntimeError) as problem:
        message = f"{type(problem).__name__}: {problem}"
    return comm.allgather(message)


# Pairs over ranks, at 7 ranks more ranks than the three pairs.
X, y = blobs([60, 80, 50])
X_test, _ = blobs([40, 40, 40], seed=1)
model = ParallelSVC(C=5.0, gamma=0.7, decision_function_shape="ovo", comm=comm).fit(X, y)
found["pairs"] = model.decision_function(X_test).tolist()
found["pairs_labels"] = model.predict(X_test).tolist()
found["same"] = gathered_equal(model.dual_coef_) and gathered_equal(model.intercept_)
found["few"] = model.predict(X_test[:2]).tolist()  # fewer points than ranks

# One pair on all ranks: large working set, small one, and with a cache of a few rows only.
X2, y2 = blobs([150, 130], seed=2)
found["decomposed"] = {}
for case, options in {
    "whole": {},
    "small": {"working_set": 16, "new_per_step": 8},
    "tiny": {"working_set": 2, "new_per_step": 2, "tol": 1e-2},
    "cache": {"cache_size": 0.05, "working_set": 16, "new_per_step": 8},
    "weights": {"class_weight": {0: 3.0, 1: 0.5}, "working_set": 40, "new_per_step": 20},
    "double": {"precision": "double", "working_set": 32, "new_per_step": 16},
}.items():
    one = ParallelSVC(C=5.0, gamma=0.7, decompose_from=1, comm=comm, **options).fit(X2, y2)
    found["decomposed"][case] = [one.objective_.tolist(), one.decision_function(X2[:50]).tolist()]
    found["same"] &= gathered_equal(one.dual_coef_)
found["kernels"] = {}
for parameters in KERNELS:
    one = ParallelSVC(decompose_from=1, working_set=64, new_per_step=32, comm=comm, **parameters)
    found["kernels"][parameters["kernel"]] = one.fit(X2, y2).objective_.tolist()

# Fewer points than ranks.
X3, y3 = np.array([[0.0], [1.0], [3.0]]), np.array([0, 0, 1])
three = ParallelSVC(gamma=1.0, decompose_from=1, comm=comm).fit(X3, y3)
found["three"] = three.decision_function(X3).tolist()

# Every rank raises where one cannot go on.
found["different"] = raised(lambda: ParallelSVC(comm=comm).fit(X + (comm.rank == 1), y))
found["parameters"] = raised(lambda: ParallelSVC(C=1.0 + (comm.rank == 1), comm=comm).fit(X, y))
found["one class"] = raised(lambda: ParallelSVC(comm=comm).fit(X, np.zeros(len(X))))

# A weight for each point, on pairs over ranks and on one pair on all ranks.
weight = np.random.default_rng(5).choice([0.0, 0.3, 1.0, 6.0], len(y))
found["weighted"] = []
for decompose_from in (10**9, 1):
    one = ParallelSVC(
        C=2.0, gamma=0.2, decompose_from=decompose_from, comm=comm,
        decision_function_shape="ovo",
    ).fit(X, y, weight)  # fmt: skip
    found["weighted"].append(one.decision_function(X_test).tolist())
found["own weights"] = raised(lambda: ParallelSVC(comm=comm).fit(X, y, weight + comm.rank))

# Each number of the shared counter goes to one rank.
with SharedCounter(comm) as counter:
    mine = []
    while (k := counter.next()) < 50:
        mine.append(k)
found["counter"] = sorted(k for part in comm.allgather(mine) for k in part)

grid = grid_search(X, y, [0.1, 0.5], [1.0, 10.0, 100.0], folds=5, comm=comm)
found["grid"] = grid.accuracy.tolist()
if comm.rank == 0:
    print(json.dumps(found))
