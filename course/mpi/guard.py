"""Run one command and leave nothing of it behind; started as a script by `course.mpi.launch`.

``python guard.py PARENT FOLDER COMMAND...`` runs COMMAND and ends with its exit status. When
COMMAND ends, when SIGTERM comes or when the process PARENT is gone, every process that
descends from COMMAND is killed, also one that moved to a session of its own: on Linux the
guard is their subreaper, so an orphan becomes its child and not that of process 1. Shared
memory that a killed MPI left in /dev/shm is removed; so is FOLDER, when PARENT is gone.

Standard library only, and no `course`: it has to start in a few milliseconds.
"""

import os
import shutil
import signal
import subprocess
import sys
import time

PR_SET_CHILD_SUBREAPER = 36
POLL = 0.02  # seconds
SEGMENTS = ("mpich", "ompi", "vader_segment", "sm_segment")  # names in /dev/shm that MPI gives


def become_subreaper() -> None:
    """Adopt orphaned descendants (Linux); elsewhere do nothing."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def parents() -> dict[int, int]:
    """Return the parent of every live process, zombies left out."""
    found = {}
    if os.path.isdir("/proc/self"):
        for name in os.listdir("/proc"):
            if name.isdecimal():
                try:
                    with open(f"/proc/{name}/stat", "rb") as file:
                        state, parent = file.read().rpartition(b")")[2].split()[:2]
                except OSError:
                    continue
                if state != b"Z":
                    found[int(name)] = int(parent)
    else:
        listing = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True)
        for line in listing.stdout.splitlines():
            number, above, flags = line.split()[:3]
            if not flags.startswith("Z"):
                found[int(number)] = int(above)
    return found


def descendants(root: int) -> set[int]:
    """Return the process ids of all live descendants of `root`."""
    table = parents()
    found: set[int] = set()
    border = {root}
    while border:
        border = {pid for pid, parent in table.items() if parent in border} - found
        found |= border
    return found


def send(pids: set[int], number: int) -> None:
    """Send signal `number` to those of `pids` that still live."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except OSError:
            pass


def reap() -> dict[int, int]:
    """Collect children that have ended: process id to wait status."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = status


def segments(pids: set[int]) -> set[str]:
    """Return the files in /dev/shm by which the MPI libraries of `pids` share memory."""
    found = set()
    for pid in pids:
        try:
            with open(f"/proc/{pid}/maps") as file:
                words = [line.split()[5:6] for line in file if "/dev/shm/" in line]
        except OSError:
            continue
        found |= {word[0] for word in words if word}
    return {name for name in found if os.path.basename(name).startswith(SEGMENTS)}


def noted(folder: str) -> set[str]:
    """Return the segments that rank 0 wrote down once MPI was up; none before that."""
    try:
        with open(os.path.join(folder, "shared")) as file:
            return set(file.read().split())
    except OSError:
        return set()


def forget(names: set[str]) -> None:
    """Remove the files `names`, those that still exist."""
    for name in names:
        try:
            os.unlink(name)
        except OSError:
            pass


def sweep(seconds: float = 10.0) -> None:
    """Kill all descendants: stop them first, so that none can fork its way out."""
    deadline = time.monotonic() + seconds
    stopped: set[int] = set()
    while time.monotonic() < deadline:
        fresh = descendants(os.getpid()) - stopped
        if not fresh:
            break
        send(fresh, signal.SIGSTOP)
        stopped |= fresh
    shared = segments(stopped)
    while time.monotonic() < deadline:
        alive = descendants(os.getpid())
        send(alive, signal.SIGKILL)
        reap()
        if not alive:
            break
        time.sleep(0.005)
    forget(shared)


def main(parent: int, folder: str, command: list[str]) -> int:
    """Run `command` under guard and return its exit status (128 + n after signal n)."""
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    become_subreaper()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(error, file=sys.stderr)
        return 127
    status = None
    shared: set[str] = set()
    while not asked and os.getppid() == parent:
        status = reap().get(child.pid)
        if status is not None:
            break
        shared = shared or noted(folder)
        time.sleep(POLL)
    sweep()
    forget(shared)
    if os.getppid() != parent:
        shutil.rmtree(folder, ignore_errors=True)
    if status is None:
        return 128 + signal.SIGTERM
    return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2], sys.argv[3:]))
