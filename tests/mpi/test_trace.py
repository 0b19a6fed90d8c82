"""The record: complete, exact, readable after a kill; and mpi4py as it was without it."""

import errno
import os
import time

import numpy as np
import pytest
from mpi4py import MPI

from course.mpi import RankError, run, trace
from course.mpi.explain import explain
from course.mpi.recorder import measure
from course.mpi.records import Reader, Writer


def tour(comm):
    """A bit of everything; each line is checked below."""
    import numpy as np
    from mpi4py import MPI

    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    x, y = np.arange(4.0), np.zeros(4)
    assert comm is MPI.COMM_WORLD and isinstance(comm, MPI.Intracomm)
    comm.Send(x, right, tag=3)
    comm.Recv(y, MPI.ANY_SOURCE, MPI.ANY_TAG)
    requests = [comm.isend("abc", right), comm.irecv(source=left)]
    assert MPI.Request.waitall(requests)[1] == "abc"
    comm.Bcast([x, 2, MPI.DOUBLE], root=1)
    comm.Allreduce(x, y, op=MPI.MAX)
    comm.allreduce(comm.rank)
    part = comm.Split(comm.rank % 2, key=comm.rank)
    part.Barrier()
    grid = comm.Create_cart([comm.size], periods=[True])
    assert isinstance(grid, MPI.Cartcomm) and grid.Shift(0, 1) == (left, right)
    grid.Sendrecv(x, right, 0, y, left, 0)
    grid.Sub([True]).Dup().Barrier()
    request = comm.Irecv(y, left)
    for _ in range(1000):
        request.Test()
    comm.Barrier()
    comm.Send(x, right)
    request.Wait()
    memory = np.zeros(4)
    window = MPI.Win.Create(memory, comm=comm)
    window.Fence()
    window.Put(x, right)
    window.Fence()
    window.Free()
    comm.Allgatherv(x[: comm.rank], [np.zeros(3), [0, 1, 2]])
    return memory.tolist()


@pytest.fixture(scope="module")
def record():
    outcome = run(tour, 3, timeout=60, trace=True)
    assert outcome.results == [[0.0, 1.0, 2.0, 3.0]] * 3
    return outcome.trace


def one(record, name, rank=1, place=0):
    return [call for call in record.calls[rank] if call.name == name][place]


def test_messages(record):
    send = one(record, "Send")
    assert (send.dest, send.tag, send.count, send.bytes) == (2, 3, 4, 32)
    assert send.site.text == "comm.Send(x, right, tag=3)"
    assert send.site.function == "tour"
    receive = one(record, "Recv")
    assert receive.found == (0, 3) and receive.room == 32
    assert send.state == receive.state == 2
    assert 0 < send.start <= send.end <= receive.start <= receive.end
    isend, irecv, wait = (one(record, name) for name in ("isend", "irecv", "waitall"))
    assert isend.bytes > 3 and isend.pickled and isend.completed and irecv.completed
    assert wait.requests == [isend.request, irecv.request]


def test_collectives(record):
    bcast = one(record, "Bcast")
    assert (bcast.dest, bcast.count, bcast.bytes) == (1, 2, 16)
    assert one(record, "Allreduce").bytes == 32
    assert one(record, "allreduce").bytes > 0
    assert [one(record, "Allgatherv", rank).bytes for rank in range(3)] == [0, 8, 16]


def test_communicators_have_the_same_name_on_all_their_ranks(record):
    barrier = [one(record, "Barrier", rank) for rank in range(3)]
    assert barrier[0].comm.key == barrier[2].comm.key != barrier[1].comm.key
    assert barrier[0].comm.ranks == [0, 2]
    exchange = one(record, "Sendrecv", 2)
    assert (exchange.dest, exchange.source) == (0, 1)
    assert exchange.comm.ranks == [0, 1, 2] and "Create_cart" in exchange.comm.key


def test_a_loop_around_a_test_is_one_record(record):
    for rank in range(3):
        tests = [call for call in record.calls[rank] if call.name == "Test"]
        assert sum(call.repeats + 1 for call in tests) == 1000
        assert len(tests) <= 2


def test_windows(record):
    put = one(record, "Put")
    assert put.dest == 2 and put.bytes == 32 and "window" in put.comm.key
    assert record.counts()[0]["Fence"] == 2


def test_it_is_complete_and_without_findings(record):
    assert record.ended == ["finished"] * 3 and record.complete
    assert explain(record).kind == "none"
    assert [call.start for call in record.all()] == sorted(call.start for call in record.all())


def test_what_was_recorded_survives_sigkill():
    def die(comm):
        for _ in range(100):
            comm.Barrier()
        if comm.rank == 1:
            os.kill(os.getpid(), 9)
        comm.Barrier()

    with pytest.raises(RankError) as caught:
        run(die, 2, timeout=60, trace=True)
    calls = caught.value.run.trace.calls
    assert [call.name for call in calls[1]] == ["Barrier"] * 100
    assert len(calls[0]) == 101 and calls[0][-1].open


def test_untraced_runs_use_plain_mpi4py():
    def kind(comm):
        import sys

        loaded = any(name.startswith("course.mpi.trace") for name in sys.modules)
        return type(comm).__module__, type(comm).__name__, loaded

    assert run(kind, 1, timeout=60).results == [("mpi4py.MPI", "Intracomm", False)]


def test_start_and_stop_in_this_process(tmp_path):
    world, request, window = MPI.COMM_WORLD, MPI.Request, MPI.Win
    comm = trace.start(tmp_path)
    try:
        assert MPI.COMM_WORLD is comm is trace.start(tmp_path)
        assert comm == world
        comm.allreduce(1)
        request_made = comm.isend("x", 0)
        assert comm.recv() == "x"
        request_made.wait()
        with pytest.raises(MPI.Exception):
            comm.Send(np.ones(1), dest=99)
    finally:
        trace.stop()
    assert MPI.COMM_WORLD is world and MPI.Request is request and MPI.Win is window
    world.allreduce(1)
    (calls,) = trace.load(tmp_path).calls
    assert [call.name for call in calls] == ["allreduce", "isend", "recv", "wait", "Send"]
    assert calls[-1].state == 3
    with pytest.raises(RuntimeError, match="stopped"):
        comm.barrier()


def test_no_trace(tmp_path):
    with pytest.raises(FileNotFoundError, match="trace-"):
        trace.load(tmp_path)


def test_very_long_traces_keep_the_newest(tmp_path, monkeypatch):
    monkeypatch.setattr("course.mpi.records.LIMIT", 2)
    comm = trace.start(tmp_path)
    try:
        began = time.process_time()
        for k in range(20_000):
            comm.Iprobe(tag=k % 7)
        seconds = time.process_time() - began
    finally:
        trace.stop()
    record = trace.load(tmp_path)
    assert not record.complete
    assert 8192 < len(record.calls[0]) <= 2 * 8192
    assert record.calls[0][-1].rtag == 19_999 % 7
    assert explain(record).kind == "incomplete"
    assert seconds < 20


def test_a_full_disk_stops_the_record_from_growing_and_nothing_else(tmp_path, monkeypatch):
    allocate = os.posix_fallocate

    def full(file, start, length):
        if start > 65536:
            raise OSError(errno.ENOSPC, "No space left on device")
        allocate(file, start, length)

    monkeypatch.setattr(os, "posix_fallocate", full)
    comm = trace.start(tmp_path)
    try:
        for k in range(10_000):
            comm.Iprobe(tag=k % 7)
    finally:
        trace.stop()
    record = trace.load(tmp_path)
    assert not record.complete
    assert record.calls[0][-1].rtag == 9_999 % 7


def test_a_half_written_record_is_not_read(tmp_path):
    writer = Writer(tmp_path, 0, 1)
    assert Reader(tmp_path, 0).position() == (0, 0)
    writer.buffer[8:16] = b"\xff" * 8  # killed before the state was set
    assert trace.load(tmp_path).calls == [[]]


@pytest.mark.parametrize(
    ("buffer", "expected"),
    [
        (np.zeros(3), (3, 24)),
        ([np.zeros(8), 2, MPI.DOUBLE], (2, 16)),
        ([np.zeros(8), MPI.DOUBLE], (8, 64)),
        ([np.zeros(8), (np.array([1, 2]), None)], (3, 24)),
        ([np.zeros(8), [1, 2, 3], MPI.DOUBLE], (6, 48)),
        ([np.zeros(8), ([1, 2], [0, 4]), "d"], (3, 24)),
        (bytearray(5), (5, 5)),
        (None, (-1, -1)),
        (MPI.IN_PLACE, (0, 0)),
    ],
)
def test_sizes(buffer, expected):
    assert measure(buffer)[:2] == expected
