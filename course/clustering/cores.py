"""Local clustering, first part: which points are core points."""

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF, count_within, point_gap, point_reach
from course.clustering.index import REACH, Index
from course.clustering.neighbours import (
    cut_row,
    follow_rows,
    measure_gaps,
    room_of,
    search_tree,
    start_pointers,
)
from course.clustering.threads import Threads

GRAIN = 64  # cells a thread takes at a time, at least
SHORT = 64  # points in a row of cells that are searched without looking at the cells


@njit(nogil=True, cache=True)
def _count_in_cell(
    points: np.ndarray,
    start: np.ndarray,
    box_start: np.ndarray,
    boxes: np.ndarray,
    eps2: float,
    query: np.ndarray,
    cell: int,
) -> int:
    """Count the neighbours of `query` in `cell`."""
    a, b = start[cell], start[cell + 1]
    at, end = box_start[cell], box_start[cell + 1]
    if at == end:
        return count_within(points, query, a, b, eps2)
    if point_gap(query, boxes, at) > eps2:
        return 0
    if point_reach(query, boxes, at) <= eps2:
        return b - a
    if at + 1 == end:
        return count_within(points, query, a, b, eps2)
    count = 0
    for leaf in range(end - at - 1):
        if point_gap(query, boxes, at + 1 + leaf) <= eps2:
            low = a + leaf * LEAF
            count += count_within(points, query, low, min(low + LEAF, b), eps2)
    return count


@njit(nogil=True, cache=True)
def _mark_in_grid(
    index: Index, owned: int, min_samples: int, core: np.ndarray, first: int, last: int
) -> None:
    points, order, start = index.points, index.order, index.start
    tight, box_start, boxes, eps2 = index.tight, index.box_start, index.boxes, index.eps2
    keys, rows, offsets = index.key, index.rows, index.offsets
    low, scale, room = index.low, index.scale, room_of(index)
    d = points.shape[0]
    pointers = start_pointers(index, first)
    edges = np.empty((len(rows), 2 * REACH + 2), dtype=np.int64)
    gaps = np.empty((d, 2 * REACH + 1), dtype=np.float64)
    kept = np.empty(len(rows), dtype=np.int64)
    query = np.empty(d, dtype=np.float64)
    for cell in range(first, last):
        a, b = start[cell], start[cell + 1]
        if tight[cell] and b - a >= min_samples:
            core[a:b] = 1
            continue
        some = False
        for i in range(a, b):
            some = some or order[i] < owned
        if not some:
            continue
        found, candidates = follow_rows(keys, start, rows, cell, pointers, edges, kept)
        if candidates < min_samples:
            continue
        for i in range(a, b):
            if order[i] >= owned:
                continue
            for k in range(d):
                query[k] = points[k, i]
            measure_gaps(query, low, scale, gaps)
            count = 0
            for at in range(found):
                begin, end = cut_row(offsets, kept[at], gaps, room, edges)
                if start[end] - start[begin] <= SHORT:
                    count += count_within(points, query, start[begin], start[end], eps2)
                else:
                    for other in range(begin, end):
                        count += _count_in_cell(points, start, box_start, boxes, eps2, query, other)
                        if count >= min_samples:
                            break
                if count >= min_samples:
                    core[i] = 1
                    break


@njit(nogil=True, cache=True)
def _mark_in_tree(
    index: Index, owned: int, min_samples: int, core: np.ndarray, first: int, last: int
) -> None:
    points, order, start = index.points, index.order, index.start
    tight, box_start, boxes, eps2 = index.tight, index.box_start, index.boxes, index.eps2
    found = np.empty(len(tight), dtype=np.int32)
    query = np.empty(points.shape[0], dtype=np.float64)
    for cell in range(first, last):
        a, b = start[cell], start[cell + 1]
        if tight[cell] and b - a >= min_samples:
            core[a:b] = 1
            continue
        cells = search_tree(index, cell, found)
        for i in range(a, b):
            if order[i] >= owned:
                continue
            for k in range(len(query)):
                query[k] = points[k, i]
            count = 0
            for other in range(cells):
                count += _count_in_cell(points, start, box_start, boxes, eps2, query, found[other])
                if count >= min_samples:
                    core[i] = 1
                    break


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
    kernel = _mark_in_grid if len(index.rows) else _mark_in_tree
    threads.map(kernel, ranges, index, owned, min_samples, core)
    return core
