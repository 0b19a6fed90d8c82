"""nbgrader's own commands, with the marks of a grader that runs outside the notebook."""

import base64
import csv
import html.parser
import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output, new_raw_cell
from nbgrader.utils import determine_grade

from course.grading import batch, pages, worker
from course.grading.preprocessors import KeepWork, NotGradedError, RestoreCells, write_mark
from course.grading.results import Loss, Mark, Result
from tests.grading import fake
from tests.grading.commands import PROJECT, nbgrader

pytestmark = pytest.mark.timeout(900)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(20)).decode()
CONFIG = f"""
from pathlib import Path
load_subconfig("nbgrader_config.py", path={str(PROJECT / "assignments")!r})
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.GradeOutside.opener, c.GradeOutside.grader = {fake.OPEN!r}, {fake.GRADE!r}
"""


def outputs(*made):
    return [nbformat.from_dict(output) for output in made]


# what a cell shows can be forged


def mark_of(cell):
    return determine_grade(cell)[0]


def graded(points=3):
    meta = fake.meta("test", grade=True, locked=True, points=points, checksum="x")
    return new_code_cell("assert True", metadata=nbformat.from_dict(meta))


@pytest.mark.parametrize("points", [0, 0.1 + 0.2, 1 / 3, 2.5, 3])
def test_nbgrader_reads_exactly_the_points(points):
    cell = graded()
    cell.outputs = [new_output("execute_result", {"text/plain": "3"})]
    losses = [Loss(3 - points, "on 4 ranks:\n 99 was expected\x1b[2J")] if points < 3 else []
    write_mark(cell, Mark("test", points, 3, losses, ["on 2 ranks"]))
    nbformat.validate(nbformat.v4.new_notebook(cells=[cell]))
    assert mark_of(cell) == points
    text = json.dumps(cell.outputs)
    assert ("99 was expected" in text) == (points < 3) and "on 2 ranks" in text


def test_a_mark_that_cannot_be_is_refused():
    for mark in (Mark("test", 4, 3), Mark("test", -1, 3), Mark("test", 2, 2)):
        with pytest.raises(NotGradedError, match="expected a mark of 0 to 3 for test"):
            write_mark(graded(), mark)
    cell = graded()
    write_mark(cell, Mark("test", 3 + 1e-12, 3))  # a sum of decimal fractions
    assert mark_of(cell) == 3


# what students made is kept, and does no harm


def cleaned(*cells, **limits):
    nb = nbformat.v4.new_notebook()
    nb.cells = list(cells)  # unchecked, as a submission is
    nb, _ = KeepWork(**limits).preprocess(nb, {})
    nbformat.validate(nb)
    return nb.cells


def test_text_and_pictures_are_kept():
    own = new_code_cell("plot()", execution_count=4)
    own.outputs = outputs(
        {"output_type": "stream", "name": "stderr", "text": ["a\n", "b\x07"]},
        {
            "output_type": "display_data",
            "data": {"text/plain": "<Figure>", "image/png": PNG, "text/html": "<script>"},
            "metadata": {"image/png": {"width": "1 onload=x"}},
        },
        {
            "output_type": "execute_result",
            "data": {"text/plain": "3"},
            "metadata": {},
            "execution_count": 4,
        },
        {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["line", "E: v"]},
    )
    (cell,) = cleaned(own)
    stream, picture, value, error = cell.outputs
    assert (stream.name, stream.text, value.text) == (
        "stdout",
        "a\nb\N{REPLACEMENT CHARACTER}",
        "3",
    )
    assert picture.data == {"text/plain": "<Figure>", "image/png": PNG}
    assert picture.metadata == {} and error.traceback == ["line\nE: v"]


def test_what_could_do_harm_goes():
    bad = new_code_cell("x")
    bad["execution_count"] = "<script>"
    kinds = "text/html image/svg+xml application/javascript text/latex text/markdown".split()
    bad.outputs = outputs(
        *({"output_type": "display_data", "data": {k: "x"}, "metadata": {}} for k in kinds),
        {"output_type": "display_data", "data": {"image/png": "no picture"}, "metadata": {}},
        {"output_type": "display_data", "data": {"image/png": {"a": 1}}, "metadata": {}},
        {"output_type": "display_data", "data": "text", "metadata": {}},
        {"output_type": "stream", "name": "stdout", "text": 3},
        {"output_type": "unheard of"},
    )
    raw = new_raw_cell("<script>raw</script>\n\n# no heading")
    text = new_markdown_cell("![](attachment:a) ![](attachment:b)")
    text.attachments = {"a": {"image/svg+xml": "PHN2Zz4="}, "b": {"image/png": PNG}}
    code, raw, text = cleaned(bad, raw, text)
    assert code.outputs == [] and code.execution_count is None
    assert raw.cell_type == "markdown" and "&lt;script" in pages.render(raw.source)
    assert "<h1" not in pages.render(raw.source)
    assert text.attachments == {"b": {"image/png": PNG}}


def test_output_is_limited():
    long = {"output_type": "stream", "name": "stdout", "text": "x" * 100}
    huge = {"output_type": "display_data", "data": {"image/png": PNG}, "metadata": {}}
    cell = new_code_cell("x", outputs=outputs(*[long] * 5, huge))
    (cell,) = cleaned(cell, max_text=250, max_outputs=4, max_picture=20)
    text = "".join(output.text for output in cell.outputs)
    assert text.count("x") == 250 and "outputs were too long" in text
    assert all(output.output_type == "stream" for output in cell.outputs)


def test_outputs_of_graded_cells_go():
    cell = graded()
    cell.outputs = [new_output("stream", text="all tests passed")]
    assert cleaned(cell)[0].outputs == []


def test_cells_get_their_metadata_back(tmp_path, monkeypatch):
    root = fake.course(tmp_path)
    monkeypatch.chdir(root)
    nb = fake.source()
    one = nb.cells[1].metadata.nbgrader
    one.update(solution=True, grade=False, points=99, extra="x")
    nb.cells[1].metadata.tags = ["<script>"]
    nb.cells[0].metadata.nbgrader.update(grade=True, points=50)
    nb.cells.insert(0, new_code_cell("new", metadata=fake.meta("unknown", grade=True, points=9)))
    nb.cells.append(new_code_cell("odd", metadata={"nbgrader": "text"}))
    nb.cells.append(new_code_cell("odd", metadata={"nbgrader": {"grade_id": ["x"]}}))
    del nb.cells[4]  # the second test
    nb.metadata.widgets = {"application/vnd.jupyter.widget-state+json": {}}
    resources = {"nbgrader": {"assignment": fake.NAME, "notebook": fake.NAME}}
    nb, _ = RestoreCells().preprocess(nb, resources)
    assert [c.source for c in nb.cells] == [
        *("new", "points 5", "assert 1", "Why?", "assert 2", "odd", "odd")
    ]
    source = fake.source()
    assert [c.metadata for c in nb.cells[1:5]] == [c.metadata for c in source.cells]
    assert all(cell.metadata == {} for cell in (nb.cells[0], *nb.cells[5:]))
    assert nb.metadata == source.metadata


# the pages


class Loads(html.parser.HTMLParser):
    """Collects what a page would load or run."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        link = attrs.get("src") or (attrs.get("href") if tag == "link" else None) or ""
        if tag in ("script", "iframe", "object", "embed", "base", "form"):
            self.found.append(tag)
        if link and not link.startswith("data:image/png"):
            self.found.append(f"{tag} {link}")
        self.found += [name for name in attrs if name.startswith("on")]
        if (attrs.get("href") or "").lower().strip().startswith("javascript"):
            self.found.append(attrs["href"])


HARM = """# Title
<script>alert(1)</script> <img src=x onerror=alert(1)> inline <b onclick=x>b</b>

[link](javascript:alert(1)) ![far](https://example.org/a.png) ![gone](attachment:none)

$a < b$ and $$\\frac{a}{b} \\href{javascript:x}{y}$$ and $\\broken{$ 2<br>3

```mermaid
graph
```
"""


def test_markdown_runs_and_loads_nothing():
    page = pages.render(HARM)
    assert Loads(page).found == []
    assert "<h1>Title</h1>" in page and page.count("<math") >= 2
    assert "[far: https://example.org/a.png]" in page and "&lt;script&gt;" in page
    assert "2<br>3" in page


def test_formulas_are_mathml_and_a_broken_one_is_shown_as_typed():
    assert "<mfrac>" in pages.formula(r"\frac{a}{b}", display=True)
    assert pages.render(r"\begin{equation}x^2\end{equation}").count("<msup>") == 1
    broken = pages.formula(r"\frac{<b>")
    assert "<b>" not in broken


# the whole of it, with nbgrader's commands


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = fake.course(
        tmp_path_factory.mktemp("life") / "course",
        full="points 5",
        part="points 2.5",
        none="points 0",
        dead="crash",
    )
    (root / "nbgrader_config.py").write_text(CONFIG)
    status, log = nbgrader(root, "generate_assignment", fake.NAME)
    assert status == 0, log
    path = root / "submitted" / "part" / fake.NAME / f"{fake.NAME}.ipynb"
    nb = nbformat.read(path, as_version=4)
    nb.cells[2].source = f"My answer, with $x^2$.\n\n{HARM}"
    nb.cells[1].outputs = [new_output("execute_result", {"text/plain": "2"})]
    nb.cells[1].source = "pass  # changed"
    picture = new_output("display_data", {"image/png": PNG, "text/html": "<script>1</script>"})
    nb.cells.append(new_code_cell("plot()", outputs=[picture]))
    nb.cells.append(new_raw_cell("<script>alert(3)</script>"))
    del nb.cells[3]  # a test
    nbformat.write(nb, path)
    return root


@pytest.fixture(scope="module")
def log(course):
    """What `course grade` prints; the gradebook has the marks afterwards."""
    import io

    out = io.StringIO()
    environment = {"PYTHONPATH": str(PROJECT), "COURSE_EXCHANGE": str(course / "exchange")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        status = batch.grade_all(course, fake.NAME, fake.settings(gradebook=True), out)
    assert status == 1  # one did not run
    return out.getvalue()


def gradebook(root):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{root}/gradebook.db", "parallel-learning") as book:
        return {
            s.student.id: {g.name: g.auto_score for part in s.notebooks for g in part.grades}
            for s in book.assignment_submissions(fake.NAME)
        }


def test_course_grade_fills_the_gradebook(course, log):
    marks = gradebook(course)
    assert marks["full"] == {"test-one": 2, "test-two": 3, "why": None}
    assert marks["part"] == {"test-one": 2, "test-two": 0.5, "why": None}
    assert marks["none"] == {"test-one": 0, "test-two": 0, "why": None}
    assert marks["dead"] == {"test-one": None, "test-two": None, "why": None}
    assert sorted(fake.calls(course)) == ["dead", "full", "none", "part"]
    assert "lacks" not in log and re.search(r"^dead +-  did not run: The grader fail", log, re.M)


def test_the_graders_notebook_has_the_students_work(course, log):
    nb = nbformat.read(course / "autograded" / "part" / fake.NAME / f"{fake.NAME}.ipynb", 4)
    assert [cell.source for cell in nb.cells[:2]] == ["points 2.5", "assert 1"]
    assert nb.cells[2].source.startswith("My answer") and nb.cells[3].source == "assert 2"
    assert list(nb.cells[4].outputs[0].data) == ["image/png"]
    assert "rank 0 waits <for> rank 1" in json.dumps(nb.cells[3].outputs)


def test_nbgraders_export_tells_what_did_not_run(course, log):
    status, text = nbgrader(course, "export")
    assert status == 0, text
    rows = {row["student_id"]: row for row in csv.DictReader(open(course / "grades.csv"))}
    assert (rows["part"]["score"], rows["part"]["max_score"]) == ("2.5", "9.0")
    assert (rows["none"]["score"], rows["none"]["did_not_run"]) == ("0.0", "")
    assert (rows["dead"]["score"], rows["dead"]["did_not_run"]) == ("", "yes")


def test_feedback_loads_nothing_and_shows_reasons(course, log):
    status, text = nbgrader(course, "generate_feedback", fake.NAME)
    assert status == 0, text
    for student in ("full", "part", "none"):
        page = (course / "feedback" / student / fake.NAME / f"{fake.NAME}.html").read_text()
        assert Loads(page).found == [] and '<html lang="en">' in page, student
        assert ("rank 0 waits &lt;for&gt; rank 1" in page) == (student != "full")
        assert "<math" in page or student != "part"
    assert "2.5 / 9.0" in (course / "feedback/part" / fake.NAME / f"{fake.NAME}.html").read_text()
    assert not (course / "feedback" / "dead").exists()


def test_autograde_alone_gives_the_same_marks_and_fails_who_did_not_run(course, log):
    before = gradebook(course)
    calls = len(fake.calls(course))
    fake.submit(course, "full", "exit")  # a new submission, which does not run
    status, text = nbgrader(course, "autograde", fake.NAME, "--force")
    after = gradebook(course)
    assert status != 0 and [after[s] for s in ("part", "none")] == [
        before[s] for s in ("part", "none")
    ]
    assert "dead did not run, which is not 0: The grader failed with exit status 1" in text
    assert sorted(fake.calls(course)[calls:]) == ["dead", "full"]  # the others' results count
    for student in ("dead", "full"):
        assert after[student] == {"test-one": None, "test-two": None, "why": None}
        assert not (course / "autograded" / student / fake.NAME).exists()


def test_course_grade_without_a_gradebook_says_so(tmp_path, monkeypatch):
    import io

    root = fake.course(tmp_path / "course", a="points 5")
    (root / "nbgrader_config.py").write_text(CONFIG)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.setenv("COURSE_EXCHANGE", str(tmp_path))
    out = io.StringIO()
    assert batch.grade_all(root, fake.NAME, fake.settings(gradebook=True), out) == 1
    assert "the gradebook lacks the marks of a" in out.getvalue()
    assert "No assignment with ID" in out.getvalue()
    assert Result.load(worker.result_path(root, fake.NAME, "a")).points == 5
