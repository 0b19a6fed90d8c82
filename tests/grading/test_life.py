"""The whole life of an assignment, with nbgrader's own commands and the real grader."""

import csv
import os
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from course.grading import sandbox
from tests.grading.commands import PROJECT, nbgrader
from tests.grading.fake import meta
from tests.grading.test_nbgrader import PNG, Loads

NAME = "sums"
SETUP = "import numpy as np\nfrom mpi4py import MPI\n\nfrom course.mpi import run"
SOLUTION = '''def total(comm, mine):
    """Return the sum of the numbers of all ranks, on every rank."""
    ### BEGIN SOLUTION
    return comm.allreduce(mine.sum())
    ### END SOLUTION'''
CHECK = """results = run(lambda comm: total(comm, np.array([comm.rank + 1.0])), 2).results
assert results == [3.0, 3.0], f"the sum of 1 and 2 is 3, got {results}"
"""
CHECKS = """
from course.grading import Contract, Rubric, Trial, close, draws

rubric = Rubric()

@rubric.task("total", seconds=20)
def total(rng):
    for ranks in (1, 2, 3):
        numbers = rng.standard_normal(9)
        parts = draws.parts(rng, numbers, ranks)
        yield Trial([(part,) for part in parts], ranks, [numbers.sum()] * ranks, 9)

rubric.results("total-results", total, close())
rubric.contract("total-contract", total, Contract({"allreduce": 1}, only=True))
"""
ANSWERS = {
    "ada": "def total(comm, mine):\n    return comm.allreduce(mine.sum())",
    "bob": "def total(comm, mine):\n    return comm.bcast(comm.reduce(mine.sum()))",
    "eve": (
        "def total(comm, mine):\n"
        "    others = sum(comm.recv(source=r) for r in range(comm.size) if r != comm.rank)\n"
        "    return others + mine.sum()"
    ),
}


def author(root):
    cells = [
        new_markdown_cell("# Sums", metadata=meta("title", locked=True)),
        new_code_cell(SETUP, metadata={**meta("imports", locked=True), "tags": ["setup"]}),
        new_code_cell(SOLUTION, metadata=meta("total", solution=True)),
        new_code_cell(CHECK, metadata=meta("total-results", grade=True, locked=True, points=3)),
        new_code_cell("", metadata=meta("total-contract", grade=True, locked=True, points=1)),
        new_markdown_cell(
            "### BEGIN SOLUTION\nBecause.\n### END SOLUTION",
            metadata=meta("why", grade=True, solution=True, points=2),
        ),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    (root / "source" / NAME).mkdir(parents=True)
    nb = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(nb, root / "source" / NAME / f"{NAME}.ipynb")
    (root / "checks").mkdir()
    (root / "checks" / f"{NAME}.py").write_text(CHECKS)
    shutil.copy(PROJECT / "assignments" / "nbgrader_config.py", root)


def work(path, answer):
    """Do the assignment: write the function, run a cell of one's own, answer in words."""
    nb = nbformat.read(path, as_version=4)
    nb.cells[2].source = answer
    nb.cells[5].source = "An `allreduce`, since $\\sum_r x_r$ is wanted everywhere."
    nb.cells.append(new_code_cell("plot()"))
    nb.cells[-1].outputs = [new_output("display_data", {"image/png": PNG})]
    nbformat.write(nb, path)


def self_check(path, folder):
    """Run the notebook's code as a student does; return whether the visible checks pass."""
    nb = nbformat.read(path, as_version=4)
    script = folder / "try.py"
    script.write_text("\n\n".join(cell.source for cell in nb.cells[1:4]))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, timeout=120
    )
    return done.returncode == 0


def ok(status_and_log):
    status, log = status_and_log
    assert status == 0, log
    return log


@pytest.mark.timeout(900)
@pytest.mark.skipif(bool(sandbox.available()), reason="needs a sandbox, and there is none here")
def test_from_author_to_grade(tmp_path):
    root = tmp_path / "course"
    author(root)
    (root / "exchange").mkdir()
    (root / "exchange").chmod(0o777)

    ok(nbgrader(root, "generate_assignment", NAME))
    released = (root / "release" / NAME / f"{NAME}.ipynb").read_text()
    assert "allreduce" not in released and "your code is missing" in released
    ok(nbgrader(root, "release_assignment", NAME))

    for student, answer in ANSWERS.items():
        home = tmp_path / student
        home.mkdir()
        config = f"load_subconfig('nbgrader_config.py', path={str(root)!r})\n"
        (home / "nbgrader_config.py").write_text(
            f"{config}c.CourseDirectory.root = {str(home)!r}\n"
        )
        ok(nbgrader(root, "fetch_assignment", NAME, user=student, cwd=home))
        path = home / NAME / f"{NAME}.ipynb"
        work(path, answer)
        if student == "ada":
            assert self_check(path, home)
        submit = ("submit", NAME, f"--CourseDirectory.student_id={student}")
        ok(nbgrader(root, *submit, user=student, cwd=home))
    ok(nbgrader(root, "collect", NAME))
    assert {path.name for path in (root / "submitted").iterdir()} == set(ANSWERS)

    environment = {**os.environ, "COURSE_EXCHANGE": str(root / "exchange")}
    done = subprocess.run(
        [sys.executable, "-m", "course.cli", "grade", NAME, "--root", str(root), "--jobs", "2"],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ada: 4 of 4" in done.stdout

    rows = {row["student"]: row for row in csv.DictReader(open(root / f"graded/{NAME}/grades.csv"))}
    earned = {s: (row["total-results"], row["total-contract"]) for s, row in rows.items()}
    assert earned["ada"] == ("3", "1") and earned["eve"][0] == "0"
    assert earned["bob"] == ("3", "0")
    page = (root / "graded" / NAME / "eve.html").read_text()
    assert "waits" in page and Loads(page).found == []

    give_points(root, "ada", 1.5, "Good, but why not `Reduce`?")
    ok(nbgrader(root, "generate_feedback", NAME))
    feedback = (root / "feedback" / "ada" / NAME / f"{NAME}.html").read_text()
    assert "5.5 / 6.0" in feedback and "Good, but why not" in feedback
    assert Loads(feedback).found == [] and "<math" in feedback and PNG in feedback
    assert "standard_normal" not in feedback
    ok(nbgrader(root, "release_feedback", NAME))
    ok(nbgrader(root, "export"))
    rows = {row["student_id"]: row for row in csv.DictReader(open(root / "grades.csv"))}
    assert {s: row["score"] for s, row in rows.items()} == {
        "ada": "5.5",
        "bob": "3.0",
        "eve": "0.0",
    }


def give_points(root, student, points, comment):
    """Grade a written answer, as Formgrader does."""
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root}/gradebook.db", "parallel-learning") as book:
        grade = book.find_grade("why", NAME, NAME, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        book.find_comment("why", NAME, NAME, student).manual_comment = comment
        book.db.commit()
