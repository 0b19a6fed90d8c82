"""Grid index of all ranks' points: the phase that lays cells over the data and numbers them.

Cells are as wide as the radius, so that the neighbours of a point lie in its cell and those
that touch it (Götz, Bodenstein, Riedel 2015, section "Grid-based data indexing"). Cells are
numbered row by row; a rank later owns a run of numbers.
"""

from itertools import product
from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from numba import njit

from course.clustering.threads import Threads

DIMENSIONS = 3  # of more, those in which the data extend furthest are used
WIDEST = 1 << 20  # cells along one dimension
SAMPLE = 256  # rows of a rank that are looked at to place the grid


class Grid(NamedTuple):
    """Cells of the radius' width in some of the dimensions.

    Points outside the grid count as lying in its outermost cells: whoever is a neighbour
    still is in a cell that touches.

    Attributes:
        dimensions: which dimensions it divides, the widest first, int64 (g,).
        low: where it begins, float64 (g,).
        scale: cells per unit of length.
        counts: cells in each dimension, int64 (g,).
        strides: how much a step in each dimension changes a cell's number, int64 (g,).
    """

    dimensions: np.ndarray
    low: np.ndarray
    scale: float
    counts: np.ndarray
    strides: np.ndarray

    @property
    def size(self) -> int:
        """All cell numbers are below this."""
        return int(self.strides[0] * (self.counts[0] + 2))

    def rows(self) -> np.ndarray:
        """Return how a cell's number differs from the centres of its neighbouring rows."""
        steps = product((-1, 0, 1), repeat=len(self.strides) - 1)
        rows = [sum(k * int(s) for k, s in zip(step, self.strides, strict=False)) for step in steps]
        return np.array(rows, dtype=np.int64)


def lay_grid(data: np.ndarray, eps: float, comm: MPI.Intracomm) -> Grid:
    """Lay one grid over the rows of all ranks.

    Args:
        data: this rank's rows, shape (n, d); n may be 0, but not on all ranks.
        eps: the radius.
        comm: the ranks.
    """
    n, d = data.shape
    chosen = data[np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64)].astype(np.float64)
    sample = np.concatenate(comm.allgather(chosen))
    low, high = np.full(d, np.inf), np.full(d, -np.inf)
    if n:
        low, high = data.min(axis=0).astype(np.float64), data.max(axis=0).astype(np.float64)
    comm.Allreduce(MPI.IN_PLACE, low, MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, high, MPI.MAX)
    # A little wider than eps, so that rounding cannot put neighbours two cells apart.
    width = eps * (1 + 2.0**-20)
    # The spread of the sample's middle: one stray point must not decide where cells are.
    spread = np.subtract(*np.quantile(sample, (0.95, 0.05), axis=0))
    dimensions = np.argsort(-spread, kind="stable")[:DIMENSIONS]
    middle = np.median(sample, axis=0)[dimensions]
    low, high = low[dimensions], high[dimensions]
    low = np.maximum(low, middle - width * (WIDEST // 2))
    with np.errstate(over="ignore"):
        counts = np.minimum(np.floor((high - low) / width) + 1, WIDEST).astype(np.int64)
    strides = np.ones(len(counts), dtype=np.int64)
    for k in reversed(range(len(counts) - 1)):
        strides[k] = strides[k + 1] * (counts[k + 1] + 2)  # an empty cell on both sides
    return Grid(dimensions, low, 1 / width, counts, strides)


@njit(nogil=True, cache=True)
def _number(
    data: np.ndarray,
    dimensions: np.ndarray,
    low: np.ndarray,
    scale: float,
    counts: np.ndarray,
    strides: np.ndarray,
    cells: np.ndarray,
    first: int,
    last: int,
) -> None:
    for i in range(first, last):
        number = np.int64(0)
        for k in range(len(dimensions)):
            place = (np.float64(data[i, dimensions[k]]) - low[k]) * scale
            place = min(max(place, 0.0), np.float64(counts[k] - 1))
            number += (np.int64(place) + 1) * strides[k]
        cells[i] = number


def cell_numbers(data: np.ndarray, grid: Grid, threads: Threads) -> np.ndarray:
    """Return the number of each row's cell, int64 (n,)."""
    cells = np.empty(len(data), dtype=np.int64)
    ranges = threads.ranges(len(data), 1 << 14)
    threads.map(_number, ranges, data, *grid, cells)
    return cells
