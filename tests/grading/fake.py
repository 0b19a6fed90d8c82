"""A grader that does what a submission's first cell says, so that batches are quick to test.

Nothing of a submission is run: ``points 2``, ``crash``, ``kill``, ``hang``, ``wait``...
"""

import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from course.grading.results import Loss, Mark, Result

OPEN, GRADE = "tests.grading.fake:Assignment.open", "tests.grading.fake:grade"
NAME = "a0"


class NoSandboxError(RuntimeError):
    pass


@dataclass
class Assignment:
    root: Path
    name: str
    points: dict

    @classmethod
    def open(cls, root, name):
        source = Path(root) / "source" / name / f"{name}.ipynb"
        if not source.exists():
            raise FileNotFoundError(f"expected the source notebook at {source}")
        return cls(Path(root), name, {"test-one": 2.0, "test-two": 3.0})

    def key(self, notebook, student):
        return hashlib.sha256(student.encode() + Path(notebook).read_bytes()).hexdigest()


def grade(assignment, notebook, student, *, sandboxed=True, progress=None, deadline=600.0):
    cell = json.loads(notebook.read_text())["cells"][0]
    word, _, more = "".join(cell["source"]).partition(" ")
    progress("reading")
    with open(assignment.root / "calls", "a") as calls:
        calls.write(f"{student}\n")
    print("not a progress line")
    if word == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "exit":
        print("secret of the checks", file=sys.stderr)
        os._exit(7)
    if word == "crash":
        raise ZeroDivisionError("secret of the checks")
    if word == "nosandbox" and sandboxed:
        raise NoSandboxError("no bubblewrap here")
    if word == "hang":
        time.sleep(3600)
    while word == "wait" and not (assignment.root / "go").exists():
        time.sleep(0.02)
    points = float(more or 5) if word == "points" else 5.0
    first = min(points, 2.0)
    marks = [Mark("test-one", first, 2.0), Mark("test-two", points - first, 3.0)]
    for mark in marks:
        if mark.points < mark.most:
            reason = "rank 0 waits <for> rank 1:\n  rank 1 waits for rank 0\n<script>x</script>"
            mark.losses = [Loss(mark.most - mark.points, reason)]
        else:
            mark.passed = ["on 1, 2 and 3 ranks"]
    result = Result(assignment.name, student, assignment.key(notebook, student), 1, marks)
    result.sandbox, result.finished = "bubblewrap" if sandboxed else "none", time.time()
    return result


def meta(grade_id, **kind):
    defaults = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {"schema_version": 3, "grade_id": grade_id, **defaults, **kind}}


def source():
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells = [
        new_code_cell("points 5", metadata=meta("solve", solution=True)),
        new_code_cell("assert 1", metadata=meta("test-one", grade=True, locked=True, points=2)),
        new_markdown_cell("Why?", metadata=meta("why", grade=True, solution=True, points=4)),
        new_code_cell("assert 2", metadata=meta("test-two", grade=True, locked=True, points=3)),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def course(folder, **words):
    """Make a course root in which each student handed in what the grader is to do."""
    import nbformat

    (folder / "source" / NAME).mkdir(parents=True)
    nbformat.write(source(), folder / "source" / NAME / f"{NAME}.ipynb")
    for student, word in words.items():
        submit(folder, student, word)
    return folder


def submit(root, student, word):
    import nbformat

    notebook = source()
    notebook.cells[0].source = word
    target = root / "submitted" / student / NAME
    target.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target / f"{NAME}.ipynb")


def settings(**more):
    from course.grading.batch import Settings

    return Settings(**{"opener": OPEN, "grader": GRADE, "gradebook": False, "jobs": 2, **more})


def calls(root):
    path = root / "calls"
    return path.read_text().split("\n")[:-1] if path.exists() else []
