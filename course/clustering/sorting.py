"""Sort points by cell: a stable radix sort of whole-number keys, by several threads."""

import numpy as np
from numba import njit

from course.clustering.threads import Threads

DIGIT = 11  # bits a pass: 2048 counters stay in the first-level cache


@njit(nogil=True, cache=True)
def _count(keys: np.ndarray, shift: int, mask: int, counts: np.ndarray, lo: int, hi: int) -> None:
    for i in range(lo, hi):
        counts[(keys[i] >> shift) & mask] += 1


@njit(nogil=True, cache=True)
def _scatter(
    keys: np.ndarray,
    rows: np.ndarray,
    shift: int,
    mask: int,
    place: np.ndarray,
    keys_out: np.ndarray,
    rows_out: np.ndarray,
    lo: int,
    hi: int,
) -> None:
    for i in range(lo, hi):
        key = keys[i]
        digit = (key >> shift) & mask
        to = place[digit]
        place[digit] = to + 1
        keys_out[to] = key
        rows_out[to] = rows[i]


def sort_keys(keys: np.ndarray, bits: int, threads: Threads) -> tuple[np.ndarray, np.ndarray]:
    """Sort `keys`, all below ``2**bits``, and say where each came from.

    Args:
        keys: uint32 or uint64, shape (n,); overwritten.
        bits: number of significant bits.
        threads: the pool that does the work.

    Returns:
        The sorted keys and the order, int32 of shape (n,), in which equal keys keep
        their places.
    """
    n = len(keys)
    rows = np.arange(n, dtype=np.int32)
    passes = max(1, -(-bits // DIGIT))
    digit = -(-bits // passes)
    mask = keys.dtype.type((1 << digit) - 1)
    ranges = threads.ranges(n, 1 << 15, per_thread=1)
    keys_out, rows_out = np.empty_like(keys), np.empty_like(rows)
    for number in range(passes):
        shift = keys.dtype.type(number * digit)
        counts = np.zeros((len(ranges), 1 << digit), dtype=np.int64)
        threads.each(
            _count,
            [(keys, shift, mask, counts[part], *bounds) for part, bounds in enumerate(ranges)],
        )
        if np.any(counts.sum(axis=0) == n):
            continue  # every key has the same digit here
        # Where each range may put its next key of each digit: digits first, then ranges.
        ends = np.cumsum(counts.T.ravel()).reshape(counts.T.shape)
        place = np.ascontiguousarray((ends - counts.T).T)
        threads.each(
            _scatter,
            [
                (keys, rows, shift, mask, place[part], keys_out, rows_out, *bounds)
                for part, bounds in enumerate(ranges)
            ],
        )
        keys, keys_out = keys_out, keys
        rows, rows_out = rows_out, rows
    return keys, rows
