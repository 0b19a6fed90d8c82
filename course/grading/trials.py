"""One call of a student's function, on how many ranks with which inputs, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from course.grading import agent
from course.grading.crew import Crews, Work
from course.grading.sandbox import Limits, Sandbox
from course.mpi.records import Trace


class Ask:
    """An argument that is a function, computed by the grader and counted."""

    def __init__(self, function: Callable[..., Any], name: str = "") -> None:
        """Offer `function`, whose arguments and results are plain data, as `name`."""
        self.function = function
        self.name = name or function.__name__


@dataclass
class Trial:
    """One call.

    Attributes:
        args: The arguments: with ranks, one tuple for each rank, without the communicator;
            else one tuple.
        ranks: Number of ranks; 0 calls the function alone, without a communicator.
        expected: What is compared with the results: with ranks, one value for each.
        n: Size of the problem, for a contract's formulas.
        label: What is special here, for the student: "3 ranks, one of them without rows".
        weight: This trial's share among those of its criterion; None for 1, but 0 for one
            rank where other trials have more (it must still be right).
    """

    args: Sequence[Any]
    ranks: int = 0
    expected: Any = None
    n: int = 0
    label: str = ""
    weight: float | None = None

    def __post_init__(self) -> None:
        """Check that there is a tuple of arguments for every rank."""
        if self.ranks and len(self.args) != self.ranks:
            raise ValueError(
                f"expected arguments for each of {self.ranks} ranks, got {len(self.args)}"
            )

    @property
    def where(self) -> str:
        """The label, after the number of ranks."""
        ranks = f"{self.ranks} rank{'s' if self.ranks > 1 else ''}" if self.ranks else ""
        return ", ".join(part for part in (ranks, self.label) if part) or "one call"


@dataclass
class Done:
    """What came of a trial.

    Attributes:
        results: What each rank returned, as plain data; one for a trial without ranks.
        trace: The MPI calls, recorded by the grader's ranks.
        seconds: Seconds from the call to the result on each rank, by the grader's clock.
        asked: For each rank the names and arguments of the functions it asked for.
        failure: Why there are no results; empty where the function returned everywhere.
        kind: ``done``, ``raised``, ``deadlock``, ``deadline``, ``lost`` (a process ended) or
            ``stuck`` (already the cells did not come to an end).
    """

    results: list[Any] = field(default_factory=list)
    trace: Trace | None = None
    seconds: list[float] = field(default_factory=list)
    asked: list[list[Any]] = field(default_factory=list)
    failure: str = ""
    kind: str = "done"


class Bench:
    """The sandboxes of one submission, one for each rank, in which its trials are done."""

    def __init__(
        self,
        cells: Sequence[tuple[str, str]],
        limits: Limits,
        crews: Crews,
        *,
        sandboxed: bool = True,
    ) -> None:
        """Prepare to try the code of `cells`, pairs of name and source; start nothing yet."""
        self.cells = [list(cell) for cell in cells]
        self.crews = crews
        self.limits = limits
        self.sandboxed = sandboxed
        self.sandboxes: list[Sandbox] = []

    def _paths(self, number: int) -> list[str]:
        """Return the sockets of `number` sandboxes that are ready."""
        for place, sandbox in enumerate(self.sandboxes[:number]):
            if not sandbox.alive:
                sandbox.close()
                self.sandboxes[place] = Sandbox(self.limits, sandboxed=self.sandboxed)
        while len(self.sandboxes) < number:
            self.sandboxes.append(Sandbox(self.limits, sandboxed=self.sandboxed))
        return [sandbox.path for sandbox in self.sandboxes[:number]]

    def try_out(
        self,
        trial: Trial,
        function: str,
        driver: str = "",
        seconds: float = 20.0,
        trace: bool = True,
    ) -> Done:
        """Do one trial.

        Args:
            trial: What to call it with.
            function: The student's function.
            driver: Source of a function of the grader's that runs in the sandbox instead, and
                gets the student's names as its first argument.
            seconds: How long the function may take.
            trace: Whether its MPI calls are recorded, and deadlocks explained.
        """
        asked: dict[str, Callable[..., Any]] = {}
        jobs = [
            {
                "cells": self.cells,
                "function": function,
                "driver": driver,
                "args": _spell(args, asked),
                "rank": rank,
                "size": trial.ranks,
                "seconds": seconds,
            }
            for rank, args in enumerate(trial.args if trial.ranks else [trial.args])
        ]
        paths = self._paths(len(jobs))
        if trial.ranks:
            done = self._on_ranks(paths, jobs, asked, seconds, trace)
        else:
            done = self._alone(paths, jobs, asked)
        if done.kind not in ("done", "raised"):
            self.close()  # the next trial gets new sandboxes, whatever became of these
        return done

    @staticmethod
    def _alone(
        paths: list[str], jobs: list[dict[str, Any]], asked: Mapping[str, Callable[..., Any]]
    ) -> Done:
        try:
            return _done([agent.serve(None, paths[0], jobs[0], asked)], None)
        except agent.TrialFailed as failure:
            return Done(failure=str(failure), kind=failure.kind)

    def _on_ranks(
        self,
        paths: list[str],
        jobs: list[dict[str, Any]],
        asked: Mapping[str, Callable[..., Any]],
        seconds: float,
        trace: bool,
    ) -> Done:
        work = self.crews.of(len(jobs)).do(paths, jobs, asked, seconds, trace)
        if work.end == "done":
            told = [answer for answer in work.answers if answer is not None]
            return _done(told, work.trace)
        if work.end == "deadlock":
            return Done(failure=f"the ranks hang\n{work.explanation}", kind="deadlock")
        if work.end == "crashed":
            return Done(failure="a call crashed the MPI library", kind="lost")
        late = f"took more than {seconds:g} s and was ended"
        kinds = {failure[0] for failure in work.failures if failure}
        kind = next((k for k in ("stuck", "raised", "lost", "deadline") if k in kinds), "deadline")
        return Done(failure=_failure(work) or late, kind=kind)

    def close(self) -> None:
        """End all sandboxes."""
        for sandbox in self.sandboxes:
            sandbox.close()
        self.sandboxes = []

    def __enter__(self) -> "Bench":
        """Use it in a ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End all sandboxes."""
        self.close()


def _spell(args: Sequence[Any], asked: dict[str, Callable[..., Any]]) -> list[list[Any]]:
    """Spell arguments for the wire, and note the functions among them."""
    spelt: list[list[Any]] = []
    for value in args:
        if isinstance(value, Ask):
            asked[value.name] = value.function
            spelt.append(["ask", value.name])
        else:
            spelt.append(["value", value])
    return spelt


def _done(told: list[dict[str, Any]], trace: Trace | None) -> Done:
    return Done(
        [one["value"] for one in told],
        trace,
        [one["seconds"] for one in told],
        [one["asked"] for one in told],
    )


def _failure(work: Work) -> str:
    """Say which ranks failed, and what the trace makes of it."""
    told: dict[str, list[int]] = {}
    for rank, failure in enumerate(work.failures):
        if failure:
            told.setdefault(failure[1], []).append(rank)
    lines = []
    for text, who in told.items():
        numbers = ", ".join(map(str, who))
        lines.append(f"rank{'s' if len(who) > 1 else ''} {numbers} {text}")
    found = work.explanation
    if found is not None and found.kind not in ("none", "slow", "incomplete"):
        if not (lines and found.says_nothing_new):
            lines.append(str(found))
    return "\n".join(lines)
