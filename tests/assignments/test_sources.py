"""What every assignment's source notebook keeps to."""

import ast
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
        for region, allowed in (("SOLUTION", "solution"), ("HIDDEN TESTS", "grade")):
            begins = cell.source.count(f"### BEGIN {region}")
            assert begins == cell.source.count(f"### END {region}"), cell.id
            assert not begins or kind(cell).get(allowed), cell.id


def test_every_assert_of_a_test_says_what_is_wrong(cells):
    for cell in cells:
        if cell.cell_type == "code" and kind(cell).get("grade") and not kind(cell)["solution"]:
            for node in ast.walk(ast.parse(cell.source)):
                assert not isinstance(node, ast.Assert) or node.msg is not None, cell.id


def test_there_are_hidden_tests_and_a_solution_for_each_task(cells):
    sources = "\n".join(cell.source for cell in cells)
    assert "### BEGIN HIDDEN TESTS" in sources and "### BEGIN SOLUTION" in sources
    for cell in cells:
        if kind(cell).get("solution"):
            assert "### BEGIN SOLUTION" in cell.source, f"{cell.id} would keep its answer"
