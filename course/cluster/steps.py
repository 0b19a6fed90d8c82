"""The two small steps of the lecture's pipeline that are no program of their own.

python -m course.cluster.steps prepare 1200    satimage as train.el and test.el
python -m course.cluster.steps analyse         results.txt against test.el: report.json
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

GREY = 157.0  # the largest grey level of satimage


def prepare(rows: int, folder: Path = Path()) -> None:
    """Write satimage in libsvm's format: `rows` pixels to train with, and all for the test.

    Raises:
        ValueError: there are not so many rows.
    """
    from course.data import satimage
    from course.svm import data_files

    (x, y), (x_test, y_test) = satimage()
    if not 1 <= rows <= len(x):
        raise ValueError(f"expected between 1 and {len(x)} rows, got {rows}")
    data_files.write(folder / "train.el", x[:rows] / GREY, y[:rows])
    data_files.write(folder / "test.el", x_test / GREY, y_test)
    print(f"{rows} pixels to train with, {len(x_test)} for the test")


def analyse(folder: Path = Path()) -> dict[str, object]:
    """Compare the predictions in ``results.txt`` with ``test.el``; write ``report.json``.

    Returns:
        The report: accuracy, pixels, and the share of each class that was found.
    """
    from course.svm import data_files

    _, truth = data_files.read(folder / "test.el")
    said = np.loadtxt(folder / "results.txt")
    found = {f"{label:g}": float((said[truth == label] == label).mean()) for label in set(truth)}
    report = {
        "accuracy": float((said == truth).mean()),
        "pixels": len(truth),
        "found": dict(sorted(found.items())),
    }
    (folder / "report.json").write_text(json.dumps(report, indent=1) + "\n")
    print(f"accuracy {report['accuracy']:.4f} on {report['pixels']} pixels")
    return report


def main(arguments: Sequence[str]) -> None:
    """Run the step that the command line names."""
    match list(arguments):
        case ["prepare", rows] if rows.isdecimal():
            prepare(int(rows))
        case ["analyse"]:
            analyse()
        case _:
            sys.exit(f"expected prepare ROWS or analyse, got {' '.join(arguments) or 'nothing'}")


if __name__ == "__main__":
    main(sys.argv[1:])
