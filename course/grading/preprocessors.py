"""nbgrader's ``autograde``, with marks from this grader.

`RestoreCells` and `KeepWork` go first in ``Autograde.sanitize_preprocessors``, in place of
``ClearOutput``; `GradeOutside` takes the place of ``Execute`` in ``autograde_preprocessors``.
The notebook of a student is never executed: a graded cell gets outputs from which nbgrader
itself reads the points, and which tell the reasons in Formgrader and in the feedback.
"""

import base64
import binascii
import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_output
from nbgrader import utils
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import NbGraderPreprocessor
from traitlets import Bool, Float, Integer, Unicode

from course.grading import worker
from course.grading.pages import PICTURES
from course.grading.progress import lost, number
from course.grading.results import Mark, Result
from course.grading.worker import Job

STORED_ONLY = "COURSE_GRADES_STORED"  # set by `course grade`: nothing is graded a second time

Resources = dict[str, Any]
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f]")


class NotGradedError(RuntimeError):
    """A submission has no marks, which is not the same as no points."""


def graded_by_checks(cell: NotebookNode) -> bool:
    """Whether this cell's points come from the grader, not from a person."""
    return bool(utils.is_grade(cell) and not utils.is_solution(cell) and cell.cell_type == "code")


class RestoreCells(NbGraderPreprocessor):
    """Give the lecturer's cells back what makes them theirs.

    nbgrader restores the text of locked cells, but trusts what a submission says about their
    kind and misses a cell that is not there. Here every cell has the metadata of the source,
    cells that claim an unknown ``grade_id`` are ordinary ones, and missing test cells are put
    back, because their points do not depend on them.
    """

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Return `nb` with the lecturer's cells, and `resources` as they were."""
        source = _source(resources)
        known = {
            cell.metadata.nbgrader.grade_id: cell
            for cell in source.cells
            if cell.metadata.get("nbgrader", {}).get("grade_id")
        }
        places: dict[str, int] = {}
        for place, cell in enumerate(nb.cells):
            meta = cell.metadata.get("nbgrader")
            name = meta.get("grade_id") if isinstance(meta, dict) else None
            cell.metadata = NotebookNode()
            if isinstance(name, str) and name in known:
                cell.metadata.nbgrader = deepcopy(known[name].metadata.nbgrader)
                places[name] = place
        for place, name in reversed(list(_missing(known, places))):
            cell = deepcopy(known[name])
            cell.metadata = NotebookNode(nbgrader=cell.metadata.nbgrader)
            nb.cells.insert(place, cell)
        nb.metadata = deepcopy(source.metadata)
        return nb, resources


def _missing(known: dict[str, NotebookNode], places: dict[str, int]) -> Any:
    """Yield where each missing test cell belongs: behind the cell that it follows."""
    after = 0
    for name, cell in known.items():
        if name in places:
            after = places[name] + 1
        elif graded_by_checks(cell):
            yield after, name


def _source(resources: Resources) -> NotebookNode:
    """Read the lecturer's notebook; nbgrader converts with the course root as working folder."""
    names = resources["nbgrader"]
    path = Path("source") / names["assignment"] / f"{names['notebook']}.ipynb"
    return nbformat.read(path, as_version=4)


class KeepWork(NbGraderPreprocessor):
    """Keep what students' own cells show, for whoever grades by hand, and only what is harmless.

    nbgrader's ``ClearOutput`` drops all outputs, because it runs the notebook again. Kept are
    text, PNG and JPEG pictures, limited in size; dropped are HTML, scripts, widgets, vector
    graphics, and every output of automatically graded cells, which could be forged or stale.
    """

    max_text = Integer(20_000, help="characters of text kept of one cell").tag(config=True)
    max_picture = Integer(2 << 20, help="bytes of a picture kept").tag(config=True)
    max_outputs = Integer(50, help="outputs kept of one cell").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Return `nb` with cleaned cells, and `resources` as they were."""
        for cell in nb.cells:
            self._clean(cell)
        return nb, resources

    def _clean(self, cell: NotebookNode) -> None:
        if cell.cell_type == "code":
            count = cell.get("execution_count")
            cell.execution_count = count if isinstance(count, int) else None
            graded = graded_by_checks(cell)
            cell.outputs = [] if graded else self._outputs(cell.get("outputs", []))
            return
        if cell.cell_type == "raw":  # nbconvert would pass its text through as HTML
            text = "\n".join("    " + line for line in cell.source.splitlines())
            cell.cell_type, cell.source = "markdown", text
        kept = {}
        for name, kinds in (cell.pop("attachments", None) or {}).items():
            pictures = self._pictures(kinds)
            if pictures:
                kept[name] = pictures
        if kept:
            cell.attachments = kept

    def _outputs(self, outputs: Any) -> list[NotebookNode]:
        kept: list[NotebookNode] = []
        room = self.max_text
        dropped = max(0, len(outputs) - self.max_outputs)
        for output in outputs[: self.max_outputs]:
            text, pictures, error = self._content(output)
            if len(text) > room:
                text, dropped = text[:room] + "...", dropped + 1
            room = max(0, room - len(text))
            if pictures:
                label = {"text/plain": text} if text else {}
                kept.append(new_output("display_data", {**label, **pictures}))
            elif error and text:
                kept.append(new_output("error", ename="", evalue="", traceback=[text]))
            elif text:
                kept.append(new_output("stream", name="stdout", text=text))
        if dropped:
            note = f"[{dropped} outputs were too long, and cut or left out]"
            kept.append(new_output("stream", name="stdout", text=note))
        return kept

    def _content(self, output: Any) -> tuple[str, dict[str, str], bool]:
        """Return text, pictures, and whether it is an error."""
        kind = output.get("output_type")
        if kind == "stream":
            return _text(output.get("text")), {}, False
        if kind == "error":
            trace = output.get("traceback")
            lines = [_text(line) for line in trace] if isinstance(trace, list) else []
            last = f"{_text(output.get('ename'))}: {_text(output.get('evalue'))}"
            return "\n".join(lines) or last, {}, True
        data = output.get("data")
        if not isinstance(data, dict):
            return "", {}, False
        return _text(data.get("text/plain")), self._pictures(data), False

    def _pictures(self, data: Any) -> dict[str, str]:
        found = {}
        for kind in PICTURES:
            text = _text(data.get(kind)) if isinstance(data, dict) else ""
            text = "".join(text.split())
            try:
                decoded = base64.b64decode(text, validate=True)
            except (binascii.Error, ValueError):
                continue
            magic = {"image/png": b"\x89PNG\r\n", "image/jpeg": b"\xff\xd8\xff"}[kind]
            if decoded.startswith(magic) and len(decoded) <= self.max_picture:
                found[kind] = text
        return found


def _text(value: Any) -> str:
    if isinstance(value, list):
        value = "".join(part for part in value if isinstance(part, str))
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", value) if isinstance(value, str) else ""


class GradeOutside(NbGraderPreprocessor):
    """Write the marks of `course.grading.grader` into the graded cells.

    A stored result of the same submission, checks and grader is used; otherwise the submission
    is graded now. One that cannot be graded fails the conversion, as a dead kernel would.
    """

    sandboxed = Bool(True, help="whether students' code must run in a sandbox").tag(config=True)
    deadline = Float(600.0, help="seconds for grading one submission").tag(config=True)
    opener = Unicode(worker.OPEN, help="what opens an assignment").tag(config=True)
    grader = Unicode(worker.GRADE, help="what grades a submission").tag(config=True)

    def preprocess(self, nb: NotebookNode, resources: Resources) -> tuple[NotebookNode, Resources]:
        """Return `nb` with marks in its graded cells, and `resources` as they were.

        Raises:
            NotGradedError: The submission could not be graded.
        """
        names = resources["nbgrader"]
        root = Path.cwd()  # nbgrader converts in the course root
        if names["notebook"] != names["assignment"]:
            raise NotGradedError(
                f"expected one notebook {names['assignment']}.ipynb, got {names['notebook']}.ipynb"
            )
        job = Job(
            *(str(root), names["assignment"], names["student"], self.deadline, self.sandboxed),
            *(self.opener, self.grader),
        )
        result = result_of(job, self.log.info)
        if result.error:
            forget_marks(names)
            raise NotGradedError(f"{job.student} did not run, which is not 0: {result.error}")
        for cell in nb.cells:
            if graded_by_checks(cell):
                write_mark(cell, result.mark(cell.metadata.nbgrader.grade_id))
        return nb, resources


def result_of(job: Job, tell: worker.Tell) -> Result:
    """Return the result of a submission, graded now if there is none that counts."""
    key = job.key(job.open())
    result = worker.stored(job.path, key)
    if os.environ.get(STORED_ONLY):
        try:
            result = result or Result.load(job.path)
        except (OSError, ValueError) as error:
            raise NotGradedError(f"{job.student} was not graded: {error}") from None
    elif result is None or result.error:
        result = worker.run(job, key, tell)
    assert result is not None  # None only where somebody stops it
    return result


def write_mark(cell: NotebookNode, mark: Mark) -> None:
    """Give `cell` outputs from which nbgrader's ``determine_grade`` reads the points of `mark`.

    Raises:
        NotGradedError: The mark is not one for this cell.
    """
    most = float(cell.metadata.nbgrader.points)
    if abs(most - mark.most) > 1e-9 or not -1e-9 <= mark.points <= most + 1e-9:
        raise NotGradedError(
            f"expected a mark of 0 to {most:g} for {mark.name}, "
            f"got {mark.points:g} of {mark.most:g}"
        )
    reasons = [f"{lost(loss)}: {_text(loss.reason).strip()}" for loss in mark.losses]
    right = [f"right: {_text(line)}" for line in mark.passed]
    points = min(max(mark.points, 0.0), most)
    cell.execution_count = None
    if points == 0 < most:
        head = f"0 of {number(most)} points"
        lines = reasons or ["no reason was noted"]
        cell.outputs = [
            new_output("error", ename=head, evalue="\n".join(["", *lines]), traceback=[])
        ]
        cell.outputs[0].traceback = [head, *lines]
        if right:
            note = new_output("stream", name="stdout", text="\n".join(right) + "\n")
            cell.outputs.insert(0, note)
        return
    head = f"{number(points)} of {number(most)} points"
    text = "\n".join([head, *reasons, *right]) + "\n"
    cell.outputs = [
        new_output("stream", name="stdout", text=text),
        new_output("execute_result", {"text/plain": repr(points)}, execution_count=None),
    ]


def forget_marks(names: Resources) -> None:
    """Take the marks of an earlier submission out of the gradebook, and ask for a look at it."""
    with Gradebook(names["db_url"]) as gradebook:
        try:
            part = gradebook.find_submission_notebook(
                names["notebook"], names["assignment"], names["student"]
            )
        except MissingEntry:
            return
        for grade in part.grades:
            grade.auto_score = None
            grade.needs_manual_grade = True
        gradebook.db.commit()
