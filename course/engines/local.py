"""Where ranks run: on this machine. `course.engines.slurm` is the other place."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipyparallel as ipp
import psutil
from traitlets.config import Config

from course.engines.deadlock import LiveDetector
from course.processes import find_mpiexec, guarded, mpi_environment

if TYPE_CHECKING:
    from course.engines.cluster import Engines
    from course.engines.waiting import Progress


class Local:
    """Ranks on this machine, below an ``mpiexec`` that ends with this process.

    Attributes:
        launcher: ipyparallel's launcher of engines, by name or class.
        start_seconds: what engines may take to come up unless told otherwise.
        recover_seconds: the same after `Engines.recover`.
        stack_seconds: what ranks may take to tell where they are.
        heartbeat: milliseconds between two heartbeats. An engine counts as registered after
            two; ipyparallel's own 3 s were most of the time that engines took to come up.
        where: added to the line that says that the engines are ready.
    """

    launcher: Any = "mpi"
    start_seconds = 60.0
    recover_seconds = 15.0
    stack_seconds = 3.0
    heartbeat = 100
    where = ""

    def __init__(self, n: int) -> None:
        """Prepare for `n` ranks."""
        self.n = n

    def open(self) -> Path:
        """Return a new private folder for the files of one set of ranks."""
        self.folder = Path(tempfile.mkdtemp(prefix="course-engines-"))
        return self.folder

    def cluster(self) -> dict[str, Any]:
        """Return arguments for `ipyparallel.Cluster`."""
        config = Config()
        config.MPILauncher.mpi_cmd = guarded([find_mpiexec()], self.folder)
        config.MPIEngineSetLauncher.environment = mpi_environment(self.n)
        # The nannies would double the processes and make stopping slow; `waiting` watches
        # the MPI job itself, and `stacks` signals the ranks.
        config.MPIEngineSetLauncher.engine_args = ["--IPEngine.enable_nanny=False"]
        config.LocalControllerLauncher.controller_cmd = guarded(
            ipp.cluster.launcher.ipcontroller_cmd_argv
        )
        return {"config": config, "controller_args": []}

    def start(self, cluster: ipp.Cluster, progress: "Progress") -> None:
        """Start the engines of `cluster`, whose controller is started already."""
        cluster.start_engines_sync(self.n)

    def connected(self, port: int) -> None:
        """Learn at which port the controller registers engines."""

    def alive(self, launcher: Any) -> bool:
        """Return whether what `launcher` started still runs."""
        return launcher.pid > 0 and running(launcher.pid)

    def signal(self, ranks: Mapping[int, tuple[str, int]], number: int) -> None:
        """Send signal `number` to the processes `ranks`, each a node and a process id."""
        for _, pid in ranks.values():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def detector(self, engines: "Engines") -> LiveDetector | None:
        """Return what knows of deadlocks for certain."""
        return LiveDetector(engines._directory, self.n, engines.statuses)

    def why(self) -> str:
        """Return why the ranks ended, where more is known than what they printed."""
        return ""

    def close(self, directory: Path, keep: bool) -> None:
        """Give up what `open` and `start` gave, once the ranks are to end.

        Args:
            directory: what `open` returned.
            keep: fresh ranks follow at once.
        """
        shutil.rmtree(directory, ignore_errors=True)


def running(pid: int) -> bool:
    """Return whether process `pid` is there, and not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
