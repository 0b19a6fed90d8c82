"""Know that ranks can never go on, long before a deadline says so."""

import time
from collections.abc import Callable
from pathlib import Path

from course.mpi.detect import QUIET_SOFT, Detector
from course.mpi.records import Trace

# Looking is not free: begin when a cell takes longer than most, and stop where the record of
# all calls since the engines started has grown so long that replaying it takes seconds.
START_SECONDS = 1.0
MOST_CALLS = 50_000


class LiveDetector(Detector):
    """The detector of `course.mpi.run`, for ranks that live from cell to cell.

    On an engine, a rank whose part of the cell is done neither calls nor answers until the
    next cell, so that whoever waits for it waits for ever.
    """

    def __init__(
        self,
        directory: Path,
        ranks: int,
        statuses: Callable[[], list[str]],
        local: bool = True,
    ) -> None:
        """Watch the traces in `directory`.

        Args:
            directory: where the ranks record.
            ranks: how many there are.
            statuses: tells how each rank stands now.
            local: whether they run on this machine, so that their CPU time can be read.
        """
        super().__init__(directory, ranks)
        self.local = local
        self.statuses = statuses
        self.started = time.monotonic()

    def restart(self) -> None:
        """Begin to watch a new cell."""
        self.started = time.monotonic()
        self.judged = []

    def certain(self) -> bool:
        """Return whether some ranks can never go on; quick to ask again and again."""
        if time.monotonic() - self.started < START_SECONDS:
            return False
        if sum(count for count, _ in self.positions) > MOST_CALLS:
            return False
        return super().certain()

    def _cpu(self, rank: int) -> float:
        if self.local:
            return super()._cpu(rank)
        return float("inf") if self.since[rank] < time.monotonic() - QUIET_SOFT else 0.0

    def load(self) -> Trace:
        """Return what has been recorded so far, and how each rank's cell ended."""
        trace = super().load()
        trace.ended = [None if status == "running" else status for status in self.statuses()]
        return trace
