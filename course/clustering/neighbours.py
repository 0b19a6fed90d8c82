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
def room_of(index: Index) -> float:
    """Return the squared radius in units of cells, with some slack."""
    return index.eps2 * index.scale * index.scale * (1 + SLACK)


@njit(nogil=True, cache=True)
def follow_row(
    keys: np.ndarray, centre: int, row: int, pointers: np.ndarray, edges: np.ndarray
) -> bool:
    """Store where the cells of a row begin: ``edges[row, k]`` is the first at ``k - REACH``.

    Args:
        keys: all cells, see `Index`; the last is larger than any that is looked for.
        centre: the key of the cell in the middle of the row, which need not exist.
        row: the row's number.
        pointers: made for an earlier cell, or this one; moves along.
        edges: int64 (rows, 2 * REACH + 2), of which this row is overwritten. The last
            entry is where the row's neighbours end.

    Returns:
        Whether there are any; if not, `edges` is left as it is.
    """
    target = centre - REACH
    at = pointers[row]
    while keys[at] < target:
        at += 1
    pointers[row] = at
    if keys[at] > centre + REACH:
        return False
    edges[row, 0] = at
    for k in range(2 * REACH + 1):
        at += keys[at] == target + k
        edges[row, k + 1] = at
    return True


@njit(nogil=True, cache=True)
def follow_rows(
    keys: np.ndarray,
    below: np.ndarray,
    rows: np.ndarray,
    cell: int,
    pointers: np.ndarray,
    edges: np.ndarray,
    kept: np.ndarray,
) -> tuple[int, int]:
    """Do `follow_row` for all `rows` around `cell`.

    Args:
        keys: see `follow_row`.
        below: int32 (cells + 1,), how much lies in the cells before each: points, say.
        rows: see `Index`.
        cell: the cell in the middle.
        pointers: see `follow_row`.
        edges: see `follow_row`.
        kept: int64 (rows,), overwritten with the numbers of those rows that hold anything.

    Returns:
        How many rows do, and how much they hold together.
    """
    found, total = 0, 0
    for row in range(len(rows)):
        if follow_row(keys, keys[cell] + rows[row], row, pointers, edges):
            here = below[edges[row, 2 * REACH + 1]] - below[edges[row, 0]]
            if here:
                kept[found] = row
                found += 1
                total += here
    return found, total


@njit(nogil=True, cache=True)
def measure_gaps(query: np.ndarray, low: np.ndarray, scale: float, gaps: np.ndarray) -> None:
    """Store the squared gaps from `query` to the slices of the grid around it, in cells.

    Args:
        query: float64 (d,).
        low: see `Index`.
        scale: see `Index`.
        gaps: float64 (d, 2 * REACH + 1), overwritten.
    """
    for k in range(len(query)):
        place = (query[k] - low[k]) * scale
        place -= np.floor(place)
        gaps[k, REACH] = 0.0
        for step in range(1, REACH + 1):
            gaps[k, REACH + step] = (step - place) ** 2
            gaps[k, REACH - step] = (step - 1 + place) ** 2


@njit(nogil=True, cache=True)
def cut_row(
    offsets: np.ndarray, row: int, gaps: np.ndarray, room: float, edges: np.ndarray
) -> tuple[int, int]:
    """Return the range of cells in a row that may hold neighbours of one point.

    Args:
        offsets: see `Index`.
        row: the row's number.
        gaps: what `measure_gaps` stored.
        room: the squared radius in cells, with some slack.
        edges: see `follow_row`.
    """
    last = gaps.shape[0] - 1
    for k in range(last):
        room -= gaps[k, offsets[row, k] + REACH]
    if room < 0:
        return 0, 0
    first, stop = 0, 2 * REACH
    while gaps[last, first] > room:
        first += 1
    while gaps[last, stop] > room:
        stop -= 1
    return edges[row, first], edges[row, stop + 1]


@njit(nogil=True, cache=True)
def search_tree(index: Index, cell: int, found: np.ndarray) -> int:
    """Store the cells of a tree that may hold neighbours of `cell`; return how many.

    `found` is int32 with room for all cells; `cell` is among them; numbers ascend.
    """
    boxes, nodes, children = index.boxes, index.nodes, index.children
    at = index.box_start[cell]
    stack = np.empty(128, dtype=np.int32)
    stack[0] = 0
    left, count = 1, 0
    while left:
        left -= 1
        node = stack[left]
        if box_gap(boxes, at, nodes, node) > index.eps2:
            continue
        if children[node, 0] < 0:
            found[count] = children[node, 1]
            count += 1
        else:
            stack[left] = children[node, 1]
            stack[left + 1] = children[node, 0]
            left += 2
    return count
