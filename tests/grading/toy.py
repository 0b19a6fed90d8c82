"""A small assignment on which the grader is tried: three functions, one of them on ranks."""

from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

NAME = "toy"

SETUP = """
import numpy as np
from mpi4py import MPI
"""

SOLUTION = {
    "total": """
def total(comm, mine):
    return comm.allreduce(float(np.sum(mine)), op=MPI.SUM)
""",
    "double": """
def double(x):
    return [2 * value for value in x]
""",
    "order": """
def order(values):
    return sorted(values)
""",
}

TESTS = {
    "total-results": 4,
    "total-contract": 2,
    "double-results": 3,
    "order-results": 1,
    "order-speed": 2,
}

CHECKS = """
import numpy as np

from course.grading import Contract, Rubric, Trial, close, draws

rubric = Rubric(hidden=["course.svm", "course.mpi.cost"], memory=1 << 30)


@rubric.task("total", seconds=4)
def total(rng):
    for ranks in (1, 2, 3):
        numbers = rng.standard_normal(12)
        parts = draws.parts(rng, numbers, ranks)
        right = [float(numbers.sum())] * ranks
        yield Trial([(p,) for p in parts], ranks, right, label=draws.lengths(parts))


rubric.results("total-results", total, close())
rubric.contract("total-contract", total, Contract({"allreduce|Allreduce": 1}, only=True))


@rubric.task("double", seconds=3)
def double(rng):
    for n in (0, 1, 5):
        x = [int(k) for k in rng.integers(1, 1000, n)]
        yield Trial((x,), expected=[2 * k for k in x], label=f"{n} numbers")


rubric.results("double-results", double)


def numbers(rng, n):
    x = [int(k) for k in rng.integers(0, 10**9, n)]
    return Trial((x,), expected=sorted(x), label=f"{n} numbers")


@rubric.task("order", seconds=10)
def order(rng):
    yield numbers(rng, 100)


rubric.results("order-results", order)


@rubric.task("order", seconds=10)
def many(rng):
    while True:
        yield numbers(rng, 300)


rubric.speed("order-speed", many, slower=4)
"""


def graded(name, points):
    meta = {"grade": True, "locked": True, "solution": False, "points": points}
    meta |= {"grade_id": name, "schema_version": 3, "task": False, "cell_type": "code"}
    return new_code_cell("assert True", id=name, metadata={"nbgrader": meta})


def solution(name, source):
    meta = {"grade": False, "locked": False, "solution": True, "grade_id": name}
    meta |= {"schema_version": 3, "task": False, "cell_type": "code"}
    return new_code_cell(source, id=name, metadata={"nbgrader": meta})


def notebook(**sources):
    """Return a submission: the solutions, with those named replaced."""
    meta = {"grade": False, "locked": True, "solution": False, "grade_id": "imports"}
    meta |= {"schema_version": 3, "task": False, "cell_type": "code"}
    setup = new_code_cell(SETUP, id="imports", metadata={"nbgrader": meta, "tags": ["setup"]})
    cells = [new_markdown_cell("# A toy", id="title"), setup]
    for name, source in {**SOLUTION, **sources}.items():
        cells.append(solution(name, source))
        cells += [graded(t, p) for t, p in TESTS.items() if t.startswith(f"{name}-")]
    return new_notebook(cells=cells)


def course_root(folder: Path) -> Path:
    """Write the assignment below `folder` and return the course root."""
    (folder / "source" / NAME).mkdir(parents=True)
    (folder / "checks").mkdir()
    nbformat.write(notebook(), folder / "source" / NAME / f"{NAME}.ipynb")
    (folder / "checks" / f"{NAME}.py").write_text(CHECKS)
    return folder


def submit(root: Path, student: str, submitted) -> Path:
    """Hand in a notebook, or the bytes of a file that should be one; return its path."""
    path = root / "submitted" / student / NAME / f"{NAME}.ipynb"
    path.parent.mkdir(parents=True)
    if isinstance(submitted, bytes):
        path.write_bytes(submitted)
    else:
        nbformat.write(submitted, path)
    return path
