"""The index of one rank's points: cells that lie together in memory, and who is near whom.

In up to three dimensions the cells are those of a grid with sides of ``eps / sqrt(d)``, so
that all points of a cell are neighbours of each other. A cell with `min_samples` points
therefore consists of core points, and needs no distances. In more dimensions, or where the
grid would be too wide to number, the leaves of a k-d tree take the place of the cells.

Gan, Tao: DBSCAN revisited, SIGMOD 2015; Wang, Gu, Shun: Theoretically-efficient and
practical parallel DBSCAN, SIGMOD 2020.
"""

from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF
from course.clustering.kdtree import grow, make_boxes
from course.clustering.sorting import GRAIN, cell_key, sort_rows
from course.clustering.threads import Threads

GRID_DIMENSIONS = 3
REACH = 2  # how many grid cells away a neighbour can be, in up to three dimensions
BOXED = 16  # a grid cell with more points than this gets a bounding box
WIDEST = 1 << 26  # grid cells along one dimension, so that rounding cannot move a point by one


class Index(NamedTuple):
    """Points sorted into cells. Cell ``c`` holds the points ``start[c]:start[c + 1]``.

    Attributes:
        points: coordinates by dimension, shape (d, n), float32 or float64.
        order: the row in the input of each point, int32 (n,).
        start: int32 (cells + 1,).
        tight: uint8 (cells,), 1 where all points of the cell are neighbours.
        box_start: int32 (cells + 1,), the cell's rows in `boxes`: none for small cells,
            else its own and then those of its leaves.
        boxes: (boxes, 2, d).
        key: the cell's number in the grid, row by row, and one larger than all, int64
            (cells + 1,); empty for a tree.
        rows: differences of `key` from a cell to the neighbouring rows of the grid, int64,
            nearest first.
        offsets: the same by dimension, int64 (rows, d - 1).
        low: where the grid begins, float64 (d,).
        scale: cells per unit of length.
        children: the tree's nodes, int32 (nodes, 2): two nodes, or -1 and a cell; empty
            for a grid.
        nodes: the nodes' boxes, (nodes, 2, d).
        eps2: the square of the radius.
    """

    points: np.ndarray
    order: np.ndarray
    start: np.ndarray
    tight: np.ndarray
    box_start: np.ndarray
    boxes: np.ndarray
    key: np.ndarray
    rows: np.ndarray
    offsets: np.ndarray
    low: np.ndarray
    scale: float
    children: np.ndarray
    nodes: np.ndarray
    eps2: float


@njit(nogil=True, cache=True)
def _gather(
    points: np.ndarray, order: np.ndarray, sorted_points: np.ndarray, first: int, last: int
) -> None:
    for i in range(first, last):
        row = order[i]
        for k in range(points.shape[0]):
            sorted_points[k, i] = points[k, row]


@njit(nogil=True, cache=True)
def _bounds(points: np.ndarray, first: int, last: int) -> np.ndarray:
    d = points.shape[0]
    box = np.empty((2, d), dtype=points.dtype)
    for k in range(d):
        box[0, k] = box[1, k] = points[k, first]
    for i in range(first + 1, last):
        for k in range(d):
            value = points[k, i]
            box[0, k] = min(box[0, k], value)
            box[1, k] = max(box[1, k], value)
    return box


@njit(nogil=True, cache=True)
def _count_cells(points: np.ndarray, grid: tuple, first: int, last: int) -> int:
    """Count the cells that begin with one of the sorted points ``first:last``."""
    low, scale, margin, strides = grid
    before = -1
    if first > 0:
        before = cell_key(points, first - 1, low, scale, margin, strides)
    cells = 0
    for i in range(first, last):
        here = cell_key(points, i, low, scale, margin, strides)
        cells += here != before
        before = here
    return cells


@njit(nogil=True, cache=True)
def _mark_cells(
    points: np.ndarray,
    grid: tuple,
    start: np.ndarray,
    key: np.ndarray,
    cell: int,
    first: int,
    last: int,
) -> None:
    """Note the cells that begin with one of the points ``first:last``; the first is `cell`."""
    low, scale, margin, strides = grid
    before = -1
    if first > 0:
        before = cell_key(points, first - 1, low, scale, margin, strides)
    for i in range(first, last):
        here = cell_key(points, i, low, scale, margin, strides)
        if here != before:
            start[cell], key[cell] = i, here
            cell += 1
        before = here


@njit(nogil=True, cache=True)
def _count_boxes(start: np.ndarray, boxed: int) -> np.ndarray:
    box_start = np.empty(len(start), dtype=np.int32)
    box_start[0] = 0
    for c in range(len(start) - 1):
        n = start[c + 1] - start[c]
        boxes = 0
        if n > boxed:
            boxes = 1
        if n > LEAF:
            boxes += (n + LEAF - 1) // LEAF
        box_start[c + 1] = box_start[c] + boxes
    return box_start


def build_index(points: np.ndarray, eps: float, threads: Threads, reuse: bool) -> Index:
    """Sort points into cells.

    Args:
        points: finite, float32 or float64, by dimension: shape (d, n) with 1 <= n < 2**31.
        eps: radius of a neighbourhood, in the units of the data, above 0.
        threads: the pool that does the work.
        reuse: sort `points` in place, so that there is never a second copy.
    """
    d, n = points.shape
    parts = threads.map(_bounds, threads.ranges(n, 2 * GRAIN, per_thread=1), points)
    low = np.min([part[0] for part in parts], axis=0).astype(np.float64)
    high = np.max([part[1] for part in parts], axis=0).astype(np.float64)
    # A little narrower than eps / sqrt(d), so that rounding does not make cells too wide.
    width = eps / np.sqrt(d) * (1 - 1e-6)
    with np.errstate(over="ignore"):
        counts = np.floor((high - low) / width) + 1
    if d <= GRID_DIMENSIONS and counts.max() < WIDEST:
        # Each row of cells has `REACH` empty ones on both sides.
        sides = [int(count) + 2 * REACH for count in counts]
        strides = [prod(sides[k + 1 :]) for k in range(d)]
        size = strides[0] * sides[0]
        if size < 1 << 62:
            grid = (low, 1 / width, REACH, np.array(strides, dtype=np.int64))
            return _build_grid(points, grid, size, eps, threads, reuse)
    return _build_tree(points, eps, threads, reuse)


def _move(points: np.ndarray, order: np.ndarray, threads: Threads, reuse: bool) -> np.ndarray:
    """Return the points in this order, by dimension, in their old place or in a new one."""
    ranges = threads.ranges(len(order), GRAIN)
    if not reuse:
        moved = np.empty(points.shape, dtype=points.dtype)
        threads.map(_gather, ranges, points, order, moved)
        return moved
    column = np.empty((1, len(order)), dtype=points.dtype)
    for k in range(len(points)):
        threads.map(_gather, ranges, points[k : k + 1], order, column)
        points[k] = column[0]
    return points


def _build_grid(
    points: np.ndarray, grid: tuple, size: int, eps: float, threads: Threads, reuse: bool
) -> Index:
    """Sort by grid cell; all their numbers are below `size`."""
    low, scale, _, strides = grid
    d, n = points.shape
    order = sort_rows(points, grid, size.bit_length(), threads)
    points = _move(points, order, threads, reuse)
    ranges = threads.ranges(n, 2 * GRAIN, per_thread=1)
    cells = threads.map(_count_cells, ranges, points, grid)
    start = np.empty(sum(cells) + 1, dtype=np.int32)
    key = np.empty(len(start), dtype=np.int64)
    start[-1], key[-1] = n, np.iinfo(np.int64).max
    begins = np.cumsum([0, *cells])
    threads.each(
        _mark_cells,
        [
            (points, grid, start, key, int(cell), *part)
            for cell, part in zip(begins, ranges, strict=False)
        ],
    )
    # The nearest rows come first: most searches end there.
    offsets = sorted(
        product(range(-REACH, REACH + 1), repeat=d - 1), key=lambda row: sum(k * k for k in row)
    )
    rows = [sum(int(k * s) for k, s in zip(row, strides, strict=False)) for row in offsets]
    return _finish(
        points,
        order,
        start,
        BOXED,
        eps,
        threads,
        key=key,
        rows=np.array(rows, dtype=np.int64),
        offsets=np.array(offsets, dtype=np.int64).reshape(len(rows), d - 1),
        low=low,
        scale=scale,
        children=np.empty((0, 2), dtype=np.int32),
        nodes=np.empty((0, 2, d), dtype=points.dtype),
    )


def _build_tree(points: np.ndarray, eps: float, threads: Threads, reuse: bool) -> Index:
    """Sort by k-d tree."""
    d = len(points)
    if not reuse:
        points = np.array(points, order="C")
    order, start, children, nodes = grow(points, eps * eps)
    points = _move(points, order, threads, True)
    empty = np.empty(0, dtype=np.int64)
    return _finish(
        points,
        order,
        start,
        0,
        eps,
        threads,
        key=empty,
        rows=empty,
        offsets=np.empty((0, d - 1), dtype=np.int64),
        low=np.empty(d),
        scale=1.0,
        children=children,
        nodes=nodes,
    )


def _finish(
    points: np.ndarray,
    order: np.ndarray,
    start: np.ndarray,
    boxed: int,
    eps: float,
    threads: Threads,
    **links: np.ndarray | float,
) -> Index:
    box_start = _count_boxes(start, boxed)
    boxes = np.empty((int(box_start[-1]), 2, len(points)), dtype=points.dtype)
    tight = np.empty(len(start) - 1, dtype=np.uint8)
    threads.map(
        make_boxes,
        threads.ranges(len(tight), 64),
        points,
        order,
        start,
        box_start,
        boxes,
        tight,
        eps * eps,
    )
    return Index(points, order, start, tight, box_start, boxes, eps2=eps * eps, **links)  # type: ignore[arg-type]
