"""What the notebooks need on Binder: peak memory in a box of 2 GiB and one core.

    python benchmarks/small_machine.py [--notebooks 00_start 05_perceptron ...]

JupyterLab's server stands in the same box, as it does on Binder, and the notebook chooses its
number of ranks by itself. It takes root and control groups (tools/box.py).
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tools.box import Box, watch

GIB = 2**30
OUTPUT = ROOT / "benchmarks" / "results" / "small_machine.csv"


def measure(notebook: Path, gigabytes: float, cores: float, timeout: float = 1200) -> dict:
    """Run `notebook` beside a JupyterLab; return what it took."""
    folder = Path(tempfile.mkdtemp(prefix="course-small-"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COURSE_")}
    environment |= {"IPYTHONDIR": str(folder), "JUPYTER_TOKEN": "x" * 32}
    server = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--port=0"]
    run = [sys.executable, "-m", "course.cli", "run", str(notebook)]
    quiet = {"env": environment, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with Box(int(gigabytes * GIB), cores) as box:
        lab = box.popen(server, cwd=folder, **quiet)
        idle = 0
        for _ in range(50):
            time.sleep(0.2)
            idle = max(idle, box.used())
        started = time.monotonic()
        output = ["--output", str(folder / notebook.name)]
        process = box.popen(run + output, cwd=ROOT, **quiet)
        peak = max(watch(box, process, timeout), default=0)
        row = {
            "notebook": notebook.stem,
            "gigabytes": gigabytes,
            "cores": cores,
            "lab_mib": round(idle / 2**20),
            "peak_mib": round(peak / 2**20),
            "killed": box.killed(),
            "status": process.returncode,
            "seconds": round(time.monotonic() - started),
        }
        lab.terminate()
        lab.wait(30)
    return row


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
    parser.add_argument("--notebooks", nargs="+", default=names, choices=names)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--cores", type=float, default=1.0)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args()
    rows = []
    for name in options.notebooks:
        path = ROOT / "notebooks" / f"{name}.ipynb"
        rows.append(measure(path, options.gigabytes, options.cores))
        print(rows[-1], flush=True)
    with options.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
