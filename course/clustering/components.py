"""Local clustering, second part: which core points are connected."""

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF, box_gap, is_within, meets_core, point_gap
from course.clustering.cores import GRAIN
from course.clustering.index import REACH, Index
from course.clustering.neighbours import follow_row, search_tree, start_pointers
from course.clustering.threads import Threads
from course.clustering.unionfind import find, flatten, link

NOBODY = 1 << 40  # above all rows of a rank


@njit(nogil=True, cache=True)
def core_in_cell(
    points: np.ndarray,
    start: np.ndarray,
    box_start: np.ndarray,
    boxes: np.ndarray,
    eps2: float,
    core: np.ndarray,
    query: np.ndarray,
    cell: int,
) -> bool:
    """Say whether `query` has a core point of `cell` as its neighbour."""
    a, b = start[cell], start[cell + 1]
    at, end = box_start[cell], box_start[cell + 1]
    if at == end:
        return meets_core(points, core, query, a, b, eps2)
    if point_gap(query, boxes, at) > eps2:
        return False
    if at + 1 == end:
        return meets_core(points, core, query, a, b, eps2)
    for leaf in range(end - at - 1):
        if point_gap(query, boxes, at + 1 + leaf) <= eps2:
            low = a + leaf * LEAF
            if meets_core(points, core, query, low, min(low + LEAF, b), eps2):
                return True
    return False


@njit(nogil=True, cache=True)
def _touch(
    points: np.ndarray,
    start: np.ndarray,
    box_start: np.ndarray,
    boxes: np.ndarray,
    eps2: float,
    core: np.ndarray,
    query: np.ndarray,
    one: int,
    other: int,
) -> bool:
    """Say whether a core point of cell `one` has one of cell `other` as its neighbour."""
    a, b = start[one], start[one + 1]
    at, end = box_start[one], box_start[one + 1]
    far = box_start[other]
    boxed = far < box_start[other + 1]
    if at < end and boxed and box_gap(boxes, at, boxes, far) > eps2:
        return False
    for low in range(a, b, LEAF):
        if at + 1 < end and boxed:
            if box_gap(boxes, at + 1 + (low - a) // LEAF, boxes, far) > eps2:
                continue
        for i in range(low, min(low + LEAF, b)):
            if core[i]:
                for k in range(len(query)):
                    query[k] = points[k, i]
                if core_in_cell(points, start, box_start, boxes, eps2, core, query, other):
                    return True
    return False


@njit(nogil=True, cache=True)
def _link_points(
    index: Index, core: np.ndarray, parent: np.ndarray, one: int, other: int, query: np.ndarray
) -> None:
    """Link the neighbouring core points of two cells of which one or both are not tight."""
    points, start, boxes, eps2 = index.points, index.start, index.boxes, index.eps2
    at = index.box_start[other]
    boxed = at < index.box_start[other + 1]
    for i in range(start[one], start[one + 1]):
        if not core[i]:
            continue
        for k in range(len(query)):
            query[k] = points[k, i]
        if boxed and point_gap(query, boxes, at) > eps2:
            continue
        begin = i + 1 if one == other else start[other]
        for j in range(begin, start[other + 1]):
            if core[j] and is_within(points, query, j, eps2):
                link(parent, i, j)
                if index.tight[other]:
                    break


@njit(nogil=True, cache=True)
def _start_trees(
    index: Index,
    owned: int,
    core: np.ndarray,
    parent: np.ndarray,
    chief: np.ndarray,
    mine: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Make one tree of the core points of each tight cell; note its first core point."""
    order, start, tight = index.order, index.start, index.tight
    for cell in range(first, last):
        head = -1
        mine[cell] = 0
        for i in range(start[cell], start[cell + 1]):
            if order[i] < owned:
                mine[cell] = 1
            parent[i] = i
            if core[i]:
                if head < 0:
                    head = i
                if tight[cell]:
                    parent[i] = head
        chief[cell] = head


@njit(nogil=True, cache=True)
def _link_grid(
    index: Index,
    core: np.ndarray,
    parent: np.ndarray,
    chief: np.ndarray,
    mine: np.ndarray,
    near: bool,
    first: int,
    last: int,
) -> None:
    """Link each of the cells ``first:last`` with later ones that touch it, or with the rest."""
    points, start, tight = index.points, index.start, index.tight
    box_start, boxes, eps2 = index.box_start, index.boxes, index.eps2
    keys, rows = index.key, index.rows
    close = np.ones(len(rows), dtype=np.uint8)
    for row in range(len(rows)):
        for k in range(index.offsets.shape[1]):
            if abs(index.offsets[row, k]) > 1:
                close[row] = 0
    pointers = start_pointers(index, first)
    edges = np.empty((len(rows), 2 * REACH + 2), dtype=np.int64)
    query = np.empty(points.shape[0], dtype=np.float64)
    for cell in range(first, last):
        if chief[cell] < 0:
            continue
        if near and not tight[cell]:
            _link_points(index, core, parent, cell, cell, query)
        for row in range(len(rows)):
            if rows[row] < 0 or (near and not close[row]):
                continue  # the other cell sees this one
            if not follow_row(keys, keys[cell] + rows[row], row, pointers, edges):
                continue
            inner, outer = edges[row, REACH - 1], edges[row, REACH + 2]
            begin, end = (inner, outer) if near else (edges[row, 0], edges[row, 2 * REACH + 1])
            for other in range(max(begin, cell + 1), end):
                if not near and close[row] and inner <= other < outer:
                    continue
                if chief[other] < 0 or not (mine[cell] or mine[other]):
                    continue
                if not (tight[cell] and tight[other]):
                    _link_points(index, core, parent, cell, other, query)
                    continue
                if find(parent, chief[cell]) == find(parent, chief[other]):
                    continue
                one, two = cell, other
                if start[one + 1] - start[one] > start[two + 1] - start[two]:
                    one, two = other, cell
                if _touch(points, start, box_start, boxes, eps2, core, query, one, two):
                    link(parent, chief[cell], chief[other])


@njit(nogil=True, cache=True)
def _link_tree(
    index: Index,
    core: np.ndarray,
    parent: np.ndarray,
    chief: np.ndarray,
    mine: np.ndarray,
    first: int,
    last: int,
) -> None:
    """Link each of the cells ``first:last`` with itself and later ones."""
    points, start, tight = index.points, index.start, index.tight
    box_start, boxes, eps2 = index.box_start, index.boxes, index.eps2
    found = np.empty(len(tight), dtype=np.int32)
    query = np.empty(points.shape[0], dtype=np.float64)
    for cell in range(first, last):
        if chief[cell] < 0:
            continue
        cells = search_tree(index, cell, found)
        for at in range(cells):
            other = found[at]
            if other < cell or chief[other] < 0 or not (mine[cell] or mine[other]):
                continue
            if not (tight[cell] and tight[other]):
                _link_points(index, core, parent, cell, other, query)
            elif find(parent, chief[cell]) != find(parent, chief[other]):
                if _touch(points, start, box_start, boxes, eps2, core, query, cell, other):
                    link(parent, chief[cell], chief[other])


def connect_cores(index: Index, owned: int, core: np.ndarray, threads: Threads) -> np.ndarray:
    """Join core points that are neighbours into components.

    Pairs of which neither point is the rank's own are left to the ranks that own them.

    Args:
        index: all points that the rank sees.
        owned: rows of the input below this are the rank's own.
        core: uint8 (n,), in the order of the index.
        threads: the pool that does the work.

    Returns:
        int32 (n,): for a core point the first point of its component, else -1.
    """
    parent = np.empty(len(core), dtype=np.int32)
    chief = np.empty(len(index.tight), dtype=np.int32)
    mine = np.empty(len(index.tight), dtype=np.uint8)
    ranges = threads.ranges(len(chief), GRAIN)
    threads.map(_start_trees, ranges, index, owned, core, parent, chief, mine)
    forest = (index, core, parent, chief, mine)
    if len(index.rows):
        # Cells that touch are linked first, so that most of the others need no distances.
        threads.map(_link_grid, ranges, *forest, True)
        threads.map(_link_grid, ranges, *forest, False)
    else:
        threads.map(_link_tree, ranges, *forest)
    threads.map(flatten, threads.ranges(len(core), 1 << 14), parent, core)
    return parent


@njit(nogil=True, cache=True)
def number_components(parent: np.ndarray, order: np.ndarray, owned: int) -> np.ndarray:
    """Number the components from 0, in place, and find the lowest own row of each.

    Args:
        parent: int32 (n,), what `connect_cores` returned; afterwards the component of each
            core point, else -1.
        order: int32 (n,), the order of the index.
        owned: rows of the input below this are the rank's own.

    Returns:
        int64 (components,), the lowest row of a core point of the rank's own in each, or
        `NOBODY`.
    """
    count = 0
    for i in range(len(parent)):
        count += parent[i] == i
    lowest = np.full(count, NOBODY, dtype=np.int64)
    count = 0
    for i in range(len(parent)):
        root = parent[i]
        if root < 0:
            continue
        # A root is the first of its component, so the others find its number there.
        if root == i:
            parent[i] = count
            count += 1
        else:
            parent[i] = parent[root]
        if order[i] < owned:
            lowest[parent[i]] = min(lowest[parent[i]], order[i])
    return lowest
