"""Fresh ranks: results come back, every way to fail is told, nothing stays behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from course.mpi import DeadlineError, LaunchError, RankError, run


def workers() -> list[int]:
    """Processes of this user that belong to some run started by this process's tests."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any(word.endswith(("mpi/worker.py", "mpi/guard.py")) for word in words):
            if any(str(os.getpid()) == word for word in words) or MARK in words:
                found.append(process.pid)
    return found


MARK = f"course-test-{os.getpid()}"


@pytest.fixture(autouse=True)
def nothing_stays_behind():
    yield
    assert not workers()


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_results_output_and_time_of_each_rank(ranks):
    def work(comm, factor, *, offset):
        assert comm.size == ranks
        print(f"here is {comm.rank}")
        total = comm.allreduce(comm.rank)
        return {"rank": comm.rank, "array": np.arange(3) * factor + offset, "total": total}

    outcome = run(work, ranks, 2, timeout=60, offset=1)
    assert [result["rank"] for result in outcome.results] == list(range(ranks))
    assert all(result["total"] == ranks * (ranks - 1) // 2 for result in outcome.results)
    np.testing.assert_array_equal(outcome[ranks - 1]["array"], [1, 3, 5])
    assert outcome.stdout == [f"here is {rank}\n" for rank in range(ranks)]
    assert outcome.output.splitlines() == [f"rank {r}: here is {r}" for r in range(ranks)]
    assert len(outcome.seconds) == len(outcome) == ranks
    assert all(0 <= seconds <= outcome.wall for seconds in outcome.seconds)
    assert outcome.trace is None


def failing(comm, how):
    if comm.rank == 1:
        if how == "raise":
            raise ValueError("no rows here")
        if how == "exit":
            sys.exit(3)
        if how == "os._exit":
            os._exit(0)
        if how == "kill":
            os.kill(os.getpid(), 9)
        if how == "crash":
            import ctypes

            ctypes.string_at(0)
        if how == "abort":
            comm.Abort(4)
        if how == "memory":
            np.ones(10**10)
        if how == "result":
            return (k for k in range(3))
    comm.Barrier()
    if how == "result":
        return None
    while True:
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("raise", "ValueError", ["Traceback", "no rows here", 'raise ValueError("no rows here")']),
        ("exit", "exited", ["sys.exit(3)", "in failing"]),
        ("os._exit", "exited", ["exit status 0"]),
        ("kill", "killed", ["SIGKILL"]),
        ("crash", "crashed", ["SIGSEGV", "in failing"]),
        ("abort", "exited", ["Abort"]),
        ("memory", "MemoryError", ["np.ones(10**10)"]),
        ("result", "TypeError", ["generator", "cannot be sent back"]),
    ],
)
def test_one_rank_fails_and_the_run_ends_at_once(how, kind, words):
    began = time.monotonic()
    with pytest.raises(RankError) as caught:
        run(failing, 3, how, timeout=200, memory=4 * 10**9)
    assert time.monotonic() - began < 100
    error = caught.value
    assert error.rank == 1
    assert error.kind.endswith(kind)
    assert str(error).startswith("rank 1 ")
    assert all(word in str(error) for word in words), str(error)


def test_what_a_killed_supervisor_had_not_read_is_kept():
    def work(comm):
        if comm.rank == 1:
            os.kill(os.getppid(), signal.SIGSTOP)
            os.write(1, b"last words")
            comm.Abort(4)
        comm.Barrier()

    with pytest.raises(RankError) as caught:
        run(work, 3, timeout=200)
    assert caught.value.rank == 1
    assert caught.value.run.stdout == ["", "last words", ""]


def test_results_of_the_others_survive():
    def work(comm):
        if comm.rank == 2:
            time.sleep(3)
            raise RuntimeError("late")
        return comm.rank * 10

    with pytest.raises(RankError) as caught:
        run(work, 3, timeout=60)
    assert caught.value.run.results == [0, 10, None]
    assert caught.value.statuses == ["finished", "finished", "raised"]


def test_all_ranks_raise_the_same():
    def work(comm):
        raise KeyError("the same")

    with pytest.raises(RankError, match="the same on rank"):
        run(work, 3, timeout=60)


def test_the_deadline_holds_and_says_where_each_rank_is():
    def wait(comm):
        if comm.rank == 0:
            comm.recv(source=1)
        while comm.rank == 1:
            pass

    began = time.monotonic()
    with pytest.raises(DeadlineError) as caught:
        run(wait, 3, timeout=8)
    assert 8 <= time.monotonic() - began < 60
    text = str(caught.value)
    assert "still running: rank 0, 1; rank 2 had returned" in text
    assert text.count(" in wait") == 2
    assert isinstance(caught.value, TimeoutError)


def test_children_of_a_rank_are_gone_too():
    def spawn(comm):
        code = "import time; time.sleep(1000)"
        subprocess.Popen([sys.executable, "-c", code, "left-behind"], start_new_session=True)
        return os.getpid()

    run(spawn, 2, timeout=60)
    assert not [p for p in psutil.process_iter(["cmdline"])
                if "left-behind" in (p.info["cmdline"] or [])
                and p.status() != psutil.STATUS_ZOMBIE]  # fmt: skip


def test_nothing_outlives_a_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from course.mpi import run

        def forever(comm):
            open({str(tmp_path)!r} + f"/pid-{{comm.rank}}", "w").write(str(os.getpid()))
            while True:
                pass

        run(forever, 2, timeout=100)
        """)
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    files = [tmp_path / "pid-0", tmp_path / "pid-1"]
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not all(f.exists() and f.read_text() for f in files):
        time.sleep(0.05)
    pids = [int(file.read_text()) for file in files]
    assert all(psutil.pid_exists(pid) for pid in pids)
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and any(psutil.pid_exists(pid) for pid in pids):
        time.sleep(0.05)
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_huge_output_is_cut():
    def shout(comm):
        for _ in range(300):
            print("x" * 100_000)
        return comm.rank

    outcome = run(shout, 2, timeout=60, max_output=50_000)
    assert outcome.results == [0, 1]
    assert all(len(text) < 51_000 for text in outcome.stdout)
    assert "29950300 more bytes were not kept" in outcome.stdout[0]


def test_it_needs_no_mpiexec_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert run(lambda comm: comm.size, 2, timeout=60).results == [2, 2]


def test_it_runs_inside_another_mpi_job(monkeypatch):
    monkeypatch.setenv("PMI_RANK", "0")
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setenv("PMI_FD", "7")
    assert run(lambda comm: comm.size, 2, timeout=60).results == [2, 2]


def test_a_foreign_launcher_is_noticed(monkeypatch, tmp_path):
    fake = tmp_path / "mpiexec"
    fake.write_text('#!/bin/sh\nshift 2\nPMI_RANK=0 PMI_SIZE= exec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr("course.mpi.launch.find_mpiexec", lambda: str(fake))
    with pytest.raises(RankError, match="expected a world of 2 ranks, got 1"):
        run(lambda comm: comm.size, 2, timeout=60)


def test_no_launcher(monkeypatch):
    monkeypatch.setenv("COURSE_MPIEXEC", "/nowhere/mpiexec")
    with pytest.raises(LaunchError, match="COURSE_MPIEXEC is '/nowhere/mpiexec'"):
        run(lambda comm: comm.size, 2, timeout=60)


def test_a_launcher_that_fails_is_quoted(monkeypatch, tmp_path):
    fake = tmp_path / "mpiexec"
    fake.write_text("#!/bin/sh\necho no hosts left >&2\nexit 9\n")
    fake.chmod(0o755)
    monkeypatch.setattr("course.mpi.launch.find_mpiexec", lambda: str(fake))
    with pytest.raises(LaunchError, match="exit status 9:\nno hosts left"):
        run(lambda comm: comm.size, 2, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((print, 0), ValueError, "ranks must be a positive whole number, got 0"),
        ((print, 2.0), ValueError, "ranks must be a positive whole number, got 2.0"),
        ((3, 2), TypeError, "expected a function, got int"),
        ((print, 2, (k for k in ())), TypeError, "cannot send print"),
    ],
)
def test_bad_input(arguments, error, words):
    with pytest.raises(error, match=words):
        run(*arguments, timeout=5)


def test_bad_timeout():
    with pytest.raises(ValueError, match="timeout"):
        run(print, 2, timeout=0)
