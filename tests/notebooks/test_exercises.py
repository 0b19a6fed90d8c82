"""Exercises of the notebooks: the printed solution passes the check, the empty cell does not.

A notebook's exercise NAME consists of the cells ``exercise-NAME``, ``check-NAME`` and
``solution-NAME``; nbval runs the notebooks themselves.
"""

import contextlib
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


def exercises():
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        cells = {cell.id: cell.source for cell in nbformat.read(path, 4).cells}
        for name in cells:
            if name.startswith("check-"):
                topic = name.removeprefix("check-")
                yield pytest.param(cells, topic, id=f"{path.stem}-{topic}")


def printed(*sources):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec("\n".join(sources), {"np": np})
    return out.getvalue()


@pytest.mark.parametrize(("cells", "topic"), list(exercises()))
def test_solution_passes_and_empty_exercise_does_not(cells, topic):
    check = cells[f"check-{topic}"]
    assert printed(cells[f"exercise-{topic}"], check).startswith("not yet")
    (solution,) = re.findall(r"```python\n(.*?)```", cells[f"solution-{topic}"], re.DOTALL)
    assert printed(solution, check).strip() == "right, well done"
