"""Local clustering, first part: which points are core points."""

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF, count_within, point_gap, point_reach
from course.clustering.index import REACH, Index
from course.clustering.neighbours import (
    cut_row,
    follow_rows,
    measure_gaps,
    search_tree,
    start_pointers,
)
from course.clustering.threads import Threads

GRAIN = 64  # cells a thread takes at a time, at least
SHORT = 64  # points in a row of cells that are searched without looking at the cells


@njit(nogil=True, cache=True)
def _count_in_cell(index: Index, query: np.ndarray, cell: int) -> int:
    """Count the neighbours of `query` in `cell`."""
    points, eps2 = index.points, index.eps2
    a, b = index.start[cell], index.start[cell + 1]
    at, end = index.box_start[cell], index.box_start[cell + 1]
    if at == end:
        return count_within(points, query, a, b, eps2)
    if point_gap(query, index.boxes[at]) > eps2:
        return 0
    if point_reach(query, index.boxes[at]) <= eps2:
        return b - a
    if at + 1 == end:
        return count_within(points, query, a, b, eps2)
    count = 0
    for leaf in range(end - at - 1):
        if point_gap(query, index.boxes[at + 1 + leaf]) <= eps2:
            low = a + leaf * LEAF
            count += count_within(points, query, low, min(low + LEAF, b), eps2)
    return count


@njit(nogil=True, cache=True)
def _enough_in_grid(
    index: Index, query: np.ndarray, edges: np.ndarray, gaps: np.ndarray, need: int
) -> bool:
    """Say whether `query` has `need` neighbours in the rows around its cell."""
    count = 0
    place = measure_gaps(index, query, gaps)
    for row in range(len(index.rows)):
        first, last = cut_row(index, row, gaps, place, edges[row])
        a, b = index.start[first], index.start[last]
        if b - a <= SHORT:
            count += count_within(index.points, query, a, b, index.eps2)
        else:
            for cell in range(first, last):
                count += _count_in_cell(index, query, cell)
                if count >= need:
                    return True
        if count >= need:
            return True
    return False


@njit(nogil=True, cache=True)
def _enough_in_tree(index: Index, query: np.ndarray, found: np.ndarray, need: int) -> bool:
    """Say whether `query` has `need` neighbours in the cells `found`."""
    count = 0
    for cell in found:
        count += _count_in_cell(index, query, cell)
        if count >= need:
            return True
    return False


@njit(nogil=True, cache=True)
def _mark_cores(
    index: Index, owned: int, min_samples: int, core: np.ndarray, first: int, last: int
) -> None:
    d = index.points.shape[0]
    grid = len(index.rows) > 0
    pointers = start_pointers(index, first)
    edges = np.empty((len(index.rows), 2 * REACH + 2), dtype=np.int64)
    gaps = np.empty((d - 1, 2 * REACH + 1), dtype=np.float64)
    found = np.empty(0 if grid else len(index.tight), dtype=np.int32)
    query = np.empty(d, dtype=np.float64)
    for cell in range(first, last):
        a, b = index.start[cell], index.start[cell + 1]
        if index.tight[cell] and b - a >= min_samples:
            core[a:b] = 1
            continue
        some = False
        for i in range(a, b):
            some = some or index.order[i] < owned
        if not some:
            continue
        count = 0
        if grid:
            if follow_rows(index, cell, pointers, edges) < min_samples:
                continue
        else:
            count = search_tree(index, cell, found)
        for i in range(a, b):
            if index.order[i] < owned:
                for k in range(d):
                    query[k] = index.points[k, i]
                if grid:
                    core[i] = _enough_in_grid(index, query, edges, gaps, min_samples)
                else:
                    core[i] = _enough_in_tree(index, query, found[:count], min_samples)


def find_cores(index: Index, owned: int, min_samples: int, threads: Threads) -> np.ndarray:
    """Say which points have `min_samples` neighbours, themselves included.

    Args:
        index: all points that the rank sees.
        owned: rows of the input below this are the rank's own; others may be left at 0.
        min_samples: at least 1.
        threads: the pool that does the work.

    Returns:
        uint8 (n,), in the order of the index.
    """
    core = np.zeros(len(index.order), dtype=np.uint8)
    ranges = threads.ranges(len(index.tight), GRAIN)
    threads.map(_mark_cores, ranges, index, owned, min_samples, core)
    return core
