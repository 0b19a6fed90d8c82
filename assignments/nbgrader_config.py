"""nbgrader's settings for this course; nbgrader reads them when it is run in this folder."""

from pathlib import Path

from nbconvert.preprocessors import CSSHTMLHeaderPreprocessor
from nbgrader.preprocessors import ClearHiddenTests, GetGrades

from course.grading.feedback import HideTests

c = get_config()  # noqa: F821  # nbgrader defines it

c.CourseDirectory.course_id = "parallel-learning"
c.CourseDirectory.root = str(Path(__file__).resolve().parent)

# A cell may start MPI ranks and train a small net; a hanging one ends here.
c.Execute.timeout = 120
c.Execute.startup_timeout = 120
c.ClearSolutions.code_stub = {
    "python": "# YOUR CODE HERE\nraise NotImplementedError('your code is missing')"
}

# Feedback without the hidden tests.
c.GenerateFeedback.preprocessors = [
    HideTests,
    ClearHiddenTests,
    GetGrades,
    CSSHTMLHeaderPreprocessor,
]
