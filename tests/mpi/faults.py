"""Programs with one fault each, and healthy ones; ``FAULTS`` and ``HEALTHY`` list them.

They are written as a student would write them. A fault's entry names the diagnoses that
are right for it.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from mpi4py import MPI


class Fault(NamedTuple):
    """A faulty program, its number of ranks, and the diagnoses that are right."""

    program: Callable[..., Any]
    ranks: int
    kinds: tuple[str, ...]


FAULTS: dict[str, Fault] = {}


def fault(ranks: int, *kinds: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(program: Callable[..., Any]) -> Callable[..., Any]:
        FAULTS[program.__name__] = Fault(program, ranks, kinds)
        return program

    return register


BIG = 1_000_000  # doubles: far more than any library buffers


# --- rings and orders ------------------------------------------------------------------


@fault(2, "receive-cycle")
def both_receive_first(comm):
    other = 1 - comm.rank
    got = comm.recv(source=other)
    comm.send("x", dest=other)
    return got


@fault(3, "receive-cycle")
def ring_receives_first(comm):
    inbox = np.zeros(4)
    comm.Recv(inbox, source=(comm.rank - 1) % comm.size)
    comm.Send(np.ones(4), dest=(comm.rank + 1) % comm.size)


@fault(4, "receive-cycle")
def pairs_receive_first(comm):
    partner = comm.rank ^ 1
    comm.recv(source=partner, tag=5)
    comm.send(1, dest=partner, tag=5)


@fault(2, "send-cycle")
def both_send_large(comm):
    other = 1 - comm.rank
    comm.Send(np.ones(BIG), dest=other)
    comm.Recv(np.empty(BIG), source=other)


@fault(3, "send-cycle")
def ring_sends_large(comm):
    comm.Send(np.ones(BIG), dest=(comm.rank + 1) % comm.size)
    comm.Recv(np.empty(BIG), source=(comm.rank - 1) % comm.size)


@fault(2, "send-cycle")
def both_ssend(comm):
    other = 1 - comm.rank
    comm.ssend("x", dest=other)
    comm.recv(source=other)


@fault(3, "cycle", "receive-cycle")
def mixed_ring(comm):
    if comm.rank == 0:
        comm.recv(source=2)
        comm.ssend(0, dest=1)
    elif comm.rank == 1:
        comm.ssend(1, dest=2)
        comm.recv(source=0)
    else:
        comm.recv(source=0)
        comm.ssend(2, dest=0)
        comm.recv(source=1)


@fault(3, "receive-cycle")
def any_source_nobody_sends(comm):
    comm.recv(source=MPI.ANY_SOURCE)
    comm.send(comm.rank, dest=(comm.rank + 1) % comm.size)


@fault(2, "receive-cycle")
def wait_before_send(comm):
    other = 1 - comm.rank
    request = comm.irecv(source=other)
    got = request.wait()
    comm.send("x", dest=other)
    return got


@fault(2, "send-cycle")
def isend_wait_before_receive(comm):
    other = 1 - comm.rank
    request = comm.Isend(np.ones(BIG), dest=other)
    request.Wait()
    comm.Recv(np.empty(BIG), source=other)


@fault(2, "receive-cycle")
def probe_before_send(comm):
    other = 1 - comm.rank
    status = MPI.Status()
    comm.Probe(source=other, status=status)
    comm.send("x", dest=other)
    comm.recv(source=other)


@fault(1, "self")
def receive_from_self(comm):
    return comm.recv(source=0)


@fault(2, "self")
def wrong_neighbour_is_self(comm):
    right = (comm.rank + 2) % comm.size
    comm.Ssend(np.ones(3), dest=right)


# --- partners --------------------------------------------------------------------------


@fault(2, "missing-send")
def nobody_sends(comm):
    if comm.rank == 0:
        return comm.recv(source=1)


@fault(2, "missing-send")
def one_message_too_few(comm):
    if comm.rank == 0:
        return [comm.recv(source=1) for _ in range(3)]
    for part in range(2):
        comm.send(part, dest=0)


@fault(3, "missing-send")
def master_waits_for_itself_too(comm):
    if comm.rank == 0:
        return [comm.recv(source=MPI.ANY_SOURCE) for _ in range(comm.size)]
    comm.send(comm.rank, dest=0)


@fault(2, "missing-receive")
def nobody_receives(comm):
    if comm.rank == 0:
        comm.Send(np.ones(BIG), dest=1)


@fault(2, "missing-receive")
def nobody_receives_ssend(comm):
    if comm.rank == 0:
        comm.ssend({"a": 1}, dest=1)


@fault(2, "missing-receive")
def small_message_left_over(comm):
    if comm.rank == 0:
        comm.send("never read", dest=1)


@fault(2, "missing-receive")
def isend_without_receive(comm):
    if comm.rank == 0:
        comm.Issend(np.ones(4), dest=1).Wait()


@fault(2, "missing-send")
def waitall_with_one_unmatched(comm):
    inbox = np.zeros((2, 3))
    if comm.rank == 0:
        requests = [comm.Irecv(inbox[0], source=1), comm.Irecv(inbox[1], source=1)]
        MPI.Request.Waitall(requests)
    else:
        comm.Send(np.ones(3), dest=0)


@fault(3, "missing-send")
def edge_rank_forgotten(comm):
    if comm.rank < comm.size - 1:
        comm.recv(source=comm.rank + 1)
    if 0 < comm.rank < comm.size - 1:
        comm.send(1, dest=comm.rank - 1)


@fault(3, "missing-send", "wrong-source")  # rank 2's message is there: either may be meant
def empty_rank_sends_nothing(comm):
    rows = 1
    mine = range(comm.rank * rows // comm.size, (comm.rank + 1) * rows // comm.size)
    if comm.rank == 0:
        return [comm.recv(source=rank) for rank in range(1, comm.size)]
    if len(mine):
        comm.send(sum(mine), dest=0)


@fault(2, "wrong-tag")
def tags_differ(comm):
    if comm.rank == 0:
        comm.send("x", dest=1, tag=1)
    else:
        comm.recv(source=0, tag=2)


@fault(2, "wrong-tag")
def tags_differ_large(comm):
    if comm.rank == 0:
        comm.Send(np.ones(BIG), dest=1, tag=7)
    else:
        comm.Recv(np.empty(BIG), source=0, tag=0)


@fault(3, "wrong-tag")
def tag_is_own_rank(comm):
    left, right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
    request = comm.isend("x", dest=right, tag=comm.rank)
    got = comm.recv(source=left, tag=comm.rank)
    request.wait()
    return got


@fault(2, "wrong-tag")
def sendrecv_tags_differ(comm):
    other, inbox = 1 - comm.rank, np.zeros(2)
    comm.Sendrecv(np.ones(2), other, 1, inbox, other, 2)


@fault(3, "wrong-source")
def receives_from_the_wrong_side(comm):
    right = (comm.rank + 1) % comm.size
    comm.send(comm.rank, dest=right)
    return comm.recv(source=right)


@fault(3, "wrong-source")
def source_off_by_one(comm):
    if comm.rank == 2:
        comm.send("x", dest=0)
    elif comm.rank == 0:
        return comm.recv(source=1)


@fault(3, "wrong-destination")
def destination_off_by_one(comm):
    if comm.rank == 0:
        comm.send("x", dest=2)
    elif comm.rank == 1:
        return comm.recv(source=0)


@fault(2, "wrong-communicator")
def sends_in_a_duplicate(comm):
    private = comm.Dup()
    if comm.rank == 0:
        private.send("x", dest=1)
    else:
        comm.recv(source=0)


@fault(2, "wrong-communicator")
def receives_in_the_grid(comm):
    grid = comm.Create_cart([comm.size], periods=[True])
    if comm.rank == 0:
        comm.send("x", dest=1)
    else:
        grid.recv(source=0)


# --- collectives -----------------------------------------------------------------------


@fault(3, "left-early")
def only_the_root_broadcasts(comm):
    if comm.rank == 0:
        comm.Bcast(np.ones(BIG), root=0)


@fault(3, "left-early")
def barrier_in_a_branch(comm):
    if comm.rank != 2:
        comm.Barrier()


@fault(3, "left-early")
def returns_before_the_reduction(comm):
    rows = np.arange(2)[comm.rank :: comm.size]
    if len(rows) == 0:
        return 0.0
    return comm.allreduce(float(rows.sum()))


@fault(2, "left-early")
def one_iteration_less(comm):
    total = np.zeros(1)
    for _ in range(3 - comm.rank):
        comm.Allreduce(np.ones(1), total)
    return total


@fault(2, "left-early")
def split_only_on_one(comm):
    if comm.rank == 0:
        comm.Split(0)


@fault(4, "left-early")
def subset_of_a_subcommunicator(comm):
    half = comm.Split(comm.rank // 2, key=comm.rank)
    if comm.rank != 3:
        half.allgather(comm.rank)


@fault(2, "left-early")
def ibarrier_only_on_one(comm):
    if comm.rank == 0:
        comm.Ibarrier().Wait()


@fault(2, "left-early")
def window_on_one_rank(comm):
    if comm.rank == 0:
        MPI.Win.Create(np.zeros(4), comm=comm)


@fault(2, "left-early")
def fence_forgotten(comm):
    window = MPI.Win.Create(np.zeros(4), comm=comm)
    window.Fence()
    if comm.rank == 0:
        window.Put(np.ones(4), 1)
        window.Fence()


@fault(2, "collective-mismatch")
def bcast_against_reduce(comm):
    data = np.ones(BIG)
    if comm.rank == 0:
        comm.Reduce(data, np.empty(BIG), root=0)
    else:
        comm.Bcast(data, root=0)


@fault(2, "collective-mismatch")
def swapped_order(comm):
    if comm.rank == 0:
        comm.Barrier()
        comm.allreduce(1)
    else:
        comm.allreduce(1)
        comm.Barrier()


@fault(3, "collective-mismatch")
def gather_on_the_root_only(comm):
    if comm.rank == 0:
        comm.gather(comm.rank)
    else:
        comm.Barrier()
    comm.Barrier()


@fault(2, "collective-mismatch")
def upper_against_lower(comm):
    data = np.ones(3)
    if comm.rank == 0:
        comm.bcast(data)
    else:
        comm.Bcast(data)


@fault(3, "collective-mismatch")
def allreduce_against_reduce(comm):
    mine, total = np.ones(5), np.zeros(5)
    if comm.rank == 0:
        comm.Reduce(mine, total)
        comm.Bcast(total)
    else:
        comm.Allreduce(mine, total)


@fault(3, "root-mismatch")
def everyone_is_root(comm):
    data = np.full(4, float(comm.rank))
    comm.Bcast(data, root=comm.rank)
    return data


@fault(3, "root-mismatch")
def gather_to_different_roots(comm):
    parts = comm.gather(comm.rank, root=0 if comm.rank else 1)
    comm.Barrier()
    return parts


@fault(2, "operation-mismatch")
def sum_against_max(comm):
    op = MPI.SUM if comm.rank == 0 else MPI.MAX
    total = np.zeros(2)
    comm.Allreduce(np.ones(2), total, op=op)
    return total


@fault(2, "count-mismatch")
def allreduce_of_different_lengths(comm):
    mine = np.ones(3 + comm.rank)
    total = np.zeros_like(mine)
    comm.Allreduce(mine, total)


@fault(3, "count-mismatch")
def gather_of_unequal_parts(comm):
    mine = np.ones(2 + (comm.rank == 0))
    everything = np.zeros(9) if comm.rank == 0 else None
    comm.Gather(mine, everything)


@fault(2, "count-mismatch")
def bcast_into_a_short_buffer(comm):
    data = np.ones(100 if comm.rank == 0 else 10)
    comm.Bcast(data)


@fault(2, "count-mismatch")
def bcast_type_differs(comm):
    data = np.ones(10, dtype=np.float64 if comm.rank == 0 else np.float32)
    comm.Bcast(data)


# --- mixtures --------------------------------------------------------------------------


@fault(2, "message-and-collective")
def barrier_before_send(comm):
    if comm.rank == 0:
        comm.Barrier()
        comm.send("x", dest=1)
    else:
        comm.recv(source=0)
        comm.Barrier()


@fault(3, "message-and-collective")
def collect_before_reduce(comm):
    if comm.rank == 0:
        total = comm.reduce(0)
        return total, [comm.recv(source=rank) for rank in range(1, comm.size)]
    comm.Ssend(np.ones(1), dest=0)
    comm.reduce(comm.rank)


@fault(4, "collective-cycle")
def rows_before_columns(comm):
    row, column = comm.Split(comm.rank // 2), comm.Split(comm.rank % 2)
    first, second = (row, column) if comm.rank in (0, 3) else (column, row)
    first.Barrier()
    second.Barrier()


@fault(2, "lock")
def never_unlocked(comm):
    window = MPI.Win.Allocate(32 if comm.rank == 0 else 0, comm=comm)
    if comm.rank == 1:
        comm.Barrier()
    window.Lock(0, MPI.LOCK_EXCLUSIVE)
    window.Put(np.ones(1), 0)
    window.Flush(0)
    if comm.rank == 0:
        comm.Barrier()
    comm.Barrier()
    window.Unlock(0)


# --- contents --------------------------------------------------------------------------


@fault(2, "truncated")
def buffer_too_short(comm):
    if comm.rank == 0:
        comm.Send(np.ones(10), dest=1)
    else:
        comm.Recv(np.zeros(5), source=0)


@fault(2, "truncated")
def irecv_too_short(comm):
    if comm.rank == 0:
        comm.Send(np.ones(10), dest=1)
    else:
        comm.Irecv(np.zeros(5), source=0).Wait()
    comm.Barrier()


@fault(2, "type-mismatch")
def float_into_int(comm):
    if comm.rank == 0:
        comm.Send(np.ones(4), dest=1)
    else:
        inbox = np.zeros(4, dtype=np.int64)
        comm.Recv(inbox, source=0)
        return inbox


@fault(2, "kind-mismatch")
def send_met_by_recv_buffer(comm):
    if comm.rank == 0:
        comm.send(np.ones(4), dest=1)
    else:
        inbox = np.zeros(4)
        comm.Recv(inbox, source=0)


@fault(2, "kind-mismatch")
def buffer_met_by_recv_object(comm):
    if comm.rank == 0:
        comm.Send(np.ones(4), dest=1)
    else:
        comm.recv(source=0)


@fault(3, "invalid-rank")
def neighbour_without_modulo(comm):
    comm.send(comm.rank, dest=comm.rank + 1)
    return comm.recv(source=comm.rank - 1) if comm.rank else None


# --- ranks that go ---------------------------------------------------------------------


@fault(3, "raised")
def raises_before_the_barrier(comm):
    if comm.rank == 1:
        raise ValueError("no rows on this rank")
    comm.Barrier()


@fault(2, "raised")
def divides_by_zero(comm):
    mine = list(range(1))[comm.rank :: comm.size]
    return comm.allgather(sum(mine) / len(mine))


@fault(3, "exited")
def leaves_by_sys_exit(comm):
    if comm.rank == 2:
        sys.exit(0)
    comm.Barrier()


@fault(2, "exited")
def leaves_by_os_exit(comm):
    if comm.rank == 1:
        os._exit(0)
    comm.recv(source=1)


@fault(2, "killed")
def is_killed(comm):
    if comm.rank == 1:
        os.kill(os.getpid(), 9)
    comm.Barrier()


# --- healthy ---------------------------------------------------------------------------

HEALTHY: dict[str, tuple[Callable[..., Any], int]] = {}


def healthy(ranks: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(program: Callable[..., Any]) -> Callable[..., Any]:
        HEALTHY[program.__name__] = program, ranks
        return program

    return register


@healthy(3)
def ring_with_sendrecv(comm):
    inbox = np.zeros(BIG)
    comm.Sendrecv(np.ones(BIG), (comm.rank + 1) % comm.size, 0, inbox)
    return inbox[0]


@healthy(3)
def slow_rank(comm):
    if comm.rank == 1:
        time.sleep(3.0)
    comm.Barrier()


@healthy(2)
def slow_sender(comm):
    if comm.rank == 0:
        time.sleep(2.5)
        comm.Send(np.ones(BIG), dest=1)
    else:
        comm.Recv(np.empty(BIG), source=0)


@healthy(2)
def slow_receiver(comm):
    if comm.rank == 0:
        comm.Send(np.ones(BIG), dest=1)
    else:
        time.sleep(3.0)
        comm.Recv(np.empty(BIG), source=0)


@healthy(4)
def master_and_workers(comm):
    if comm.rank == 0:
        status = MPI.Status()
        for task in range(9):
            comm.recv(source=MPI.ANY_SOURCE, tag=1, status=status)
            comm.send(task, dest=status.source, tag=2)
        for _ in range(comm.size - 1):
            comm.recv(source=MPI.ANY_SOURCE, tag=1, status=status)
            comm.send(None, dest=status.source, tag=2)
        return None
    done = []
    while True:
        comm.send("ready", dest=0, tag=1)
        task = comm.recv(source=0, tag=2)
        if task is None:
            return done
        time.sleep(0.02)
        done.append(task)


@healthy(2)
def messages_overtaken_by_tag(comm):
    if comm.rank == 0:
        for tag in (1, 2, 3):
            comm.send(tag, dest=1, tag=tag)
        return None
    return [comm.recv(source=0, tag=tag) for tag in (3, 2, 1)]


@healthy(3)
def polling_while_working(comm):
    request = comm.irecv(source=(comm.rank - 1) % comm.size)
    if comm.rank == 0:
        time.sleep(1.0)
    comm.send(comm.rank, dest=(comm.rank + 1) % comm.size)
    while not (answer := request.test())[0]:
        pass
    return answer[1]


@healthy(4)
def rows_and_columns(comm):
    row, column = comm.Split(comm.rank // 2), comm.Split(comm.rank % 2)
    return row.allreduce(comm.rank), column.allreduce(comm.rank)


@healthy(4)
def grid_with_open_edges(comm):
    grid = comm.Create_cart([2, 2])
    inbox = np.full(3, -1.0)
    for axis in (0, 1):
        down, up = grid.Shift(axis, 1)
        grid.Sendrecv(np.full(3, float(comm.rank)), up, 0, inbox, down, 0)
    return inbox


@healthy(3)
def unequal_parts(comm):
    mine = np.arange(comm.rank, dtype=float)
    counts = list(range(comm.size))
    everything = np.zeros(sum(counts))
    comm.Allgatherv(mine, [everything, counts])
    part = np.zeros(comm.rank)
    comm.Scatterv([everything, counts] if comm.rank == 0 else None, part)
    return part


@healthy(3)
def reductions_in_place(comm):
    values = np.full(4, float(comm.rank))
    comm.Allreduce(MPI.IN_PLACE, values)
    comm.Reduce(MPI.IN_PLACE if comm.rank == 1 else values, values, root=1)
    everything = np.zeros((comm.size, 2))
    everything[comm.rank] = comm.rank
    comm.Allgather(MPI.IN_PLACE, everything)
    return everything


@healthy(2)
def requests_of_all_sorts(comm):
    other, inbox = 1 - comm.rank, np.zeros((3, 5))
    requests = [comm.Irecv(inbox[k], other, k) for k in range(3)]
    requests += [comm.Isend(np.full(5, float(k)), other, k) for k in range(3)]
    MPI.Request.Waitall(requests)
    requests = [comm.irecv(source=other, tag=9), comm.isend("x", dest=other, tag=9)]
    return MPI.Request.waitall(requests)[0]


@healthy(2)
def persistent_requests(comm):
    other, outbox, inbox = 1 - comm.rank, np.zeros(2), np.zeros(2)
    send, receive = comm.Send_init(outbox, other), comm.Recv_init(inbox, other)
    for step in range(5):
        outbox[:] = step
        MPI.Prequest.Startall([receive, send])
        MPI.Request.Waitall([receive, send])
    send.Free()
    receive.Free()
    return inbox


@healthy(3)
def window_with_fences(comm):
    memory = np.zeros(comm.size)
    window = MPI.Win.Create(memory, disp_unit=8, comm=comm)
    mine = np.array([float(comm.rank)])
    window.Fence()
    for rank in range(comm.size):
        window.Put(mine, rank, comm.rank)
    window.Fence()
    window.Free()
    return memory


@healthy(3)
def window_with_locks(comm):
    memory = np.zeros(1)
    window = MPI.Win.Create(memory, comm=comm)
    for _ in range(5):
        window.Lock(0)
        window.Accumulate(np.ones(1), 0)
        window.Unlock(0)
    comm.Barrier()
    window.Free()
    return memory[0]


@healthy(3)
def probe_for_the_length(comm):
    if comm.rank:
        comm.Send(np.ones(comm.rank), dest=0)
        return 0
    total, status = 0.0, MPI.Status()
    for _ in range(comm.size - 1):
        comm.Probe(status=status)
        inbox = np.zeros(status.Get_count(MPI.DOUBLE))
        comm.Recv(inbox, source=status.source)
        total += inbox.sum()
    return total


@healthy(2)
def message_from_behind(comm):
    if comm.rank == 0:
        comm.send("early", dest=1)
        comm.Barrier()
        return None
    comm.Barrier()
    return comm.recv(source=0)


@healthy(3)
def early_leaver_owes_nothing(comm):
    comm.Barrier()
    if comm.rank == 0:
        return
    time.sleep(1.0)
    if comm.rank == 1:
        comm.send("x", dest=2)
    else:
        comm.recv(source=1)


@healthy(3)
def everything_nonblocking(comm):
    total, everyone = np.zeros(1), np.zeros(comm.size)
    requests = [comm.Ibarrier(), comm.Iallreduce(np.ones(1), total)]
    requests.append(comm.Iallgather(np.array([float(comm.rank)]), everyone))
    MPI.Request.Waitall(requests)
    return total[0], everyone


@healthy(3)
def lower_case_tour(comm):
    comm.barrier()
    table = comm.bcast({"a": 1} if comm.rank == 0 else None)
    part = comm.scatter([[k] * k for k in range(comm.size)] if comm.rank == 0 else None)
    every = comm.allgather(part)
    swapped = comm.alltoall([comm.rank * 10 + k for k in range(comm.size)])
    return table, every, swapped, comm.scan(1), comm.exscan(1), comm.reduce(1, op=MPI.MAX)


@healthy(2)
def long_computation(comm):
    total = 0.0
    for _ in range(3):
        x = np.random.default_rng(comm.rank).standard_normal(2_000_000)
        total += comm.allreduce(float(np.sort(x)[0]))
    return total


@healthy(4)
def group_of_some(comm):
    group = comm.Get_group().Incl([0, 2])
    part = comm.Create_group(group) if comm.rank in (0, 2) else None
    return part.allreduce(1) if part is not None else 0
