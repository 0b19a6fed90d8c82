"""``course grade``: all submissions to an assignment, side by side.

Every submission has a process tree of its own (`course.grading.worker`), so that none can stop
the others. A result is kept as soon as it is there: whatever ends a batch, running it again
goes on with what is left.
"""

import argparse
import contextlib
import fcntl
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from course.grading import reports, worker
from course.grading.progress import Progress, points_of, printable
from course.grading.results import Result
from course.grading.worker import Job
from course.processes import cores

Event = tuple[str, str, Any]  # "started", "doing", "graded", "failed"; student; what
Runner = Callable[[list[tuple[Job, str]], "queue.Queue[Event]", threading.Event], None]


@dataclass
class Settings:
    """How a batch is graded.

    Attributes:
        students: Names of those to grade; empty for all.
        jobs: Submissions side by side; 0 for half the cores.
        again: Whether to grade what has a valid result.
        sandboxed: Whether students' code must be kept in a sandbox.
        deadline: Seconds for one submission.
        slurm: Whether to grade as Slurm jobs.
        gradebook: Whether nbgrader's gradebook gets the marks.
        csv: Another file for the table of grades.
        opener: See `course.grading.worker.Job`.
        grader: See there.
    """

    students: Sequence[str] = ()
    jobs: int = 0
    again: bool = False
    sandboxed: bool = True
    deadline: float = 600.0
    slurm: bool = False
    gradebook: bool = True
    csv: Path | None = None
    opener: str = worker.OPEN
    grader: str = worker.GRADE
    runner: Runner | None = field(default=None, repr=False)


def main(options: argparse.Namespace) -> int:
    """Run ``course grade`` with the `options` of the command line; return its exit status."""
    root = Path(options.root or "assignments")
    if options.root is None and not root.is_dir() and Path("source").is_dir():
        root = Path()  # called within the course root, as nbgrader is
    settings = Settings(
        students=options.student,
        jobs=options.jobs,
        again=options.again,
        sandboxed=not options.unsafe_no_sandbox,
        deadline=options.deadline,
        slurm=options.slurm,
        gradebook=not options.no_gradebook,
        csv=Path(options.csv) if options.csv else None,
    )
    return grade_all(root, options.assignment, settings)


def submitted(root: Path, name: str) -> list[str]:
    """Return the names of the students who handed in the assignment `name`."""
    folder = root / "submitted"
    found = [p.name for p in folder.iterdir() if (p / name).is_dir()] if folder.is_dir() else []
    return sorted(student for student in found if not student.startswith("."))


def grade_all(root: Path, name: str, settings: Settings, out: TextIO = sys.stdout) -> int:
    """Grade the submissions to `name` below the course root `root`, and write all reports.

    Returns:
        0 if every submission is graded and in the gradebook, 1 if not, 130 if stopped.

    Raises:
        FileNotFoundError: There is no such assignment, or no submission.
        ValueError: A student who is asked for has handed nothing in, or the assignment's
            source and checks do not fit each other.
        RuntimeError: Another batch grades this assignment, or there is no sandbox.
    """
    root = root.resolve()
    if settings.jobs < 0 or settings.deadline <= 0:
        raise ValueError("expected a positive number of jobs and a positive deadline")
    students = submitted(root, name)
    wanted = list(dict.fromkeys(settings.students)) or students
    unknown = sorted(set(wanted) - set(students))
    if unknown:
        raise ValueError(f"expected a folder submitted/NAME/{name} for each of {unknown}")
    if not wanted:
        raise FileNotFoundError(f"expected submissions in {root}/submitted/*/{name}, found none")
    jobs = {
        student: Job(
            *(str(root), name, student, settings.deadline, settings.sandboxed),
            *(settings.opener, settings.grader),
        )
        for student in students
    }
    assignment = jobs[wanted[0]].open()
    with _alone(root / "graded" / name), _interruptible():
        keys = {student: job.key(assignment) for student, job in jobs.items()}
        known = {student: worker.stored(jobs[student].path, keys[student]) for student in students}
        todo = []
        for student in wanted:
            result = known[student]
            if settings.again or result is None or result.error:
                known[student] = None
                todo.append((jobs[student], keys[student]))
        results = {student: result for student, result in known.items() if result is not None}
        show = Progress(out, len(wanted), len(wanted) - len(todo))
        stopped, problem = False, ""
        try:
            _grade(todo, settings, results, show)
            if settings.gradebook:
                from course.grading import book  # nbgrader takes a while to import

                show.note("entering the marks in the gradebook")
                problem = book.enter(root, name, {s: results[s] for s in wanted})
        except KeyboardInterrupt:
            stopped = True
        finally:
            show.close()
            everybody = {student: results.get(student) for student in students}
            reports.write_all(root, name, assignment.points, everybody, csv=settings.csv)
        summary(results, wanted, out)
    left = sum(student not in results or bool(results[student].error) for student in wanted)
    if stopped:
        print(f"stopped; the same command goes on with the {left} that are left", file=out)
        return 130
    if problem:
        print(problem, file=out)
    print(f"reports: {root / 'graded' / f'{name}.html'}", file=out)
    return int(left > 0 or bool(problem))


def _grade(
    todo: list[tuple[Job, str]], settings: Settings, results: dict[str, Result], show: Progress
) -> None:
    """Grade `todo` and add to `results`, until all is done or somebody stops it."""
    if not todo:
        return
    events: queue.Queue[Event] = queue.Queue()
    stop = threading.Event()
    runner = settings.runner or _runner(settings)
    thread = threading.Thread(target=_contained, args=(runner, todo, events, stop))
    thread.start()
    try:
        while True:
            try:
                kind, student, what = events.get(timeout=1.0)
            except queue.Empty:
                show.tick()
                continue
            if kind == "over":
                break
            if kind == "failed":
                raise what
            if kind == "graded":
                results[student] = what
                reports.write_student(what, todo[0][0].path.parent)
            show.event(kind, student, what)
    finally:
        stop.set()
        thread.join(60)


def _contained(
    runner: Runner,
    todo: list[tuple[Job, str]],
    events: "queue.Queue[Event]",
    stop: threading.Event,
) -> None:
    try:
        runner(todo, events, stop)
    except Exception as error:  # told to the main thread, which waits for the end
        events.put(("failed", "", error))
    events.put(("over", "", None))


def _runner(settings: Settings) -> Runner:
    if settings.slurm:
        from course.grading.slurm import run_array

        return partial(run_array, jobs=settings.jobs)
    jobs = settings.jobs or max(1, cores() // 2)

    def local(
        todo: list[tuple[Job, str]], events: "queue.Queue[Event]", stop: threading.Event
    ) -> None:
        with ThreadPoolExecutor(jobs) as pool:
            for job, key in todo:
                pool.submit(_one, job, key, events, stop)

    return local


def _one(job: Job, key: str, events: "queue.Queue[Event]", stop: threading.Event) -> None:
    if stop.is_set():
        return
    events.put(("started", job.student, None))
    try:
        result = worker.run(job, key, lambda text: events.put(("doing", job.student, text)), stop)
    except Exception as error:
        stop.set()
        events.put(("failed", job.student, error))
        return
    if result is not None:
        events.put(("graded", job.student, result))


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep out another batch for the same assignment."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = lock.read().strip() or "another process"
            raise RuntimeError(f"this assignment is being graded by {other}") from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {os.uname().nodename}")
        lock.flush()
        yield


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and SIGHUP stop a batch as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(results: dict[str, Result], students: Sequence[str], out: TextIO) -> None:
    """Print one line a student: points, and what there is to say."""
    width = max([7, *(len(printable(student)) for student in students)])
    print(f"\n{'student':<{width}}  {'points':>15}  note", file=out)
    for student in students:
        result = results.get(student)
        if result is None:
            points, note = "-", "not graded yet"
        elif result.error:
            points, note = "-", "did not run: " + result.error.splitlines()[0]
        else:
            points, note = points_of(result), "; ".join(result.notes)
        print(f"{printable(student):<{width}}  {points:>15}  {printable(note)[:200]}", file=out)
    out.flush()
