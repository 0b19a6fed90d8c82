"""The grader's own MPI ranks, which stay for many trials.

Starting an MPI world for every trial would take most of a grading's time. A `Crew` is a world of
n ranks that does one trial after the other, each on a new communicator with a trace of its own.
After a trial that left ranks inside MPI calls, the world is ended and a new one started.
"""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any

import cloudpickle

from course.grading import agent
from course.mpi import launch, trace
from course.mpi.detect import Detector
from course.mpi.explain import Explanation, explain
from course.mpi.records import Trace
from course.processes import guarded

START = 120.0  # seconds for starting a world on a machine under load
LOOK = 0.01  # seconds between two looks for a deadlock
GRACE = 0.3  # seconds that other ranks get to fail, too, once one has failed


@dataclass
class Work:
    """What came of one trial on all ranks.

    Attributes:
        answers: For each rank what `course.grading.agent.serve` returned, or None.
        failures: For each rank kind and text of what went wrong, or None.
        trace: The recorded calls.
        explanation: Who waits for whom, where ranks hang.
        end: ``done``, ``failed``, ``deadlock``, ``deadline`` or ``crashed``.
    """

    answers: list[dict[str, Any] | None]
    failures: list[tuple[str, str] | None]
    trace: Trace | None
    explanation: Explanation | None
    end: str


class Crew:
    """A world of ranks of the grader's."""

    def __init__(self, ranks: int) -> None:
        """Start `ranks` ranks.

        Raises:
            RuntimeError: They do not come up.
        """
        self.ranks = ranks
        self.folder = Path(tempfile.mkdtemp(prefix="crew-"))
        self.number = 0
        key = secrets.token_bytes(16)
        address = str(self.folder / "s")
        listener = Listener(address, "AF_UNIX", backlog=ranks, authkey=key)
        (self.folder / "key").write_bytes(key)
        (self.folder / "key").chmod(0o600)
        program = [sys.executable, "-P", "-m", "course.grading.crew", str(self.folder)]
        command = [launch.launcher(), "-n", str(ranks), *program]
        self.log = open(self.folder / "log", "wb")
        self.process = subprocess.Popen(
            guarded(command, self.folder),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env=launch.environment(ranks, self.folder),
            start_new_session=True,
        )
        self.connections: list[Connection] = []
        try:
            self._meet(listener)
        except BaseException:
            self.close()
            raise
        finally:
            listener.close()

    def _meet(self, listener: Listener) -> None:
        """Wait until every rank has called."""
        found: dict[int, Connection] = {}
        until = time.monotonic() + START
        listener._listener._socket.settimeout(0.2)  # type: ignore[attr-defined]
        while len(found) < self.ranks:
            try:
                connection = listener.accept()
                found[connection.recv()] = connection
            except TimeoutError:
                if self.process.poll() is not None or time.monotonic() > until:
                    log = (self.folder / "log").read_text(errors="replace")[-2000:]
                    raise RuntimeError(
                        f"the grader's own {self.ranks} ranks could not be started:\n{log}"
                    ) from None
        self.connections = [found[rank] for rank in range(self.ranks)]

    @property
    def alive(self) -> bool:
        """Whether the world can do another trial."""
        return self.process.poll() is None

    def do(
        self,
        paths: list[str],
        jobs: list[dict[str, Any]],
        asked: Mapping[str, Callable[..., Any]],
        seconds: float,
        traced: bool,
    ) -> Work:
        """Do one trial; afterwards the crew may no longer be alive.

        Args:
            paths: Sockets of the ranks' sandboxes.
            jobs: What each of them gets.
            asked: Functions that the student's function may ask for.
            seconds: How long the function may take.
            traced: Whether calls are recorded.
        """
        self.number += 1
        folder = self.folder / str(self.number)
        folder.mkdir()
        for rank, connection in enumerate(self.connections):
            call = (paths[rank], jobs[rank], dict(asked), str(folder) if traced else "")
            connection.send_bytes(cloudpickle.dumps(call))
        detector = Detector(folder, self.ranks) if traced else None
        answers: list[Any] = [None] * self.ranks
        failures: list[Any] = [None] * self.ranks
        end = self._watch(answers, failures, detector, seconds)
        found, record = None, None
        if traced:
            record = trace.load(folder, self.ranks)
            if end != "done":
                found = _explain(record, answers, failures)
        if any(a is None and f is None for a, f in zip(answers, failures, strict=True)):
            self.close()  # some rank is still inside a call
        else:
            shutil.rmtree(folder, ignore_errors=True)
        return Work(answers, failures, record, found, end)

    def _watch(
        self, answers: list[Any], failures: list[Any], detector: Detector | None, seconds: float
    ) -> str:
        """Take the ranks' answers until all are there or it is clear that some never come."""
        open_ = dict(enumerate(self.connections))
        until = time.monotonic() + seconds + agent.READY + 10
        while open_:
            for connection in wait(list(open_.values()), LOOK):
                rank = next(r for r, c in open_.items() if c is connection)
                try:
                    kind, value = cloudpickle.loads(open_[rank].recv_bytes())
                except (EOFError, OSError):
                    return "crashed"
                del open_[rank]
                if kind == "answer":
                    answers[rank] = value
                else:
                    failures[rank] = value
                    until = min(until, time.monotonic() + GRACE)
            if time.monotonic() > until:
                return "failed" if any(failures) else "deadline"
            if detector is not None and open_ and detector.certain():
                return "failed" if any(failures) else "deadlock"
        return "failed" if any(failures) else "done"

    def close(self) -> None:
        """End the ranks."""
        for connection in self.connections:
            connection.close()
        if self.process.poll() is None:
            self.process.terminate()  # the guard ends the whole tree
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Crews:
    """Crews of all sizes, started when they are first needed."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._crews: dict[int, Crew] = {}

    def of(self, ranks: int) -> Crew:
        """Return a crew of `ranks` ranks that is alive."""
        crew = self._crews.get(ranks)
        if crew is None or not crew.alive:
            if crew is not None:
                crew.close()
            crew = self._crews[ranks] = Crew(ranks)
        return crew

    def close(self) -> None:
        """End all crews."""
        for crew in self._crews.values():
            crew.close()
        self._crews = {}

    def __enter__(self) -> "Crews":
        """Use them in a ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End all crews."""
        self.close()


def _explain(record: Trace, answers: list[Any], failures: list[Any]) -> Explanation:
    statuses = []
    for answer, failure in zip(answers, failures, strict=True):
        statuses.append("finished" if answer is not None else "raised" if failure else "running")
    return explain(record, statuses, [failure[1] if failure else "" for failure in failures])


def main(folder: Path) -> None:
    """Be one rank of a crew."""
    from mpi4py import MPI

    own = MPI.COMM_WORLD
    connection = Client(str(folder / "s"), "AF_UNIX", authkey=(folder / "key").read_bytes())
    connection.send(own.rank)
    while True:
        try:
            path, job, asked, where = cloudpickle.loads(connection.recv_bytes())
        except (EOFError, OSError):
            break  # the grader is done
        world = MPI.Intracomm(own.Dup())  # what an earlier trial left behind is not found here
        MPI.COMM_WORLD = world  # type: ignore[misc]
        comm = world
        if where:
            comm = trace.start(where)
            (Path(where) / f"rank-{own.rank}.pid").write_text(str(os.getpid()))
        answer: tuple[str, Any]
        try:
            answer = ("answer", agent.serve(comm, path, job, asked))
        except agent.TrialFailed as failure:
            answer = ("failure", (failure.kind, str(failure)))
        if where:
            trace.finish(answer[0] == "answer")
            trace.stop()
        connection.send_bytes(cloudpickle.dumps(answer))
    MPI.COMM_WORLD = own  # type: ignore[misc]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
