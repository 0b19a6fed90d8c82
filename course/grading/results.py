"""What grading one submission came to: marks, and a reason for every point that was lost.

A result is plain data and one JSON file. The batch, the reports, the CSV and nbgrader's
gradebook are made from it, so they can be made again without grading again.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

VERSION = 1


@dataclass
class Loss:
    """Points that were lost, and why.

    Attributes:
        points: How many.
        reason: Why, in words for the student; may have several lines.
    """

    points: float
    reason: str


@dataclass
class Mark:
    """What one graded cell earned.

    Attributes:
        name: The cell's nbgrader ``grade_id``.
        points: Points earned, from 0 to `most`.
        most: Points that could be earned.
        losses: Where the others went; their points add up to ``most - points``.
        passed: What was right, one line each.
    """

    name: str
    points: float
    most: float
    losses: list[Loss] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)


@dataclass
class Result:
    """What one submission came to.

    Attributes:
        assignment: The assignment's name.
        student: The student's name, as the folder below ``submitted/``.
        key: Hash of all that the marks depend on: submission, checks, source and grader.
        seed: The seed from which this student's inputs were drawn.
        marks: One for each automatically graded cell, in the order of the notebook.
        notes: What the lecturer should know: cells changed, doubled or missing.
        sandbox: How the student's code was kept in: ``bubblewrap`` or ``none``.
        error: Why there are no marks, where the submission could not be graded at all.
        seconds: Wall time of grading.
        finished: When it was done, in seconds since 1970.
    """

    assignment: str
    student: str
    key: str
    seed: int
    marks: list[Mark] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sandbox: str = ""
    error: str = ""
    seconds: float = 0.0
    finished: float = 0.0
    version: int = VERSION

    @property
    def points(self) -> float:
        """Points earned in all automatically graded cells."""
        return sum(mark.points for mark in self.marks)

    @property
    def most(self) -> float:
        """Points that could be earned in them."""
        return sum(mark.most for mark in self.marks)

    def mark(self, name: str) -> Mark:
        """Return the mark of the cell `name`.

        Raises:
            KeyError: There is no such cell.
        """
        for mark in self.marks:
            if mark.name == name:
                return mark
        names = ", ".join(mark.name for mark in self.marks) or "none"
        raise KeyError(f"expected one of the graded cells {names}, got {name!r}")

    def save(self, path: Path) -> None:
        """Write the result to `path`, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(asdict(self), indent=1))
        draft.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Read a result.

        Raises:
            FileNotFoundError: There is none at `path`.
            ValueError: The file is damaged, or of another version of the grader.
        """
        try:
            tree = json.loads(path.read_text())
            if tree["version"] != VERSION:
                raise ValueError(f"version {VERSION} was expected, got {tree['version']}")
            marks = [
                Mark(**{**mark, "losses": [Loss(**loss) for loss in mark["losses"]]})
                for mark in tree.pop("marks")
            ]
            return cls(marks=marks, **tree)
        except (KeyError, TypeError, json.JSONDecodeError, ValueError) as error:
            raise ValueError(f"{path} holds no result of this grader: {error}") from None
