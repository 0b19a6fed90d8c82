"""Who owns which rows: contiguous blocks, of equal size or of equal cost.

A partition of n rows over p ranks is its array of p + 1 bounds: rank r owns the rows
``bounds[r]`` up to, but not including, ``bounds[r + 1]``. With fewer rows than ranks some
ranks own none, which is no special case: their block is empty and their count is 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Bounds = NDArray[np.int64]


def block_bounds(n: int, ranks: int) -> Bounds:
    """Split `n` rows into blocks whose sizes differ by one at most, the larger ones first.

    Args:
        n: Number of rows.
        ranks: Number of ranks.

    Returns:
        int64 array (ranks + 1,), from 0 to `n`. `numpy.array_split` cuts at the same places.

    Raises:
        ValueError: `n` is negative or `ranks` is not positive.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more rows, got {n}")
    _check_ranks(ranks)
    size, larger = divmod(n, ranks)
    rank = np.arange(ranks + 1, dtype=np.int64)
    return rank * size + np.minimum(rank, larger)


def block(n: int, ranks: int, rank: int) -> tuple[int, int]:
    """Return the rows ``[start, stop)`` of `rank` when `n` rows are split evenly.

    Raises:
        ValueError: As `block_bounds`, or `rank` is none of the `ranks`.
    """
    bounds = block_bounds(n, ranks)
    if not 0 <= rank < ranks:
        raise ValueError(f"rank must be from 0 to {ranks - 1}, got {rank}")
    return int(bounds[rank]), int(bounds[rank + 1])


def counts(bounds: ArrayLike) -> Bounds:
    """Return how many rows each rank owns: int64 (ranks,), for ``Scatterv`` and its like."""
    return np.diff(_check_bounds(bounds))


def displacements(bounds: ArrayLike) -> Bounds:
    """Return where each rank's rows begin: int64 (ranks,), for ``Scatterv`` and its like."""
    return _check_bounds(bounds)[:-1].copy()


def owner(bounds: ArrayLike, rows: ArrayLike) -> NDArray[np.int64]:
    """Return the rank that owns each of `rows`, in the shape of `rows`.

    Raises:
        ValueError: A row lies outside the partition.
    """
    limits, wanted = _check_bounds(bounds), np.asarray(rows, dtype=np.int64)
    if wanted.size and not (limits[0] <= wanted.min() and wanted.max() < limits[-1]):
        raise ValueError(
            f"rows must be from {limits[0]} to {limits[-1] - 1}, "
            f"got {wanted.min()} to {wanted.max()}"
        )
    return np.searchsorted(limits, wanted, side="right").astype(np.int64) - 1


def weighted_bounds(costs: ArrayLike, ranks: int) -> Bounds:
    """Split rows of unequal cost so that the most loaded rank has as little as possible.

    No contiguous partition has a smaller maximum. The method is the bisection on the
    bottleneck with a greedy probe (Pinar and Aykanat, "Fast optimal load balancing
    algorithms for 1D partitioning", 2004).

    Args:
        costs: (n,) cost of each row, 0 or more, in any unit.
        ranks: Number of ranks.

    Returns:
        int64 array (ranks + 1,), from 0 to n.

    Raises:
        ValueError: A cost is negative or not finite, or `ranks` is not positive.
    """
    cost = np.asarray(costs, dtype=np.float64)
    if cost.ndim != 1:
        raise ValueError(f"costs must have one dimension, got shape {cost.shape}")
    if cost.size and not (np.isfinite(cost).all() and cost.min() >= 0):
        raise ValueError("costs must be finite and 0 or more")
    _check_ranks(ranks)
    total = np.concatenate([[0.0], np.cumsum(cost)])
    if total[-1] == 0:
        return block_bounds(cost.size, ranks)
    low, best = total[-1] / ranks, _probe(total, ranks, total[-1])
    assert best is not None
    while True:
        high = _bottleneck(total, best)
        middle = (low + high) / 2
        if not low < middle < high:
            better = _probe(total, ranks, np.nextafter(high, 0))
            if better is None:
                return best
            best = better
            continue
        better = _probe(total, ranks, middle)
        if better is None:
            low = middle
        else:
            best = better


def _probe(total: NDArray[np.float64], ranks: int, limit: float) -> Bounds | None:
    """Give each rank as many rows as cost `limit` at most; None where rows are left over."""
    n = total.size - 1
    bounds = np.full(ranks + 1, n, dtype=np.int64)
    start = 0
    for rank in range(ranks):
        bounds[rank] = start
        stop = int(np.searchsorted(total, total[start] + limit, side="right")) - 1
        while stop > start and total[stop] - total[start] > limit:
            stop -= 1  # the sum was rounded up
        start = stop
    return bounds if start == n else None


def _bottleneck(total: NDArray[np.float64], bounds: Bounds) -> float:
    return float(np.diff(total[bounds]).max())


def _check_ranks(ranks: int) -> None:
    if ranks < 1:
        raise ValueError(f"ranks must be 1 or more, got {ranks}")


def _check_bounds(bounds: ArrayLike) -> Bounds:
    limits = np.asarray(bounds, dtype=np.int64)
    if limits.ndim != 1 or limits.size < 2 or (np.diff(limits) < 0).any():
        raise ValueError(f"bounds must be ranks + 1 ascending row numbers, got {bounds!r}")
    return limits
