"""What every notebook of the lecture keeps to, whoever writes it."""

import re
from pathlib import Path

import nbformat
import pytest

from tools import notebooks

ROOT = Path(__file__).parents[1]
LECTURE = sorted((ROOT / "notebooks").glob("*.ipynb"))
ALL = LECTURE + sorted((ROOT / "assignments" / "source").glob("*/*.ipynb"))

each = pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)


def read(path):
    return nbformat.read(path, as_version=4)


@each
def test_is_valid_and_stripped(path):
    book = read(path)
    nbformat.validate(book)
    assert notebooks.strip(read(path)) == book, "run: python tools/notebooks.py strip " + str(path)


@each
def test_cell_ids_are_words(path):
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == len(ids)
    assert not [i for i in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", i)], "generated ids"


@each
def test_code_cells_are_short(path):
    for cell in read(path).cells:
        if cell.cell_type == "code" and "nbgrader" not in cell.metadata:
            lines = [line for line in cell.source.splitlines() if line.strip()]
            assert len(lines) <= 15, f"{cell.id}: {len(lines)} lines"


@pytest.mark.parametrize("path", LECTURE, ids=lambda path: path.stem)
def test_first_cell_says_what_when_and_how_many(path):
    first = read(path).cells[0]
    assert first.cell_type == "markdown" and first.source.startswith("# ")
    text = first.source.lower()
    for word in ("what you will learn", "what you need", "minutes", "ranks"):
        assert word in text, word


@each
def test_links_lead_somewhere(path):
    for cell in read(path).cells:
        if cell.cell_type != "markdown":
            continue
        for target in re.findall(r"\]\(([^)#\s]+)", cell.source):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{cell.id}: {target}"


@each
def test_outputs_are_compared_only_where_there_are_some(path):
    for cell in read(path).cells:
        if notebooks.checked(cell):
            assert cell.outputs, f"{cell.id}: nothing to compare with"


def test_strip_keeps_compared_outputs_and_drops_the_rest():
    stream = nbformat.v4.new_output("stream", name="stdout", text="1\n")
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"{notebooks.CHECKED}\nprint(1)", outputs=[stream]),
            nbformat.v4.new_code_cell("print(1)", outputs=[stream], execution_count=5),
            nbformat.v4.new_markdown_cell("text", metadata={"collapsed": True, "tags": ["a"]}),
        ]
    )
    kept, dropped, text = notebooks.strip(book).cells
    assert (kept.outputs, kept.execution_count) == ([stream], 1)
    assert (dropped.outputs, dropped.execution_count) == ([], None)
    assert text.metadata == {"tags": ["a"]}
