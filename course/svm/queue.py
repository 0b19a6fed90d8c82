"""A counter that all ranks share: whoever is free takes the next unit of work."""

from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


class SharedCounter:
    """Hand out 0, 1, 2, ..., each number to one rank only.

    The number lives in memory of rank 0 that all ranks may change with ``Fetch_and_op``: no
    rank has to stop its work to serve the others. Opening and closing are collective. In one
    rank, threads take turns with `lock`.
    """

    def __init__(self, comm: "Comm | None" = None) -> None:
        """Count for the ranks of `comm`, or for this process alone."""
        self.comm = comm if comm is not None and comm.size > 1 else None
        self.lock = Lock()
        self._next = 0
        self._window: Any = None

    def __enter__(self) -> "SharedCounter":
        """Create the shared memory, zeroed before anyone can read it."""
        if self.comm is not None:
            from mpi4py import MPI

            mine = 8 if self.comm.rank == 0 else 0
            self._window = MPI.Win.Allocate(mine, 8, comm=self.comm)  # type: ignore[arg-type]
            if self.comm.rank == 0:
                self._window.Lock(0)
                np.frombuffer(self._window.tomemory(), np.int64)[0] = 0
                self._window.Unlock(0)
            self.comm.Barrier()
        return self

    def __exit__(self, *_: object) -> None:
        """Free the shared memory; waits for all ranks."""
        if self._window is not None:
            self._window.Free()

    def next(self) -> int:
        """Return the next number; nobody else gets it."""
        if self._window is None:
            self._next += 1
            return self._next - 1
        from mpi4py import MPI

        one, got = np.ones(1, np.int64), np.empty(1, np.int64)
        self._window.Lock(0)
        self._window.Fetch_and_op(one, got, 0, op=MPI.SUM)
        self._window.Unlock(0)
        return int(got[0])
