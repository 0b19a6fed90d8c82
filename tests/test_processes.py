import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from course import processes

# A child that ignores SIGTERM, in a session of its own, with a grandchild.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), flush=True)
time.sleep(600)
"""


def descendants(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def wait_until(true, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def gone(family) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family)


def test_guard_ends_everything_when_its_parent_is_killed():
    code = (
        "import subprocess, sys, time; from course.processes import guarded\n"
        f"subprocess.Popen(guarded([sys.executable, '-c', {STUBBORN!r}])); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    parent.stdout.readline()
    assert wait_until(lambda: len(descendants(parent.pid)) == 3)
    family = descendants(parent.pid)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: gone(family)), family


def test_guard_asked_to_stop_ends_everything():
    guard = subprocess.Popen(
        processes.guarded([sys.executable, "-c", STUBBORN]), stdout=subprocess.PIPE
    )
    guard.stdout.readline()
    assert wait_until(lambda: len(descendants(guard.pid)) == 2)
    family = descendants(guard.pid)
    guard.terminate()
    assert guard.wait(60) == 128 + signal.SIGTERM
    assert wait_until(lambda: gone(family)), family


@pytest.mark.parametrize(
    "code, status", [("raise SystemExit(7)", 7), ("import os; os.abort()", 134)]
)
def test_guard_passes_the_exit_status_on(code, status):
    assert subprocess.run(processes.guarded([sys.executable, "-c", code])).returncode == status


def test_end_kills_what_ignores_sigterm():
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE)
    stubborn.stdout.readline()
    everyone = processes.family(stubborn.pid)
    assert len(everyone) == 2
    processes.end(everyone, grace=0.1)
    assert gone(everyone)


def test_mpiexec_is_the_environments_own_without_any_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("COURSE_MPIEXEC", raising=False)
    assert Path(processes.find_mpiexec()).parent == Path(sys.executable).parent


def test_a_wrong_mpiexec_is_named(monkeypatch):
    monkeypatch.setenv("COURSE_MPIEXEC", "/nowhere/mpiexec")
    with pytest.raises(FileNotFoundError, match="/nowhere/mpiexec"):
        processes.find_mpiexec()


def test_cores_are_shared_by_the_ranks(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    cores = len(os.sched_getaffinity(0))
    assert processes.mpi_environment(1)["OMP_NUM_THREADS"] == str(cores)
    assert processes.mpi_environment(10 * cores)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in processes.mpi_environment(1)
