"""Sort points by cell: a radix sort of whole-number keys that are computed where they are needed.

Keys are not stored: beside the points there are only their row numbers, twice. The highest
digit of a key puts its row into a bucket; large buckets are divided further in the same way,
by all threads; small ones are sorted in the cache, each by one thread.
"""

import numpy as np
from numba import njit

from course.clustering.threads import Threads

DIGIT = 11  # bits that divide a bucket: 2048 counters stay in the first-level cache
SHORT = 8  # bits that sort within a small one
SMALL = 1 << 17  # rows, so that they and their keys stay in the second-level cache
GRAIN = 1 << 14  # points that a thread takes at a time


@njit(nogil=True, cache=True)
def cell_key(
    points: np.ndarray, i: int, low: np.ndarray, scale: float, margin: int, strides: np.ndarray
) -> int:
    """Return the number of the cell of point `i`: its place in each dimension, by `strides`.

    Args:
        points: coordinates by dimension, shape (d, n).
        i: the point.
        low: where the grid begins, float64 (d,).
        scale: cells per unit of length.
        margin: empty cells before the first one, in each dimension.
        strides: how much a step in each dimension changes the number, int64 (d,).
    """
    key = 0
    for k in range(points.shape[0]):
        place = np.int64((np.float64(points[k, i]) - low[k]) * scale)
        key += (place + margin) * strides[k]
    return key


@njit(nogil=True, cache=True)
def _count(
    points: np.ndarray,
    grid: tuple,
    rows: np.ndarray,
    shift: int,
    mask: int,
    counts: np.ndarray,
    first: int,
    last: int,
) -> None:
    low, scale, margin, strides = grid
    for at in range(first, last):
        counts[(cell_key(points, rows[at], low, scale, margin, strides) >> shift) & mask] += 1


@njit(nogil=True, cache=True)
def _scatter(
    points: np.ndarray,
    grid: tuple,
    rows: np.ndarray,
    shift: int,
    mask: int,
    place: np.ndarray,
    out: np.ndarray,
    first: int,
    last: int,
) -> None:
    low, scale, margin, strides = grid
    for at in range(first, last):
        row = rows[at]
        digit = (cell_key(points, row, low, scale, margin, strides) >> shift) & mask
        out[place[digit]] = row
        place[digit] += 1


@njit(nogil=True, cache=True)
def _sort_small(
    points: np.ndarray,
    grid: tuple,
    rows: np.ndarray,
    buckets: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Sort the rows of the buckets ``first:last``; each is (start, stop, bits to sort by)."""
    low, scale, margin, strides = grid
    most = 0
    for b in range(first, last):
        most = max(most, buckets[b, 1] - buckets[b, 0])
    keys, keys_out = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    rows_in, rows_out = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    place = np.empty(1 << SHORT, dtype=np.int64)
    mask = (1 << SHORT) - 1
    for b in range(first, last):
        start, n, bits = buckets[b, 0], buckets[b, 1] - buckets[b, 0], buckets[b, 2]
        for i in range(n):
            rows_in[i] = rows[start + i]
            keys[i] = cell_key(points, rows_in[i], low, scale, margin, strides)
        if n <= 32:
            for i in range(1, n):
                key, row = keys[i], rows_in[i]
                j = i
                while j > 0 and keys[j - 1] > key:
                    keys[j], rows_in[j] = keys[j - 1], rows_in[j - 1]
                    j -= 1
                keys[j], rows_in[j] = key, row
        else:
            for shift in range(0, bits, SHORT):
                place[:] = 0
                for i in range(n):
                    place[(keys[i] >> shift) & mask] += 1
                if place[(keys[0] >> shift) & mask] == n:
                    continue  # every key has the same digit here
                total = 0
                for digit in range(len(place)):
                    here = place[digit]
                    place[digit] = total
                    total += here
                for i in range(n):
                    digit = (keys[i] >> shift) & mask
                    to = place[digit]
                    place[digit] = to + 1
                    keys_out[to], rows_out[to] = keys[i], rows_in[i]
                keys, keys_out = keys_out, keys
                rows_in, rows_out = rows_out, rows_in
        for i in range(n):
            rows[start + i] = rows_in[i]


def sort_rows(points: np.ndarray, grid: tuple, bits: int, threads: Threads) -> np.ndarray:
    """Return the order that sorts points by cell, int32 (n,); those of a cell keep theirs.

    Args:
        points: coordinates by dimension, shape (d, n).
        grid: `low`, `scale`, `margin` and `strides`, see `cell_key`.
        bits: all keys are below ``2**bits``.
        threads: the pool that does the work.
    """
    n = points.shape[1]
    rows = np.arange(n, dtype=np.int32)
    out = np.empty_like(rows)
    todo, small = [(0, n, bits)], []
    while todo:
        start, stop, left = todo.pop()
        digit = min(DIGIT, left)
        shift, mask = left - digit, (1 << digit) - 1
        ranges = [
            (start + first, start + last)
            for first, last in threads.ranges(stop - start, 2 * GRAIN, per_thread=1)
        ]
        counts = np.zeros((len(ranges), 1 << digit), dtype=np.int64)
        jobs = list(enumerate(ranges))
        threads.each(
            _count, [(points, grid, rows, shift, mask, counts[j], *part) for j, part in jobs]
        )
        sizes = counts.sum(axis=0)
        ends = start + np.cumsum(sizes)
        if sizes.max() < stop - start:  # else every key has the same digit here
            # Where each range may put its next row of each digit: digits first, then ranges.
            place = np.cumsum(counts, axis=0) - counts + (ends - sizes)
            threads.each(
                _scatter,
                [(points, grid, rows, shift, mask, place[j], out, *part) for j, part in jobs],
            )
            rows[start:stop] = out[start:stop]
        if shift:
            buckets = np.column_stack((ends - sizes, ends, np.full(len(ends), shift)))
            todo += [(int(a), int(b), shift) for a, b, _ in buckets[sizes > SMALL]]
            small.append(buckets[(sizes > 1) & (sizes <= SMALL)])
    del out
    if small:
        buckets = np.concatenate(small)
        threads.map(_sort_small, threads.ranges(len(buckets), 1), points, grid, rows, buckets)
    return rows
