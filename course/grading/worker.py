"""Grade one submission in a process tree of its own, whatever becomes of it.

`run` starts ``python -m course.grading.worker`` below a guard (`course.mpi.guard`). That process
calls the grader and saves the result; what it prints on its standard output is progress. When
it crashes, hangs or is killed, `run` saves a result that says so: there is one in any case.
"""

import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from pkgutil import resolve_name
from stat import S_ISREG
from threading import Event
from typing import Any

from course.grading.results import Result
from course.processes import guarded

OPEN = "course.grading.assignment:Assignment.open"
GRADE = "course.grading.grader:grade"
MARGIN = 60.0  # seconds beyond the deadline in which the grader may still end by itself
NO_SANDBOX, REFUSED = 3, 4  # exit statuses of the worker

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One submission to grade.

    Attributes:
        root: nbgrader's course root.
        assignment: The assignment's name.
        student: The student's name.
        deadline: Seconds for the grader; `MARGIN` later it is ended.
        sandboxed: Whether the student's code must be kept in a sandbox.
        opener: ``module:function`` that opens an assignment.
        grader: ``module:function`` that grades; see `course.grading.grader.grade`.
    """

    root: str
    assignment: str
    student: str
    deadline: float = 600.0
    sandboxed: bool = True
    opener: str = OPEN
    grader: str = GRADE

    @property
    def notebook(self) -> Path:
        """Where the submission is expected."""
        folder = Path(self.root) / "submitted" / self.student / self.assignment
        return folder / f"{self.assignment}.ipynb"

    @property
    def path(self) -> Path:
        """Where the result goes."""
        return result_path(Path(self.root), self.assignment, self.student)

    def open(self) -> Any:
        """Open the assignment (`course.grading.assignment.Assignment`)."""
        return resolve_name(self.opener)(Path(self.root), self.assignment)

    def key(self, assignment: Any) -> str:
        """Return the key that a result must have to count; "" if there is nothing to grade."""
        try:
            check_notebook(self.notebook)
            return str(assignment.key(self.notebook, self.student))
        except (OSError, ValueError):
            return ""


def result_path(root: Path, assignment: str, student: str) -> Path:
    """Return where the result of `student` is kept."""
    return root / "graded" / assignment / f"{student}.json"


def check_notebook(path: Path) -> None:
    """Check that there is a file at `path`.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is something else, such as a link to a file of somebody else's.
    """
    try:
        kind = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        others = sorted(p.name for p in path.parent.glob("*.ipynb")) if path.parent.is_dir() else []
        found = ", ".join(others) or "no notebook"
        raise FileNotFoundError(f"expected {path.name} in the submission, found {found}") from None
    if not S_ISREG(kind):
        raise ValueError(f"expected a file {path.name} in the submission, found a link or the like")


def stored(path: Path, key: str) -> Result | None:
    """Return the result at `path` if it is of this `key`, otherwise None."""
    try:
        result = Result.load(path)
    except (OSError, ValueError):
        return None
    return result if result.key == key else None


def run(job: Job, key: str, tell: Tell | None = None, stop: Event | None = None) -> Result | None:
    """Grade one submission and save the result, which has `Result.error` if that failed.

    Args:
        job: What to grade.
        key: The key of a result that could not be had otherwise (`Job.key`).
        tell: Is told what is being done.
        stop: When set, grading is ended.

    Returns:
        The result; None where it was stopped, and nothing was saved.

    Raises:
        RuntimeError: There is no sandbox here.
    """
    began = time.monotonic()
    scratch = tempfile.mkdtemp(prefix="grade-")
    error = ""
    try:
        with open(Path(scratch) / "log", "w+b") as log:
            status = _attend(_start(job, scratch, log), job, tell, stop)
            if stop is not None and stop.is_set() and status != 0:
                return None
            log.seek(max(0, log.tell() - 4000))
            detail = log.read().decode(errors="replace").strip()
        if status == 0:
            return Result.load(job.path)
        if status == NO_SANDBOX:
            raise RuntimeError(detail)
        error = _reason(status, job, detail)
    except (OSError, ValueError) as problem:
        error = f"The grader's result cannot be read.\n{problem}"
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    result = Result(job.assignment, job.student, key, 0, error=error)
    result.seconds, result.finished = time.monotonic() - began, time.time()
    result.save(job.path)
    return result


def _reason(status: int | None, job: Job, detail: str) -> str:
    """Say in the first line what the student may read, and below it what else is known."""
    if status == REFUSED:
        return detail
    if status is None:
        first = f"Grading did not end within {job.deadline:.0f} s."
    elif status > 128:
        first = f"The grader was ended by signal {status - 128}."
    else:
        first = f"The grader failed with exit status {status}."
    return f"{first}\n{detail}".strip()


def _start(job: Job, scratch: str, log: Any) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "course.grading.worker", json.dumps(asdict(job))]
    home = str(Path(__file__).parents[2])
    search = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        guarded(command, scratch),
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "TMPDIR": scratch, "PYTHONPATH": os.pathsep.join(search)},
        start_new_session=True,  # Ctrl-C is for the batch, which then ends this properly
    )


def _attend(
    process: "subprocess.Popen[bytes]", job: Job, tell: Tell | None, stop: Event | None
) -> int | None:
    """Pass on progress until the end; return the exit status, None after the deadline."""
    assert process.stdout is not None
    until = time.monotonic() + job.deadline + MARGIN
    late, rest = False, b""
    with selectors.DefaultSelector() as selector, process.stdout as pipe:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if time.monotonic() > until or (stop is not None and stop.is_set()):
                late = True
                break
            if not selector.select(0.2):
                continue
            chunk = os.read(pipe.fileno(), 65536)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                if tell is not None:
                    tell(line.decode(errors="replace")[:200])
            rest = rest[-1000:]
    if late:
        process.terminate()  # the guard ends the whole tree
    try:
        status = process.wait(20 if late else max(20.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        late = True
    return None if late else status


def main(argument: str) -> int:
    """Grade the job that `argument` describes; return the exit status of this process."""
    job = Job(**json.loads(argument))
    # What the grader or a library prints must not pass for progress.
    progress = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        check_notebook(job.notebook)
        result = resolve_name(job.grader)(
            job.open(),
            job.notebook,
            job.student,
            sandboxed=job.sandboxed,
            progress=lambda text: print(" ".join(text.split()), file=progress),
            deadline=job.deadline,
        )
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return REFUSED
    except RuntimeError as error:
        if type(error).__name__ != "NoSandboxError":
            raise
        print(error, file=sys.stderr)
        return NO_SANDBOX
    result.save(job.path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
