"""Keep hidden tests out of the feedback that students get.

nbgrader writes its feedback from the autograded notebook, which holds the hidden tests and,
below a failed one, a traceback that quotes them. `HideTests` goes first in
``GenerateFeedback.preprocessors``, before nbgrader's own ``ClearHiddenTests``.
"""

import re
from typing import Any

from nbformat import NotebookNode
from nbgrader import utils
from nbgrader.preprocessors import NbGraderPreprocessor

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_FRAME = re.compile(r"(?:Cell |Input )?In\s*\[(\d+)\]")


class HideTests(NbGraderPreprocessor):
    """Drop from every traceback the frames of grade cells, which quote the tests.

    The error and its message stay, and the frames in the student's own cells.
    """

    def preprocess(
        self, nb: NotebookNode, resources: dict[str, Any]
    ) -> tuple[NotebookNode, dict[str, Any]]:
        """Return `nb` with trimmed tracebacks, and `resources` as they were."""
        own = {
            cell.execution_count
            for cell in nb.cells
            if cell.cell_type == "code" and not (utils.is_grade(cell) and utils.is_locked(cell))
        }
        for cell in nb.cells:
            if cell.cell_type != "code":
                continue
            for output in cell.outputs:
                if output.output_type == "error":
                    output.traceback = self._trimmed(output, own)
        return nb, resources

    def _trimmed(self, output: NotebookNode, own: set[int]) -> list[str]:
        frames = []
        for frame in output.traceback:
            found = _FRAME.search(_ANSI.sub("", frame).split("\n")[0])
            if found and int(found.group(1)) in own:
                frames.append(frame)
        return [*frames, f"{output.ename}: {output.evalue}"]
