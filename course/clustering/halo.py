"""Halo exchange: each rank gets the points of others that may be neighbours of its own.

Götz, Bodenstein, Riedel 2015, section "Halo exchange": a rank's run of cells is surrounded by
cells of other ranks, whose points it needs to see, but not to label.
"""

from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from numba import njit

from course.clustering.grid import Grid
from course.clustering.redistribute import exchange


class Halo(NamedTuple):
    """Which of the rank's points others need, and how many come from them.

    Attributes:
        leaving: positions among the rank's own points, by receiving rank, int32.
        counts: how many of them each rank receives, int64 (ranks,).
        incoming: how many come from each rank, int64 (ranks,).
    """

    leaving: np.ndarray
    counts: np.ndarray
    incoming: np.ndarray

    @property
    def size(self) -> int:
        """Points in this rank's halo."""
        return int(self.incoming.sum())

    def send(self, values: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Give the ranks around the `values` of points they need; return those of the halo.

        Args:
            values: one for each of the rank's own points, shape (n,).
            comm: the ranks.
        """
        return self.swap(values[self.leaving], comm)

    def swap(self, leaving: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Do `send` with the values of the leaving points only, in their order."""
        received = np.empty(self.size, dtype=leaving.dtype)
        exchange(leaving, self.counts, received, self.incoming, comm)
        return received

    def extend(self, flat: np.ndarray, d: int, comm: MPI.Intracomm) -> np.ndarray:
        """Append the halo to the rank's own points.

        Args:
            flat: coordinates by dimension, shape (d * own,); nobody else may hold it, for it
                grows in place: a copy would need room for all points twice.
            d: dimensions.
            comm: the ranks.

        Returns:
            Shape (d, own + halo).
        """
        own = len(flat) // d
        seen = own + self.size
        outside = [self.send(flat[k * own : (k + 1) * own], comm) for k in range(d)]
        flat.resize(d * seen, refcheck=False)
        for k in reversed(range(d)):
            flat[k * seen : k * seen + own] = flat[k * own : (k + 1) * own]
            flat[k * seen + own : (k + 1) * seen] = outside[k]
        return flat.reshape(d, seen)

    def follow(self, order: np.ndarray) -> tuple["Halo", np.ndarray]:
        """Return the same halo after the points were sorted, and where its points are now.

        Args:
            order: int32 (own + halo,), where each point was before.
        """
        place = _invert(order)
        own = len(order) - self.size
        return self._replace(leaving=place[self.leaving]), place[own:].copy()


@njit(nogil=True, cache=True)
def _invert(order: np.ndarray) -> np.ndarray:
    place = np.empty_like(order)
    for i in range(len(order)):
        place[order[i]] = i
    return place


@njit(nogil=True, cache=True)
def _visit(
    cells: np.ndarray,
    rows: np.ndarray,
    bounds: np.ndarray,
    rank: int,
    counts: np.ndarray,
    leaving: np.ndarray,
    fill: bool,
) -> None:
    """Count, or list, the points that each rank needs."""
    ranks = len(bounds) + 1
    margin = np.max(rows) + 1
    low = bounds[rank - 1] if rank > 0 else np.int64(-1)
    high = bounds[rank] if rank < ranks - 1 else np.iinfo(np.int64).max
    needs = np.full(ranks, -1, dtype=np.int64)
    for i in range(len(cells)):
        cell = cells[i]
        if cell - margin >= low and cell + margin < high:
            continue  # all around it is the rank's own
        for r in range(len(rows)):
            first = np.searchsorted(bounds, cell + rows[r] - 1, side="right")
            last = np.searchsorted(bounds, cell + rows[r] + 1, side="right")
            for other in range(first, last + 1):
                if other != rank and needs[other] != i:
                    needs[other] = i
                    if fill:
                        leaving[counts[other]] = i
                    counts[other] += 1


def find_halo(cells: np.ndarray, grid: Grid, bounds: np.ndarray, comm: MPI.Intracomm) -> Halo:
    """Find out which points are needed where.

    Args:
        cells: the cell of each of the rank's own points, int64 (n,).
        grid: the cells' grid.
        bounds: the ranks' runs of cells, see `find_bounds`.
        comm: the ranks.
    """
    rows = grid.rows()
    counts = np.zeros(comm.size, dtype=np.int64)
    _visit(cells, rows, bounds, comm.rank, counts, np.empty(0, dtype=np.int32), False)
    leaving = np.empty(int(counts.sum()), dtype=np.int32)
    places = np.cumsum(counts) - counts
    _visit(cells, rows, bounds, comm.rank, places, leaving, True)
    incoming = np.empty_like(counts)
    comm.Alltoall(counts, incoming)
    return Halo(leaving, counts, incoming)
