"""Watch the traces of running ranks, and know for certain when they can never go on."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from course.mpi import trace as tracing
from course.mpi.explain import Explanation, explain
from course.mpi.records import ENTERED, Reader, Trace
from course.mpi.waits import Waits

if TYPE_CHECKING:
    from course.mpi.outcome import Rank

QUIET = 0.4  # seconds without any new call before the graph is built
QUIET_SOFT = 2.0  # the same where the library might let a call return by buffering
CPU_SOFT = 0.05  # seconds of CPU time that such a rank must have had meanwhile
LOOK = 0.05  # seconds between two looks


class Detector:
    """A deadlock detector for one run.

    A deadlock is certain when no stuck rank made a call for a while and the wait-for graph
    proves that none of them can go on. Every send is in the trace before it is on its way,
    so a message that is missing there does not exist.
    """

    def __init__(self, directory: Path, ranks: int) -> None:
        """Watch the traces of `ranks` ranks in `directory`."""
        self.directory = directory
        self.readers = [Reader(directory, rank) for rank in range(ranks)]
        self.looked = 0.0
        self.positions: list[tuple[int, int]] = []
        self.since = [time.monotonic()] * ranks
        self.cpu = [0.0] * ranks
        self.judged: list[tuple[int, int]] = []

    def certain(self) -> bool:
        """Whether some ranks can never go on; quick to ask again and again."""
        now = time.monotonic()
        if now - self.looked < LOOK:
            return False
        self.looked = now
        positions = [reader.position() for reader in self.readers]
        for rank, position in enumerate(positions):
            if not self.positions or position != self.positions[rank]:
                self.since[rank] = now
                self.cpu[rank] = self._cpu(rank)
        self.positions = positions
        waiting = [rank for rank, (_, state) in enumerate(positions) if state == ENTERED]
        quiet = [rank for rank in waiting if now - self.since[rank] >= QUIET]
        if not quiet or positions == self.judged:
            return False
        trace = self.load()
        if not trace.complete:
            self.judged = positions
            return False
        waits = Waits(trace, [end or "running" for end in trace.ended])
        if [reader.position() for reader in self.readers] != positions:
            return False  # somebody moved while the graph was built
        if not waits.stuck:
            if all(now - self.since[rank] > QUIET_SOFT for rank in waiting):
                self.judged = positions
            return False
        if any(now - self.since[rank] < QUIET for rank in waits.stuck):
            return False
        if not waits.soft:
            return True
        return all(
            now - self.since[rank] >= QUIET_SOFT and self._cpu(rank) - self.cpu[rank] >= CPU_SOFT
            for rank in waits.stuck
            if waits.waiting[rank].soft
        )

    def _cpu(self, rank: int) -> float:
        """Return the CPU seconds of a rank; infinity where the system does not tell."""
        try:
            pid = int((self.directory / f"rank-{rank}.pid").read_text())
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / 100
        except (OSError, ValueError, IndexError):
            return float("inf") if self.since[rank] < time.monotonic() - QUIET_SOFT else 0.0

    def load(self) -> Trace:
        """Return what has been recorded so far."""
        return tracing.load(self.directory, len(self.readers))

    def explain(self, ranks: "Sequence[Rank]") -> Explanation:
        """Explain the run from its trace and from how its ranks ended."""
        errors = [rank.report.get("message", "") if rank.report else "" for rank in ranks]
        return explain(
            self.load(), [rank.status for rank in ranks], errors, [rank.stack() for rank in ranks]
        )
