"""What runs on the engines themselves."""

import faulthandler
import os
import signal
import socket
from pathlib import Path
from typing import Any

_files: list[Any] = []  # faulthandler writes to them until the engine ends


def prepare(directory: str, trace: bool) -> dict[str, Any]:
    """Join the world and make this rank's stack readable from outside.

    SIGUSR1 writes the stack of the main thread to ``directory/RANK.stack``, also from
    inside a blocked MPI call; a crash writes ``directory/RANK.crash``. With `trace`, MPI
    calls are recorded there, too (`course.mpi.trace`).

    Returns:
        rank, size, pid, node (Slurm's name for it, or the host's), and the MPI library's name
        and version.
    """
    from mpi4py import MPI

    rank = MPI.COMM_WORLD.rank
    stack = Path(directory, f"{rank}.stack").open("w")
    crash = Path(directory, f"{rank}.crash").open("w")
    _files.extend([stack, crash])
    faulthandler.register(signal.SIGUSR1, file=stack, all_threads=False, chain=False)
    faulthandler.enable(file=crash, all_threads=False)
    size = MPI.COMM_WORLD.size
    Path(directory, f"rank-{rank}.pid").write_text(str(os.getpid()))
    if trace:
        from course.mpi.trace import start

        start(directory)
    return {
        "rank": rank,
        "size": size,
        "pid": os.getpid(),
        "node": os.environ.get("SLURMD_NODENAME") or socket.gethostname(),
        "library": MPI.Get_library_version(),
    }


def call(payload: bytes) -> bytes:
    """Run a cloudpickled (function, args, kwargs); return the cloudpickled result."""
    import cloudpickle

    function, args, kwargs = cloudpickle.loads(payload)
    return cloudpickle.dumps(function(*args, **kwargs))
