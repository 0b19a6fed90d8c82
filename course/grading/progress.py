"""Progress of a batch: a line for every submission, readable in a log and in a terminal."""

import shutil
import time
from typing import Any, TextIO

from course.grading.results import Loss, Result

QUIET = 30.0  # seconds after which a log is told what is being done
SHOWN = 10  # submissions of which it is told


def number(value: float) -> str:
    """Return points as people write them: 2, 1.5, 0.33."""
    return f"{round(value, 2):g}"


def lost(loss: Loss) -> str:
    """Return how many points a reason cost, such as ``0.5 lost``."""
    return f"{number(loss.points) if round(loss.points, 2) else 'nothing'} lost"


def points_of(result: Result) -> str:
    """Return the sum, such as ``17.5 of 20``."""
    return f"{number(result.points)} of {number(result.most)}"


def printable(text: str) -> str:
    """Return `text` without what could lead a terminal astray."""
    return "".join(c if c.isprintable() else "?" for c in text)


class Progress:
    """Shows the events of `course.grading.batch`."""

    def __init__(self, out: TextIO, total: int, known: int) -> None:
        """Announce `total` submissions, of which `known` have a result already."""
        self.out = out
        self.terminal = out.isatty()
        self.total, self.done = total, known
        self.doing: dict[str, str] = {}
        self.began: dict[str, float] = {}
        self.said = time.monotonic()
        left = total - known
        kept = f", {known} graded before" if known else ""
        self._line(f"{total} submissions{kept}, {left} to grade")

    def event(self, kind: str, student: str, what: Any) -> None:
        """Show one event."""
        if kind == "started":
            self.doing[student] = "starting"
            self.began[student] = time.monotonic()
        elif kind == "doing":
            self.doing[student] = str(what)
            self.began.setdefault(student, time.monotonic())
        elif kind == "graded":
            self.doing.pop(student, None)
            self.done += 1
            came = f"did not run: {what.error.splitlines()[0]}" if what.error else points_of(what)
            seconds = time.monotonic() - self.began.pop(student, time.monotonic())
            width = len(str(self.total))
            place = f"[{self.done:>{width}} of {self.total}]"
            self._line(f"{place} {student}: {came} ({seconds:.0f} s)")
        self.tick()

    def tick(self) -> None:
        """Show what is being done: in a terminal at once, in a log when it has been quiet."""
        if self.terminal:
            text = " | ".join(f"{student}: {what}" for student, what in self.doing.items())
            wide = shutil.get_terminal_size().columns - 1
            shown = printable(f"{self.done} of {self.total}; {text}")[:wide]
            self.out.write(f"\r\x1b[K{shown}")
            self.out.flush()
        elif self.doing and time.monotonic() - self.said > QUIET:
            for student, what in list(self.doing.items())[:SHOWN]:
                seconds = time.monotonic() - self.began[student]
                self._line(f"    {student}: {what} (for {seconds:.0f} s)")
            if len(self.doing) > SHOWN:
                self._line(f"    and {len(self.doing) - SHOWN} more")

    def note(self, text: str) -> None:
        """Show a line about the batch."""
        self._line(text)

    def close(self) -> None:
        """Leave the terminal's line clean."""
        if self.terminal:
            self.out.write("\r\x1b[K")
            self.out.flush()

    def _line(self, text: str) -> None:
        self.out.write(("\r\x1b[K" if self.terminal else "") + printable(text) + "\n")
        self.out.flush()
        self.said = time.monotonic()
