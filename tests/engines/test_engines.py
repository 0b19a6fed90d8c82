import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from course import engines
from course.engines.errors import Deadlock, EnginesDied, EnginesError, Hang, RankError


def family() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


@pytest.fixture(scope="module")
def cluster():
    with engines.start(n=3, timeout=60) as started:
        yield started


@pytest.fixture
def healthy(cluster):
    if not cluster.alive() or cluster.busy():
        cluster.recover(timeout=60)
    return cluster


def total(value):
    from mpi4py import MPI

    return MPI.COMM_WORLD.allreduce(value), MPI.COMM_WORLD.rank


def raise_before_barrier(who):
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == who:
        raise ValueError("no more")
    MPI.COMM_WORLD.Barrier()


def receive_without_sender():
    from mpi4py import MPI

    MPI.COMM_WORLD.recv(source=0)


def loop_for_ever():
    while True:
        pass


def segfault(who):
    import ctypes

    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == who:
        ctypes.string_at(0)
    MPI.COMM_WORLD.Barrier()


def leave(who):
    import os

    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == who:
        os._exit(3)
    MPI.COMM_WORLD.Barrier()


def works(cluster):
    return cluster.run(total, 2) == [(2 * cluster.n, rank) for rank in range(cluster.n)]


def test_engines_are_one_world_in_rank_order(healthy):
    assert works(healthy)
    assert sorted(healthy.pids) == list(range(healthy.n))


def test_a_closure_travels_with_what_it_refers_to(healthy):
    factor = 5
    assert healthy.run(lambda x: factor * x, 2) == [10] * healthy.n


def test_output_is_in_rank_order(healthy, capsys):
    healthy.execute(
        "import time\nfrom mpi4py import MPI\nrank = MPI.COMM_WORLD.rank\n"
        "time.sleep(0.1 * (3 - rank))\nprint('rank', rank)"
    )
    assert capsys.readouterr().out.splitlines() == [f"[stdout:{r}] rank {r}" for r in range(3)]


def test_the_first_exception_is_shown_at_once_with_its_rank(healthy):
    with pytest.raises(RankError, match="rank 1 raised ValueError: no more") as caught:
        healthy.run(raise_before_barrier, 1, timeout=60)
    error = caught.value
    assert (error.rank, error.ename, error.unfinished) == (1, "ValueError", [0, 2])
    assert "rank 0 waits in Barrier, for rank 1" in error.report
    assert "MPI.COMM_WORLD.Barrier()" in error.report
    assert "raise_before_barrier" in error.traceback
    with pytest.raises(EnginesError, match="ranks 0 and 2 still work on what was sent before"):
        healthy.run(total, 1)


def test_an_error_on_all_ranks_leaves_the_engines_usable(healthy):
    with pytest.raises(RankError) as caught:
        healthy.execute("1 / 0")
    assert caught.value.others == {1: caught.value.others[1], 2: caught.value.others[2]}
    assert not healthy.busy()
    assert works(healthy)


@pytest.mark.parametrize("hang", [receive_without_sender, loop_for_ever])
def test_a_hang_ends_at_its_deadline_and_is_recovered(healthy, hang):
    with pytest.raises(Hang, match="did not finish within 1 s") as caught:
        healthy.run(hang, timeout=1)
    assert caught.value.ranks == [0, 1, 2]
    assert hang.__name__ in caught.value.report
    healthy.recover(timeout=60)
    assert works(healthy)


@pytest.mark.parametrize("crash, says", [(segfault, "rank 1: .*Segmentation"), (leave, "ended")])
def test_a_crash_is_noticed_and_recovered(healthy, crash, says):
    with pytest.raises(EnginesDied, match=says):
        healthy.run(crash, 1, timeout=60)
    with pytest.raises(EnginesDied, match="recover"):
        healthy.run(total, 1)
    healthy.recover(timeout=60)
    assert works(healthy)


def test_recovery_from_stopped_ranks_and_a_dead_controller(healthy):
    for pid in healthy.pids.values():
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(Hang, match="does not answer"):
        healthy.run(total, 1, timeout=0.5)
    os.kill(healthy._cluster.controller.pid, signal.SIGKILL)
    before = family()
    healthy.recover(timeout=60)
    assert works(healthy)
    left = [p for p in before if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not left


def test_more_ranks_than_cores_without_mpiexec_on_the_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    engines.start(n=7).stop()
    assert not family()


def test_a_second_start_replaces_the_first():
    first = engines.start(n=1)
    second = engines.start(n=2)
    assert not first.alive() and engines.current() is second
    with pytest.raises(EnginesError, match="were stopped"):
        first.run(total, 1)
    second.stop()
    assert engines.current() is None
    assert not family()


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "4"])
def test_a_wrong_number_of_ranks_is_refused(n):
    with pytest.raises(ValueError, match="positive whole number"):
        engines.start(n)


def test_two_mpi_libraries_that_do_not_fit_are_noticed(monkeypatch, tmp_path):
    # An mpiexec that starts n copies with no knowledge of each other: n worlds of one.
    fake = tmp_path / "mpiexec"
    fake.write_text('#!/bin/sh\nn=$2; shift 2\nfor i in $(seq $n); do "$@" & done\nwait\n')
    fake.chmod(0o755)
    monkeypatch.setenv("COURSE_MPIEXEC", str(fake))
    with pytest.raises(EnginesError, match="expected one world of 2 ranks, got rank 0 of 1"):
        engines.start(n=2)
    assert not family()


def test_an_mpiexec_that_fails_is_reported_with_what_it_said(monkeypatch, tmp_path):
    fake = tmp_path / "mpiexec"
    fake.write_text("#!/bin/sh\necho there are no slots >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("COURSE_MPIEXEC", str(fake))
    with pytest.raises(EnginesDied, match="there are no slots"):
        engines.start(n=2)
    assert not family()


def test_nothing_outlives_a_killed_kernel():
    code = (
        "import time; from course import engines\n"
        "c = engines.start(n=2)\n"
        "r = c.submit(lambda: c.view.apply_async(lambda: __import__('mpi4py.MPI').MPI."
        "COMM_WORLD.recv(source=0)))\n"
        "print('hanging', flush=True); time.sleep(600)"
    )
    kernel = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while "hanging" not in kernel.stdout.readline():
        pass
    children = psutil.Process(kernel.pid).children(recursive=True)
    assert len(children) > 4
    kernel.kill()
    kernel.wait()
    deadline = time.monotonic() + 60
    left = children
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    assert not left


def receive_first():
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    comm.recv(source=(comm.rank + 1) % comm.size)
    comm.send(comm.rank, dest=(comm.rank - 1) % comm.size)


def test_a_deadlock_is_explained_before_recovery(healthy, capsys):
    with pytest.raises(Deadlock, match="can never finish") as caught:
        healthy.run(receive_first, timeout=60)
    assert "every one of these ranks receives first" in caught.value.report
    assert "rank 0 → rank 1 → rank 2 → rank 0" in caught.value.report
    healthy.recover(timeout=60)
    assert "every one of these ranks receives first" in capsys.readouterr().out


def slow_but_healthy():
    import time

    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        time.sleep(4)
    return MPI.COMM_WORLD.allreduce(1)


def test_ranks_that_are_only_slow_are_left_alone(healthy):
    assert healthy.run(slow_but_healthy, timeout=60) == [3, 3, 3]


def skip_the_barrier(who):
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank != who:
        MPI.COMM_WORLD.Barrier()


def test_waiting_for_a_rank_that_is_done_is_a_deadlock(healthy):
    with pytest.raises(Deadlock) as caught:
        healthy.run(skip_the_barrier, 2, timeout=60)
    assert caught.value.ranks == [0, 1]
    assert "rank 0 waits in Barrier, for rank 2" in caught.value.report


def test_the_trace_of_a_cell_can_be_read(healthy):
    healthy.execute("MPI.COMM_WORLD.bcast(1, root=0)")
    trace = healthy.trace()
    assert [calls[-1].name for calls in trace.calls] == ["bcast"] * 3
    assert trace.calls[0][-1].site.text == "MPI.COMM_WORLD.bcast(1, root=0)"


def test_without_a_trace_lines_are_still_told():
    with engines.start(n=2, trace=False) as cluster:
        with pytest.raises(Hang) as caught:
            cluster.run(receive_first, timeout=3)
        assert "receive_first" in caught.value.report and "comm.recv" in caught.value.report
        with pytest.raises(EnginesError, match="trace=False"):
            cluster.trace()
