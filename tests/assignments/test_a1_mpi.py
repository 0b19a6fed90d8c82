"""The MPI assignment: the reference gets all marks, the release none, mistakes what they earn."""

import pytest

from tests.assignments.grading import autograde_all, total, with_solution

pytestmark = pytest.mark.timeout(600)

# Plausible mistakes, each of which must cost what it says below, and nothing else.
MISTAKES = with_solution(
    join="""
def join(comm, mine):  # right, but the loop of Bcast that was to go
    return np.concatenate([comm.bcast(mine, root=k) for k in range(comm.size)])
""",
    add_up="""
def add_up(comm, mine, root):  # not added, but the largest taken
    total = np.zeros_like(mine) if comm.rank == root else None
    comm.Reduce(mine, total, op=MPI.MAX, root=root)
    return total
""",
    mean_and_variance="""
def mean_and_variance(comm, mine):  # an empty rank leaves early
    if len(mine) == 0:
        return None
    count, total, squares = comm.allreduce(np.array([len(mine), mine.sum(), (mine**2).sum()]))
    return total / count, squares / count - (total / count) ** 2
""",
    halo="""
def halo(comm, mine):  # everybody sends first: works for short rows only
    above, below = np.zeros_like(mine[0]), np.zeros_like(mine[0])
    if comm.rank > 0:
        comm.Send(mine[0], comm.rank - 1)
    if comm.rank < comm.size - 1:
        comm.Send(mine[-1], comm.rank + 1)
    if comm.rank > 0:
        comm.Recv(above, comm.rank - 1)
    if comm.rank < comm.size - 1:
        comm.Recv(below, comm.rank + 1)
    return above, below
""",
    first_number="""
def first_number(comm, found):  # rank 0 gets None from exscan
    return comm.exscan(found)
""",
)

EARNED = {
    "join-results": 2,
    "join-contract": 0,
    "add-up-results": 0,
    "add-up-contract": 2,
    "moments-results": 0,
    "moments-contract": 0,
    "halo-results": 0,
    "halo-contract": 0,
    "first-number-results": 0,
    "first-number-contract": 2,
}


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    variants = {"reference": "reference", "release": "release", "mistakes": MISTAKES}
    return autograde_all("a1_mpi", variants, tmp_path_factory.mktemp("a1"), deadline=540)


def test_the_reference_gets_all_marks(marks):
    assert total(marks["reference"]) == (20, 20), marks["reference"]


def test_the_release_gets_none(marks):
    assert total(marks["release"]) == (0, 20), marks["release"]


def test_each_mistake_costs_what_it_should(marks):
    assert {name: points for name, (points, _) in marks["mistakes"].items()} == EARNED
