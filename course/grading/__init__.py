"""Marks that a student's code cannot touch, for parallel programs.

Checks (``assignments/checks/NAME.py``) are written with what this module offers; `course grade`
and nbgrader's ``autograde`` run them. `docs/grading.md` tells the whole story.
"""

from course.grading import draws
from course.grading.compare import close, equal
from course.grading.draws import RANKS
from course.grading.rubric import Rubric
from course.grading.trials import Ask, Done, Trial
from course.mpi.contract import Contract

__all__ = ["RANKS", "Ask", "Contract", "Done", "Rubric", "Trial", "close", "draws", "equal"]
