"""Grade the reference, the release and wrong solutions of an assignment, cheaply.

The wrong solutions stand in tables, `tests/assignments/wrong/NAME.py`:

    WRONG = [Wrong("a loop of Bcast", "join", "def join(comm, mine): ...", {"join-results": 2})]

A wrong solution replaces one solution cell of the reference, and the points it gets are those of
the cells that judge it, so those of different tasks share one submission: it costs one start of
the sandboxes.
"""

import importlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

from course.grading import grader, submission
from course.grading.assignment import Assignment
from course.grading.crew import Crews
from course.grading.results import Mark, Result
from course.grading.sandbox import Sandbox
from course.grading.trials import Bench

ASSIGNMENTS = Path(__file__).parents[2] / "assignments"
SOLUTION = re.compile(r"### BEGIN SOLUTION.*?### END SOLUTION", re.DOTALL)
STUB = "raise NotImplementedError('your code is missing')"  # as nbgrader_config.py has it


@dataclass(frozen=True)
class Wrong:
    """A plausible wrong solution.

    Attributes:
        what: What is wrong with it.
        cell: The solution cell that it stands in.
        code: Its source.
        points: What the cells that judge it give, by grade id; all of them are listed.
        says: A part of the reasons that the student gets.
        uses: Solution cells that it stands on, which have to be right meanwhile.
    """

    what: str
    cell: str
    code: str
    points: dict[str, float]
    says: str = ""
    uses: tuple[str, ...] = ()


def earns(cells: tuple[str, ...], *points: float) -> dict[str, float]:
    """Name the points of `cells`."""
    return dict(zip(cells, points, strict=True))


@dataclass
class Desk:
    """Grades submissions to one assignment, in a course root of its own below `folder`."""

    name: str
    folder: Path
    crews: Crews

    def __post_init__(self) -> None:
        """Copy the assignment, so that nothing is written into the checkout."""
        for part in (f"source/{self.name}/{self.name}.ipynb", f"checks/{self.name}.py"):
            (self.folder / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ASSIGNMENTS / part, self.folder / part)
        (self.folder / ".grading-salt").write_text("tests")  # the same inputs every time
        self.assignment = Assignment.open(self.folder, self.name)
        pool: list[Sandbox] = []
        self.pool = pool

        class Shared(Bench):
            """Its sandboxes serve all submissions: starting them is most of the cost."""

            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                self.sandboxes = pool

            def close(self) -> None:
                """Keep the sandboxes for the next submission."""

        self.bench = Shared

    def close(self) -> None:
        """End the sandboxes."""
        for one in self.pool:
            one.close()

    def grade(self, changes: dict[str, str], only: Sequence[str] | None = None) -> Result:
        """Grade the reference with other code in the cells that `changes` names."""
        unknown = set(changes) - {name for name, _ in self.assignment.solution}
        assert not unknown, f"no solution cells named {sorted(unknown)}"
        cells = []
        for cell in self.assignment.cells:
            name = cell["metadata"].get("nbgrader", {}).get("grade_id", "")
            cells.append({**cell, "source": changes.get(name, cell["source"])})
        path = self.folder / "submitted.ipynb"
        path.write_text(json.dumps({"cells": cells, "nbformat": 4, "metadata": {}}))
        with mock.patch.object(grader, "Bench", self.bench):
            return grader.grade(self.assignment, path, "anna", crews=self.crews, only=only)

    @cached_property
    def reference(self) -> Result:
        """The marks of the reference solution."""
        return self.grade({})

    @cached_property
    def release(self) -> Result:
        """The marks of what is handed out."""
        handed_out = {
            cell["metadata"]["nbgrader"]["grade_id"]: SOLUTION.sub(STUB, cell["source"])
            for cell in self.assignment.cells
            if submission.is_solution(cell)
        }
        return self.grade(handed_out)

    @cached_property
    def wrong(self) -> dict[str, dict[str, Mark]]:
        """The marks of the cells that judge each wrong solution, by what is wrong."""
        table = importlib.import_module(f"tests.assignments.wrong.{self.name}").WRONG
        found = {}
        for together in rounds(table):
            only = [name for one in together for name in one.points]
            marks = self.grade({one.cell: one.code for one in together}, only).marks
            by_name = {mark.name: mark for mark in marks}
            for one in together:
                found[one.what] = {name: by_name[name] for name in one.points}
        return found


def rounds(wrong: Sequence[Wrong]) -> Iterator[list[Wrong]]:
    """Put wrong solutions of different cells together, as few submissions as can be."""
    left = list(wrong)
    while left:
        taken: dict[str, Wrong] = {}
        for one in left:
            if one.cell not in taken and not any(_clash(one, o) for o in taken.values()):
                taken[one.cell] = one
        yield list(taken.values())
        left = [one for one in left if one not in taken.values()]


def _clash(one: Wrong, other: Wrong) -> bool:
    judged = set(one.points) & set(other.points)
    return bool(judged) or one.cell in other.uses or other.cell in one.uses


def lines(marks: dict[str, Mark]) -> str:
    """All reasons, for a failing test."""
    return "\n".join(
        f"{mark.name}: {mark.points} of {mark.most}\n"
        + "\n".join(f"    -{loss.points:.2f} {loss.reason}" for loss in mark.losses)
        for mark in marks.values()
    )
