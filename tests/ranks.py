"""Run a script on n MPI ranks with a deadline, for tests of parallel code."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

RANKS = (1, 2, 3, 4, 7)


def mpiexec(script: str | Path, ranks: int, *args: str, timeout: float = 270) -> str:
    """Run ``mpiexec -n ranks python -m mpi4py script args`` and return its standard output.

    The world's size is in ``COURSE_EXPECTED_RANKS`` for the script to check. A non-zero
    exit or an expired deadline raises `AssertionError` with all that was printed.
    """
    launcher = Path(sysconfig.get_path("scripts")) / "mpiexec"
    command = [launcher, "-n", ranks, sys.executable, "-m", "mpi4py", script, *args]
    environment = {
        **os.environ,
        "COURSE_EXPECTED_RANKS": str(ranks),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(
            f"{script} on {ranks} ranks ran past {timeout} s\n{out}\n{err}"
        ) from None
    assert process.returncode == 0, f"{script} on {ranks} ranks: {process.returncode}\n{out}\n{err}"
    return out


def mpiexec_json(script: str | Path, ranks: int, *args: str, timeout: float = 270) -> dict:
    """The same, for a script whose rank 0 prints one JSON object on its last line."""
    return json.loads(mpiexec(script, ranks, *args, timeout=timeout).strip().splitlines()[-1])
