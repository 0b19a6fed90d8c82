"""Distances, computed the same way everywhere, and bounding boxes that bound them exactly.

The rule at the boundary: two points are neighbours if the sum over the dimensions, in
their order, of the squared differences, all in float64, is at most ``eps * eps`` in
float64. Rounding never reverses an inequality: if ``a <= b <= c`` then the rounded
``b - a`` is at most the rounded ``c - a``, and squares and sums keep that order. So a
box's gap and reach, computed in the same order of operations, are exact bounds of what
the same formula gives for the points inside.

Points are stored by dimension, shape (d, n); boxes as (box, low or high, d). Functions take
the whole array and a number, because a view costs more than the arithmetic: it is counted.
"""

import numpy as np
from numba import njit

LEAF = 32  # points that are searched without a further box


@njit(nogil=True, cache=True)
def enclose(points: np.ndarray, start: int, stop: int, boxes: np.ndarray, at: int) -> None:
    """Store in ``boxes[at]`` the bounds of ``points[:, start:stop]``."""
    for k in range(points.shape[0]):
        low = points[k, start]
        high = low
        for i in range(start + 1, stop):
            value = points[k, i]
            low = min(low, value)
            high = max(high, value)
        boxes[at, 0, k] = low
        boxes[at, 1, k] = high


@njit(nogil=True, cache=True)
def diagonal(boxes: np.ndarray, at: int) -> float:
    """Return an upper bound of the squared distance of two points in ``boxes[at]``."""
    total = 0.0
    for k in range(boxes.shape[2]):
        side = float(boxes[at, 1, k]) - float(boxes[at, 0, k])
        total += side * side
    return total


@njit(nogil=True, cache=True)
def point_gap(query: np.ndarray, boxes: np.ndarray, at: int) -> float:
    """Return a lower bound of the squared distance of `query` to a point in ``boxes[at]``."""
    total = 0.0
    for k in range(boxes.shape[2]):
        value = query[k]
        side = 0.0
        if value < boxes[at, 0, k]:
            side = float(boxes[at, 0, k]) - value
        elif value > boxes[at, 1, k]:
            side = value - float(boxes[at, 1, k])
        total += side * side
    return total


@njit(nogil=True, cache=True)
def point_reach(query: np.ndarray, boxes: np.ndarray, at: int) -> float:
    """Return an upper bound of the squared distance of `query` to a point in ``boxes[at]``."""
    total = 0.0
    for k in range(boxes.shape[2]):
        value = query[k]
        side = max(abs(value - float(boxes[at, 0, k])), abs(float(boxes[at, 1, k]) - value))
        total += side * side
    return total


@njit(nogil=True, cache=True)
def box_gap(boxes: np.ndarray, at: int, others: np.ndarray, other: int) -> float:
    """Return a lower bound of the squared distance of points in two boxes."""
    total = 0.0
    for k in range(boxes.shape[2]):
        side = 0.0
        if boxes[at, 1, k] < others[other, 0, k]:
            side = float(others[other, 0, k]) - float(boxes[at, 1, k])
        elif others[other, 1, k] < boxes[at, 0, k]:
            side = float(boxes[at, 0, k]) - float(others[other, 1, k])
        total += side * side
    return total


@njit(nogil=True, cache=True)
def count_within(points: np.ndarray, query: np.ndarray, start: int, stop: int, eps2: float) -> int:
    """Count the points ``start <= j < stop`` within the radius of `query` (float64, (d,))."""
    count = 0
    d = points.shape[0]
    if d == 2:
        x, y = query[0], query[1]
        for j in range(start, stop):
            dx = points[0, j] - x
            dy = points[1, j] - y
            count += dx * dx + dy * dy <= eps2
    elif d == 3:
        x, y, z = query[0], query[1], query[2]
        for j in range(start, stop):
            dx = points[0, j] - x
            dy = points[1, j] - y
            dz = points[2, j] - z
            count += dx * dx + dy * dy + dz * dz <= eps2
    else:
        for j in range(start, stop):
            total = 0.0
            for k in range(d):
                side = points[k, j] - query[k]
                total += side * side
            count += total <= eps2
    return count


@njit(nogil=True, cache=True)
def is_within(points: np.ndarray, query: np.ndarray, j: int, eps2: float) -> bool:
    """Say whether point `j` is within the radius of `query`."""
    total = 0.0
    for k in range(points.shape[0]):
        side = points[k, j] - query[k]
        total += side * side
    return total <= eps2


@njit(nogil=True, cache=True)
def meets_core(
    points: np.ndarray, core: np.ndarray, query: np.ndarray, start: int, stop: int, eps2: float
) -> bool:
    """Say whether a core point ``start <= j < stop`` is within the radius of `query`."""
    d = points.shape[0]
    if d == 2:
        x, y = query[0], query[1]
        for j in range(start, stop):
            dx = points[0, j] - x
            dy = points[1, j] - y
            if dx * dx + dy * dy <= eps2 and core[j]:
                return True
    elif d == 3:
        x, y, z = query[0], query[1], query[2]
        for j in range(start, stop):
            dx = points[0, j] - x
            dy = points[1, j] - y
            dz = points[2, j] - z
            if dx * dx + dy * dy + dz * dz <= eps2 and core[j]:
                return True
    else:
        for j in range(start, stop):
            if core[j] and is_within(points, query, j, eps2):
                return True
    return False
