"""Batch nodes have no network: what jobs run must not need any."""

import json
import os
import shutil
import subprocess
import sys

import nbformat
import pytest

CUT = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "cut"]
REACH = (
    "import socket\n"
    "try:\n    socket.create_connection(('192.0.2.1', 80), timeout=2)\n"
    "except OSError as error:\n    print(error.errno)"
)
ENETUNREACH = "101"


def cut(command, **options):
    """Run `command` with no network but the loopback, as a batch node may have it."""
    return subprocess.run(
        [*CUT, *map(str, command)], capture_output=True, text=True, timeout=200, **options
    )


@pytest.fixture(scope="module", autouse=True)
def can_cut():
    if not shutil.which("unshare") or not shutil.which("ip"):
        pytest.skip("unshare or ip is not installed")
    if cut(["true"]).returncode:
        pytest.skip("no network namespace can be made here; it takes root")
    assert cut([sys.executable, "-c", REACH]).stdout.strip() == ENETUNREACH


@pytest.fixture
def environment(tmp_path):
    """A home folder with nothing in it, so that no cache can help."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "COURSE_"))}
    return {**kept, "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path), "TF_CPP_MIN_LOG_LEVEL": "3"}


def test_a_notebook_with_engines_and_horovod(tmp_path, environment):
    book = tmp_path / "a.ipynb"
    cells = [
        "from course import engines\nfrom course.data import mnist\ncluster = engines.start(n=2)",
        "from course.deep.train import train\n"
        "print([round(a, 1) for _, a in cluster.run(train, 'perceptron', 1, 8, 1024)])",
        "cluster.stop()",
    ]
    book_cells = [nbformat.v4.new_code_cell(source) for source in cells]
    nbformat.write(nbformat.v4.new_notebook(cells=book_cells), book)
    target = tmp_path / "out.ipynb"
    done = cut(
        [sys.executable, "-m", "course.cli", "run", book, "--output", target], env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = nbformat.read(target, 4).cells[1].outputs[-1].text
    first, second = json.loads(printed.strip().splitlines()[-1])
    assert first == second > 0.3


def test_the_data_are_there(environment):
    done = cut([sys.executable, "-m", "course.cli", "data"], env=environment)
    assert done.stdout.count("intact") == 2, done.stderr
