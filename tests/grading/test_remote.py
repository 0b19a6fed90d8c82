"""The communicator of graded functions does what mpi4py's does, call by call."""

# ruff: noqa: F821  the functions find MPI where they run, in a sandbox and on real ranks

import inspect
import textwrap

import numpy as np
import pytest

from course.grading import compare
from course.grading.crew import Crews
from course.grading.sandbox import Limits
from course.grading.trials import Bench, Trial
from course.mpi import run

pytestmark = pytest.mark.timeout(240)


def objects(comm):
    rank, size = comm.Get_rank(), comm.Get_size()
    right, left = (rank + 1) % size, (rank - 1) % size
    found = {
        "bcast": comm.bcast({"from": rank, "set": [1, (2, 3)]}, root=size - 1),
        "gather": comm.gather((rank, "x" * rank), root=0),
        "allgather": comm.allgather([rank] * rank),
        "scatter": comm.scatter([f"to {k}" for k in range(size)] if rank == 0 else None),
        "alltoall": comm.alltoall([(rank, k) for k in range(size)]),
        "reduce": comm.reduce(rank + 0.5, op=MPI.MAX, root=size - 1),
        "allreduce": comm.allreduce(np.arange(3) * rank),
        "lists": comm.allreduce([rank]),
        "maxloc": comm.allreduce((rank % 2, rank), op=MPI.MAXLOC),
        "scan": comm.scan(rank),
        "exscan": comm.exscan(rank + 1),
        "sendrecv": comm.sendrecv(("hello", rank), dest=right, source=left),
    }
    comm.barrier()
    request = comm.isend({"n": rank}, dest=right, tag=7)
    status = MPI.Status()
    found["recv"] = comm.recv(source=MPI.ANY_SOURCE, tag=7, status=status)
    found["status"] = (status.Get_source() == left, status.Get_tag(), status.source == left)
    request.wait()
    requests = [comm.isend(rank * 10, dest=right, tag=1), comm.irecv(source=left, tag=1)]
    found["waitall"] = MPI.Request.waitall(requests)
    late = comm.irecv(source=left, tag=2)
    found["early"] = late.test()[0] if size > 1 else False
    comm.barrier()
    comm.send("now", dest=right, tag=2) if size > 1 else comm.isend("now", dest=0, tag=2)
    found["late"] = late.wait()
    comm.barrier()
    found["iprobe"] = comm.iprobe(source=left, tag=99)
    return found


def buffers(comm):
    rank, size = comm.rank, comm.size
    right, left = (rank + 1) % size, (rank - 1) % size
    found = {}
    one = np.full(4, float(rank))
    if rank == 0:
        one[:] = 42
    comm.Bcast(one, root=0)
    found["Bcast"] = one
    total = np.empty(3)
    comm.Allreduce(np.arange(3.0) + rank, total)
    found["Allreduce"] = total
    inplace = np.arange(2) + rank
    comm.Allreduce(MPI.IN_PLACE, inplace, op=MPI.PROD)
    found["in place"] = inplace
    least = np.empty(1, np.int32) if rank == 0 else None
    comm.Reduce(np.array([rank + 3], np.int32), least, op=MPI.MIN, root=0)
    found["Reduce"] = least
    everyone = np.empty((size, 2), np.float32)
    comm.Allgather(np.array([rank, -rank], np.float32), everyone)
    found["Allgather"] = everyone
    counts = [k + 1 for k in range(size)]
    parts = np.full(sum(counts), -1)
    comm.Allgatherv(np.full(rank + 1, rank), [parts, counts])
    found["Allgatherv"] = parts
    starts = [2 * k for k in range(size)]
    gaps = np.full(2 * size, -1, np.int64)
    comm.Allgatherv([np.array([rank], np.int64), MPI.LONG], [gaps, ([1] * size, starts), MPI.LONG])
    found["displacements"] = gaps
    got = np.empty(2)
    whole = np.arange(2.0 * size) if rank == 0 else None
    comm.Scatter(whole, got, root=0)
    found["Scatter"] = got
    back = np.empty(2 * size) if rank == 0 else None
    comm.Gather(got + 1, back, root=0)
    found["Gather"] = back
    swapped = np.empty(size)
    comm.Alltoall(np.arange(size) + 10.0 * rank, swapped)
    found["Alltoall"] = swapped
    prefix = np.empty(1)
    comm.Scan(np.array([rank + 1.0]), prefix)
    found["Scan"] = prefix
    block = np.empty(2)
    comm.Reduce_scatter_block(np.arange(2.0 * size), block)
    found["Reduce_scatter_block"] = block
    halo = np.zeros(1000)
    comm.Sendrecv(np.full(1000, float(rank)), right, 3, halo, left, 3)
    found["Sendrecv"] = halo
    target = np.zeros((2, 3), order="F")
    requests = [comm.Isend(np.asfortranarray(np.arange(6.0).reshape(2, 3)), right)]
    requests.append(comm.Irecv(target, left))
    MPI.Request.Waitall(requests)
    found["Irecv"] = target
    summed = np.zeros(2)
    request = comm.Iallreduce(np.ones(2), summed)
    request.Wait()
    found["Iallreduce"] = summed
    nothing = np.zeros(1)
    comm.Recv(nothing, source=MPI.PROC_NULL)
    comm.Send(nothing, dest=MPI.PROC_NULL)
    raw = bytearray(3)
    comm.Sendrecv(b"abc", right, 4, raw, left, 4)
    found["bytes"] = bytes(raw)
    return found


def communicators(comm):
    half = comm.Split(comm.rank % 2, key=-comm.rank)
    found = {"split": (half.rank, half.size, half.allgather(comm.rank))}
    none = comm.Split(MPI.UNDEFINED if comm.rank else 0)
    found["undefined"] = none == MPI.COMM_NULL
    copy = comm.Dup()
    found["dup"] = copy.allreduce(1)
    copy.Free()
    ring = comm.Create_cart([comm.size], periods=[True])
    found["cart"] = (list(ring.Get_coords(ring.rank)), list(ring.Shift(0, 1)))
    found["world"] = (MPI.COMM_WORLD.rank, MPI.COMM_WORLD.size, MPI.COMM_SELF.allreduce(5))
    return found


def errors(comm):
    """Return the kinds of error that wrong calls raise; nobody waits for them."""
    found = []
    peer = (comm.rank + 1) % comm.size
    for call in (
        lambda: comm.send(1, dest=comm.size),
        lambda: comm.Send([1, 2, 3], dest=peer),
        lambda: comm.Send(np.zeros((4, 4))[:, 1], dest=peer),
        lambda: comm.bcast(),
        lambda: comm.bcast(1, 0, 3),
        lambda: comm.bcast(1, nobody=0),
        lambda: comm.scatter([1] * (comm.size + 1), root=comm.rank) if comm.size == 1 else 1 / 0,
    ):
        try:
            call()
        except (TypeError, ValueError, RuntimeError, BufferError, ZeroDivisionError) as error:
            found.append(isinstance(error, TypeError))
        else:
            found.append(None)
    return found


def source(function):
    return textwrap.dedent(inspect.getsource(function))


@pytest.fixture(scope="module")
def crews():
    with Crews() as found:
        yield found


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("function", [objects, buffers, communicators, errors])
def test_the_same_as_on_real_ranks(sandboxed, crews, function, ranks):
    name = function.__name__
    code = f"import numpy as np\nfrom mpi4py import MPI\n{source(function)}"
    with Bench([("it", code)], Limits(), crews) as bench:
        done = bench.try_out(Trial([()] * ranks, ranks), name)
    assert not done.failure, done.failure

    def on_ranks(comm, code, name):
        names = {}
        exec(code, names)
        return names[name](comm)

    right = run(on_ranks, ranks, code, name, timeout=60).results
    for got, wanted in zip(done.results, right, strict=True):
        said = compare.equal(_lists(got), _lists(wanted))
        assert said is None, said


def _lists(value):
    """Tuples of mpi4py that travel as lists, and single arrays of NumPy."""
    if isinstance(value, list | tuple):
        return [_lists(one) for one in value]
    if isinstance(value, dict):
        return {key: _lists(one) for key, one in value.items()}
    return value


def test_what_cannot_be_used_says_so(sandboxed, crews):
    code = """
from mpi4py import MPI
import numpy as np
def probe(comm):
    found = []
    for call in (
        lambda: MPI.Win.Create(np.zeros(1), comm=comm),
        lambda: comm.Send_init(np.zeros(1), 0),
        lambda: comm.allreduce(1, op=max),
        lambda: comm.Send([np.zeros(1), MPI.DOUBLE.Create_contiguous], 0),
    ):
        try:
            call()
        except Exception as error:
            found.append(str(error))
    return found
"""
    with Bench([("it", code)], Limits(), crews) as bench:
        done = bench.try_out(Trial([()], 1), "probe")
    assert not done.failure, done.failure
    assert len(done.results[0]) == 4
    assert "windows" in done.results[0][0] and "Send_init" in done.results[0][1]
    assert "MPI.SUM" in done.results[0][2]


def test_calls_and_bytes_are_recorded_with_the_students_lines(sandboxed, crews):
    code = """
import numpy as np
def talk(comm):
    total = np.empty(5)
    comm.Allreduce(np.ones(5), total)
    return comm.bcast(None)
"""
    with Bench([("mine", code)], Limits(), crews) as bench:
        done = bench.try_out(Trial([()] * 2, 2), "talk")
        again = bench.try_out(Trial([()] * 2, 2), "talk")
    for outcome in (done, again):
        for calls in outcome.trace.calls:
            assert [call.name for call in calls] == ["Allreduce", "bcast"]
            assert calls[0].bytes == 40
            assert calls[0].site.line == 5 and calls[0].site.function == "talk"


def test_what_one_trial_sent_is_not_received_in_the_next(sandboxed, crews):
    code = """
def leave(comm):
    if comm.rank == 0:
        comm.send("old", dest=1)
def fetch(comm):
    if comm.rank == 0:
        comm.send("new", dest=1)
    return comm.recv(source=0) if comm.rank == 1 else None
"""
    with Bench([("it", code)], Limits(), crews) as bench:
        bench.try_out(Trial([()] * 2, 2), "leave")
        done = bench.try_out(Trial([()] * 2, 2), "fetch")
    assert done.results == [None, "new"]
