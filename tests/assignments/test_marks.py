"""Every assignment: the reference gets all marks, the release none, mistakes what they earn."""

import importlib

import pytest

from course.grading import sandbox
from course.grading.crew import Crews
from tests.assignments.grading import ASSIGNMENTS, Desk, lines

NAMES = sorted(path.name for path in (ASSIGNMENTS / "source").iterdir() if path.is_dir())
CASES = [
    pytest.param(name, one, id=f"{name}: {one.what}")
    for name in NAMES
    for one in importlib.import_module(f"tests.assignments.wrong.{name}").WRONG
]
pytestmark = pytest.mark.timeout(600)  # the first test of an assignment grades all its mistakes


@pytest.fixture(scope="module")
def crews():
    why = sandbox.available()
    if why:
        pytest.skip(f"no sandbox here: {why}")
    with Crews() as found:
        yield found


@pytest.fixture(scope="module")
def desk(request, crews, tmp_path_factory):
    found = Desk(request.param, tmp_path_factory.mktemp(request.param), crews)
    yield found
    found.close()


every = pytest.mark.parametrize("desk", NAMES, indirect=True, scope="module")


@every
def test_the_reference_gets_all_marks(desk):
    marks = {mark.name: mark for mark in desk.reference.marks}
    assert set(marks) == set(desk.assignment.points)
    assert all(mark.points == mark.most for mark in marks.values()), lines(marks)


@every
def test_the_release_gets_none(desk):
    marks = {mark.name: mark for mark in desk.release.marks}
    assert set(marks) == set(desk.assignment.points)
    assert all(mark.points == 0 for mark in marks.values()), lines(marks)
    reasons = "\n".join(loss.reason for mark in marks.values() for loss in mark.losses)
    assert "your code is missing" in reasons


@pytest.mark.parametrize("desk, wrong", CASES, indirect=["desk"], scope="module")
def test_a_mistake_gets_what_the_rubric_says(desk, wrong):
    marks = desk.wrong[wrong.what]
    assert {name: mark.points for name, mark in marks.items()} == wrong.points, lines(marks)
    for mark in marks.values():
        lost = sum(loss.points for loss in mark.losses)
        assert lost == pytest.approx(mark.most - mark.points, abs=0.01), lines(marks)
        assert all(loss.reason for loss in mark.losses)
    assert wrong.says in lines(marks)


@pytest.mark.parametrize("name", NAMES)
def test_there_are_ten_mistakes_and_they_differ(name):
    table = importlib.import_module(f"tests.assignments.wrong.{name}").WRONG
    assert len(table) >= 10
    assert len({one.what for one in table}) == len(table)
