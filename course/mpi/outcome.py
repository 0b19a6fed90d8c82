"""What came of a run: its results, or an error that says which rank failed and how."""

import json
import pickle
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.mpi import plain

if TYPE_CHECKING:
    from course.mpi.explain import Explanation
    from course.mpi.records import Trace


_WORKER = str(Path(__file__).with_name("worker.py"))


@dataclass
class Run:
    """What each rank returned, printed and took.

    Attributes:
        ranks: Number of ranks.
        results: Return value of each rank; None for a rank that did not get that far.
        stdout: Text that each rank printed.
        stderr: Text that each rank wrote to standard error.
        seconds: Seconds that each rank spent in the function.
        wall: Seconds for the whole run, start and end of the processes included.
        trace: The recorded MPI calls, where the run was traced.
    """

    ranks: int
    results: list[Any]
    stdout: list[str]
    stderr: list[str]
    seconds: list[float | None]
    wall: float
    trace: "Trace | None" = field(default=None, repr=False)

    @property
    def output(self) -> str:
        """All that was printed, in the order of ranks, each line with its rank in front."""
        lines = []
        for rank, (out, err) in enumerate(zip(self.stdout, self.stderr, strict=True)):
            lines += [f"rank {rank}: {line}" for line in (out + err).splitlines()]
        return "\n".join(lines)

    def __getitem__(self, rank: int) -> Any:
        """Return what `rank` returned."""
        return self.results[rank]

    def __len__(self) -> int:
        """Return the number of ranks."""
        return self.ranks

    def __repr__(self) -> str:
        """Results by rank, then the output."""
        lines = [f"{self.ranks} rank{'s' if self.ranks > 1 else ''}, {self.wall:.2f} s"]
        for rank, result in enumerate(self.results):
            text = repr(result)
            text = text if len(text) <= 200 else text[:197] + "..."
            lines.append(f"rank {rank} returned {text}")
        return "\n".join(lines + ([self.output] if self.output else []))


class Rank:
    """The reports of one rank, read from the run's folder."""

    def __init__(self, number: int, directory: Path, is_plain: bool = False) -> None:
        """Look at the files of rank `number` in `directory`; read none yet."""
        self.number = number
        self.plain = is_plain
        self.stem = directory / f"rank-{number}"
        self.report: dict[str, Any] | None = None
        self.end: dict[str, Any] | None = None
        self.aborted = False  # the MPI library ended the whole job

    def _json(self, ending: str) -> dict[str, Any] | None:
        try:
            return json.loads(Path(f"{self.stem}.{ending}").read_bytes())
        except FileNotFoundError:
            return None

    def refresh(self) -> None:
        """Read the reports that have come since."""
        if self.end is None:
            self.end = self._json("exit")  # before the report, which is written earlier
        if self.report is None:
            self.report = self._json("report")

    @property
    def finished(self) -> bool:
        """Whether the function returned."""
        return self.report is not None and self.report["ok"]

    @property
    def failed(self) -> bool:
        """Whether the rank raised, or ended without a word."""
        if self.report is not None:
            return not self.report["ok"]
        return self.end is not None or self.aborted

    @property
    def at(self) -> float:
        """When the rank reported or ended, in seconds of the monotonic clock."""
        source = self.report or self.end or {}
        return source.get("at", float("inf"))

    @property
    def seconds(self) -> float | None:
        """Seconds in the function."""
        return self.report["seconds"] if self.report else None

    def pid(self) -> int:
        """Return the process id of the rank, or 0 where it is not known (yet)."""
        text = self.text("pid")
        return int(text) if text else 0

    def text(self, ending: str) -> str:
        """Return the text of one of the rank's files."""
        try:
            return Path(f"{self.stem}.{ending}").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def stack(self) -> str:
        """Return where the rank was when it was asked (innermost call first)."""
        lines = self.text("stack").splitlines()
        return "\n".join(line for line in lines if _WORKER not in line).strip()

    def value(self) -> Any:
        """Return what the function returned; None unless it did."""
        if not self.finished:
            return None
        data = Path(f"{self.stem}.value").read_bytes()
        return plain.loads(data) if self.plain else pickle.loads(data)

    @property
    def status(self) -> str:
        """One of ``running``, ``finished``, ``raised``, ``exited``, ``killed``, ``crashed``."""
        if self.finished:
            return "finished"
        if self.report is not None:
            return "exited" if "exit" in self.report else "raised"
        if self.aborted:
            return "exited"
        if self.end is None:
            return "running"
        if self.end["code"] >= 0:
            return "exited"
        crashes = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
        return "crashed" if -self.end["code"] in crashes else "killed"

    def story(self) -> str:
        """Say what happened to the rank in a sentence, with its traceback where there is one."""
        number, status = self.number, self.status
        if status == "finished":
            return f"rank {number} returned"
        if status == "running":
            stack = self.stack()
            return f"rank {number} was still running" + (f":\n{stack}" if stack else "")
        if self.report is not None:
            if status == "exited":
                what = f"called sys.exit({self.report['exit']!r}) before its function returned"
            else:
                what = f"raised {self.report['error']}"
            return f"rank {number} {what}:\n{self.report['traceback'].rstrip()}"
        if self.end is None:
            told = self._fault() or ": another rank's output may say why"
            return f"rank {number} was ended by MPI Abort" + told
        code = self.end["code"]
        if status == "exited":
            return (
                f"rank {number} ended its process with exit status {code} "
                "before its function returned (os._exit?)"
            ) + self._fault()
        name = signal.Signals(-code).name
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return f"rank {number} was ended by signal {-code}, {name}{hint}" + self._fault()

    def _fault(self) -> str:
        fault = self.text("fault").strip()
        error = self.text("err").strip()[-2000:]
        return "".join(f"\n{part}" for part in (fault, error) if part)


class RunError(RuntimeError):
    """A run that did not end well.

    Attributes:
        run: What the ranks did return and print.
        statuses: Each rank's status (see `Rank.status`).
        explanation: What the trace says, where the run was traced.
    """

    def __init__(
        self, message: str, run: Run | None = None, explanation: "Explanation | None" = None
    ) -> None:
        """Keep what came of the run beside `message`."""
        super().__init__(message)
        self.run = run
        self.explanation = explanation
        self.statuses: list[str] = []


class LaunchError(RunError):
    """The ranks could not be started."""


class RankError(RunError):
    """A rank raised, exited, crashed or was killed.

    Attributes:
        rank: The rank that failed first.
        kind: Name of its exception, or how it ended: ``exited``, ``crashed``, ``killed``.
    """

    def __init__(
        self, run: Run, ranks: list[Rank], explanation: "Explanation | None" = None
    ) -> None:
        """Say which rank failed first, and how the others ended."""
        failed = sorted((rank for rank in ranks if rank.failed), key=lambda rank: rank.at)
        first = failed[0]
        parts = [first.story()]
        same = [rank for rank in failed[1:] if _same(rank, first)]
        if same:
            parts.append(f"the same on rank {', '.join(str(rank.number) for rank in same)}")
        parts += [rank.story() for rank in failed[1:] if rank not in same]
        told = explanation is None or explanation.kind == "none"
        if explanation is not None and not (told or explanation.says_nothing_new):
            parts.append(str(explanation))
        if run.output:
            parts.append(f"output:\n{run.output[-2000:]}")
        super().__init__("\n\n".join(parts), run, explanation)
        self.statuses = [rank.status for rank in ranks]
        self.rank = first.number
        report = first.report
        self.kind = report["error"] if report and first.status == "raised" else first.status


class DeadlineError(RunError, TimeoutError):
    """The time was up before every rank had returned."""

    def __init__(
        self,
        run: Run,
        ranks: list[Rank],
        explanation: "Explanation | None" = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Say where each rank was when the run was ended."""
        running = [rank.number for rank in ranks if rank.status == "running"]
        who = ", ".join(str(number) for number in running) or "none"
        done = ", ".join(str(rank.number) for rank in ranks if rank.finished)
        done = f"; rank {done} had returned" if done else ""
        parts = []
        if timeout is not None:
            parts.append(f"the time of {timeout:g} s was up; still running: rank {who}{done}")
        if explanation is not None:
            parts.append(str(explanation))
        if explanation is None or explanation.kind in ("none", "slow", "incomplete"):
            parts += [rank.story() for rank in ranks if rank.status == "running"]
        if explanation is None:
            parts.append("run it with trace=True to learn who waits for whom")
        if run.output:
            parts.append(f"output:\n{run.output[-2000:]}")
        super().__init__("\n\n".join(parts), run, explanation)
        self.statuses = [rank.status for rank in ranks]


class DeadlockError(DeadlineError):
    """Ranks wait for each other, and none of them can ever go on."""


def _same(one: Rank, other: Rank) -> bool:
    """Whether two ranks raised the same at the same place."""
    if one.report is None or other.report is None:
        return False
    return one.report.get("traceback") == other.report.get("traceback")
