"""Phases and volumes of hand-made and real traces; fits of the cost model."""

import numpy as np
import pytest

from course.mpi import DeadlockError, cost, run
from course.mpi.summary import COMPUTE, TRANSFER, WAIT, phases, volume


def uneven(comm):
    import time

    data, inbox = np.ones(1000), np.zeros(1000)
    if comm.rank == 0:
        time.sleep(1.5)  # long, beside what starting on a busy machine takes
    comm.Barrier()
    if comm.rank == 1:
        time.sleep(1.5)  # long, beside what starting on a busy machine takes
        comm.Send(data, dest=2, tag=1)
    if comm.rank == 2:
        comm.Recv(inbox, source=1, tag=1)
    comm.Sendrecv(data[:10], (comm.rank + 1) % comm.size, 0, inbox, (comm.rank - 1) % comm.size)


def test_waiting_is_put_down_to_those_who_wait():
    trace = run(uneven, 3, timeout=60, trace=True).trace
    parts = phases(trace)
    seconds = parts.seconds(3)
    assert (parts.stop > parts.start).all()
    assert seconds[0, COMPUTE] > 0.35 and seconds[1, COMPUTE] > 0.35
    assert seconds[1, WAIT] > 0.3 and seconds[2, WAIT] > 0.6
    assert seconds[2, COMPUTE] < seconds[2, WAIT]
    assert (seconds[:, TRANSFER] >= 0).all()
    for rank in range(3):  # without gaps and overlaps
        mine = parts.rank == rank
        np.testing.assert_allclose(parts.stop[mine][:-1], parts.start[mine][1:], atol=1e-9)
    expected = np.zeros((3, 3), dtype=int)
    expected[1, 2] = 8000
    expected += 80 * np.roll(np.eye(3, dtype=int), 1, axis=1)
    np.testing.assert_array_equal(volume(trace), expected)


def test_a_deadlock_waits_to_the_end():
    with pytest.raises(DeadlockError) as caught:
        run(lambda comm: comm.recv(source=1 - comm.rank), 2, timeout=60, trace=True)
    trace = caught.value.run.trace
    assert set(phases(trace).phase) <= {COMPUTE, WAIT}


def test_no_calls():
    trace = run(lambda comm: None, 2, timeout=60, trace=True).trace
    assert phases(trace).rank.size == 0
    assert not volume(trace).any()


@pytest.mark.parametrize(("alpha", "beta"), [(2e-6, 1e-10), (0, 3e-9), (5e-5, 0)])
def test_the_fit_finds_what_was_put_in(alpha, beta):
    sizes = 2.0 ** np.arange(3, 24)
    model = cost.fit(sizes, alpha + beta * sizes)
    assert model.alpha == pytest.approx(alpha, rel=1e-6, abs=1e-12)
    assert model.beta == pytest.approx(beta, rel=1e-6, abs=1e-17)


def test_the_fit_bears_noise():
    sizes = 2.0 ** np.arange(3, 24)
    noise = np.random.default_rng(0).uniform(0.8, 1.25, sizes.size)
    model = cost.fit(sizes, (3e-6 + 2e-10 * sizes) * noise)
    assert model.alpha == pytest.approx(3e-6, rel=0.2)
    assert model.beta == pytest.approx(2e-10, rel=0.2)


def test_costs_of_algorithms():
    model = cost.AlphaBeta(1.0, 0.5)
    assert model.message(4) == 3
    assert model.tree_broadcast(5, 4) == 9
    assert model.broadcast_loop(4, 4) == 4 * 2 * 3
    assert model.ring_allgather(4, 4) == 9
    assert model.ring_allreduce(4, 8) == 6 * (1 + 1)
    assert model.doubling_allreduce(8, 4) == 9
    assert model.tree_broadcast(1, 4) == model.ring_allreduce(1, 4) == 0


@pytest.mark.parametrize(
    ("sizes", "seconds", "words"),
    [
        ([1, 2], [1.0], "one shape"),
        ([1, 1], [1.0, 1.0], "two different sizes, got 1"),
        ([1, 2], [1.0, 0.0], "positive"),
    ],
)
def test_bad_input(sizes, seconds, words):
    with pytest.raises(ValueError, match=words):
        cost.fit(sizes, seconds)
