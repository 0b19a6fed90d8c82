import pytest

from course.grading import sandbox
from course.grading.assignment import Assignment
from course.grading.crew import Crews
from course.grading.grader import grade
from tests.grading import toy


@pytest.fixture(scope="session")
def sandboxed():
    why = sandbox.available()
    if why:
        pytest.skip(f"no sandbox here: {why}")


@pytest.fixture(scope="module")
def crews():
    with Crews() as found:
        yield found


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return toy.course_root(tmp_path_factory.mktemp("root"))


@pytest.fixture(scope="module")
def assignment(root):
    return Assignment.open(root, toy.NAME)


@pytest.fixture
def graded(sandboxed, assignment, root, crews, request):
    """Return a function that grades a submission, given as a notebook or as its cells."""
    number = 0

    def grade_it(submitted=None, only=None, **sources):
        nonlocal number
        number += 1
        student = f"s{abs(hash(request.node.name))}-{number}"
        path = toy.submit(root, student, submitted or toy.notebook(**sources))
        return grade(assignment, path, student, crews=crews, only=only, deadline=120)

    return grade_it
