"""Contracts: kept and broken by real programs, for each reason once."""

import numpy as np
import pytest

from course.mpi import run
from course.mpi.contract import Contract, evaluate


def bcast_loop(comm, n):
    everything = np.zeros((comm.size, n))
    everything[comm.rank] = comm.rank
    for rank in range(comm.size):
        comm.Bcast(everything[rank], root=rank)
    return everything


def one_allgather(comm, n):
    everything = np.zeros((comm.size, n))
    comm.Allgather(np.full(n, float(comm.rank)), everything)
    return everything


def tree_and_ring(comm, n):
    values, inbox = np.ones(n), np.zeros(n)
    for _ in range(comm.size - 1):
        comm.Sendrecv(values, (comm.rank + 1) % comm.size, 0, inbox)
    if comm.rank == 0:
        comm.send("done", dest=comm.size - 1)
    if comm.rank == comm.size - 1:
        comm.recv(source=0)
    return comm.reduce(1, root=1)


TUNED = Contract({"Allgather": 1}, bytes={"Allgather": "8 * n"}, only=True)


@pytest.fixture(scope="module")
def loop():
    return run(bcast_loop, 3, 5, timeout=60, trace=True)


def test_the_tuned_program_keeps_it():
    for ranks in (2, 3):
        verdict = TUNED.check(run(one_allgather, ranks, 5, timeout=60, trace=True).trace, n=5)
        assert verdict.ok and verdict and str(verdict) == "the contract is kept"


def test_the_loop_breaks_it(loop):
    verdict = TUNED.check(loop.trace, n=5)
    assert not verdict
    text = str(verdict)
    assert "rank 1 called Allgather never, expected 1" in text
    assert "rank 1 handed over by Allgather 0 bytes, expected 40 (8 * n)" in text
    assert "rank 2 called Bcast 3 times, expected no other communication" in text
    assert "comm.Bcast(everything[rank], root=rank)" in text


def test_the_loop_keeps_its_own(loop):
    contract = Contract({"Bcast": "p", "Allgather": 0}, bytes={"Bcast": lambda p, n: 8 * p * n})
    assert contract.check(loop.trace, n=5)
    assert Contract(roots={"Bcast": "< p"}).check(loop.trace)
    broken = Contract(roots={"Bcast": 0}).check(loop.trace)
    assert len(broken.reasons) == 6
    assert "with root 2, expected 0" in str(broken)


def test_formulas_per_rank_totals_and_alternatives():
    trace = run(tree_and_ring, 3, 4, timeout=60, trace=True).trace
    assert Contract(
        {"Sendrecv": "p - 1", "send": "r == 0", "reduce|allreduce": 1},
        total={"Sendrecv": "<= p * (p - 1)", "send": 1, "recv": 1},
        bytes={"Sendrecv": "8 * n * (p - 1)", "send": ">= 4 * (r == 0)"},
        roots={"reduce": 1},
        only=True,
    ).check(trace, n=4)
    verdict = Contract(total={"Sendrecv": "< p"}, only=False).check(trace)
    assert verdict.reasons == [
        "all ranks together called Sendrecv 6 times, expected less than 3 (p)"
    ]


def test_calls_that_do_not_fit_break_it():
    def program(comm):
        comm.Bcast(np.ones(2), root=comm.rank)

    trace = run(program, 2, timeout=60, trace=True).trace
    verdict = Contract({"Bcast": 1}).check(trace)
    assert "different roots" in str(verdict)
    assert Contract({"Bcast": 1}, sound=False).check(trace)


@pytest.mark.parametrize("text", ["__import__('os')", "p.real", "q", "p +", "", "[1]", "f(p)"])
def test_formulas_are_nothing_but_formulas(text):
    with pytest.raises(ValueError, match="expected a formula in p, n, r"):
        Contract({"Bcast": text})


def test_evaluate():
    assert evaluate("2 * (p - 1) // 3 + max(n, 1) - -r", p=7, n=0, r=2) == 7
