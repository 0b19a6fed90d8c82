"""Cost-balanced redistribution: each rank gets a run of cells with its share of the work.

Götz, Bodenstein, Riedel 2015, section "Cost heuristic". There a cell costs its points times
the points around it, because all those distances are computed. Here dense cells need none,
so a point costs little once its cell is full; see `cell_costs`.
"""

from typing import NamedTuple

import numpy as np
from mpi4py import MPI
from mpi4py.util.dtlib import from_numpy_dtype

SEARCHED = 4.0  # what a point that has to be searched costs more than one that is only sorted
TRIED = 64  # places that are tried at once for each cut between ranks
ROUND = 1 << 25  # bytes that a rank sends in one go, so that its buffers stay small


def cell_costs(counts: np.ndarray, min_samples: int, d: int) -> np.ndarray:
    """Estimate the work that cells cause.

    A cell as wide as the radius is divided into about ``d ** (d / 2)`` small ones when it
    is clustered; points beyond what makes these full cost only the sort.

    Args:
        counts: points in each cell, of all ranks.
        min_samples: points that make a small cell full.
        d: dimensions, at most those of the grid.
    """
    searched = np.minimum(counts, min_samples * d ** (d / 2))
    return counts + SEARCHED * searched


def _count_cells(cells: np.ndarray, comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    """Count the points of all ranks in each cell.

    No rank sees the whole histogram: each looks after the cells whose number, scrambled,
    falls to it.

    Returns:
        The cells this rank looks after, ascending, and their points.
    """
    own, counts = np.unique(cells, return_counts=True)
    scrambled = own.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keeper = ((scrambled >> np.uint64(33)) % np.uint64(comm.size)).astype(np.int64)
    order = np.argsort(keeper, kind="stable")
    sent = np.column_stack((own, counts))[order]
    received = send_rows(sent, np.bincount(keeper, minlength=comm.size), comm)
    kept, where = np.unique(received[:, 0], return_inverse=True)
    return kept, np.bincount(where, weights=received[:, 1], minlength=len(kept))


def find_bounds(
    cells: np.ndarray, size: int, min_samples: int, d: int, comm: MPI.Intracomm
) -> np.ndarray:
    """Cut the cells into one run for each rank, as equal in cost as whole cells allow.

    Each cut is searched for among a few places, then between two of these, and so on: how
    much lies below all places is one sum over the ranks.

    Args:
        cells: the cell of each row of this rank.
        size: cell numbers are below this.
        min_samples: see `cell_costs`.
        d: see `cell_costs`.
        comm: the ranks.

    Returns:
        int64 (comm.size - 1,): rank r owns ``bounds[r - 1] <= cell < bounds[r]``.
    """
    kept, counts = _count_cells(cells, comm)
    below = np.concatenate(([0.0], np.cumsum(cell_costs(counts, min_samples, d))))
    total = comm.allreduce(below[-1])
    wanted = total * np.arange(1, comm.size) / comm.size
    low = np.zeros((comm.size - 1, 1), dtype=np.int64)
    high = np.full_like(low, size)
    while np.any(low < high):
        # Ascending places from low to just below high, for all cuts at once.
        places = low + (high - low) // TRIED * np.arange(TRIED)
        places += np.minimum(np.arange(TRIED), (high - low) % TRIED)
        cost = below[np.searchsorted(kept, places)]
        comm.Allreduce(MPI.IN_PLACE, cost)
        short = (cost < wanted[:, None]).sum(axis=1, keepdims=True)  # these are too low
        padded = np.concatenate((places, high), axis=1)
        high = np.take_along_axis(padded, short, axis=1)
        low = np.where(
            short > 0, np.take_along_axis(padded, np.maximum(short - 1, 0), axis=1) + 1, low
        )
        low = np.minimum(low, high)
    return low[:, 0]


def send_rows(rows: np.ndarray, counts: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Send the first ``counts[0]`` of `rows` to rank 0, and so on; return what came.

    Args:
        rows: shape (n,) or (n, k).
        counts: rows for each rank, sum n.
        comm: the ranks.
    """
    incoming = np.empty(comm.size, dtype=np.int64)
    comm.Alltoall(np.ascontiguousarray(counts, dtype=np.int64), incoming)
    received = np.empty((int(incoming.sum()), *rows.shape[1:]), dtype=rows.dtype)
    exchange(rows, counts, received, incoming, comm)
    return received


def exchange(
    rows: np.ndarray,
    counts: np.ndarray,
    received: np.ndarray,
    incoming: np.ndarray,
    comm: MPI.Intracomm,
) -> None:
    """Do `send_rows` where it is known what comes, into `received`."""
    width = int(np.prod(rows.shape[1:], dtype=np.int64))
    kind = from_numpy_dtype(rows.dtype)
    comm.Alltoallv(
        [np.ascontiguousarray(rows), (np.asarray(counts) * width).tolist(), kind],
        [received, (np.asarray(incoming) * width).tolist(), kind],
    )


class Route(NamedTuple):
    """How rows travelled, to send something back along the same way.

    Attributes:
        owner: the rank that owns each row of this rank, int32 (n,).
        step: rows of this rank that left in one round.
        incoming: rows that came in each round from each rank, int64 (rounds, ranks).
    """

    owner: np.ndarray
    step: int
    incoming: np.ndarray


def redistribute(
    data: np.ndarray, cells: np.ndarray, bounds: np.ndarray, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray, Route]:
    """Send each row to the rank that owns its cell.

    Args:
        data: this rank's rows, shape (n, d).
        cells: int64 (n,).
        bounds: what `find_bounds` returned.
        comm: the ranks.

    Returns:
        The rows this rank now owns, (m, d); the number of each in the order of all ranks'
        input, int64 (m,); and the way back.
    """
    n, d = data.shape
    owner = np.searchsorted(bounds, cells, side="right").astype(np.int32)
    step = max(1, ROUND // (data.itemsize * d))
    rounds = comm.allreduce(-(-n // step), MPI.MAX)
    before = comm.exscan(n) or 0
    leaving = np.bincount(owner, minlength=comm.size).astype(np.int64)
    coming = np.empty_like(leaving)
    comm.Alltoall(leaving, coming)
    owned = np.empty((int(coming.sum()), d), dtype=data.dtype)
    numbers = np.empty(len(owned), dtype=np.int64)
    route = Route(owner, step, np.zeros((rounds, comm.size), dtype=np.int64))
    filled = 0
    for number in range(rounds):
        low = number * step
        part = owner[low : low + step]
        order = low + np.argsort(part, kind="stable")
        counts = np.bincount(part, minlength=comm.size).astype(np.int64)
        incoming = route.incoming[number]
        comm.Alltoall(counts, incoming)
        end = filled + int(incoming.sum())
        exchange(data[order], counts, owned[filled:end], incoming, comm)
        exchange(before + order, counts, numbers[filled:end], incoming, comm)
        filled = end
    return owned, numbers, route


def send_back(values: np.ndarray, route: Route, comm: MPI.Intracomm) -> np.ndarray:
    """Return to each rank the `values` of its own rows, in the order it gave them in.

    Args:
        values: int64 (m,), one for each row this rank owns, in the order they came.
        route: what `redistribute` returned.
        comm: the ranks.

    Returns:
        int64 (n,).
    """
    result = np.empty(len(route.owner), dtype=values.dtype)
    sent = 0
    for number in range(len(route.incoming)):
        low = number * route.step
        part = route.owner[low : low + route.step]
        order = low + np.argsort(part, kind="stable")
        counts = np.bincount(part, minlength=comm.size)
        came = route.incoming[number]
        back = np.empty(len(part), dtype=values.dtype)
        exchange(values[sent : sent + int(came.sum())], came, back, counts, comm)
        result[order] = back
        sent += int(came.sum())
    return result
