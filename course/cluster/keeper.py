"""Keep the daemons of the emulated DAM; started as a script by `course.cluster.dam`.

``python keeper.py FOLDER [tied]`` starts every daemon in ``FOLDER/daemons.json`` below a guard
of its own (`course.mpi.guard`), so that ending the guard ends the daemon and all jobs on it.
It holds a lock on ``FOLDER/lock`` while it lives.

SIGHUP starts again what has ended; SIGTERM ends everything. With ``tied``, everything ends
with the process that started the keeper, too.

Standard library only, and no `course`: it has to start in a few milliseconds.
"""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

POLL = 0.1  # seconds
GUARD = Path(__file__).resolve().parents[1] / "mpi" / "guard.py"

# Looks less often than the guard of a run that takes a second: six of them idle for hours.
PATIENT_GUARD = """
import os, sys
sys.path.insert(0, sys.argv[1])
import guard
guard.POLL = 0.2
sys.exit(guard.main(int(sys.argv[2]), os.devnull, sys.argv[3:]))
"""


class Keeper:
    """The daemons of one folder."""

    def __init__(self, folder: Path, tied: bool) -> None:
        """Prepare to keep the daemons of `folder`."""
        self.folder = folder
        self.parent = os.getppid() if tied else None
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.asked = {signal.SIGHUP: True, signal.SIGTERM: False}
        for number in self.asked:
            signal.signal(number, self._ask)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def _ask(self, number: int, frame: object) -> None:
        self.asked[signal.Signals(number)] = True

    def start(self) -> None:
        """Start the daemons that do not run, in their order."""
        for daemon in json.loads((self.folder / "daemons.json").read_text()):
            name = daemon["name"]
            process = self.running.get(name)
            if process is not None and process.poll() is None:
                continue
            guard = [sys.executable, "-I", "-S", "-c", PATIENT_GUARD, str(GUARD.parent)]
            with open(self.folder / "log" / f"{name}.out", "ab") as log:
                process = subprocess.Popen(
                    [*guard, str(os.getpid()), *daemon["command"]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self.folder,
                    start_new_session=True,
                )
            self.running[name] = process
            (self.folder / "run" / f"{name}.guard").write_text(str(process.pid))
            self._await(daemon.get("creates"), process)

    def _await(self, path: str | None, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + 10
        while path and not os.path.exists(path) and process.poll() is None:
            if time.monotonic() > deadline:
                return
            time.sleep(0.02)

    def stop(self) -> None:
        """End all daemons, those that were started last first."""
        for process in reversed(self.running.values()):
            process.terminate()
        for process in self.running.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()

    def keep(self) -> None:
        """Do what is asked for until the end is."""
        while not self.asked[signal.SIGTERM]:
            if self.asked[signal.SIGHUP]:
                self.asked[signal.SIGHUP] = False
                self.start()
            if self.parent is not None and os.getppid() != self.parent:
                break
            for name, process in self.running.items():
                if process.poll() is not None:
                    (self.folder / "run" / f"{name}.guard").unlink(missing_ok=True)
            time.sleep(POLL)
        self.stop()


def main(folder: Path, tied: bool) -> int:
    """Keep the daemons of `folder`; return 1 at once where another keeper does."""
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 1
        lock.write(str(os.getpid()))
        lock.flush()
        Keeper(folder, tied).keep()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), "tied" in sys.argv[2:]))
