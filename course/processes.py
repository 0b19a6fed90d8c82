"""Find ``mpiexec``, and keep process trees from outliving whoever started them.

``python -m course.processes PARENT COMMAND ...`` is the guard: it runs a command, and ends
it with everything that it started as soon as the process PARENT is gone, or when the guard
itself is asked to stop. ``mpiexec`` alone does not do that: after a SIGKILL of the notebook
kernel, ranks that hang in a collective would spin for ever.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

POLL_SECONDS = 0.1
GRACE_SECONDS = 0.5
_PR_SET_CHILD_SUBREAPER = 36


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
    threads = str(max(1, (len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1) // ranks))
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


def guarded(command: Iterable[str]) -> list[str]:
    """Return `command` wrapped in the guard, tied to the life of the calling process."""
    return [sys.executable, "-m", "course.processes", str(os.getpid()), *command]


def kill_tree(pid: int, grace: float = GRACE_SECONDS, itself: bool = True) -> None:
    """End the descendants of process `pid`, and `pid` too where `itself`.

    SIGTERM first, SIGKILL to what is left after `grace` seconds. Returns when they are gone,
    at the latest 5 s after the SIGKILL.
    """
    import psutil

    try:
        root = psutil.Process(pid)
        family = root.children(recursive=True) + ([root] if itself else [])
    except psutil.NoSuchProcess:
        return
    for stop, patience in ((signal.SIGTERM, grace), (signal.SIGKILL, 5.0)):
        for process in family:
            try:
                process.send_signal(stop)
            except psutil.NoSuchProcess:
                pass
        _, family = psutil.wait_procs(family, timeout=patience)
        try:  # whoever was started or adopted meanwhile
            known = set(family)
            family += [child for child in root.children(recursive=True) if child not in known]
        except psutil.NoSuchProcess:
            pass
        if not family:
            return


class _Stop(Exception):
    pass


def _stop(signum: int, frame: FrameType | None) -> None:
    raise _Stop


def guard(parent: int, command: Sequence[str]) -> int:
    """Run `command` until it ends, `parent` is gone, or a signal asks to stop.

    Returns the exit status of the command (128 + signal where one killed it, or where the
    guard was stopped).
    """
    if sys.platform == "linux":
        # Orphans of the command become our children, so that we can find and end them.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _stop)
    child: subprocess.Popen[bytes] | None = None
    status = 128 + signal.SIGTERM
    try:
        child = subprocess.Popen(command)
        while os.getppid() == parent:
            try:
                code = child.wait(POLL_SECONDS)
            except subprocess.TimeoutExpired:
                continue
            status = code if code >= 0 else 128 - code
            break
    except _Stop:
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        deadline = time.monotonic() + 10
        while _children() and time.monotonic() < deadline:
            kill_tree(os.getpid(), itself=False)
            _reap()
    return status


def _children() -> bool:
    import psutil

    return bool(psutil.Process().children(recursive=True))


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def main() -> None:
    """Entry point of ``python -m course.processes PARENT COMMAND ...``."""
    if len(sys.argv) < 3 or not sys.argv[1].isdecimal():
        sys.exit("usage: python -m course.processes PARENT COMMAND ...")
    sys.exit(guard(int(sys.argv[1]), sys.argv[2:]))


if __name__ == "__main__":
    main()
