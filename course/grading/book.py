"""nbgrader's gradebook: marks go in through ``nbgrader autograde``, and come out as CSV."""

import json
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.plugins import ExportPlugin

from course.grading import reports
from course.grading.preprocessors import STORED_ONLY
from course.grading.results import Result
from course.processes import guarded

SECONDS = 600.0  # for nbgrader to start, and
EACH = 30.0  # for each submission: far more than it takes on a busy machine


def enter(root: Path, name: str, results: Mapping[str, Result]) -> str:
    """Enter those of `results` in the gradebook that are not in it yet.

    nbgrader writes them one after another, in one process, from the stored results.

    Returns:
        What went wrong, in words for the lecturer; "" if nothing did.
    """
    notes = root / "graded" / name / ".booked.json"
    try:
        booked = dict(json.loads(notes.read_text()))
    except (OSError, ValueError):
        booked = {}
    marks = {student: f"{r.key} {r.finished}" for student, r in results.items()}
    new = [
        student
        for student in results
        if booked.get(student) != marks[student] or not _autograded(root, name, student)
    ]
    if not new:
        return ""
    others = [path.name for path in (root / "submitted").iterdir() if path.name not in new]
    status, log = _nbgrader(
        root,
        SECONDS + EACH * len(new),
        *("autograde", name, "--force", "--create"),
        f"--CourseDirectory.student_id_exclude={','.join(others)}",
    )
    failed = [student for student in new if not _autograded(root, name, student)]
    booked |= {student: marks[student] for student in new if student not in failed}
    reports.write(notes, json.dumps(booked))
    reports.write(notes.with_name(".nbgrader.log"), log)
    surprising = [student for student in failed if not results[student].error]
    if status == 0 or (failed and not surprising):
        return ""
    why = _last_error(log)
    who = ", ".join(surprising[:10]) or "all"
    return (
        f"the gradebook lacks the marks of {who}; they are in graded/{name}. "
        f"nbgrader said: {why} (all of it: graded/{name}/.nbgrader.log)"
    )


def _autograded(root: Path, name: str, student: str) -> bool:
    return (root / "autograded" / student / name / f"{name}.ipynb").exists()


def _last_error(log: str) -> str:
    """Return what nbgrader says was wrong, out of tracebacks and its complaints about them."""
    lines = [line.strip() for line in log.splitlines() if "Please see" not in line]
    told = [line for line in lines if re.match(r"[\w.]*(Error|Exception|Entry): ", line)]
    return (told or [line for line in lines if line] or ["nothing"])[-1]


def _nbgrader(root: Path, seconds: float, *command: str) -> tuple[int, str]:
    environment = {
        **os.environ,
        STORED_ONLY: "1",
        # nbgrader calls alembic, which lies beside this Python
        "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""),
    }
    process = subprocess.Popen(
        guarded([sys.executable, "-m", "nbgrader", *command]),
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        log, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # the guard ends the whole tree
        log, _ = process.communicate(timeout=30)
        log += f"\nError: nbgrader was not done after {seconds:.0f} s"
    except BaseException:
        process.terminate()
        process.wait(30)
        raise
    return process.returncode, log


class CsvExport(ExportPlugin):
    """``nbgrader export`` with an empty score, instead of 0, for what has not run.

    The columns are those of nbgrader's own plugin, and one more: ``did_not_run``.
    """

    COLUMNS = (
        *("assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email"),
        *("raw_score", "late_submission_penalty", "score", "max_score", "did_not_run"),
    )

    def export(self, gradebook: Gradebook) -> None:
        """Write one row for each student and assignment to ``grades.csv`` or `to`."""
        rows: list[Sequence[Any]] = [self.COLUMNS]
        for assignment in gradebook.assignments:
            for student in gradebook.students:
                if self.assignment and assignment.name not in map(str, self.assignment):
                    continue
                if self.student and student.id not in map(str, self.student):
                    continue
                rows.append(self._row(gradebook, assignment, student))
        reports.write_csv(rows, Path(self.to or "grades.csv"))

    def _row(self, gradebook: Gradebook, assignment: Any, student: Any) -> list[Any]:
        row = [assignment.name, assignment.duedate or "", "", student.id]
        row += [student.last_name or "", student.first_name or "", student.email or ""]
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
        except MissingEntry:
            return [*row, 0.0, 0.0, 0.0, assignment.max_score, ""]
        row[2] = submission.timestamp or ""
        if did_not_run(submission):
            return [*row, "", "", "", assignment.max_score, "yes"]
        penalty = submission.late_submission_penalty or 0.0
        score = max(0.0, submission.score - penalty)
        return [*row, submission.score, penalty, score, assignment.max_score, ""]


def did_not_run(submission: Any) -> bool:
    """Whether an automatically graded cell of `submission` has no points at all, not even 0."""
    return any(
        grade.auto_score is None and grade.manual_score is None and grade.cell.cell_type == "code"
        for part in submission.notebooks
        for grade in part.grades
        if not _by_hand(part, grade.name)
    )


def _by_hand(part: Any, name: str) -> bool:
    return any(cell.name == name for cell in part.notebook.solution_cells)
