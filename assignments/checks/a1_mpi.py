"""What decides the marks of assignment 1: results and contracts on 1, 2, 3, 4 and 7 ranks."""

import numpy as np

from course.grading import RANKS, Contract, Rubric, Trial, close, draws

rubric = Rubric(hidden=["course.clustering", "course.svm", "course.mpi.partition"])

SENDS = "Send|Isend|Ssend|Issend|Bsend|send|isend|ssend|issend|Sendrecv|sendrecv"
RECEIVES = "Recv|Irecv|recv|irecv|Probe|probe"


@rubric.task("join")
def join(rng):
    """Parts of unequal length, one of them empty."""
    for ranks in RANKS:
        n = int(rng.integers(ranks, 40))
        numbers = rng.standard_normal(n)
        parts = draws.parts(rng, numbers, ranks)
        yield Trial([(p,) for p in parts], ranks, [numbers] * ranks, n, draws.lengths(parts))


rubric.results("join-results", join)
rubric.contract(
    "join-contract",
    join,
    Contract(
        {"Allgatherv": 1, "allgather|Allgather": "<= 1"},
        bytes={"Allgatherv": "<= 8 * n"},
        only=True,
    ),
)


def add_up_driver(student, comm, mine, root):
    """Return the sum, and the input as it is afterwards."""
    total = student.add_up(comm, mine, root)
    return total, mine


@rubric.task("add_up", driver=add_up_driver)
def add_up(rng):
    """Every rank has as many numbers; another root each time, and never rank 0 of several."""
    for ranks in RANKS:
        n, root = int(rng.integers(1, 9)), int(rng.integers(min(1, ranks - 1), ranks))
        parts = rng.standard_normal((ranks, n))
        right = [
            (parts.sum(axis=0) if rank == root else None, parts[rank]) for rank in range(ranks)
        ]
        args = [(part, root) for part in parts]
        yield Trial(args, ranks, right, n, f"root {root}")


rubric.results("add-up-results", add_up, close())


@rubric.judge("add-up-contract", add_up)
def add_up_contract(trial, done):
    """One Reduce to the root."""
    root = trial.args[0][1]
    contract = Contract({"Reduce": 1}, bytes={"Reduce": "8 * n"}, roots={"Reduce": root}, only=True)
    verdict = contract.check(done.trace, trial.n)
    return None if verdict else str(verdict)


@rubric.task("mean_and_variance")
def moments(rng):
    """Numbers far from zero, of which some ranks have none."""
    for ranks in RANKS:
        numbers = rng.normal(rng.uniform(-3, 3), rng.uniform(0.5, 2), int(rng.integers(2, 60)))
        parts = draws.parts(rng, numbers, ranks)
        right = (float(numbers.mean()), float(numbers.var()))
        yield Trial([(p,) for p in parts], ranks, [right] * ranks, label=draws.lengths(parts))


rubric.results("moments-results", moments, close(1e-9, 1e-10))
rubric.contract("moments-contract", moments, Contract({"Allreduce|allreduce": 1}, only=True))


@rubric.task("halo", seconds=30)
def halo(rng):
    """Stripes of one to three rows, so long that a Send has to wait for its receive."""
    for ranks in RANKS:
        columns = int(rng.integers(150_000, 200_000))
        parts = [rng.standard_normal((int(rng.integers(1, 4)), columns)) for _ in range(ranks)]
        zeros = np.zeros(columns)
        right = [
            (
                parts[rank - 1][-1] if rank else zeros,
                parts[rank + 1][0] if rank < ranks - 1 else zeros,
            )
            for rank in range(ranks)
        ]
        yield Trial([(p,) for p in parts], ranks, right, label=f"rows of {columns} numbers")


rubric.results("halo-results", halo)


@rubric.judge("halo-contract", halo)
def halo_contract(trial, done):
    """At most one row to each neighbour, and no collectives."""
    p = trial.ranks
    contract = Contract({SENDS: "<= 2", RECEIVES: "<= 2"}, total={SENDS: "<= 2 * p"}, only=True)
    verdict = contract.check(done.trace)
    if not verdict:
        return str(verdict)
    silent = [rank for rank, calls in enumerate(done.trace.calls) if p > 1 and not calls]
    return f"ranks {silent} made no MPI call at all" if silent else None


@rubric.task("first_number")
def first_number(rng):
    """From no cluster to many on each rank."""
    for ranks in RANKS:
        found = [int(k) for k in rng.integers(0, 6, ranks)]
        right = [sum(found[:rank]) for rank in range(ranks)]
        yield Trial([(k,) for k in found], ranks, right, label=f"found {found}")


rubric.results("first-number-results", first_number)
rubric.contract(
    "first-number-contract", first_number, Contract({"scan|Scan|exscan|Exscan": 1}, only=True)
)
