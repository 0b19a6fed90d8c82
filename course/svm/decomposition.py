"""One large two-class SVM on all ranks: decomposition with a large working set, as in piSVM.

Each step solves a subproblem of `working_set` variables (``-o``), of which at most
`new_per_step` are new (``-q``), and brings the gradient up to date::

    every rank   proposes the worst violators of its slice of the points   Allgather
    every rank   tells which rows of the working set it has cached         Allgather
    every rank   computes its share of the rows; all get the square block  Allgatherv
    rank 0       solves the subproblem and sends the change of beta        Bcast
    every rank   adds up its rows times the change; the sum is shared      Allreduce

piSVM 1.2 had loops of ``MPI_Bcast`` where the cache status and the gradient are shared;
version 1.2.1 replaced them by ``MPI_Allgather`` and ``MPI_Allreduce`` (the lecture's slide on
piSVM). The rows that ranks cache are different ones: the caches add up.

Working set: Zanni, Serafini and Zanghirati, "Parallel software for training large scale
support vector machines on multiprocessor systems", JMLR 7, 2006.
"""

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from course.svm import smo
from course.svm.rows import PRECOMPUTED, Source, padded

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

    from course.svm.pairs import Penalty, Settings


class RowCache:
    """The most recently used rows of a Gram matrix, up to a number of bytes."""

    def __init__(self, n: int, dtype: np.dtype, limit: int) -> None:
        """Keep rows of `n` numbers of `dtype` in at most `limit` bytes, but at least one."""
        self._rows: OrderedDict[int, np.ndarray] = OrderedDict()
        self.capacity = max(1, limit // (n * dtype.itemsize))
        self.computed = 0

    def __contains__(self, i: int) -> bool:
        """Tell whether row `i` is kept."""
        return i in self._rows

    def get(self, i: int) -> np.ndarray:
        """Return row `i`, which must be kept."""
        self._rows.move_to_end(i)
        return self._rows[i]

    def put(self, i: int, row: np.ndarray) -> None:
        """Keep `row`; the one that was used least recently makes room for it."""
        while len(self._rows) >= self.capacity:
            self._rows.popitem(last=False)
        self._rows[i] = row
        self.computed += 1


class Decomposition:
    """One two-class problem, known to every rank, and how far its solution has got.

    Attributes:
        beta: signed dual coefficients, shape (n,), the same on every rank.
        F: gradient ``K beta - y``, shape (n,).
    """

    def __init__(
        self,
        first: np.ndarray,
        second: np.ndarray,
        C: "tuple[Penalty, Penalty]",
        settings: "Settings",
        comm: "Comm | None" = None,
    ) -> None:
        """Start at ``beta = 0``; the arguments are those of `course.svm.pairs.solve_pair`."""
        from course.svm.pairs import box

        self.X = np.concatenate([first, second])
        self.y, self.lower, self.upper = box(len(first), len(second), C)
        self.n = len(self.y)
        self.beta, self.F = np.zeros(self.n), -self.y
        self.settings, self.comm = settings, comm
        self.rank, self.size = (comm.rank, comm.size) if comm is not None else (0, 1)
        # Each rank holds at least its share of one working set; more only within the budget.
        self.working_set = max(2, min(settings.working_set, self.n))
        self.new = max(2, min(settings.new_per_step, self.working_set) // 2 * 2)
        block = 2 * self.working_set * padded(self.working_set) * self.X.itemsize
        self.cache = RowCache(self.n, self.X.dtype, max(0, settings.cache_bytes - block))
        self.working_set = self._affordable()
        self.new = min(self.new, self.working_set // 2 * 2)

    def _affordable(self) -> int:
        """Return the working set's size, cut to what the caches of all ranks can hold."""
        rows = self.cache.capacity * self.size
        return max(2, min(self.working_set, rows))

    def _proposals(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the worst violators among all points, growing and falling, and the gap."""
        half = self.new // 2
        start, stop = self.n * self.rank // self.size, self.n * (self.rank + 1) // self.size
        mine = np.empty((2, 2, half))  # growing or falling; position, F
        mine[:, 0] = -1
        mine[0, 1], mine[1, 1] = np.inf, -np.inf
        F, beta = self.F[start:stop], self.beta[start:stop]
        can_grow = np.flatnonzero(beta < self.upper[start:stop])
        can_fall = np.flatnonzero(beta > self.lower[start:stop])
        for kind, where, key in ((0, can_grow, F[can_grow]), (1, can_fall, -F[can_fall])):
            if where.size > half:
                part = np.argpartition(key, half - 1)[:half]
                where = where[part]
            mine[kind, 0, : where.size] = where + start
            mine[kind, 1, : where.size] = F[where]
        everyone = np.empty((self.size, 2, 2, half))
        if self.comm is None:
            everyone[0] = mine
        else:
            self.comm.Allgather(mine, everyone)
        worst = []
        for kind, sign in ((0, 1.0), (1, -1.0)):
            position = everyone[:, kind, 0].ravel()
            value = everyone[:, kind, 1].ravel()
            order = np.lexsort((position, sign * value))[:half]
            worst.append(position[order[position[order] >= 0]].astype(np.int64))
        gap = everyone[:, 1, 1].max() - everyone[:, 0, 1].min()
        return worst[0], worst[1], float(gap)

    def _choose(self, growing: np.ndarray, falling: np.ndarray, old: np.ndarray) -> np.ndarray:
        """Return the working set: new violators, filled up with free, then other, old ones."""
        new = np.unique(np.concatenate([growing, falling]))
        old = old[~np.isin(old, new)]
        beta = self.beta[old]
        free = (beta > self.lower[old]) & (beta < self.upper[old])
        kept = np.concatenate([old[free], old[~free]])[: self.working_set - len(new)]
        return np.concatenate([new, kept])

    def _owners(self, chosen: np.ndarray) -> np.ndarray:
        """Return which rank provides each row of the working set: one that has it, if any."""
        status = np.array([i in self.cache for i in chosen.tolist()], np.int8)
        everyone = np.empty((self.size, len(chosen)), np.int8)
        if self.comm is None:
            everyone[0] = status
        else:
            self.comm.Allgather(status, everyone)
        owner = np.where(everyone.any(axis=0), everyone.argmax(axis=0), -1)
        held = np.bincount(owner[owner >= 0], minlength=self.size)
        most = -(-len(chosen) // self.size)
        for r in range(self.size):  # nobody provides more than a fair share
            owner[np.flatnonzero(owner == r)[most:]] = -1
        held = np.bincount(owner[owner >= 0], minlength=self.size)
        for k in np.flatnonzero(owner < 0):
            owner[k] = held.argmin()
            held[owner[k]] += 1
        return owner

    def _provide(self, mine: np.ndarray) -> list[np.ndarray]:
        """Return the rows of the points `mine`; compute those that are not cached."""
        rows = {i: self.cache.get(i) for i in mine.tolist() if i in self.cache}
        missing = np.array([i for i in mine.tolist() if i not in rows], np.int64)
        for start, block in self.settings.kernel.blocks(self.X[missing], self.X):
            for i, row in zip(missing[start : start + len(block)].tolist(), block, strict=True):
                rows[i] = row.copy()
                self.cache.put(i, rows[i])
        return [rows[i] for i in mine.tolist()]

    def _square(self, chosen: np.ndarray, owner: np.ndarray, rows: list) -> np.ndarray:
        """Return the Gram matrix of the working set, put together from all ranks' rows."""
        m = len(chosen)
        mine = np.array([row[chosen] for row in rows], self.X.dtype).reshape(-1, m)
        if self.comm is None:
            return mine
        square = np.empty((m, m), self.X.dtype)
        gathered = np.empty((m, m), self.X.dtype)
        counts = np.bincount(owner, minlength=self.size) * m
        self.comm.Allgatherv(mine, (gathered, counts))
        square[np.argsort(owner, kind="stable")] = gathered
        # Two ranks may round K[i, j] and K[j, i] differently; the solver wants one value.
        return np.triu(square) + np.triu(square, 1).T

    def _change(self, chosen: np.ndarray, square: np.ndarray) -> tuple[np.ndarray, int]:
        """Solve the subproblem on rank 0; return the change of beta and the steps it took."""
        change = np.zeros(len(chosen) + 1)
        if self.rank == 0:
            m = len(chosen)
            beta, F = self.beta[chosen], self.F[chosen].copy()
            target = square.astype(np.float64) @ beta - F
            nothing = np.empty((0, 0, 4, 64), square.dtype), np.empty((0, 64), square.dtype)
            source = Source(*nothing, square, np.arange(m), PRECOMPUTED, 0.0, 0.0, 0)
            rows = np.zeros((m, padded(m)), square.dtype)
            spare = np.empty(smo.spare_size(m), square.dtype)
            before = beta.copy()
            steps, _ = smo.solve(
                source, rows, np.zeros(m, bool), spare, target, self.lower[chosen],
                self.upper[chosen], beta, F, self.settings.tol / 2, self.settings.max_steps, True,
            )  # fmt: skip
            change[:-1], change[-1] = beta - before, steps
            # A variable that reached its bound must hit it exactly on every rank.
        if self.comm is not None:
            self.comm.Bcast(change, root=0)
        return change[:-1], int(change[-1])

    def solve(self) -> tuple[np.ndarray, np.ndarray, int, float]:
        """Iterate until no pair of variables violates optimality by `tol` or more.

        Returns:
            ``(beta, F, steps, violation)`` as `course.svm.smo.solve`; steps of subproblems
            are added up.
        """
        chosen = np.empty(0, np.int64)
        steps = 0
        while True:
            growing, falling, gap = self._proposals()
            if gap < self.settings.tol or steps >= self.settings.max_steps:
                return self.beta, self.F, steps, gap
            chosen = self._choose(growing, falling, chosen)
            owner = self._owners(chosen)
            mine = np.flatnonzero(owner == self.rank)
            rows = self._provide(chosen[mine])
            change, done = self._change(chosen, self._square(chosen, owner, rows))
            if done == 0:  # what gap there is lies below the resolution of the dtype
                return self.beta, self.F, steps, gap
            steps += done
            self._apply(chosen, change)
            part = np.zeros(self.n)
            for row, k in zip(rows, mine, strict=True):
                if change[k] != 0.0:
                    part += change[k] * row
            total = part
            if self.comm is not None:
                total = np.empty(self.n)
                self.comm.Allreduce(part, total)
            self.F += total

    def _apply(self, chosen: np.ndarray, change: np.ndarray) -> None:
        """Add `change` to beta, and snap what rounding left beside a bound onto it."""
        beta = self.beta[chosen] + change
        low, up = self.lower[chosen], self.upper[chosen]
        slack = 1e-12 * (up - low)
        beta[beta - low < slack] = low[beta - low < slack]
        beta[up - beta < slack] = up[up - beta < slack]
        self.beta[chosen] = beta
