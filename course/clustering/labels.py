"""Local clustering, last part: core points take their cluster's number, border points one."""

import numpy as np
from numba import njit

from course.clustering.boxes import is_within
from course.clustering.components import core_in_cell
from course.clustering.cores import GRAIN
from course.clustering.index import REACH, Index
from course.clustering.neighbours import (
    cut_row,
    follow_rows,
    measure_gaps,
    search_tree,
    start_pointers,
)
from course.clustering.threads import Threads

NOISE = -1
NONE = np.iinfo(np.int64).max


@njit(nogil=True, cache=True)
def _lowest_in_cell(
    index: Index,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    chief: np.ndarray,
    query: np.ndarray,
    cell: int,
    best: int,
) -> int:
    """Return the lowest number among `best` and core neighbours of `query` in `cell`."""
    if chief[cell] < 0:
        return best
    if index.tight[cell]:
        if core_in_cell(index, core, query, cell):
            return min(best, number[parent[chief[cell]]])
        return best
    for j in range(index.start[cell], index.start[cell + 1]):
        if core[j] and number[parent[j]] < best and is_within(index.points, query, j, index.eps2):
            best = number[parent[j]]
    return best


@njit(nogil=True, cache=True)
def _label(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    chief: np.ndarray,
    labels: np.ndarray,
    first: int,
    last: int,
) -> None:
    d = index.points.shape[0]
    grid = len(index.rows) > 0
    pointers = start_pointers(index, first)
    edges = np.empty((len(index.rows), 2 * REACH + 2), dtype=np.int64)
    gaps = np.empty((d - 1, 2 * REACH + 1), dtype=np.float64)
    found = np.empty(0 if grid else len(index.tight), dtype=np.int32)
    query = np.empty(d, dtype=np.float64)
    for cell in range(first, last):
        searched = False
        count = 0
        for i in range(index.start[cell], index.start[cell + 1]):
            row = index.order[i]
            if row >= owned:
                continue
            if core[i]:
                labels[row] = number[parent[i]]
                continue
            if not searched:
                searched = True
                if grid:
                    follow_rows(index, cell, pointers, edges)
                else:
                    count = search_tree(index, cell, found)
            for k in range(d):
                query[k] = index.points[k, i]
            best = NONE
            if grid:
                place = measure_gaps(index, query, gaps)
                for r in range(len(index.rows)):
                    begin, end = cut_row(index, r, gaps, place, edges[r])
                    for other in range(begin, end):
                        best = _lowest_in_cell(
                            index, core, parent, number, chief, query, other, best
                        )
            else:
                for other in found[:count]:
                    best = _lowest_in_cell(index, core, parent, number, chief, query, other, best)
            labels[row] = NOISE if best == NONE else best


@njit(nogil=True, cache=True)
def _first_cores(index: Index, core: np.ndarray, chief: np.ndarray, lo: int, hi: int) -> None:
    for cell in range(lo, hi):
        chief[cell] = -1
        for i in range(index.start[cell], index.start[cell + 1]):
            if core[i]:
                chief[cell] = i
                break


def assign_labels(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    number: np.ndarray,
    threads: Threads,
) -> np.ndarray:
    """Label the rank's own points; a border point joins the lowest-numbered cluster it touches.

    Args:
        index: all points that the rank sees.
        owned: rows of the input below this are the rank's own.
        core: uint8 (n,), in the order of the index.
        parent: int32 (n,), what `connect_cores` returned.
        number: int64 (n,), the cluster's number at the first point of each component.
        threads: the pool that does the work.

    Returns:
        int64 (owned,), in the order of the input: -1 for noise.
    """
    labels = np.empty(owned, dtype=np.int64)
    chief = np.empty(len(index.tight), dtype=np.int32)
    ranges = threads.ranges(len(chief), GRAIN)
    threads.map(_first_cores, ranges, index, core, chief)
    threads.map(_label, ranges, index, owned, core, parent, number, chief, labels)
    return labels
