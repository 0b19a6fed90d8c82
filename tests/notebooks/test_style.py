"""The house rules for notebooks that a program can check."""

import re
from pathlib import Path

import nbformat
import pytest

from tools import notebooks

ROOT = Path(__file__).parents[2]
LECTURE = sorted((ROOT / "notebooks").glob("*.ipynb"))
ASSIGNMENTS = sorted((ROOT / "assignments" / "source").glob("*/*.ipynb"))

lecture = pytest.mark.parametrize("path", LECTURE, ids=lambda path: path.stem)
every = pytest.mark.parametrize("path", LECTURE + ASSIGNMENTS, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


@every
def test_is_valid_and_stripped(path):
    nbformat.validate(read(path))
    assert notebooks.strip(read(path)) == read(path), f"run: python tools/notebooks.py strip {path}"


@every
def test_cells_have_names(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids)
    assert not [i for i in ids if not re.fullmatch(r"[a-z][a-z0-9_-]*", i)]
    assert not [i for i in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", i)], "generated ids"


@every
def test_links_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
                assert "://" in target or (path.parent / target).exists(), f"{cell.id}: {target}"


@lecture
def test_first_cell_says_what_when_and_how_many(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    for promise in ("will learn", "need", "Time", "minutes", "Ranks"):
        assert promise in first.source, promise


@lecture
def test_code_cells_are_short(path):
    for cell in read(path).cells:
        if cell.cell_type == "code":
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 15, f"{cell.id} has {len(lines)} lines"


@lecture
def test_compared_cells_have_plain_output(path):
    for cell in read(path).cells:
        if notebooks.checked(cell):
            assert cell.outputs, f"{cell.id} has nothing to be compared with"
            assert all(output.output_type == "stream" for output in cell.outputs), cell.id


def test_strip_keeps_compared_outputs_and_drops_the_rest():
    stream = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    compared = {"tags": [notebooks.CHECKED]}
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell("print(1)", outputs=[stream], metadata=compared),
            nbformat.v4.new_code_cell("print(1)", outputs=[stream], execution_count=5),
            nbformat.v4.new_markdown_cell("text", metadata={"collapsed": True, "tags": ["a"]}),
        ]
    )
    kept, dropped, text = notebooks.strip(book).cells
    assert (kept.outputs, kept.execution_count) == ([stream], 1)
    assert (dropped.outputs, dropped.execution_count) == ([], None)
    assert text.metadata == {"tags": ["a"]}
