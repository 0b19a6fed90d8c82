"""One-against-one: an SVM for each pair of classes, shared out over threads and ranks.

`train_pairs` is the first of the two levels of parallelism: whole pairs go to ranks, and in
a rank to threads. A pair that is too large for one rank is solved by all ranks together,
`course.svm.decomposition`, the second level.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from course.svm import smo
from course.svm.decomposition import Decomposition
from course.svm.kernels import Kernel
from course.svm.rows import Source, pack, padded

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

T = TypeVar("T")

Penalty = float | np.ndarray
"""Of a class: one C for all of its points, or one for each, shape (n_c,)."""


@dataclass(frozen=True)
class Settings:
    """What every pair of one training run has in common."""

    kernel: Kernel
    tol: float = 1e-3
    max_steps: int = 2**62
    shrinking: bool = True
    cache_bytes: int = 2**30
    """Bytes that kept rows of Gram matrices may take on one rank, all threads together."""
    threads: int = 1
    working_set: int = 1024
    new_per_step: int = 512
    decompose_from: int = 20_000
    """Pairs with this many points or more are solved by all ranks together."""


@dataclass(frozen=True)
class Solution:
    """The solution of one pair of classes."""

    beta: np.ndarray
    """Signed dual coefficients ``y * alpha``, shape (points of the pair,), float64."""
    rho: float
    """Offset: the decision value of x is ``sum(beta * k(x, points)) - rho``."""
    steps: int
    violation: float
    """How far the worst pair of variables is from optimal; converged if below `tol`."""
    objective: float
    """Dual objective, ``beta' K beta / 2 - y' beta``."""


def class_pairs(n_classes: int) -> list[tuple[int, int]]:
    """Return the pairs (0, 1), (0, 2), ..., in libsvm's order."""
    return list(combinations(range(n_classes), 2))


def box(n_first: int, n_second: int, C: tuple[Penalty, Penalty]) -> tuple[np.ndarray, ...]:
    """Return ``(y, lower, upper)`` of a pair whose first class comes first and counts as +1."""
    y = np.repeat([1.0, -1.0], [n_first, n_second])
    bound = y * np.r_[np.broadcast_to(C[0], n_first), np.broadcast_to(C[1], n_second)]
    return y, np.minimum(bound, 0.0), np.maximum(bound, 0.0)


def finish(
    beta: np.ndarray,
    F: np.ndarray,
    y: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    steps: int,
    violation: float,
) -> Solution:
    """Wrap what a solver found."""
    objective = 0.5 * float(beta @ (F - y))
    return Solution(beta, smo.offset(beta, F, lower, upper), steps, violation, objective)


class Scratch:
    """Memory for rows, kept from pair to pair by one thread."""

    def __init__(self, dtype: np.dtype) -> None:
        """Start with no memory, for numbers of `dtype`."""
        self._memory = np.empty(0, dtype)

    def take(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return ``(rows, have, spare)`` for `course.svm.smo.solve` of `n` points."""
        whole = n * padded(n)
        if self._memory.size < memory_size(n):
            self._memory = np.empty(0, self._memory.dtype)  # let the old one go first
            self._memory = np.empty(memory_size(n), self._memory.dtype)
        rows = self._memory[:whole].reshape(n, padded(n))
        return rows, np.zeros(n, bool), self._memory[whole:]


def memory_size(n: int) -> int:
    """Return how many numbers of scratch one pair of `n` points takes."""
    return n * padded(n) + smo.spare_size(n)


def solve_pair(
    first: np.ndarray,
    second: np.ndarray,
    C: tuple[Penalty, Penalty],
    settings: Settings,
    scratch: Scratch,
) -> Solution:
    """Train one class against another on this rank alone.

    Args:
        first: points of the class that counts as +1, shape (n1, d), float32 or float64.
        second: points of the other class, shape (n2, d), same dtype.
        C: penalties of the two classes, or of each of their points.
        settings: kernel, tolerance and limits.
        scratch: memory for rows, of the same dtype.
    """
    kernel = settings.kernel
    y, lower, upper = box(len(first), len(second), C)
    points = np.concatenate([first, second])
    packed, norms = pack(points)
    nothing = np.empty((0, 0), points.dtype), np.empty(0, np.int64)
    source = Source(
        packed, norms, *nothing, kernel.code, float(kernel.gamma), float(kernel.coef0),
        int(kernel.degree),
    )  # fmt: skip
    rows, have, spare = scratch.take(len(points))
    beta, F = np.zeros(len(y)), -y
    steps, violation = smo.solve(
        source, rows, have, spare, y, lower, upper, beta, F,
        settings.tol, settings.max_steps, settings.shrinking,
    )  # fmt: skip
    return finish(beta, F, y, lower, upper, steps, violation)


def in_threads(work: Callable[[T], Any], items: Sequence[T], threads: int) -> list:
    """Return ``[work(item) for item in items]``, computed by up to `threads` threads."""
    if threads == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(work, items))


def share(costs: Sequence[float], size: int) -> list[list[int]]:
    """Share items out over `size` ranks: the most costly first, to the least loaded rank.

    Returns:
        For each rank the positions of its items, most costly first. The rule is Graham's
        (1969): no rank gets more than 4/3 of what the best sharing would give it.
    """
    load = [0.0] * size
    mine: list[list[int]] = [[] for _ in range(size)]
    for item in sorted(range(len(costs)), key=lambda k: (-costs[k], k)):
        rank = min(range(size), key=lambda r: (load[r], r))
        load[rank] += costs[item]
        mine[rank].append(item)
    return mine


def agree(comm: "Comm | None", work: Callable[[], T]) -> list[T]:
    """Run `work` on this rank and return every rank's result, or raise on every rank.

    An exception on one rank would leave the others waiting in their next collective, so
    verdicts are gathered first.

    Raises:
        RuntimeError: `work` failed on another rank; the message names it.
        Exception: whatever `work` raised here.
    """
    if comm is None:
        return [work()]
    result, error = None, None
    try:
        result = work()
    except Exception as problem:
        error = problem
    gathered = comm.allgather((result, None if error is None else f"{error!r}"))
    if error is not None:
        raise error
    failed = [(rank, message) for rank, (_, message) in enumerate(gathered) if message]
    if failed:
        raise RuntimeError(f"rank {failed[0][0]} failed: {failed[0][1]}")
    return [part for part, _ in gathered]


def train_pairs(
    classes: Sequence[np.ndarray],
    C: Sequence[Penalty],
    settings: Settings,
    comm: "Comm | None" = None,
) -> list[Solution]:
    """Train every pair of classes.

    Args:
        classes: the points of each class, shape (n_c, d), the same on every rank.
        C: the penalty of each class, or of each of its points.
        settings: what the pairs have in common.
        comm: ranks to share the pairs with; all of them must call this.

    Returns:
        The solutions in the order of `class_pairs`, on every rank.
    """
    pairs = class_pairs(len(classes))
    points = [len(classes[a]) + len(classes[b]) for a, b in pairs]
    size, rank = (comm.size, comm.rank) if comm is not None else (1, 0)
    itemsize = classes[0].itemsize
    fits = [memory_size(n) * itemsize <= settings.cache_bytes for n in points]
    alone = [
        k for k, n in enumerate(points) if fits[k] and (size == 1 or n < settings.decompose_from)
    ]
    solutions: dict[int, Solution] = {}
    for k in sorted(set(range(len(pairs))) - set(alone)):
        a, b = pairs[k]
        problem = Decomposition(classes[a], classes[b], (C[a], C[b]), settings, comm)
        beta, F, steps, violation = problem.solve()
        solutions[k] = finish(beta, F, problem.y, problem.lower, problem.upper, steps, violation)

    mine = share([float(points[k]) ** 2 for k in alone], size)[rank]

    def local() -> dict[int, Solution]:
        if not mine:
            return {}
        largest = max(memory_size(points[alone[m]]) for m in mine) * itemsize
        threads = max(1, min(settings.threads, settings.cache_bytes // largest, len(mine)))
        free = [Scratch(classes[0].dtype) for _ in range(threads)]

        def work(m: int) -> Solution:
            scratch = free.pop()
            try:
                a, b = pairs[alone[m]]
                return solve_pair(classes[a], classes[b], (C[a], C[b]), settings, scratch)
            finally:
                free.append(scratch)

        return {alone[m]: s for m, s in zip(mine, in_threads(work, mine, threads), strict=True)}

    for part in agree(comm, local):
        solutions.update(part)
    return [solutions[k] for k in range(len(pairs))]
