"""From a submitted notebook to the code that is graded.

The lecturer's cells come from the source, never from the submission: what a student changed in
them has no effect. Taken from the submission are its solution cells, and of cells that the
student added only the definitions and imports, so that helper functions work and a long
experiment is not run again.
"""

import ast
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST = 50 << 20  # bytes of a notebook
SETUP = "setup"  # tag of the lecturer's cells that solutions need
_MAGIC = re.compile(r"^(\s*)[%!?].*$", re.MULTILINE)


@dataclass
class Submission:
    """The code of a submission.

    Attributes:
        cells: Pairs of name and source, in the order in which they run.
        notes: What the lecturer should know.
    """

    cells: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_notebook(path: Path) -> list[dict[str, Any]]:
    """Return the cells of the notebook at `path`.

    Raises:
        FileNotFoundError: There is none.
        ValueError: The file is no notebook of format 4, or too large.
    """
    if not path.is_file():
        raise FileNotFoundError(f"expected a notebook at {path.name}, found none")
    size = path.stat().st_size
    if size > LARGEST:
        raise ValueError(f"expected a notebook of at most {LARGEST:,} bytes, got {size:,}")
    try:
        tree = json.loads(path.read_bytes().decode())
        cells = tree["cells"]
        for cell in cells:
            source = cell["source"]
            cell["source"] = source if isinstance(source, str) else "".join(source)
            cell.setdefault("metadata", {})
            if not isinstance(cell["metadata"].get("nbgrader", {}), dict):
                cell["metadata"]["nbgrader"] = {}
        return cells
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path.name} is no notebook of format 4: {type(error).__name__}: {error}"
        ) from None


def _grade_id(cell: dict[str, Any]) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def is_solution(cell: dict[str, Any]) -> bool:
    """Whether students write this code cell."""
    return cell["cell_type"] == "code" and bool(
        cell["metadata"].get("nbgrader", {}).get("solution")
    )


def is_graded_by_checks(cell: dict[str, Any]) -> bool:
    """Whether this cell has points that no person gives."""
    meta = cell["metadata"].get("nbgrader", {})
    return bool(meta.get("grade")) and not meta.get("solution") and cell["cell_type"] == "code"


def setup_cells(source: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the lecturer's cells that the solutions need."""
    found = []
    for cell in source:
        if cell["cell_type"] == "code" and SETUP in cell["metadata"].get("tags", ()):
            found.append((_grade_id(cell) or str(cell.get("id", "setup")), cell["source"]))
    return found


def extract(source: Sequence[dict[str, Any]], submitted: Sequence[dict[str, Any]]) -> Submission:
    """Find the code to be graded.

    Args:
        source: Cells of the lecturer's notebook.
        submitted: Cells of the student's.
    """
    result = Submission(cells=setup_cells(source))
    wanted = {_grade_id(cell) for cell in source if is_solution(cell)}
    locked = {_grade_id(cell): cell for cell in source} if source else {}
    known = {str(cell.get("id")) for cell in source}
    last: dict[str, int] = {}
    for place, cell in enumerate(submitted):
        if _grade_id(cell):
            if _grade_id(cell) in last:
                result.notes.append(f"the cell {_grade_id(cell)!r} is there twice: the last counts")
            last[_grade_id(cell)] = place
    for place, cell in enumerate(submitted):
        name = _grade_id(cell)
        if cell["cell_type"] != "code":
            continue
        if name in wanted and last[name] == place:
            result.cells.append((name, without_magic(cell["source"])))
        elif name and name in locked and name not in wanted:
            if is_graded_by_checks(locked[name]) and _visible(locked[name]) != _visible(cell):
                result.notes.append(f"the test cell {name!r} was changed, which has no effect")
        elif not name and str(cell.get("id")) not in known:
            text = definitions(cell["source"])
            if text:
                result.cells.append((f"of your own, number {place + 1}", text))
    result.notes += [
        f"the solution cell {name!r} is missing" for name in sorted(wanted) if name not in last
    ]
    return result


_HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS", re.DOTALL)


def _visible(cell: dict[str, Any]) -> str:
    return _HIDDEN.sub("", cell["source"]).strip()


def without_magic(source: str) -> str:
    """Return `source` without the lines that only a notebook understands."""
    if source.lstrip().startswith("%%"):
        return ""
    return _MAGIC.sub(r"\1pass", source)


def definitions(source: str) -> str:
    """Return the imports, functions, classes and constants that `source` defines."""
    source = without_magic(source)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return ""
    lines = source.splitlines()
    kept = [""] * len(lines)
    for node in tree.body:
        if not _defines(node):
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        for number in range(first - 1, node.end_lineno or first):
            kept[number] = lines[number]
    return "\n".join(kept).rstrip()


def _defines(node: ast.stmt) -> bool:
    if isinstance(
        node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        try:
            ast.literal_eval(node.value)
            return True
        except (ValueError, SyntaxError, TypeError):
            return False
    return False
