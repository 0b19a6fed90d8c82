"""The job's side of engines under Slurm; the batch script of `course.engines` runs it.

``python lifeline.py FOLDER HOLD PATIENCE`` carries out the order in ``FOLDER/order.json``: it
runs the launcher of the MPI ranks below a guard (`course.mpi.guard`). An order with a new number
replaces the ranks, so that `recover` needs no new place in the queue. What becomes of it is
told in ``FOLDER/ended-NUMBER.json``.

The job ends by itself, so that nobody's nodes are held for nothing, when FOLDER is gone (the
notebook's kernel died), when the controller could not be reached for PATIENCE seconds (its
machine died), or HOLD seconds after the ranks ended.

Standard library only, and no `course`: nodes may have another Python than the notebook.
"""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import BinaryIO

POLL = 0.2  # seconds between two looks at the order
KNOCK = 3.0  # seconds between two knocks at the controller
# MPICH's mpiexec starts one process a node by srun. When a rank crashes, that of its node ends,
# and mpiexec waits for ever for those of the other nodes (seen with MPICH 5.0): srun is told to
# end them.
# Steps may overlap, so that the ranks' does not wait for one that still ends.
STEPS = {"SLURM_WAIT": "2", "SLURM_KILL_BAD_EXIT": "1", "SLURM_OVERLAP": "1"}
GUARD = Path(__file__).resolve().parents[1] / "mpi" / "guard.py"


class Lifeline:
    """Carries out orders until there is nobody left who could give one."""

    def __init__(self, folder: Path, hold: float, patience: float) -> None:
        """Serve `folder`; see the module for `hold` and `patience`, in seconds."""
        self.folder = folder
        self.hold = hold
        self.patience = patience
        self.number = 0
        self.controller: tuple[str, int] | None = None
        self.child: subprocess.Popen[bytes] | None = None
        self.idle_since = time.monotonic()
        self.heard = self.knocked = time.monotonic()
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True

    def serve(self) -> int:
        """Return the exit status of the job."""
        status = 0
        while True:
            reason = self._over()
            if reason:
                _say(reason)
                self._end()
                return status
            self._order()
            if self.child is not None:
                found = self.child.poll()
                if found is not None:
                    status = found
                    self._report(found)
                    self.child = None
                    self.idle_since = time.monotonic()
            time.sleep(POLL)

    def _over(self) -> str:
        now = time.monotonic()
        if self.asked:
            return "ended by Slurm: cancelled, or the time limit is reached"
        if not self.folder.is_dir():
            return "the notebook's kernel has ended"
        if self.child is None and now - self.idle_since > self.hold:
            return f"no ranks for {self.hold:.0f} s"
        if self.controller is not None and now - self.knocked > KNOCK:
            self.knocked = now
            if self._knock():
                self.heard = time.monotonic()
            elif now - self.heard > self.patience:
                return f"the controller could not be reached for {self.patience:.0f} s"
        return ""

    def _knock(self) -> bool:
        assert self.controller is not None
        try:
            socket.create_connection(self.controller, timeout=2).close()
        except OSError:
            return False
        return True

    def _order(self) -> None:
        try:
            order = json.loads((self.folder / "order.json").read_text())
        except (OSError, ValueError):
            return
        self.controller = tuple(order["controller"]) if order.get("controller") else None
        if order["number"] == self.number:
            return
        self._end()
        self.number = order["number"]
        self.heard = time.monotonic()
        command = [*_launcher(order["launcher"]), *order["command"]]
        _say(shlex.join(command))
        own = [sys.executable, "-I", "-S", str(GUARD), str(os.getpid()), os.devnull]
        self.child = subprocess.Popen(
            [*own, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**_threads(order["ranks_per_node"], order["threads"]), **os.environ, **STEPS},
        )

        threading.Thread(target=_copy, args=[self.child.stdout], daemon=True).start()

    def _report(self, status: int) -> None:
        try:
            new = self.folder / f"ended-{self.number}.new"
            new.write_text(json.dumps({"status": status}))
            new.rename(self.folder / f"ended-{self.number}.json")
        except OSError as error:  # the folder is gone, or the disk is full
            _say(str(error))

    def _end(self) -> None:
        """End the ranks on all nodes: the launcher, and the job steps that it started."""
        child, self.child = self.child, None
        if child is None:
            return
        child.terminate()
        try:
            child.wait(15)
        except subprocess.TimeoutExpired:
            child.kill()
        job = os.environ.get("SLURM_JOB_ID", "")
        listing = _quietly("squeue", "--noheader", "--steps", f"--jobs={job}", "--format=%i")
        steps = [step for step in listing.split() if step.rpartition(".")[2].isdecimal()]
        if steps:
            _quietly("scancel", *steps)


def _say(text: str) -> None:
    _write(f"lifeline: {text}\n".encode())


def _write(data: bytes) -> None:
    try:
        os.write(1, data)
    except OSError:
        pass  # the disk is full; that must not cost the ranks


def _copy(pipe: BinaryIO) -> None:
    """Print what the launcher prints; it would end if it could not."""
    while data := os.read(pipe.fileno(), 65536):
        _write(data)


def _launcher(words: list[str]) -> list[str]:
    # As the job sees it: modules may have put another mpiexec on the PATH.
    program = shutil.which(words[0])
    if program is None:
        _say(f"expected {words[0]!r} on the PATH of the job, found none")
        return words
    return [program, *words[1:]]


def _threads(ranks: int, threads: int) -> dict[str, str]:
    """Return variables that share a node's cores among its ranks."""
    cores = len(os.sched_getaffinity(0))
    try:
        cores = min(cores, int(os.environ["SLURM_CPUS_ON_NODE"]))
    except (KeyError, ValueError):
        pass
    text = str(threads or max(1, cores // ranks))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return dict.fromkeys(names, text)


def _quietly(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


if __name__ == "__main__":
    sys.exit(Lifeline(Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])).serve())
