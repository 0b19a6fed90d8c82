"""``course doctor``: what works on this machine, and how to mend what does not."""

import json
import os
import platform
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from importlib import metadata
from typing import NamedTuple

from course.processes import cores, find_mpiexec, guarded, memory, mpi_environment

GOOD, NOTE, BAD = "ok", "note", "FAILS"
GIB = 2**30


class Finding(NamedTuple):
    """One row of the table: what was looked at, how it stands, what was found, the mend."""

    what: str
    state: str
    found: str
    mend: str = ""


def _python() -> Finding:
    found = f"{platform.python_version()} at {sys.prefix}"
    if not (3, 11) <= sys.version_info < (3, 13):
        return Finding("Python", BAD, found, "make clean; make PYTHON=python3.12 setup")
    return Finding("Python", GOOD, found)


def _packages() -> Finding:
    names = ("jupyterlab", "ipyparallel", "nbgrader", "nbval")
    try:
        found = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    except metadata.PackageNotFoundError as error:
        return Finding("Notebook packages", BAD, f"{error.name} is missing", "make setup")
    return Finding("Notebook packages", GOOD, found)


_WORLD = """
import json
from mpi4py import MPI
sizes = MPI.COMM_WORLD.gather(MPI.COMM_WORLD.size)
if MPI.COMM_WORLD.rank == 0:
    print(json.dumps([MPI.Get_library_version().split(chr(10))[0].strip(chr(0)), sizes]))
"""


def mpi(ranks: int, timeout: float = 60) -> Finding:
    """Start `ranks` ranks by ``mpiexec`` and check that they are one world."""
    try:
        mpiexec = find_mpiexec()
    except FileNotFoundError as error:
        return Finding("MPI", BAD, str(error), "make setup")
    command = guarded([mpiexec, "-n", str(ranks), sys.executable, "-c", _WORLD])
    started = time.monotonic()
    done = _run(command, timeout, {**os.environ, **mpi_environment(ranks)})
    seconds = time.monotonic() - started
    if isinstance(done, str):
        mend = "try `mpiexec -n 2 hostname`; COURSE_MPIEXEC names another mpiexec"
        return Finding("MPI", BAD, f"{mpiexec}: {done}", mend)
    library, sizes = json.loads(done.stdout.strip().splitlines()[-1])
    library = " ".join(library.split())
    if sizes != [ranks] * ranks:
        return Finding(
            "MPI",
            BAD,
            f"expected one world of {ranks} ranks, got worlds of {sizes} ({library})",
            f"{mpiexec} belongs to another MPI than mpi4py: set COURSE_MPIEXEC, or "
            "rebuild mpi4py with this MPI's mpicc",
        )
    return Finding("MPI", GOOD, f"{library}, {ranks} ranks in one world after {seconds:.1f} s")


def _cores(ranks: int) -> Finding:
    usable = cores()
    found = f"{usable} of {os.cpu_count()} cores and {memory() / GIB:.1f} GiB of memory usable"
    if usable < ranks:
        return Finding(
            "Cores, memory", NOTE, found, "more ranks than cores work, but are no faster"
        )
    return Finding("Cores, memory", GOOD, found)


def _engines(ranks: int) -> Finding:
    code = (
        "import time; t = time.monotonic()\n"
        f"from course import engines\nc = engines.start({ranks}, start_timeout=60)\n"
        "print(round(time.monotonic() - t, 1)); c.stop()"
    )
    done = _run([sys.executable, "-c", code], 90, None)
    if isinstance(done, str):
        return Finding("Engines", BAD, done, "look at the MPI row first")
    seconds = done.stdout.strip().splitlines()[-1]
    return Finding("Engines", GOOD, f"{ranks} ipyparallel engines after {seconds} s")


_DEEP = """
import json, os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
found = {}
import keras
found["keras"] = f"Keras {keras.__version__} on {keras.backend.backend()}"
import tensorflow as tf
found["tensorflow"] = tf.__version__
found["gpus"] = [tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
                 for gpu in tf.config.list_physical_devices("GPU")]
try:
    from mpi4py import MPI
    import horovod, horovod.tensorflow as hvd
    found["horovod"] = f"{horovod.__version__}, MPI {'built' if hvd.mpi_built() else 'missing'}"
except Exception as error:
    found["horovod_error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


def _deep() -> list[Finding]:
    done = _run([sys.executable, "-c", _DEEP], 180, None)
    if isinstance(done, str):
        return [Finding("Keras", BAD, done, "make setup")]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    rows = [Finding("Keras", GOOD, f"{found['keras']}, TensorFlow {found['tensorflow']}")]
    if "horovod" in found:
        rows.append(Finding("Horovod", GOOD, found["horovod"]))
    else:
        mend = "rebuild it: uv sync --reinstall-package horovod --no-cache (needs g++)"
        rows.append(Finding("Horovod", BAD, found["horovod_error"], mend))
    if found["gpus"]:
        rows.append(Finding("GPU", GOOD, ", ".join(found["gpus"])))
    elif shutil.which("nvidia-smi"):
        mend = "make GPU=1 setup brings TensorFlow with CUDA libraries"
        rows.append(Finding("GPU", NOTE, "there is a driver, but TensorFlow sees no GPU", mend))
    else:
        mend = "none needed: the assignment brings recorded timings"
        rows.append(Finding("GPU", NOTE, "none", mend))
    return rows


def _slurm() -> Finding:
    if not shutil.which("sinfo"):
        return Finding("Slurm", NOTE, "none", "only needed on a cluster")
    done = _run(["sinfo", "--noheader", "--format=%P %a %D"], 15, None)
    if isinstance(done, str):
        return Finding("Slurm", BAD, done, "ask the site, or module load slurm")
    return Finding("Slurm", GOOD, "; ".join(done.stdout.split("\n")).strip("; "))


def _sandbox() -> Finding:
    from course.grading import sandbox

    why = sandbox.available()
    if why:
        return Finding("Sandbox", NOTE, why, "only needed to grade: install bubblewrap")
    return Finding("Sandbox", GOOD, "bubblewrap keeps students' code in")


def _data() -> Finding:
    from course import data

    try:
        (x_train, _), (x_test, _) = data.mnist()
        data.satimage()
    except data.DataError as error:
        return Finding("Data", BAD, str(error))
    return Finding("Data", GOOD, f"MNIST {len(x_train):,} + {len(x_test):,}, satimage: intact")


def _disk() -> list[Finding]:
    rows = []
    for what, path, least in (("Disk", os.getcwd(), 2), ("Shared memory", "/dev/shm", 0.25)):
        if not os.path.isdir(path):
            continue
        free = shutil.disk_usage(path).free / GIB
        found = f"{free:.1f} GiB free at {path}"
        if free < least:
            rows.append(Finding(what, BAD, found, f"free at least {least} GiB"))
        else:
            rows.append(Finding(what, GOOD, found))
    return rows


def _run(
    command: list[str], timeout: float, env: dict[str, str] | None
) -> "subprocess.CompletedProcess[str] | str":
    """Run `command`; return what it did, or one line that says how it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        return f"no answer within {timeout:.0f} s"
    except OSError as error:
        return str(error)
    if done.returncode:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        return (lines or [f"exit status {done.returncode}"])[-1]
    return done


def examine(ranks: int = 2) -> list[Finding]:
    """Look at everything and return the rows of the table, in order."""
    checks: list[Callable[[], Finding | list[Finding]]] = [
        _python,
        _packages,
        lambda: _cores(ranks),
        lambda: mpi(ranks),
        lambda: _engines(ranks),
        _deep,
        _slurm,
        _sandbox,
        _data,
        _disk,
    ]
    rows: list[Finding] = []
    for check in checks:
        found = check()
        rows += found if isinstance(found, list) else [found]
    return rows


def table(rows: list[Finding], width: int = 100) -> str:
    """Return `rows` as a text table, the mends below what they mend."""
    first = max(len(row.what) for row in rows)
    lines = []
    for row in rows:
        head = f"{row.what:<{first}}  {row.state:<5}  "
        text = row.found + (f"\n-> {row.mend}" if row.mend else "")
        wrapped = [
            piece
            for line in text.splitlines()
            for piece in textwrap.wrap(line, max(40, width - len(head))) or [""]
        ]
        lines += [head + wrapped[0], *(" " * len(head) + piece for piece in wrapped[1:])]
    return "\n".join(lines)


def main(ranks: int) -> int:
    """Print the table; return 1 if anything fails."""
    if ranks < 1:
        raise ValueError(f"--ranks must be at least 1, got {ranks}")
    rows = examine(ranks)
    print(table(rows, shutil.get_terminal_size().columns))
    return int(any(row.state == BAD for row in rows))
