"""Local clustering, last part: core points take their cluster's number, border points one."""

import numpy as np
from numba import njit

from course.clustering.boxes import is_within, point_gap
from course.clustering.components import core_in_cell
from course.clustering.cores import GRAIN
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


@njit(nogil=True, cache=True)
def _borders_in_grid(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    chief: np.ndarray,
    below: np.ndarray,
    first: int,
    last: int,
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
        found = -1
        for i in range(start[cell], start[cell + 1]):
            if order[i] >= owned or core[i]:
                continue
            if found < 0:
                found, _ = follow_rows(keys, below, rows, cell, pointers, edges, kept)
            if found == 0:
                continue
            for k in range(d):
                query[k] = points[k, i]
            best = -1
            measure_gaps(query, low, scale, gaps)
            for at in range(found):
                begin, end = cut_row(offsets, kept[at], gaps, room, edges)
                for other in range(begin, end):
                    if chief[other] < 0:
                        continue
                    if not tight[other]:
                        best = _lowest_of_points(
                            points, start, eps2, core, parent, number, query, other, best
                        )
                    elif core_in_cell(points, start, box_start, boxes, eps2, core, query, other):
                        best = _lower(number, best, parent[chief[other]])
            parent[i] = best


@njit(nogil=True, cache=True)
def _borders_in_tree(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    chief: np.ndarray,
    below: np.ndarray,
    first: int,
    last: int,
) -> None:
    points, order, start = index.points, index.order, index.start
    tight, box_start, boxes, eps2 = index.tight, index.box_start, index.boxes, index.eps2
    found = np.empty(len(tight), dtype=np.int32)
    query = np.empty(points.shape[0], dtype=np.float64)
    for cell in range(first, last):
        cells = -1
        for i in range(start[cell], start[cell + 1]):
            if order[i] >= owned or core[i]:
                continue
            if cells < 0:
                cells = search_tree(index, cell, found)
            for k in range(len(query)):
                query[k] = points[k, i]
            best = -1
            for at in range(cells):
                other = found[at]
                if chief[other] < 0 or point_gap(query, boxes, box_start[other]) > eps2:
                    continue
                if not tight[other]:
                    best = _lowest_of_points(
                        points, start, eps2, core, parent, number, query, other, best
                    )
                elif core_in_cell(points, start, box_start, boxes, eps2, core, query, other):
                    best = _lower(number, best, parent[chief[other]])
            parent[i] = best


@njit(nogil=True, cache=True)
def _lower(number: np.ndarray, one: int, other: int) -> int:
    """Return which of two components has the lower number; `one` may be -1, for none."""
    return other if one < 0 or number[other] < number[one] else one


@njit(nogil=True, cache=True)
def _lowest_of_points(
    points: np.ndarray,
    start: np.ndarray,
    eps2: float,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    query: np.ndarray,
    cell: int,
    best: int,
) -> int:
    """Return the lowest of `best` and the core neighbours in a cell that is not tight."""
    for j in range(start[cell], start[cell + 1]):
        if core[j] and parent[j] != best and is_within(points, query, j, eps2):
            best = _lower(number, best, parent[j])
    return best


@njit(nogil=True, cache=True)
def _first_cores(index: Index, core: np.ndarray, chief: np.ndarray, lo: int, hi: int) -> None:
    start = index.start
    for cell in range(lo, hi):
        chief[cell] = -1
        for i in range(start[cell], start[cell + 1]):
            if core[i]:
                chief[cell] = i
                break


def assign_borders(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    threads: Threads,
) -> None:
    """Let each border point join the lowest-numbered of the clusters it touches.

    Args:
        index: all points that the rank sees.
        owned: rows of the input below this are the rank's own; others are left alone.
        core: uint8 (n,), in the order of the index.
        parent: int32 (n,), the component of each core point, else -1; in place, border
            points get theirs.
        number: int64 (components,), the number of the cluster that each belongs to.
        threads: the pool that does the work.
    """
    chief = np.empty(len(index.tight), dtype=np.int32)
    ranges = threads.ranges(len(chief), GRAIN)
    threads.map(_first_cores, ranges, index, core, chief)
    below = np.zeros(len(chief) + 1, dtype=np.int32)  # cells with core points before each
    np.cumsum(chief >= 0, dtype=np.int32, out=below[1:])
    kernel = _borders_in_grid if len(index.rows) else _borders_in_tree
    threads.map(kernel, ranges, index, owned, core, parent, number, chief, below)


@njit(nogil=True, cache=True)
def sign_labels(
    order: np.ndarray, parent: np.ndarray, number: np.ndarray, core: np.ndarray, owned: int
) -> np.ndarray:
    """Return clusters as in HPDBSCAN's files, in the order of the rank's own points.

    Args:
        order: int32 (n,), the order of the index.
        parent: int32 (n,), components, see `assign_borders`.
        number: int64 (components,), see `assign_borders`.
        core: uint8 (n,), in the order of the index.
        owned: rows of the input below this are the rank's own.

    Returns:
        int64 (owned,): 0 for noise, else the cluster from 1, negative for core points.
    """
    values = np.zeros(owned, dtype=np.int64)
    for i in range(len(order)):
        if order[i] < owned and parent[i] >= 0:
            label = number[parent[i]] + 1
            values[order[i]] = -label if core[i] else label
    return values


def split_signs(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn what `sign_labels` returned into labels from 0, -1 for noise, and core points' rows.

    The labels take the place of `values`.
    """
    core = np.flatnonzero(values < 0)
    np.abs(values, out=values)
    values -= 1
    return values, core
