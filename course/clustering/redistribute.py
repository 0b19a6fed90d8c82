"""Cost-balanced redistribution: each rank gets a run of cells with its share of the work.

Götz, Bodenstein, Riedel 2015, section "Cost heuristic". There a cell costs its points times
the points around it, because all those distances are computed. Here dense cells need none,
so a point costs little once its cell is full; see `cell_costs`.
"""

from collections.abc import Iterator

import numpy as np
from mpi4py import MPI
from mpi4py.util.dtlib import from_numpy_dtype
from numba import njit

from course.clustering.grid import Grid, cell_numbers
from course.clustering.threads import Threads

SEARCHED = 4.0  # what a point that has to be searched costs more than one that is only sorted
TRIED = 64  # places that are tried at once for each cut between ranks
ROUND = 1 << 18  # rows that a rank looks at or sends in one go, so that its buffers stay small


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


@njit(nogil=True, cache=True)
def _count_runs(cells: np.ndarray) -> np.ndarray:
    """Return the distinct ones of the sorted `cells`, and how often each occurs, (k, 2)."""
    runs = 0
    for i in range(len(cells)):
        runs += i == 0 or cells[i] != cells[i - 1]
    result = np.empty((runs, 2), dtype=np.int64)
    run = -1
    for i in range(len(cells)):
        if i == 0 or cells[i] != cells[i - 1]:
            run += 1
            result[run, 0], result[run, 1] = cells[i], 0
        result[run, 1] += 1
    return result


def _count_cells(
    data: np.ndarray, grid: Grid, threads: Threads, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray]:
    """Count the points of all ranks in each cell.

    No rank sees the whole histogram: each looks after the cells whose number, scrambled,
    falls to it.

    Returns:
        The cells this rank looks after, ascending, and their points.
    """
    cells = cell_numbers(data, grid, threads)
    cells.sort()
    counted = _count_runs(cells)
    del cells
    scrambled = counted[:, 0].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    keeper = ((scrambled >> np.uint64(33)) % np.uint64(comm.size)).astype(np.int64)
    order = np.argsort(keeper, kind="stable")
    received = send_rows(counted[order], np.bincount(keeper, minlength=comm.size), comm)
    kept, where = np.unique(received[:, 0], return_inverse=True)
    return kept, np.bincount(where, weights=received[:, 1], minlength=len(kept))


def find_bounds(
    data: np.ndarray, grid: Grid, min_samples: int, threads: Threads, comm: MPI.Intracomm
) -> np.ndarray:
    """Cut the cells into one run for each rank, as equal in cost as whole cells allow.

    Each cut is searched for among a few places, then between two of these, and so on: how
    much lies below all places is one sum over the ranks.

    Args:
        data: this rank's rows, shape (n, d).
        grid: the cells' grid.
        min_samples: see `cell_costs`.
        threads: the pool that numbers the cells.
        comm: the ranks.

    Returns:
        int64 (comm.size - 1,): rank r owns ``bounds[r - 1] <= cell < bounds[r]``.
    """
    kept, counts = _count_cells(data, grid, threads, comm)
    costs = cell_costs(counts, min_samples, len(grid.dimensions))
    below = np.concatenate(([0.0], np.cumsum(costs)))
    total = comm.allreduce(below[-1])
    wanted = total * np.arange(1, comm.size) / comm.size
    low = np.zeros((comm.size - 1, 1), dtype=np.int64)
    high = np.full_like(low, grid.size)
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
    sent_from: np.ndarray | None = None,
    put_at: np.ndarray | None = None,
) -> None:
    """Do `send_rows` where it is known what comes, into `received`.

    Args:
        rows: shape (n,) or (n, k), contiguous.
        counts: rows for each rank.
        received: like `rows`.
        incoming: rows from each rank.
        comm: the ranks.
        sent_from: where each rank's rows begin in `rows`; one after the other by default.
        put_at: likewise in `received`.
    """
    width = int(np.prod(rows.shape[1:], dtype=np.int64))
    kind = from_numpy_dtype(rows.dtype)
    buffers = []
    for values, numbers, places in ((rows, counts, sent_from), (received, incoming, put_at)):
        places = np.cumsum(numbers) - numbers if places is None else places
        layout = ((np.asarray(part) * width).tolist() for part in (numbers, places))
        buffers.append([values, *layout, kind])
    comm.Alltoallv(*buffers)


@njit(nogil=True, cache=True)
def _group(cells: np.ndarray, bounds: np.ndarray, counts: np.ndarray, order: np.ndarray) -> None:
    """Group rows by the rank that owns their cell; count each rank's rows."""
    owners = np.searchsorted(bounds, cells, side="right")
    counts[:] = 0
    for i in range(len(cells)):
        counts[owners[i]] += 1
    place = np.cumsum(counts) - counts
    for i in range(len(cells)):
        order[place[owners[i]]] = i
        place[owners[i]] += 1


class Route:
    """How rows travel to the ranks that own them, and what belongs to them back.

    Rows leave in rounds of `ROUND`, but arrive by the rank they come from, in its order: so
    a rank owns its rows in the order of all ranks' input.

    Attributes:
        incoming: rows that come in each round from each rank, int64 (rounds, ranks).
        begin: where the rows from each rank begin among those this rank owns.
    """

    def __init__(
        self, data: np.ndarray, grid: Grid, bounds: np.ndarray, comm: MPI.Intracomm
    ) -> None:
        """Find out how many rows go where.

        Args:
            data: this rank's rows, shape (n, d); kept.
            grid: the cells' grid.
            bounds: what `find_bounds` returned.
            comm: the ranks.
        """
        self.data, self.grid, self.bounds, self.comm = data, grid, bounds, comm
        rounds = comm.allreduce(-(-len(data) // ROUND), MPI.MAX)
        self.incoming = np.zeros((rounds, comm.size), dtype=np.int64)
        for number, (_, _, counts) in enumerate(self._rounds()):
            comm.Alltoall(counts, self.incoming[number])
        coming = self.incoming.sum(axis=0)
        self.begin = np.cumsum(coming) - coming

    @property
    def owned(self) -> int:
        """Rows this rank owns."""
        return int(self.incoming.sum())

    def _rounds(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """For each round: its first row, its rows by owner, and how many each rank owns."""
        for number in range(len(self.incoming)):
            first = number * ROUND
            # Owners are found anew each time: that takes less than to read them from memory.
            cells = cell_numbers(self.data[first : first + ROUND], self.grid, Threads(1))
            order = np.empty(len(cells), dtype=np.int64)
            counts = np.empty(self.comm.size, dtype=np.int64)
            _group(cells, self.bounds, counts, order)
            yield first, order, counts

    def _places(self) -> np.ndarray:
        """Where, among this rank's own rows, those of each round and rank begin."""
        return self.begin + np.cumsum(self.incoming, axis=0) - self.incoming

    def send(self) -> np.ndarray:
        """Send each row to the rank that owns it; return this rank's own, by dimension.

        Returns:
            Shape (d * owned,): first all rows' first coordinate, and so on.
        """
        owned, d = self.owned, self.data.shape[1]
        flat = np.empty(d * owned, dtype=self.data.dtype)
        for (first, order, counts), incoming, places in zip(
            self._rounds(), self.incoming, self._places(), strict=True
        ):
            for k in range(d):
                column = self.data[first : first + ROUND, k][order]
                own = flat[k * owned : (k + 1) * owned]
                exchange(column, counts, own, incoming, self.comm, put_at=places)
        return flat

    def row_numbers(self, own: np.ndarray) -> np.ndarray:
        """Return the numbers of some of this rank's own rows among all ranks' input.

        Args:
            own: which, int64 (m,), ascending.
        """
        counts = np.diff(np.searchsorted(own, [*self.begin, self.owned]))
        # The k-th row that came from a rank: that rank knows which it was.
        asked = own - np.repeat(self.begin, counts)
        incoming = np.empty_like(counts)
        self.comm.Alltoall(counts, incoming)
        wanted = np.empty(int(incoming.sum()), dtype=np.int64)
        exchange(asked, counts, wanted, incoming, self.comm)
        asker = np.repeat(np.arange(self.comm.size), incoming)
        answers = np.empty_like(wanted)
        before = self.comm.exscan(len(self.data)) or 0
        left = np.zeros(self.comm.size, dtype=np.int64)
        for first, order, numbers in self._rounds():
            place = wanted - left[asker]
            here = np.flatnonzero((place >= 0) & (place < numbers[asker]))
            groups = np.cumsum(numbers) - numbers
            answers[here] = before + first + order[groups[asker[here]] + place[here]]
            left += numbers
        result = np.empty_like(asked)
        exchange(answers, incoming, result, counts, self.comm)
        return result

    def send_back(self, values: np.ndarray) -> np.ndarray:
        """Return to each rank the `values` of the rows it gave in, in its order.

        Args:
            values: whole numbers (owned,), one for each row this rank owns; of the same
                type on all ranks.

        Returns:
            int64 (n,).
        """
        result = np.empty(len(self.data), dtype=np.int64)
        for (first, order, counts), incoming, places in zip(
            self._rounds(), self.incoming, self._places(), strict=True
        ):
            back = np.empty(len(order), dtype=values.dtype)
            exchange(values, incoming, back, counts, self.comm, sent_from=places)
            result[first + order] = back
        return result
