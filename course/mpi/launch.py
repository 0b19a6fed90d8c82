"""Run a function on n fresh MPI ranks, with a deadline and without leaving anything behind.

    >>> from course.mpi import run
    >>> def hello(comm, word):
    ...     return f"{word} from rank {comm.rank} of {comm.size}"
    >>> run(hello, 2, "hello", timeout=30).results
    ['hello from rank 0 of 2', 'hello from rank 1 of 2']

`run` starts ``mpiexec`` below a guard process (`course.mpi.guard`), which starts a worker
per rank (`course.mpi.worker`). They report through files in a private folder.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from course.mpi import guard, ship
from course.mpi.outcome import DeadlineError, DeadlockError, LaunchError, Rank, RankError, Run
from course.mpi.worker import OUTPUT
from course.processes import find_mpiexec, mpi_environment

POLL = 0.01  # seconds between two looks at the ranks' reports
GRACE = 0.25  # seconds that other ranks get to report, too, once one has failed
LEAVE = 3.0  # seconds for MPI_Finalize once every rank has reported

# What an outer MPI job sets for its own ranks; an mpiexec inside it must not see them.
FOREIGN = ("PMI_", "PMIX_", "HYDI_", "OMPI_COMM_WORLD_", "OMPI_UNIVERSE", "MPI_LOCAL", "PRTE_")


def launcher() -> str:
    """Return the path of ``mpiexec``.

    Raises:
        LaunchError: There is none.
    """
    try:
        return find_mpiexec()
    except FileNotFoundError as error:
        raise LaunchError(str(error)) from None


def environment(ranks: int, directory: Path) -> dict[str, str]:
    """Return the environment for the launcher: this process's, without an outer MPI's marks."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)}
    return {
        **kept,
        **mpi_environment(ranks),
        "PRTE_MCA_prte_tmpdir_base": str(directory),
        "COURSE_EXPECTED_RANKS": str(ranks),
        "PYTHONUNBUFFERED": "1",
    }


def run(
    function: Callable[..., Any],
    ranks: int,
    *args: Any,
    timeout: float = 60.0,
    trace: bool = False,
    memory: int | None = None,
    max_output: int = 1_000_000,
    plain: bool = False,
    **kwargs: Any,
) -> Run:
    """Call ``function(comm, *args, **kwargs)`` on `ranks` fresh MPI ranks.

    The function may be written in a notebook cell: it travels by value. `comm` is the
    ranks' ``MPI.COMM_WORLD``. The ranks share nothing with this process, so they cannot
    harm it, and they are gone when `run` returns, however it returns.

    Args:
        function: What each rank calls.
        ranks: Number of ranks; more than there are cores is fine.
        *args: Further arguments, the same on every rank.
        timeout: Seconds after which the run is ended, start-up included.
        trace: Record every MPI call. The record is in the result's ``trace``; a run
            that hangs is ended as soon as that is certain, and explained.
        memory: Bytes of address space that each rank may use; None for no limit.
        max_output: Bytes kept of each rank's standard output and of its standard error.
        plain: Let only plain data come back (`course.mpi.plain`): this process then unpickles
            nothing that a rank wrote, so the function need not be trusted.
        **kwargs: Keyword arguments for the function.

    Returns:
        The ranks' results, output and seconds, as a `Run`.

    Raises:
        RankError: A rank raised, exited, crashed or was killed. The message begins with
            that rank's traceback.
        DeadlockError: (with `trace`) ranks wait for each other for ever.
        DeadlineError: The time was up. The message says where each rank was.
        LaunchError: The ranks could not be started.
        ValueError: `ranks` or `timeout` is not positive.
        TypeError: The function, an argument or a result cannot be pickled.
    """
    if not isinstance(ranks, int) or isinstance(ranks, bool) or ranks < 1:
        raise ValueError(f"ranks must be a positive whole number, got {ranks!r}")
    if not timeout > 0:
        raise ValueError(f"timeout must be a positive number of seconds, got {timeout!r}")
    program = launcher()
    directory = Path(tempfile.mkdtemp(prefix="ranks-"))
    try:
        job = ship.job(function, args, kwargs)
        job |= {"ranks": ranks, "trace": trace, "memory": memory, "max_output": max_output}
        job |= {"plain": plain}
        job["launcher"] = program
        ship.save(directory / "job", job)
        watch = _Watch(directory, ranks, timeout, trace, program, plain)
        with watch.pipes(max_output):
            return watch.run()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class _Watch:
    """The parent's side of one run."""

    def __init__(
        self,
        directory: Path,
        ranks: int,
        timeout: float,
        trace: bool,
        launcher: str,
        plain: bool,
    ) -> None:
        """Prepare to watch `ranks` ranks that report into `directory`."""
        self.directory = directory
        self.ranks = [Rank(number, directory, plain) for number in range(ranks)]
        self.timeout = timeout
        self.launcher = launcher
        self.began = time.monotonic()
        self.held: dict[str, int] = {}  # open pipes by the file that they are copied to
        self.limit = 0
        self.detector = None
        if trace:
            from course.mpi.detect import Detector

            self.detector = Detector(directory, ranks)

    @contextlib.contextmanager
    def pipes(self, limit: int) -> Iterator[None]:
        """Make the named pipes of the ranks' output, and hold them open.

        The supervisors copy them into files, up to `limit` bytes; `unread` adds what one that
        was killed left.
        """
        try:
            for rank in self.ranks:
                for ending in OUTPUT:
                    name = f"{rank.stem}.{ending}-pipe"
                    os.mkfifo(name, 0o600)
                    self.held[f"{rank.stem}.{ending}"] = os.open(name, os.O_RDWR | os.O_NONBLOCK)
            self.limit = limit
            yield
        finally:
            for fd in self.held.values():
                os.close(fd)

    def unread(self) -> None:
        """Add to the files of output what supervisors that were killed had not read."""
        for name, fd in self.held.items():
            with contextlib.suppress(BlockingIOError), open(name, "ab") as file:
                file.write(os.read(fd, max(0, self.limit - file.tell())))

    def run(self) -> Run:
        """Start the ranks, watch them, and return or raise what came of it."""
        worker = Path(__file__).with_name("worker.py")
        python = [sys.executable, "-P", str(worker), str(self.directory)]
        command = [self.launcher, "-n", str(len(self.ranks)), *python]
        guarded = [guard.__file__, str(os.getpid()), str(self.directory), *command]
        with open(self.directory / "launcher.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", *guarded],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(len(self.ranks), self.directory),
                start_new_session=True,
            )
        try:
            reason = self.watch(process)
            if reason in ("deadline", "deadlock"):
                self.stacks()
        finally:
            self.stop(process)
        return self.conclude(reason, process.returncode)

    def watch(self, process: subprocess.Popen[bytes]) -> str:
        """Wait until something decides the run, and return what.

        One of ``done``, ``failed``, ``deadlock``, ``deadline`` and ``launcher``.
        """
        deadline = self.began + self.timeout
        while True:
            over = process.poll() is not None  # asked before the files are read
            for rank in self.ranks:
                rank.refresh()
            if all(rank.finished for rank in self.ranks):
                self._wait(process, LEAVE)
                return "done"
            if any(rank.failed for rank in self.ranks):
                self._grace(process)
                return "failed"
            if over:
                return "launcher"
            if time.monotonic() > deadline:
                return "deadline"
            if self.detector is not None and self.detector.certain():
                return "deadlock"
            time.sleep(POLL)

    def _grace(self, process: subprocess.Popen[bytes]) -> None:
        """Give the others a moment to fail, too: often all ranks raise the same."""
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            for rank in self.ranks:
                rank.refresh()
            if all(rank.finished or rank.failed for rank in self.ranks):
                return
            time.sleep(POLL)

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass  # every result is in; what hangs in MPI_Finalize is swept away

    def stacks(self) -> None:
        """Ask every rank that still runs to write down where it is."""
        asked = [rank for rank in self.ranks if not rank.finished and rank.pid()]
        for rank in asked:
            try:
                os.kill(rank.pid(), signal.SIGUSR1)
            except OSError:
                continue
        until = time.monotonic() + 1.0
        while time.monotonic() < until and not all(rank.stack() for rank in asked):
            time.sleep(POLL)

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End everything that belongs to this run."""
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(12)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # Only a function that killed its own guard can have left anything.
        if process.returncode and process.returncode < 0:
            ship.sweep(str(self.directory))
            guard.forget(guard.noted(str(self.directory)))

    def conclude(self, reason: str, code: int) -> Run:
        """Build the result, or raise the error that `reason` stands for."""
        self.unread()
        for rank in self.ranks:
            rank.refresh()
        trace = self.detector.load() if self.detector is not None else None
        outcome = Run(
            ranks=len(self.ranks),
            results=[rank.value() for rank in self.ranks],
            stdout=[rank.text("out") for rank in self.ranks],
            stderr=[rank.text("err") for rank in self.ranks],
            seconds=[rank.seconds for rank in self.ranks],
            wall=time.monotonic() - self.began,
            trace=trace,
        )
        if reason == "done":
            return outcome
        if reason == "launcher" and code >= 0:
            self._blame()
        explanation = self.detector.explain(self.ranks) if self.detector is not None else None
        if reason == "failed":
            raise RankError(outcome, self.ranks, explanation)
        if reason == "deadlock":
            raise DeadlockError(outcome, self.ranks, explanation)
        if reason == "deadline":
            raise DeadlineError(outcome, self.ranks, explanation, timeout=self.timeout)
        if any(rank.failed for rank in self.ranks):
            raise RankError(outcome, self.ranks, explanation)
        log = (self.directory / "launcher.log").read_text(errors="replace").strip()
        if code < 0:
            log = "the guard of the ranks was killed: by one of them?"
        raise LaunchError(f"{self.launcher} ended with exit status {code}:\n{log[-4000:]}", outcome)

    def _blame(self) -> None:
        """The MPI library ended the job, without a report: find the ranks that made it do so."""
        started = [rank for rank in self.ranks if rank.pid() and not rank.finished]
        named = [rank for rank in started if "abort" in rank.text("err").lower()]
        for rank in named or started:
            rank.aborted = True
