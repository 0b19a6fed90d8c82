"""A k-d tree whose leaves are cells: for many dimensions, where a grid has too many neighbours.

Splitting stops where a node's box is so small that all its points are neighbours of each
other (a cell in the sense of the grid), or where it holds few points.
"""

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF, diagonal, enclose


@njit(nogil=True, cache=True)
def _select(values: np.ndarray, rows: np.ndarray, start: int, stop: int, nth: int) -> None:
    """Reorder so that ``values[nth]`` is where a sort would put it, smaller ones before."""
    low, high = start, stop - 1
    while low < high:
        a, b, c = values[low], values[(low + high) // 2], values[high]
        pivot = max(min(a, b), min(max(a, b), c))
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                rows[i], rows[j] = rows[j], rows[i]
                i += 1
                j -= 1
        if nth <= j:
            high = j
        elif nth >= i:
            low = i
        else:
            return


@njit(nogil=True, cache=True)
def _halve(
    points: np.ndarray,
    rows: np.ndarray,
    values: np.ndarray,
    boxes: np.ndarray,
    at: int,
    start: int,
    stop: int,
) -> int:
    """Split a node's `rows` across its longest side, a whole number of leaves to the left."""
    widest, side = 0, boxes[at, 1, 0] - boxes[at, 0, 0]
    for k in range(1, boxes.shape[2]):
        if boxes[at, 1, k] - boxes[at, 0, k] > side:
            widest, side = k, boxes[at, 1, k] - boxes[at, 0, k]
    leaves = (stop - start + LEAF - 1) // LEAF
    middle = start + (leaves // 2) * LEAF
    if side > 0:
        for i in range(start, stop):
            values[i] = points[widest, rows[i]]
        _select(values, rows, start, stop, middle)
    return middle


@njit(nogil=True, cache=True)
def _enclose_rows(
    points: np.ndarray, rows: np.ndarray, start: int, stop: int, boxes: np.ndarray, at: int
) -> None:
    for k in range(points.shape[0]):
        low = points[k, rows[start]]
        high = low
        for i in range(start + 1, stop):
            value = points[k, rows[i]]
            low = min(low, value)
            high = max(high, value)
        boxes[at, 0, k] = low
        boxes[at, 1, k] = high


@njit(nogil=True, cache=True)
def split_into_leaves(points: np.ndarray, order: np.ndarray, start: int, stop: int) -> None:
    """Reorder points ``start:stop`` and their `order` so that each `LEAF` of them lie together."""
    n = stop - start
    d = points.shape[0]
    view = points[:, start:stop]
    rows = np.arange(n).astype(np.int32)
    values = np.empty(n, dtype=points.dtype)
    box = np.empty((1, 2, d), dtype=points.dtype)
    todo = np.empty((64, 2), dtype=np.int64)
    todo[0, 0], todo[0, 1] = 0, n
    left = 1
    while left:
        left -= 1
        a, b = todo[left, 0], todo[left, 1]
        if b - a <= LEAF:
            continue
        _enclose_rows(view, rows, a, b, box, 0)
        middle = _halve(view, rows, values, box, 0, a, b)
        todo[left, 0], todo[left, 1] = middle, b
        todo[left + 1, 0], todo[left + 1, 1] = a, middle
        left += 2
    for k in range(d):
        for i in range(n):
            values[i] = view[k, rows[i]]
        for i in range(n):
            view[k, i] = values[i]
    old = order[start:stop].copy()
    for i in range(n):
        order[start + i] = old[rows[i]]


@njit(nogil=True, cache=True)
def grow(points: np.ndarray, eps2: float) -> tuple:
    """Build the tree over all `points`, shape (d, n), n >= 1.

    Returns:
        The order of the points, int32 (n,); the cells' starts, int32 (cells + 1,); for
        each node its children, int32 (nodes, 2), or -1 and the number of its cell; and
        the nodes' boxes, (nodes, 2, d).
    """
    d, n = points.shape
    rows = np.arange(n).astype(np.int32)
    values = np.empty(n, dtype=points.dtype)
    most = 2 * (n // LEAF + 2)
    boxes = np.empty((most, 2, d), dtype=points.dtype)
    children = np.empty((most, 2), dtype=np.int32)
    starts = np.empty(most // 2 + 2, dtype=np.int32)
    todo = np.empty((64, 3), dtype=np.int64)  # node, start, stop
    todo[0, 0], todo[0, 1], todo[0, 2] = 0, 0, n
    left, nodes, cells = 1, 1, 0
    while left:
        left -= 1
        node, a, b = todo[left, 0], todo[left, 1], todo[left, 2]
        _enclose_rows(points, rows, a, b, boxes, node)
        if b - a <= LEAF or diagonal(boxes, node) <= eps2:
            children[node, 0], children[node, 1] = -1, cells
            starts[cells] = a
            cells += 1
            continue
        middle = _halve(points, rows, values, boxes, node, a, b)
        children[node, 0], children[node, 1] = nodes, nodes + 1
        # The left child is taken first, so cells are numbered in the order of their points.
        todo[left, 0], todo[left, 1], todo[left, 2] = nodes + 1, middle, b
        todo[left + 1, 0], todo[left + 1, 1], todo[left + 1, 2] = nodes, a, middle
        left += 2
        nodes += 2
    starts[cells] = n
    return rows, starts[: cells + 1].copy(), children[:nodes].copy(), boxes[:nodes].copy()


@njit(nogil=True, cache=True)
def make_boxes(
    points: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    box_start: np.ndarray,
    boxes: np.ndarray,
    tight: np.ndarray,
    eps2: float,
    first: int,
    last: int,
) -> None:
    """Finish cells ``first <= c < last``: order large ones into leaves, note bounds.

    A cell with boxes has first its own and then, if it has more than `LEAF` points, one
    for each leaf. `tight` says whether all points of the cell are neighbours.
    """
    own = np.empty((1, 2, points.shape[0]), dtype=points.dtype)
    for c in range(first, last):
        a, b = start[c], start[c + 1]
        if b - a == 1:
            tight[c] = 1
        else:
            enclose(points, a, b, own, 0)
            tight[c] = diagonal(own, 0) <= eps2
        at = box_start[c]
        if box_start[c + 1] == at:
            continue
        enclose(points, a, b, boxes, at)
        if b - a > LEAF:
            split_into_leaves(points, order, a, b)
            for leaf in range((b - a + LEAF - 1) // LEAF):
                low = a + leaf * LEAF
                enclose(points, low, min(low + LEAF, b), boxes, at + 1 + leaf)
