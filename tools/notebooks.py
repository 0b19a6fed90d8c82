"""Keep notebooks as they are committed: no outputs but those that a test compares.

    python tools/notebooks.py strip notebooks/*.ipynb     after editing in JupyterLab
    python tools/notebooks.py refresh notebooks/*.ipynb   after changing a compared output

Cells with the tag ``nbval-check-output`` keep their outputs: nbval runs them and
compares. `refresh` executes the notebook and takes those outputs anew.
"""

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

CHECKED = "nbval-check-output"
KEPT_METADATA = {"nbgrader", "tags"}


def checked(cell: nbformat.NotebookNode) -> bool:
    """Return whether the outputs of `cell` are compared with those in the file."""
    return cell.cell_type == "code" and CHECKED in cell.metadata.get("tags", [])


def strip(book: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Remove from `book`, in place, everything that running or viewing it left behind."""
    for cell in book.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k in KEPT_METADATA}
        if cell.cell_type != "code":
            continue
        if checked(cell):
            cell.execution_count = 1 if cell.outputs else None
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = 1
        else:
            cell.execution_count, cell.outputs = None, []
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    kept = {k: v for k, v in book.metadata.items() if k in {"nbgrader", "course"}}
    book.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}, **kept}
    return book


def refresh(book: nbformat.NotebookNode, folder: Path) -> nbformat.NotebookNode:
    """Execute `book` in `folder` as the tests do, then strip it."""
    os.environ["IPP_NONINTERACTIVE"] = "1"
    NotebookClient(book, timeout=900, resources={"metadata": {"path": str(folder)}}).execute()
    return strip(book)


def main() -> None:
    """Rewrite the notebooks that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("action", choices=("strip", "refresh"))
    parser.add_argument("notebooks", nargs="+", type=Path)
    options = parser.parse_args()
    for path in options.notebooks:
        book = nbformat.read(path, as_version=4)
        book = strip(book) if options.action == "strip" else refresh(book, path.parent.resolve())
        nbformat.write(book, path)
        print(path)


if __name__ == "__main__":
    main()
