"""The helper that grades, and nbgrader's settings, on an assignment made up for it."""

import nbformat
import psutil
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.assignments.grading import CourseRoot, total, with_solution

SOLUTION = """def double(x):
    ### BEGIN SOLUTION
    return 2 * x
    ### END SOLUTION"""

TESTS = """assert double(2) == 4
### BEGIN HIDDEN TESTS
secret_input = 21
assert double(secret_input) == 42, "double() of a larger number is wrong"
### END HIDDEN TESTS"""


def meta(grade_id, **kind):
    defaults = {"grade": False, "solution": False, "locked": False, "task": False}
    return {"nbgrader": {"schema_version": 3, "grade_id": grade_id, **defaults, **kind}}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grading")
    cells = [
        new_code_cell(SOLUTION, metadata=meta("double", solution=True)),
        new_code_cell(TESTS, metadata=meta("test_double", grade=True, locked=True, points=3)),
        new_markdown_cell(
            "### BEGIN SOLUTION\nBecause.\n### END SOLUTION",
            metadata=meta("why", grade=True, solution=True, points=2),
        ),
    ]
    notebook = new_notebook(cells=cells)
    notebook.metadata.kernelspec = {
        "name": "python3",
        "display_name": "Python 3",
        "language": "python",
    }
    source = folder / "made_up"
    source.mkdir()
    nbformat.write(notebook, source / "made_up.ipynb")
    return CourseRoot("made_up", folder, source)


@pytest.fixture(scope="module")
def graded(root):
    root.submit("right", "reference")
    root.submit("untouched", "release")
    root.submit("half", with_solution(double="def double(x):\n    return 4 if x == 2 else x"))
    leave_behind = (
        "import subprocess\n"
        "subprocess.Popen(['sleep', '4242'], start_new_session=True)\n"
        "def double(x):\n    raise SystemError('own mistake')"
    )
    root.submit("messy", with_solution(double=leave_behind))
    root.nbgrader("autograde", "made_up")
    root.nbgrader("generate_feedback", "made_up")
    return root


def test_release_hides_solutions_and_tests(root):
    text = "\n".join(cell.source for cell in root.notebook("release").cells)
    assert "2 * x" not in text and "secret_input" not in text and "Because" not in text
    assert "your code is missing" in text and "double(2) == 4" in text


def test_marks(graded):
    assert graded.marks("right") == {"test_double": (3.0, 3.0)}
    assert graded.marks("untouched") == {"test_double": (0.0, 3.0)}
    assert graded.marks("half") == {"test_double": (0.0, 3.0)}
    assert total(graded.marks("right")) == (3.0, 3.0)


def test_nothing_is_left_running(graded):
    left = [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "4242"]]
    assert not left


def test_feedback_keeps_hidden_tests_hidden(graded):
    pages = {
        student: (graded.folder / "feedback" / student / "made_up" / "made_up.html").read_text()
        for student in ("right", "untouched", "half", "messy")
    }
    for page in pages.values():
        assert "secret_input" not in page
    assert "double() of a larger number is wrong" in pages["half"]
    assert "own mistake" in pages["messy"]


def test_a_notebook_that_hangs_fails_by_its_deadline(root):
    root.submit("hangs", with_solution(double="while True:\n    pass"))
    with pytest.raises(AssertionError, match="not done after 6 s"):
        root.nbgrader("autograde", "made_up", "--student=hangs", "--create", deadline=6)
    left = [
        p
        for p in psutil.process_iter(["cmdline"])
        if "ipykernel_launcher" in " ".join(p.info["cmdline"] or [])
        and str(root.folder.parent) in " ".join(p.info["cmdline"])
    ]
    assert not left
    with pytest.raises(AssertionError, match="did not run"):
        root.marks("hangs")


def test_unknown_variants_are_refused(root):
    with pytest.raises(ValueError, match="expected 'reference', 'release' or a function"):
        root.submit("nobody", "best")
    with pytest.raises(AssertionError, match="no solution cells named"):
        root.submit("nobody", with_solution(triple="pass"))
