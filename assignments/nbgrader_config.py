"""nbgrader's settings for this course; nbgrader reads them when it is run in this folder."""

import os
from pathlib import Path

from nbconvert.preprocessors import ClearMetadataPreprocessor, CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import (
    AssignLatePenalties,
    CheckCellMetadata,
    ClearHiddenTests,
    DeduplicateIds,
    GetGrades,
    IgnorePattern,
    LimitOutput,
    OverwriteCells,
    OverwriteKernelspec,
    SaveAutoGrades,
)

from course.grading.book import CsvExport
from course.grading.pages import FeedbackExporter, markdown2html
from course.grading.preprocessors import GradeOutside, KeepWork, RestoreCells

c = get_config()  # noqa: F821  # nbgrader defines it

c.CourseDirectory.course_id = "parallel-learning"
ROOT = Path(__file__).resolve().parent
c.CourseDirectory.root = str(ROOT)

# Where released assignments lie for students to fetch, and submissions for the lecturer to
# collect. On a machine with several users, COURSE_EXCHANGE names a folder that all can write to.
exchange = Path(os.environ.get("COURSE_EXCHANGE") or ROOT / "exchange")
if not exchange.exists():
    exchange.mkdir(parents=True)
    exchange.chmod(0o777)  # nbgrader refuses an exchange that not everybody can write to
c.Exchange.root = str(exchange)

c.ClearSolutions.code_stub = {
    "python": "# YOUR CODE HERE\nraise NotImplementedError('your code is missing')"
}

# Students' notebooks are not executed: marks come from `course grade` (docs/grading.md).
c.Autograde.sanitize_preprocessors = [
    RestoreCells,
    KeepWork,
    DeduplicateIds,
    OverwriteKernelspec,
    OverwriteCells,
    CheckCellMetadata,
]
c.Autograde.autograde_preprocessors = [
    GradeOutside,
    IgnorePattern,
    ClearMetadataPreprocessor,
    LimitOutput,
    SaveAutoGrades,
    AssignLatePenalties,
    CheckCellMetadata,
]

# Pages that load nothing from outside, and run nothing that students wrote; without hidden tests.
c.HTMLExporter.filters = {"markdown2html": markdown2html}
c.GenerateFeedback.exporter_class = FeedbackExporter
c.GenerateFeedback.preprocessors = [ClearHiddenTests, GetGrades, CSSHTMLHeaderPreprocessor]
c.ExportApp.plugin_class = CsvExport
