"""Which cells may hold neighbours of a cell, or of one point in it.

In the grid the neighbouring cells form rows along the last dimension. Cells are sorted by
row, so each row's cells lie together in memory, and while one walks through the cells the
places of their neighbours only move forward: no search is needed.
"""

import numpy as np
from numba import njit

from course.clustering.boxes import box_gap
from course.clustering.index import REACH, Index

# Cells are a little narrower than eps / sqrt(d), and their sides are rounded: a bound on
# distances in units of cells must leave that much room.
SLACK = 1e-5


@njit(nogil=True, cache=True)
def start_pointers(index: Index, cell: int) -> np.ndarray:
    """Return where, for each row of the grid around `cell`, to begin: int64 (rows,)."""
    pointers = np.empty(len(index.rows), dtype=np.int64)
    for r in range(len(index.rows)):
        pointers[r] = np.searchsorted(index.key, index.key[cell] + index.rows[r] - REACH)
    return pointers


@njit(nogil=True, cache=True)
def follow_row(index: Index, cell: int, row: int, pointers: np.ndarray, edges: np.ndarray) -> None:
    """Store where a neighbouring row's cells begin: ``edges[k]`` is the first at ``k - REACH``.

    `pointers` must have been made for an earlier cell, or this one, and moves along.
    `edges` has ``2 * REACH + 2`` entries; the last is where the row's neighbours end.
    """
    keys = index.key
    target = index.key[cell] + index.rows[row] - REACH
    at = pointers[row]
    end = len(keys)
    while at < end and keys[at] < target:
        at += 1
    pointers[row] = at
    edges[0] = at
    for k in range(1, 2 * REACH + 2):
        if at < end and keys[at] < target + k:
            at += 1
        edges[k] = at


@njit(nogil=True, cache=True)
def follow_rows(index: Index, cell: int, pointers: np.ndarray, edges: np.ndarray) -> int:
    """Do `follow_row` for all rows, into ``edges[row]``; return the points there are."""
    points = 0
    for row in range(len(index.rows)):
        follow_row(index, cell, row, pointers, edges[row])
        points += index.start[edges[row, 2 * REACH + 1]] - index.start[edges[row, 0]]
    return points


@njit(nogil=True, cache=True)
def measure_gaps(index: Index, query: np.ndarray, gaps: np.ndarray) -> float:
    """Store the squared gaps from `query` to the slices of the grid around it, in cells.

    Args:
        index: a grid.
        query: float64 (d,).
        gaps: float64 (d - 1, 2 * REACH + 1), overwritten.

    Returns:
        Where in its cell `query` lies along the last dimension, 0 to 1.
    """
    last = len(query) - 1
    for k in range(last):
        place = (query[k] - index.low[k]) * index.scale
        place -= np.floor(place)
        gaps[k, REACH] = 0.0
        for step in range(1, REACH + 1):
            gaps[k, REACH + step] = (step - place) ** 2
            gaps[k, REACH - step] = (step - 1 + place) ** 2
    place = (query[last] - index.low[last]) * index.scale
    return place - np.floor(place)


@njit(nogil=True, cache=True)
def cut_row(
    index: Index, row: int, gaps: np.ndarray, place: float, edges: np.ndarray
) -> tuple[int, int]:
    """Return the range of cells in a row that may hold neighbours of one point.

    Args:
        index: a grid.
        row: its number among the rows.
        gaps: what `measure_gaps` stored.
        place: what `measure_gaps` returned.
        edges: of this row, see `follow_row`.
    """
    room = index.eps2 * index.scale * index.scale * (1 + SLACK)
    for k in range(gaps.shape[0]):
        room -= gaps[k, index.offsets[row, k] + REACH]
    if room < 0:
        return 0, 0
    span = np.sqrt(room)
    first = max(np.int64(np.floor(place - span)), -REACH)
    last = min(np.int64(np.floor(place + span)), REACH)
    return edges[first + REACH], edges[last + REACH + 1]


@njit(nogil=True, cache=True)
def search_tree(index: Index, cell: int, found: np.ndarray) -> int:
    """Store the cells of a tree that may hold neighbours of `cell`; return how many.

    `found` is int32 with room for all cells; `cell` is among them; numbers ascend.
    """
    box = index.boxes[index.box_start[cell]]
    stack = np.empty(128, dtype=np.int32)
    stack[0] = 0
    left, count = 1, 0
    while left:
        left -= 1
        node = stack[left]
        if box_gap(box, index.nodes[node]) > index.eps2:
            continue
        if index.children[node, 0] < 0:
            found[count] = index.children[node, 1]
            count += 1
        else:
            stack[left] = index.children[node, 1]
            stack[left + 1] = index.children[node, 0]
            left += 2
    return count
