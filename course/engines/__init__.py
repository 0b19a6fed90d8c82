"""MPI engines for notebooks: start, verify, run on, explain, recover and stop.

>>> from course import engines
>>> cluster = engines.start(n=4)
>>> cluster.run(lambda: __import__("mpi4py.MPI").MPI.COMM_WORLD.rank)
[0, 1, 2, 3]
>>> cluster.stop()

In a notebook, ``start`` also registers ``%%px`` with deadlines: an exception on one rank
is shown at once with its rank, and a cell that hangs ends with a report of where.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course.engines.cluster import Engines

__all__ = ["current", "start"]


def start(
    n: int | None = None,
    timeout: float | None = None,
    start_timeout: float = 60,
    trace: bool = True,
) -> "Engines":
    """Start `n` engines as the ranks of one MPI world and return them.

    Engines that an earlier call in this process started are stopped first, so that a cell
    can be run twice.

    Args:
        n: number of ranks, more than cores is fine; by default `settings.ranks(4)`: 4, or
            fewer on a small machine.
        timeout: seconds that ``%%px`` and `Engines.run` wait unless told otherwise;
            600 in the small setting, 24 hours in the full one.
        start_timeout: seconds that the engines may take to come up.
        trace: record the ranks' MPI calls (`course.mpi.trace`), so that a hang can be
            explained; `Engines.trace` reads the record. It costs a few microseconds a call.

    Raises:
        ValueError: `n` is not a positive whole number.
        FileNotFoundError: no ``mpiexec``.
        EnginesError: they did not come up in time, or are not one world of n ranks.
    """
    from course.engines import cluster

    return cluster.start(n, timeout, start_timeout, trace)


def current() -> "Engines | None":
    """Return the engines that run for this process, or None."""
    from course.engines import cluster

    return cluster.current()
