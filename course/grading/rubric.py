"""What an assignment's checks are written with: tasks, trials and what they are worth.

    rubric = Rubric(hidden=["course.clustering"])

    @rubric.task("join")
    def join(rng):
        for ranks in RANKS:
            numbers = rng.standard_normal(20)
            pieces = draws.parts(rng, numbers, ranks)
            yield Trial([(p,) for p in pieces], ranks, [numbers] * ranks, n=20)

    rubric.results("join-results", join)
    rubric.contract("join-contract", join, Contract({"Allgatherv": 1}, only=True))

A *task* names a function of the student's and draws its trials; each trial is done once. A
*criterion* names a graded cell of the notebook (its points stand there) and judges the trials of
one task: each that is not as it should be costs its share of the points, with a reason.
"""

import inspect
import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from course.grading.compare import Compare, equal
from course.grading.results import Loss, Mark
from course.grading.sandbox import Limits, module_path
from course.grading.speed import Speed
from course.grading.trials import Done, Trial
from course.mpi.contract import Contract

Draw = Callable[[np.random.Generator], Iterable[Trial]]
Judge = Callable[[Trial, Done], str | None]


@dataclass(eq=False)
class Task:
    """A function of the student's, and how its trials are drawn.

    Attributes:
        function: Its name.
        draw: Yields the trials.
        driver: Source of the grader's function that is called instead, or nothing.
        seconds: What one call may take.
        trace: Whether MPI calls are recorded.
    """

    function: str
    draw: Draw
    driver: str = ""
    seconds: float = 20.0
    trace: bool = True


@dataclass(eq=False)
class Criterion:
    """How the trials of a task earn the points of one graded cell."""

    name: str
    task: Task
    judge: Judge
    partial: bool = True

    def says(self, trial: Trial, done: Done) -> str | None:
        """Return what is wrong with a trial, or None."""
        if done.failure:
            return done.failure
        try:
            return self.judge(trial, done)
        except Exception as error:  # the judge did not think of such a result
            kind = type(error).__name__
            return f"the result is not of the form that was asked for ({kind}: {error})"

    def mark(self, trials: Sequence[tuple[Trial, Done]], most: float) -> Mark:
        """Return the mark for what came of the trials.

        A trial on one rank proves nothing about a parallel program: where there are others it
        has no share, and where it alone is right nothing is earned.
        """
        shares = _shares([trial for trial, _ in trials])
        losses, passed = [], []
        earned = 0.0
        for (trial, done), share in zip(trials, shares, strict=True):
            said = self.says(trial, done)
            if said:
                losses.append(Loss(share, f"{trial.where}: {said}"))
            else:
                earned += share
                passed.append(trial.where)
        alone = any(loss.points == 0 for loss in losses)
        if losses and (not self.partial or not earned):
            return Mark(self.name, 0.0, most, _spread(losses, most), passed)
        if losses and alone and math.isclose(earned, 1.0):
            # Right everywhere but on one rank: that is one of the cases, too.
            losses = [Loss(1 / len(trials), loss.reason) for loss in losses]
            earned = 1.0 - sum(loss.points for loss in losses)
        losses = [Loss(loss.points * most, loss.reason) for loss in losses]
        points = most - sum(loss.points for loss in losses)
        return Mark(self.name, max(0.0, round(points, 2)), most, losses, passed)


def _shares(trials: Sequence[Trial]) -> list[float]:
    """Return each trial's share of the points; they add up to 1."""
    several = any(trial.ranks > 1 for trial in trials)
    weights = []
    for trial in trials:
        usual = 0.0 if several and trial.ranks == 1 else 1.0
        weights.append(usual if trial.weight is None else trial.weight)
    total = sum(weights) or 1.0
    return [weight / total for weight in weights]


def _spread(losses: list[Loss], most: float) -> list[Loss]:
    """Share `most` points out over `losses`."""
    total = sum(loss.points for loss in losses)
    if total == 0:
        return [Loss(most / len(losses), loss.reason) for loss in losses]
    return [Loss(most * loss.points / total, loss.reason) for loss in losses]


@dataclass
class Rubric:
    """All tasks and criteria of one assignment.

    Args:
        hidden: Modules of `course` that the student's code must not find.
        memory: Bytes of address space of each process.
        preload: Modules imported before the submission; the heavier ones that it needs.
        processes: Processes and threads that one rank may have.
    """

    hidden: Sequence[str] = ()
    memory: int = 2 << 30
    preload: Sequence[str] = ("numpy",)
    processes: int = 64
    tasks: list[Task] = field(default_factory=list)
    criteria: list[Criterion] = field(default_factory=list)
    speeds: list[Speed] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check that the hidden modules exist: a wrong name would hide nothing."""
        for name in self.hidden:
            module_path(name)

    @property
    def limits(self) -> Limits:
        """What a student's process may use."""
        return Limits(
            memory=self.memory,
            processes=self.processes,
            hidden=tuple(self.hidden),
            preload=tuple(self.preload),
        )

    def task(
        self,
        function: str,
        *,
        driver: Callable[..., object] | None = None,
        seconds: float = 20.0,
        trace: bool = True,
    ) -> Callable[[Draw], Task]:
        """Make a task of a generator of trials.

        Args:
            function: Name of the student's function.
            driver: A function of the grader's that runs beside the student's code, as
                ``driver(student, ...)``, and calls ``student.NAME``: for results that are no
                plain data, such as a Keras model. It travels as source, so it imports what it
                needs itself; and what it returns is the student's word, to be checked.
            seconds: How long one call may take.
            trace: Whether MPI calls are recorded, for contracts and deadlocks.
        """
        source = textwrap.dedent(inspect.getsource(driver)) if driver is not None else ""

        def make(draw: Draw) -> Task:
            made = Task(function, draw, source, seconds, trace)
            self.tasks.append(made)
            return made

        return make

    def results(
        self, name: str, task: Task, compare: Compare = equal, *, partial: bool = True
    ) -> None:
        """Let the cell `name` earn its points by right results on every rank."""

        def judge(trial: Trial, done: Done) -> str | None:
            if not trial.ranks:
                return compare(done.results[0], trial.expected)
            said: dict[str, list[int]] = {}
            for rank, (got, right) in enumerate(zip(done.results, trial.expected, strict=True)):
                what = compare(got, right)
                if what:
                    said.setdefault(what, []).append(rank)
            return "\n".join(f"{_who(ranks)}: {what}" for what, ranks in said.items()) or None

        self.criteria.append(Criterion(name, task, judge, partial))

    def contract(self, name: str, task: Task, contract: Contract, *, partial: bool = True) -> None:
        """Let the cell `name` earn its points by what is communicated, on several ranks."""

        def judge(trial: Trial, done: Done) -> str | None:
            if done.trace is None:
                return "no MPI calls were recorded"
            if not done.trace.complete:
                return "more MPI calls than can be recorded"
            verdict = contract.check(done.trace, trial.n)
            return None if verdict else str(verdict)

        self.criteria.append(Criterion(name, task, judge, partial))

    def judge(self, name: str, task: Task, *, partial: bool = True) -> Callable[[Judge], Judge]:
        """Let a function judge each trial: it returns what is wrong, or None."""

        def make(judge: Judge) -> Judge:
            self.criteria.append(Criterion(name, task, judge, partial))
            return judge

        return make

    def speed(self, name: str, task: Task, compare: Compare = equal, **how: Any) -> None:
        """Let the cell `name` earn its points by being fast enough (`course.grading.speed`)."""
        self.speeds.append(Speed(name, task.function, task.draw, compare, task.driver, **how))
        if task in self.tasks:
            self.tasks.remove(task)  # its trials are drawn round by round

    def names(self) -> Iterator[str]:
        """The graded cells that this rubric decides."""
        yield from (criterion.name for criterion in self.criteria)
        yield from (speed.name for speed in self.speeds)


def _who(ranks: list[int]) -> str:
    return f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"
