"""Find ``mpiexec``, and keep process trees from outliving whoever started them."""

import os
import shutil
import signal
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from course import limits

if TYPE_CHECKING:
    import psutil

GRACE_SECONDS = 0.5


def find_mpiexec() -> str:
    """Return the path of ``mpiexec``.

    ``COURSE_MPIEXEC`` wins (a site's own MPI); then the one of this Python environment, so
    that another MPI earlier on the PATH cannot give worlds of one rank; then the PATH.

    Raises:
        FileNotFoundError: there is none, or ``COURSE_MPIEXEC`` names none.
    """
    chosen = os.environ.get("COURSE_MPIEXEC", "").strip()
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise FileNotFoundError(f"COURSE_MPIEXEC is {chosen!r}, which is not a program")
        return found
    own = Path(sysconfig.get_path("scripts")) / "mpiexec"
    if own.exists():
        return str(own)
    found = shutil.which("mpiexec")
    if found is None:
        raise FileNotFoundError(
            f"expected mpiexec in {own.parent} or on the PATH, found none; `make setup` brings one"
        )
    return found


def mpi_environment(ranks: int) -> dict[str, str]:
    """Return variables that let `ranks` ranks run well on this machine.

    Threads per rank share the cores. Open MPI needs to be told that root and more ranks
    than cores are wanted; MPICH ignores those variables. What is set already is kept.
    """
    threads = str(max(1, cores() // ranks))
    wanted = {
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "NUMBA_NUM_THREADS": threads,
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_ALLOW_RUN_AS_ROOT": "1",
        "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        "OMPI_MCA_rmaps_base_oversubscribe": "1",
    }
    return {name: value for name, value in wanted.items() if name not in os.environ}


def cores() -> int:
    """Return the number of cores that this process may use, whole ones and at least 1.

    A container's share of time counts: one that gets 1.5 cores' worth of a machine of 64 has
    one core.
    """
    if sys.platform != "linux":
        return os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0))
    granted = limits.cpus()
    return usable if granted is None else max(1, min(usable, int(granted)))


def memory() -> int:
    """Return the bytes of memory that this process may use: the machine's, or a container's."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(whole, limits.memory() or whole)


def guarded(command: Iterable[str], folder: str | Path = os.devnull) -> list[str]:
    """Return `command` wrapped in `course.mpi.guard`, tied to the life of this process.

    ``mpiexec`` alone does not end with the notebook kernel that started it: after a SIGKILL
    of the kernel, ranks that hang in a collective would spin for ever.

    Args:
        command: program and arguments.
        folder: removed, too, when this process is gone.
    """
    guard = Path(__file__).parent / "mpi" / "guard.py"
    return [sys.executable, str(guard), str(os.getpid()), str(folder), *command]


def family(pid: int) -> "list[psutil.Process]":
    """Return process `pid` and its descendants; an empty list where it is gone."""
    import psutil

    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(processes: "Iterable[psutil.Process]", grace: float = GRACE_SECONDS) -> None:
    """End `processes`: SIGTERM, and SIGKILL to those that are left after `grace` seconds.

    Returns when they are gone, at the latest 5 s after the SIGKILL.
    """
    import psutil

    left = list(processes)
    for number, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in left:
            try:
                process.send_signal(number)
            except psutil.NoSuchProcess:
                pass
        _, left = psutil.wait_procs(left, timeout=patience)
        if not left:
            return
