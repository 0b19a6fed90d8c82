"""The house rules for notebooks that a program can check."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, 4)


def test_first_cell_says_what_when_and_how_many(notebook):
    first = notebook.cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for promise in ("will learn", "need", "Time", "minutes", "Ranks"):
        assert promise in first.source, promise


def test_cells_are_short_named_and_stripped(notebook):
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)
    for cell in notebook.cells:
        assert re.fullmatch(r"[a-z][a-z0-9-]*", cell.id), cell.id
        if cell.cell_type != "code":
            continue
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) <= 15, f"{cell.id} has {len(lines)} lines"
        if not cell.source.startswith("# NBVAL_CHECK_OUTPUT"):
            assert not cell.outputs, f"{cell.id}: outputs are kept only where they are checked"


def test_checked_cells_keep_plain_output(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("# NBVAL_CHECK_OUTPUT"):
            assert cell.outputs, f"{cell.id} has nothing to be checked against"
            assert all(output.output_type == "stream" for output in cell.outputs), cell.id
