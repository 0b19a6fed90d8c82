"""Reports from results: a page for each student, a page and a table for the lecturer.

Every page is one HTML file that loads nothing: no script, no font, no picture. All that comes
from students and checks is escaped by Jinja.
"""

import csv
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from course.grading.progress import lost, number
from course.grading.results import Result

_PAGES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_PAGES.filters["number"] = number
_PAGES.filters["lost"] = lost
_PAGES.filters["visible"] = lambda text: "".join(
    c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in str(text)
)
_PAGES.filters["date"] = lambda seconds: time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def write(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8", errors="replace")
    draft.replace(path)


def student_page(result: Result) -> str:
    """Return the report for a student: marks, and the reason for every point that was lost."""
    return _PAGES.get_template("student.html.j2").render(result=result)


def write_student(result: Result, folder: Path) -> Path:
    """Write the report ``STUDENT.html`` into `folder` and return its path."""
    path = folder / f"{result.student}.html"
    write(path, student_page(result))
    return path


def overview_page(
    name: str, points: Mapping[str, float], results: Mapping[str, Result | None]
) -> str:
    """Return the lecturer's page.

    Args:
        name: The assignment.
        points: Points of each automatically graded cell.
        results: For each student who handed in, the result; None where there is none yet.
    """
    graded = [r for r in results.values() if r is not None and not r.error]
    cells = []
    for cell, most in points.items():
        marks = [mark for r in graded for mark in r.marks if mark.name == cell]
        share = sum(mark.points for mark in marks)
        cells.append(
            {
                "name": cell,
                "most": most,
                "mean": share / len(marks) if marks else None,
                "full": sum(mark.points == mark.most for mark in marks),
                "none": sum(mark.points == 0 for mark in marks),
            }
        )
    totals = sorted(r.points for r in graded)
    return _PAGES.get_template("overview.html.j2").render(
        name=name,
        points=points,
        most=sum(points.values()),
        results=results,
        graded=graded,
        cells=cells,
        median=_median(totals),
        failed=[r for r in results.values() if r is not None and r.error],
        noted=[r for r in graded if r.notes or r.sandbox == "none"],
        now=time.time(),
    )


def _median(values: Sequence[float]) -> float | None:
    if not values:
        return None
    middle = len(values) // 2
    return values[middle] if len(values) % 2 else (values[middle - 1] + values[middle]) / 2


def grades_table(
    points: Mapping[str, float], results: Mapping[str, Result | None]
) -> list[list[Any]]:
    """Return the rows of the CSV: a heading, then one row a student, one column a cell.

    Who was not graded has empty points, never 0, and the reason in the last column.
    """
    rows: list[list[Any]] = [["student", *points, "points", "of", "notes", "did not run"]]
    for student, result in results.items():
        if result is None or result.error:
            why = "not graded yet" if result is None else result.error.splitlines()[0]
            marks, total, notes = ["" for _ in points], "", ""
        else:
            earned = {mark.name: mark.points for mark in result.marks}
            marks = [number(earned[cell]) if cell in earned else "" for cell in points]
            total, notes, why = number(result.points), "; ".join(result.notes), ""
        most = number(sum(points.values()))
        rows.append([_cell(student), *marks, total, most, _cell(notes), _cell(why)])
    return rows


def _cell(text: str) -> str:
    """Keep a spreadsheet from taking `text` for a formula."""
    flat = " ".join(text.split())
    return f"'{flat}" if flat.startswith(("=", "+", "-", "@")) else flat


def write_csv(rows: Sequence[Sequence[Any]], path: Path) -> None:
    """Write `rows` to `path`, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(draft, "w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(rows)
    draft.replace(path)


def write_all(
    root: Path,
    name: str,
    points: Mapping[str, float],
    results: Mapping[str, Result | None],
    *,
    csv: Path | None = None,
) -> None:
    """Write all reports on the assignment `name`.

    They are ``graded/NAME/STUDENT.html``, ``graded/NAME.html`` for the lecturer, and
    ``graded/NAME/grades.csv``, of which `csv` names a copy.
    """
    folder = root / "graded" / name
    for result in results.values():
        if result is not None:
            write_student(result, folder)
    write(folder.parent / f"{name}.html", overview_page(name, points, results))
    rows = grades_table(points, results)
    for path in filter(None, (folder / "grades.csv", csv)):
        write_csv(rows, path)
