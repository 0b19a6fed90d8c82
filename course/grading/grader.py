"""Grade one submission: its functions run in sandboxes, the marks are made here."""

import contextlib
import time
import zlib
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from course.grading import sandbox, submission
from course.grading.assignment import Assignment
from course.grading.crew import Crews
from course.grading.results import Loss, Mark, Result
from course.grading.rubric import Rubric, Task
from course.grading.sandbox import NoSandboxError
from course.grading.trials import Bench, Done, Trial

Progress = Callable[[str], None]


def grade(
    assignment: Assignment,
    notebook: Path,
    student: str,
    *,
    sandboxed: bool = True,
    progress: Progress | None = None,
    deadline: float = 600.0,
    crews: Crews | None = None,
    only: Collection[str] | None = None,
) -> Result:
    """Grade the submission `notebook` of `student`.

    Args:
        assignment: The assignment.
        notebook: Path of the submitted notebook; it is read, never run.
        student: Whose it is; decides which inputs are drawn.
        sandboxed: Whether the code must be kept in a sandbox.
        progress: Is told what is being done.
        deadline: Seconds for the whole submission; trials that come later are not done.
        crews: The grader's ranks, to be used again for the next submission; None starts some
            for this one.
        only: Grade only the cells of these names, as tests of single tasks do; None for all.

    Raises:
        NoSandboxError: A sandbox was asked for, and none can be had here.
        FileNotFoundError: There is no notebook.
        ValueError: It is no notebook.
    """
    if sandboxed:
        why = sandbox.available()
        if why:
            raise NoSandboxError(why)
    began = time.monotonic()
    found = submission.extract(assignment.cells, submission.read_notebook(notebook))
    result = Result(
        assignment.name,
        student,
        assignment.key(notebook, student),
        assignment.seed(student),
        notes=found.notes,
        sandbox="bubblewrap" if sandboxed else "none",
    )
    rubric = assignment.rubric
    tell = progress or (lambda text: None)
    marks: dict[str, Mark] = {}
    with contextlib.ExitStack() as stack:
        ranks = crews or stack.enter_context(Crews())
        bench = stack.enter_context(Bench(found.cells, rubric.limits, ranks, sandboxed=sandboxed))
        wanted = set(assignment.points if only is None else only)
        over = ""
        outcomes: dict[Task, list[tuple[Trial, Done]]] = {}
        for criterion in rubric.criteria:
            task = criterion.task
            if criterion.name not in wanted:
                continue
            if task not in outcomes:
                tell(task.function)
                rng = _rng(result.seed, task.function, rubric.tasks.index(task))
                outcomes[task], over = _try(bench, task, rng, began + deadline, over)
            most = assignment.points[criterion.name]
            marks[criterion.name] = criterion.mark(outcomes[task], most)
        speeds = [speed for speed in rubric.speeds if speed.name in wanted]
        if speeds:
            reference = stack.enter_context(
                Bench(assignment.solution, rubric.limits, ranks, sandboxed=sandboxed)
            )
        for speed in speeds:
            most = assignment.points[speed.name]
            wrong = _wrong(rubric, speed.function, marks)
            if wrong:
                why = f"speed counts only for right results, and {wrong} earned no points"
                marks[speed.name] = Mark(speed.name, 0.0, most, [Loss(most, why)])
                continue
            tell(f"{speed.function}: speed")
            rng = _rng(result.seed, speed.name)
            marks[speed.name] = speed.mark(bench, reference, rng, most)
    result.marks = [marks[name] for name in assignment.points if name in marks]
    result.seconds = time.monotonic() - began
    result.finished = time.time()
    return result


def _rng(seed: int, *names: object) -> np.random.Generator:
    """Return a source of chance of its own for each task, whatever the others draw."""
    return np.random.default_rng([seed, *(zlib.crc32(str(name).encode()) for name in names)])


def _try(
    bench: Bench, task: Task, rng: np.random.Generator, until: float, over: str
) -> tuple[list[tuple[Trial, Done]], str]:
    """Do the trials of a task; after one that took too long, none is tried again.

    Args:
        bench: Where.
        task: What.
        rng: Draws the inputs.
        until: When the time for the whole submission is used up.
        over: Why nothing is to be tried any more; empty where something is.

    Returns:
        What came of the trials, and why later tasks need not be tried either.
    """
    outcomes: list[tuple[Trial, Done]] = []
    rest = over
    for trial in task.draw(rng):
        if not over and time.monotonic() > until:
            over = rest = "not tried: the time for the whole submission was used up"
        if rest:
            outcomes.append((trial, Done(failure=rest, kind="deadline")))
            continue
        done = bench.try_out(trial, task.function, task.driver, task.seconds, task.trace)
        outcomes.append((trial, done))
        if done.kind == "stuck":
            over = rest = f"not tried: loading the submission took too long ({done.failure})"
        elif done.kind == "deadline":
            rest = f"not tried: it had already taken too long ({trial.where})"
        elif done.kind == "raised" and "is not defined" in done.failure:
            rest = done.failure
    return outcomes, over


def _wrong(rubric: Rubric, function: str, marks: dict[str, Mark]) -> str:
    """Return a cell for the results of `function` that earned nothing; "" if there is none."""
    for criterion in rubric.criteria:
        if criterion.task.function == function and criterion.name in marks:
            if marks[criterion.name].points == 0:
                return criterion.name
    return ""
