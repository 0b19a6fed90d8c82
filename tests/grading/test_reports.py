import csv
import html.parser

import pytest

from course.grading import reports
from course.grading.results import Loss, Mark, Result

DEADLOCK = """on 4 ranks the ranks wait for each other:
  rank 0 waits in Recv for rank 1
  rank 1 waits in Recv for rank 0
<script>alert("1")</script>\x1b[31m"""
POINTS = {"join-results": 3.0, "halo-contract": 2.0}


def made(student="Zoë <b>", **more):
    marks = [
        Mark(
            "join-results", 1.25, 3, [Loss(1.75, DEADLOCK), Loss(0, "x")], ["right on 1 rank <i>"]
        ),
        Mark("halo-contract", 2, 2),
    ]
    return Result("a1", student, "key", 1, marks, sandbox="bubblewrap", finished=1.8e9, **more)


class Page(html.parser.HTMLParser):
    """The structure of a page, as a screen reader goes through it."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("h1", "h2", "h3"):
            self.headings.append(int(tag[1]))

    def handle_data(self, data):
        self.text += data

    def all(self, *names):
        return [attrs for tag, attrs in self.tags if tag in names]


def check(page):
    """What holds for every page."""
    assert page.all("html") == [{"lang": "en"}] and len(page.all("title", "h1", "main")) == 3
    assert not page.all("script", "img", "link", "iframe")
    assert page.headings[0] == 1
    assert all(b - a <= 1 for a, b in zip(page.headings, page.headings[1:], strict=False))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    names = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(names) == len(set(names))
    links = [a["href"][1:] for a in page.all("a") if a["href"].startswith("#")]
    assert set(links) <= set(names)


def test_a_students_page_has_every_reason():
    text = reports.student_page(made(notes=["the cell 'join' is there twice: the last counts"]))
    page = Page(text)
    check(page)
    for said in (
        "3.25 of 5 points",
        "join-results: 1.25 of 3",
        "1.75 lost: on 4 ranks the ranks wait for each other:",
        "rank 1 waits in Recv for rank 0\n<script>",
        "nothing lost: x",
        "right on 1 rank <i>",
        "Nothing lost.",
        "Zoë <b>",
        "there twice",
    ):
        assert said in " ".join(page.text.split(" ")).replace("</span>", ""), said
    assert len(page.all("pre")) == 1 and "\x1b" not in text


def test_who_was_not_graded_reads_no_marks_and_nothing_of_the_checks():
    result = Result("a1", "x", "", 0, error="The grader failed.\nTraceback: secret of the checks")
    text = reports.student_page(result)
    page = Page(text)
    check(page)
    assert "The grader failed." in page.text and "secret" not in page.text
    assert "0 of" not in page.text and not page.all("table")


def everybody():
    broken = Result("a1", "=x", "", 0, error="killed\nTraceback: of interest to the lecturer")
    return {"Zoë <b>": made(), "=x": broken, "later": None, "full": made("full")}


def test_the_lecturers_page():
    page = Page(reports.overview_page("a1", POINTS, everybody()))
    check(page)
    for said in ("4 submissions, 2 graded, 1 did not run", "median 3.25 of 5", "of interest"):
        assert said in page.text
    assert page.text.count("not graded yet") == 1
    links = [attrs["href"] for attrs in page.all("a")]
    assert links == ["a1/Zo%C3%AB%20%3Cb%3E.html", "a1/%3Dx.html", "a1/full.html"]
    check(Page(reports.overview_page("a1", POINTS, {})))


def test_the_table_leaves_empty_what_did_not_run(tmp_path):
    reports.write_csv(reports.grades_table(POINTS, everybody()), tmp_path / "t" / "grades.csv")
    rows = list(csv.DictReader(open(tmp_path / "t" / "grades.csv")))
    assert list(rows[0]) == ["student", *POINTS, "points", "of", "notes", "did not run"]
    assert [row["points"] for row in rows] == ["3.25", "", "", "3.25"]
    assert [row["join-results"] for row in rows] == ["1.25", "", "", "1.25"]
    assert rows[1]["student"] == "'=x" and rows[1]["did not run"] == "killed"
    assert rows[2]["did not run"] == "not graded yet"


def test_all_reports_are_written(tmp_path):
    copy = tmp_path / "elsewhere" / "copy.csv"
    reports.write_all(tmp_path, "a1", POINTS, {"full": made("full"), "none": None}, csv=copy)
    folder = tmp_path / "graded" / "a1"
    assert sorted(path.name for path in folder.iterdir()) == ["full.html", "grades.csv"]
    assert copy.read_text() == (folder / "grades.csv").read_text()
    assert "not graded yet" in (tmp_path / "graded" / "a1.html").read_text()


@pytest.mark.parametrize("value,text", [(2.0, "2"), (1 / 3, "0.33"), (1.5, "1.5"), (0.0, "0")])
def test_numbers_are_written_as_people_do(value, text):
    assert reports.number(value) == text
