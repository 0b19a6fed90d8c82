"""Start Horovod in a world of MPI ranks, once, with settings that fit the machine.

`init` is the only place that reaches for ``MPI.COMM_WORLD``, and only where the caller
gives no communicator.
"""

import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from course.processes import cores

if TYPE_CHECKING:
    from mpi4py import MPI

# Milliseconds between two looks of Horovod at what is to be averaged. Its default of 1 ms is
# longer than a training step of the lecture's small nets; benchmarks/data_parallel.py measures it.
# Where ranks outnumber cores, looking that often would take the cores from those who compute, and
# a rank on its own averages nothing.
CYCLE_TIME = 0.1
CYCLE_TIME_CROWDED = 1.0
CYCLE_TIME_ALONE = 100.0
STALL_TIMEOUT = 60.0


@dataclass(frozen=True)
class World:
    """The ranks that train together.

    Attributes:
        comm: the communicator.
        rank: number of this process in `comm`, from 0.
        size: number of processes in `comm`.
        local_rank: number of this process among those on its machine, from 0.
        local_size: number of the processes on this machine.
        threads: TensorFlow threads per operation in this process.
    """

    comm: "MPI.Comm"
    rank: int
    size: int
    local_rank: int
    local_size: int
    threads: int

    def __str__(self) -> str:
        """Return "rank r of n" with the number of threads."""
        return f"rank {self.rank} of {self.size}, {self.threads} threads"


_written: dict[str, str] = {}


def _setting(name: str, argument: float | None, default: float) -> float:
    """Put a number for Horovod into the environment and return it.

    `argument` comes first, then what the user has set, then `default`; what an earlier call
    wrote here is not the user's.
    """
    theirs = os.environ.get(name)
    if argument is None and theirs and theirs != _written.get(name):
        return float(theirs)
    value = default if argument is None else argument
    os.environ[name] = _written[name] = f"{value:g}"
    return value


def _set_threads(threads: int) -> int:
    """Give TensorFlow `threads` threads per operation; return what is in force."""
    import tensorflow as tf

    if tf.config.threading.get_intra_op_parallelism_threads() != threads:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        except RuntimeError:
            warnings.warn(
                f"TensorFlow has started already and cannot be set to {threads} threads; call "
                "init() before the first model or tensor is made",
                stacklevel=3,
            )
            return tf.config.threading.get_intra_op_parallelism_threads() or cores()
    return threads


def _pin_gpu(local_rank: int) -> None:
    """Show TensorFlow one GPU of this machine, another for each rank on it."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        gpu = gpus[local_rank % len(gpus)]
        try:
            tf.config.set_visible_devices(gpu, "GPU")
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError as error:
            warnings.warn(f"the GPUs were not divided among the ranks: {error}", stacklevel=3)


def init(
    comm: "MPI.Comm | None" = None,
    threads: int | None = None,
    cycle_time: float | None = None,
    stall_timeout: float | None = None,
) -> World:
    """Start Horovod on the ranks of `comm`; every rank of it must call this.

    Call it before the first model is made, because TensorFlow's threads cannot be set later.
    Calling it again starts Horovod anew, which is what helps after a training that stalled.
    Horovod's environment variables win over the defaults here, arguments win over both.

    Args:
        comm: the ranks that train together; all of ``COMM_WORLD`` by default.
        threads: TensorFlow threads per operation; by default the cores of the machine divided
            by the ranks on it, and TensorFlow's own choice where a rank is alone.
        cycle_time: milliseconds between two rounds of Horovod (``HOROVOD_CYCLE_TIME``).
        stall_timeout: seconds after which a rank that waits for others in an average or a
            broadcast gives up with an error (``HOROVOD_STALL_SHUTDOWN_TIME_SECONDS``); a
            warning that names the missing ranks comes at half of it.

    Raises:
        ValueError: a number is not positive.
        RuntimeError: Horovod's world is not that of `comm`.
    """
    for name, value in (
        ("threads", threads),
        ("cycle_time", cycle_time),
        ("stall_timeout", stall_timeout),
    ):
        if value is not None and value <= 0:
            raise ValueError(f"{name} must be positive, got {value!r}")

    # MPI comes first: Horovod finds the MPI library that mpi4py has loaded.
    from mpi4py import MPI

    comm = MPI.COMM_WORLD if comm is None else comm
    node = comm.Split_type(MPI.COMM_TYPE_SHARED)
    local_rank, local_size = node.rank, node.size
    node.Free()

    cycle = CYCLE_TIME if local_size <= cores() else CYCLE_TIME_CROWDED
    _setting("HOROVOD_CYCLE_TIME", cycle_time, cycle if comm.size > 1 else CYCLE_TIME_ALONE)
    # Horovod reads whole seconds here.
    whole = None if stall_timeout is None else max(1, round(stall_timeout))
    limit = _setting("HOROVOD_STALL_SHUTDOWN_TIME_SECONDS", whole, STALL_TIMEOUT)
    half = max(1, int(limit) // 2)
    _setting("HOROVOD_STALL_CHECK_TIME_SECONDS", half if stall_timeout else None, half)

    if threads is not None or local_size > 1:
        threads = _set_threads(threads or max(1, cores() // local_size))
    else:
        threads = cores()
    _pin_gpu(local_rank)

    import horovod.tensorflow as hvd

    if hvd.is_initialized():
        hvd.shutdown()
    hvd.init(comm=comm)
    right = (hvd.rank(), hvd.size()) == (comm.rank, comm.size)
    if not comm.allreduce(right, op=MPI.LAND):
        raise RuntimeError(
            f"expected Horovod as rank {comm.rank} of {comm.size}, it came up as "
            f"{hvd.rank()} of {hvd.size()}: start the ranks with the mpiexec of the MPI that "
            "mpi4py and Horovod were built with"
        )
    return World(comm, comm.rank, comm.size, local_rank, local_size, threads)
