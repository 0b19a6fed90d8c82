"""What every assignment's source notebook keeps to."""

import ast
import re
from pathlib import Path

import nbformat
import pytest

from tests.assignments.grading import ASSIGNMENTS

SOURCES = sorted((ASSIGNMENTS / "source").glob("*/*.ipynb"))


@pytest.fixture(params=SOURCES, ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


@pytest.fixture
def cells(path):
    return nbformat.read(path, 4).cells


def kind(cell):
    return cell.metadata.get("nbgrader", {})


def test_named_like_its_folder_and_stripped(path, cells):
    assert path.stem == path.parent.name
    assert not any(cell.get("outputs") for cell in cells)
    assert len({cell.id for cell in cells}) == len(cells)


def test_grade_ids_are_unique_and_tests_are_locked(cells):
    graded = [kind(cell) for cell in cells if kind(cell)]
    names = [meta["grade_id"] for meta in graded]
    assert len(set(names)) == len(names)
    for meta in graded:
        if meta.get("grade"):
            assert meta["points"] > 0, meta["grade_id"]
            assert meta["locked"] != meta["solution"], meta["grade_id"]


def test_regions_stand_where_nbgrader_looks_for_them(cells):
    for cell in cells:
        begins = cell.source.count("### BEGIN SOLUTION")
        assert begins == cell.source.count("### END SOLUTION"), cell.id
        assert not begins or kind(cell).get("solution"), cell.id


def test_every_assert_of_a_test_says_what_is_wrong(cells):
    for cell in cells:
        if cell.cell_type == "code" and kind(cell).get("grade") and not kind(cell)["solution"]:
            checks = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, ast.Assert)]
            assert checks, f"{cell.id} checks nothing"
            assert all(check.msg is not None for check in checks), cell.id


def test_there_is_a_solution_for_each_task_and_nothing_hidden(cells):
    assert any("### BEGIN SOLUTION" in cell.source for cell in cells)
    for cell in cells:
        assert "HIDDEN TESTS" not in cell.source, f"{cell.id}: checks decide, not the notebook"
        if kind(cell).get("solution"):
            assert "### BEGIN SOLUTION" in cell.source, f"{cell.id} would keep its answer"


def test_points_are_as_the_title_and_the_tasks_say(cells):
    title, text = cells[0].source, "\n".join(cell.source for cell in cells)
    points = {True: 0, False: 0}
    for cell in cells:
        if kind(cell).get("grade"):
            points[bool(kind(cell)["solution"])] += kind(cell)["points"]
    assert f"**Points** {sum(points.values())}" in title
    assert not points[True] or f"{points[False]} by the grader, {points[True]} for" in title
    tasks = [int(number) for number in re.findall(r"^## .*\((\d+) points", text, re.MULTILINE)]
    assert sum(tasks) == sum(points.values())


def test_setup_cells_are_locked_and_leave_the_tools_alone(cells):
    setup = [cell for cell in cells if "setup" in cell.metadata.get("tags", ())]
    assert setup
    for cell in setup:
        assert kind(cell)["locked"] and not kind(cell)["solution"], cell.id
        assert "matplotlib" not in cell.source and "course.figures" not in cell.source, cell.id
