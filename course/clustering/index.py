"""The index of one rank's points: cells that lie together in memory, and who is near whom.

In up to three dimensions the cells are those of a grid with sides of ``eps / sqrt(d)``, so
that all points of a cell are neighbours of each other. A cell with `min_samples` points
therefore consists of core points, and needs no distances. In more dimensions, or where the
grid would be too wide to number, the leaves of a k-d tree take the place of the cells.

Gan, Tao: DBSCAN revisited, SIGMOD 2015; Wang, Gu, Shun: Theoretically-efficient and
practical parallel DBSCAN, SIGMOD 2020.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from numba import njit

from course.clustering.boxes import LEAF
from course.clustering.kdtree import grow, make_boxes
from course.clustering.sorting import sort_keys
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
def _number_cells(
    data: np.ndarray,
    low: np.ndarray,
    scale: float,
    strides: np.ndarray,
    keys: np.ndarray,
    first: int,
    last: int,
) -> None:
    for i in range(first, last):
        key = np.int64(0)
        for k in range(data.shape[1]):
            cell = np.int64((np.float64(data[i, k]) - low[k]) * scale)
            key += (cell + REACH) * strides[k]
        keys[i] = key


@njit(nogil=True, cache=True)
def _gather(data: np.ndarray, order: np.ndarray, points: np.ndarray, first: int, last: int) -> None:
    for i in range(first, last):
        row = order[i]
        for k in range(data.shape[1]):
            points[k, i] = data[row, k]


@njit(nogil=True, cache=True)
def _bounds(data: np.ndarray, first: int, last: int) -> np.ndarray:
    box = np.empty((2, data.shape[1]), dtype=data.dtype)
    for k in range(data.shape[1]):
        box[0, k] = box[1, k] = data[first, k]
    for i in range(first + 1, last):
        for k in range(data.shape[1]):
            value = data[i, k]
            box[0, k] = min(box[0, k], value)
            box[1, k] = max(box[1, k], value)
    return box


@njit(nogil=True, cache=True)
def _mark_cells(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    cells = 1
    for i in range(1, len(keys)):
        cells += keys[i] != keys[i - 1]
    start = np.empty(cells + 1, dtype=np.int32)
    key = np.empty(cells + 1, dtype=np.int64)
    start[0], key[0] = 0, keys[0]
    cell = 1
    for i in range(1, len(keys)):
        if keys[i] != keys[i - 1]:
            start[cell], key[cell] = i, keys[i]
            cell += 1
    start[cells] = len(keys)
    key[cells] = np.iinfo(np.int64).max
    return start, key


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


def build_index(data: np.ndarray, eps: float, threads: Threads) -> Index:
    """Sort the rows of `data` into cells.

    Args:
        data: finite, float32 or float64, C order, shape (n, d) with 1 <= n < 2**31.
        eps: radius of a neighbourhood, in the units of `data`, above 0.
        threads: the pool that does the work.
    """
    n, d = data.shape
    parts = threads.map(_bounds, threads.ranges(n, 1 << 15, per_thread=1), data)
    low = np.min([part[0] for part in parts], axis=0).astype(np.float64)
    high = np.max([part[1] for part in parts], axis=0).astype(np.float64)
    # A little narrower than eps / sqrt(d), so that rounding does not make cells too wide.
    width = eps / np.sqrt(d) * (1 - 1e-6)
    with np.errstate(over="ignore"):
        counts = np.floor((high - low) / width) + 1
    if d > GRID_DIMENSIONS or not counts.max() < WIDEST:
        return _build_tree(data, eps, threads)
    return _build_grid(data, low, 1 / width, counts.astype(np.int64) + 2 * REACH, eps, threads)


def _build_grid(
    data: np.ndarray,
    low: np.ndarray,
    scale: float,
    counts: np.ndarray,
    eps: float,
    threads: Threads,
) -> Index:
    """Sort by grid cell; `counts` has `REACH` empty cells on both sides of each row."""
    n, d = data.shape
    size = 1
    strides = np.empty(d, dtype=np.int64)
    for k in reversed(range(d)):
        strides[k] = size
        size *= int(counts[k])
    if size >= 1 << 62:
        return _build_tree(data, eps, threads)
    keys = np.empty(n, dtype=np.uint32 if size < 1 << 32 else np.uint64)
    ranges = threads.ranges(n, 1 << 14)
    threads.map(_number_cells, ranges, data, low, scale, strides, keys)
    keys, order = sort_keys(keys, size.bit_length(), threads)
    start, key = _mark_cells(keys)
    del keys
    points = np.empty((d, n), dtype=data.dtype)
    threads.map(_gather, ranges, data, order, points)
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
        nodes=np.empty((0, 2, d), dtype=data.dtype),
    )


def _build_tree(data: np.ndarray, eps: float, threads: Threads) -> Index:
    """Sort by k-d tree."""
    d = data.shape[1]
    points = np.array(data.T, order="C")  # a copy, also where d is 1
    rows, start, children, nodes = grow(points, eps * eps)
    order = rows.astype(np.int32)
    threads.map(_gather, threads.ranges(len(order), 1 << 14), data, order, points)
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
