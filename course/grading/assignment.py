"""An assignment as the grader sees it: the source notebook, its points, and its checks."""

import hashlib
import os
import secrets
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course.grading import submission
from course.grading.rubric import Rubric

_HERE = Path(__file__).parent
# What decides marks; reports, batches and nbgrader's side only pass them on.
_DECIDING = (
    *("agent", "assignment", "compare", "crew", "draws", "grader", "inside", "remote", "results"),
    *("rubric", "sandbox", "seccomp", "speed", "submission", "table", "trials", "wire"),
)


@dataclass
class Assignment:
    """One assignment.

    Attributes:
        name: Its name.
        root: The nbgrader course root.
        cells: Cells of the source notebook.
        points: Points of each automatically graded cell, in the notebook's order.
        rubric: What decides them.
    """

    name: str
    root: Path
    cells: list[dict[str, Any]]
    points: dict[str, float]
    rubric: Rubric
    _texts: list[bytes] = field(default_factory=list, repr=False)

    @classmethod
    def open(cls, root: Path, name: str) -> "Assignment":
        """Read ``source/NAME/NAME.ipynb`` and ``checks/NAME.py`` below `root`.

        Raises:
            FileNotFoundError: One of them is missing.
            ValueError: They do not fit each other.
        """
        root = Path(root).resolve()
        source = root / "source" / name / f"{name}.ipynb"
        checks = root / "checks" / f"{name}.py"
        for path, what in ((source, "the source notebook"), (checks, "the checks")):
            if not path.is_file():
                raise FileNotFoundError(f"expected {what} of {name} at {path}, found none")
        cells = submission.read_notebook(source)
        points = {
            str(cell["metadata"]["nbgrader"]["grade_id"]): float(
                cell["metadata"]["nbgrader"]["points"]
            )
            for cell in cells
            if submission.is_graded_by_checks(cell)
        }
        rubric = _load(checks)
        decided = list(rubric.names())
        doubled = sorted({one for one in decided if decided.count(one) > 1})
        if doubled:
            raise ValueError(f"{checks}: more than one criterion for {doubled}")
        if set(decided) != set(points):
            missing, extra = set(points) - set(decided), set(decided) - set(points)
            raise ValueError(
                f"{checks}: expected a criterion for every graded cell of {source.name}; "
                f"missing {sorted(missing)}, unknown {sorted(extra)}"
            )
        texts = [source.read_bytes(), checks.read_bytes()]
        return cls(name, root, cells, points, rubric, texts)

    @property
    def solution(self) -> list[tuple[str, str]]:
        """The cells of the reference solution."""
        return submission.extract(self.cells, self.cells).cells

    def seed(self, student: str) -> int:
        """Return the seed for this student's inputs; secret, and the same every time."""
        text = f"{self._salt()}:{self.name}:{student}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")

    def _salt(self) -> str:
        """Return the course's secret, made at its first use."""
        path = self.root / ".grading-salt"
        try:
            return path.read_text().strip()
        except FileNotFoundError:
            pass
        draft = path.with_name(f".grading-salt.{os.getpid()}")
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(16))
        try:
            os.link(draft, path)  # whoever comes first decides
        except FileExistsError:
            pass
        finally:
            draft.unlink()
        return path.read_text().strip()

    def key(self, notebook: Path, student: str) -> str:
        """Return a hash of all that the marks of `notebook` depend on."""
        digest = hashlib.sha256()
        paths = [_HERE / f"{name}.py" for name in _DECIDING]
        own = [path.read_bytes() for path in [*paths, *sorted((_HERE.parent / "mpi").glob("*.py"))]]
        seed = str(self.seed(student)).encode()
        for text in (*self._texts, *own, seed, Path(notebook).read_bytes()):
            digest.update(hashlib.sha256(text).digest())
        return digest.hexdigest()


def _load(path: Path) -> Rubric:
    """Run a file of checks and return its rubric.

    The module is not registered, so that functions in it travel to the grader's ranks by value.
    """
    module = types.ModuleType(f"checks_{path.stem}")
    module.__file__ = str(path)
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}: {error}") from error
    rubric = module.__dict__.get("rubric")
    if not isinstance(rubric, Rubric):
        raise ValueError(f"{path}: expected a Rubric named rubric, got {type(rubric).__name__}")
    return rubric
