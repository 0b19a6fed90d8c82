"""What every parallel algorithm and every graded task stands on.

`run` runs a function on fresh MPI ranks. `course.mpi.trace` records calls,
`course.mpi.explain` says why ranks hang, `course.mpi.contract` checks communication and
`course.mpi.partition` says who owns which rows. Importing this package does not load MPI.
"""

from course.mpi.launch import run
from course.mpi.outcome import DeadlineError, DeadlockError, LaunchError, RankError, Run, RunError

__all__ = [
    "DeadlineError",
    "DeadlockError",
    "LaunchError",
    "RankError",
    "Run",
    "RunError",
    "run",
]
