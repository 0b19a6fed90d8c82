"""Grade submissions the way a lecturer does, with nbgrader's commands in a fresh course root.

    marks = autograde("a2_training_time", "reference", tmp_path)

Every command runs in a process tree of its own that ends with it or at its deadline.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from course.processes import guarded

ASSIGNMENTS = Path(__file__).parents[2] / "assignments"

Variant = str | Callable[[NotebookNode], NotebookNode | None]
Marks = dict[str, tuple[float, float]]


class CourseRoot:
    """An nbgrader course in a temporary folder, with one assignment of this project."""

    def __init__(self, assignment: str, folder: Path, source: Path | None = None) -> None:
        self.assignment = assignment
        self.folder = folder / "course"
        source = source or ASSIGNMENTS / "source" / assignment
        shutil.copytree(source, self.folder / "source" / assignment)
        checks = ASSIGNMENTS / "checks" / f"{assignment}.py"
        if checks.exists():
            (self.folder / "checks").mkdir()
            shutil.copy(checks, self.folder / "checks")
        shutil.copy(ASSIGNMENTS / "nbgrader_config.py", self.folder)
        self.nbgrader("generate_assignment", assignment)

    def nbgrader(self, *command: str, deadline: float = 240) -> str:
        """Run ``nbgrader COMMAND...`` in the root; raise with its log if it fails or hangs."""
        private = self.folder.parent / "jupyter"
        private.mkdir(exist_ok=True)
        folders = "JUPYTER_DATA_DIR JUPYTER_CONFIG_DIR JUPYTER_RUNTIME_DIR IPYTHONDIR".split()
        environment = {
            **os.environ,
            **{name: str(private / name.lower()) for name in folders},
            "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ.get("PATH", ""),
            "IPP_NONINTERACTIVE": "1",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "PYTHONPATH": str(ASSIGNMENTS.parent),
        }
        process = subprocess.Popen(
            guarded([sys.executable, "-m", "nbgrader", *command]),
            cwd=self.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            log, _ = process.communicate(timeout=deadline)
        except subprocess.TimeoutExpired:
            process.terminate()  # the guard then ends the whole tree
            log, _ = process.communicate(timeout=30)
            raise AssertionError(
                f"nbgrader {command}: not done after {deadline} s\n{log}"
            ) from None
        assert process.returncode == 0, f"nbgrader {command}: {process.returncode}\n{log}"
        return log

    def notebook(self, step: str) -> NotebookNode:
        """Return the notebook of a `step`: ``source``, ``release``, ``autograded/NAME``..."""
        path = self.folder / step / self.assignment / f"{self.assignment}.ipynb"
        return nbformat.read(path, as_version=4)

    def reference(self) -> NotebookNode:
        """Return the student's version with the solution cells of the source filled in."""
        solutions = {
            cell.metadata.nbgrader.grade_id: cell.source
            for cell in self.notebook("source").cells
            if cell.metadata.get("nbgrader", {}).get("solution")
        }
        notebook = self.notebook("release")
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("solution"):
                cell.source = solutions[cell.metadata.nbgrader.grade_id]
        return notebook

    def submit(self, student: str, variant: Variant) -> None:
        """Hand in `variant` as `student`, with the files that come with the assignment."""
        notebook = self.notebook("release") if variant == "release" else self.reference()
        if callable(variant):
            notebook = variant(notebook) or notebook
        elif variant not in ("release", "reference"):
            raise ValueError(f"expected 'reference', 'release' or a function, got {variant!r}")
        target = self.folder / "submitted" / student / self.assignment
        shutil.copytree(self.folder / "release" / self.assignment, target)
        nbformat.write(notebook, target / f"{self.assignment}.ipynb")

    def marks(self, student: str) -> Marks:
        """Return (points, maximum) of every automatically graded cell, by grade id.

        A notebook that did not run has no marks, and that is an error here, not zeros.
        """
        from nbgrader.api import Gradebook, MissingEntry

        tests = {
            cell.metadata.nbgrader.grade_id
            for cell in self.notebook("source").cells
            if cell.metadata.get("nbgrader", {}).get("grade")
            and not cell.metadata.nbgrader.solution
        }
        with Gradebook(f"sqlite:///{self.folder}/gradebook.db", "parallel-learning") as book:
            try:
                submission = book.find_submission(self.assignment, student)
            except MissingEntry:
                raise AssertionError(f"{student}: the submission did not run") from None
            grades = [grade for part in submission.notebooks for grade in part.grades]
            found = {g.name: (g.auto_score, g.max_score) for g in grades if g.name in tests}
        missing = [name for name in sorted(tests) if found.get(name, (None,))[0] is None]
        assert not missing, f"{student}: {missing} did not run"
        return found


def autograde_all(
    assignment: str, variants: dict[str, Variant], folder: Path, deadline: float = 240
) -> dict[str, Marks]:
    """Grade several submissions to one assignment, as students named by the keys.

    Cheaper than one `autograde` each: the assignment is generated once.
    """
    root = CourseRoot(assignment, folder)
    for student, variant in variants.items():
        root.submit(student, variant)
    root.nbgrader("autograde", assignment, deadline=deadline)
    return {student: root.marks(student) for student in variants}


def autograde(assignment: str, variant: Variant, folder: Path, deadline: float = 240) -> Marks:
    """Grade one submission and return (points, maximum) of every automatically graded cell.

    Args:
        assignment: a folder of ``assignments/source``.
        variant: ``"reference"``, the source's own solutions; ``"release"``, the student's
            version as it is handed out; or a function that is given the reference
            submission and changes it (see `with_solution`).
        folder: an empty folder, pytest's ``tmp_path``.
        deadline: seconds after which grading is ended and fails.
    """
    return autograde_all(assignment, {"student": variant}, folder, deadline)["student"]


def with_solution(**sources: str) -> Callable[[NotebookNode], NotebookNode]:
    """Return a variant: the reference, with other code in the solution cells named.

    The keys are grade ids with ``_`` for ``-``; an unknown one is an error.
    """

    def change(notebook: NotebookNode) -> NotebookNode:
        wanted = {name.replace("_", "-"): source for name, source in sources.items()}
        for cell in notebook.cells:
            grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "").replace("_", "-")
            if grade_id in wanted and cell.metadata.nbgrader.solution:
                cell.source = wanted.pop(grade_id)
        assert not wanted, f"no solution cells named {sorted(wanted)}"
        return notebook

    return change


def lost(marks: Marks) -> set[str]:
    """Return the grade ids that earned nothing."""
    return {name for name, (points, _) in marks.items() if points == 0}


def total(marks: Marks) -> tuple[float, float]:
    """Return the sums of the points and of the maxima."""
    return sum(points for points, _ in marks.values()), sum(most for _, most in marks.values())
