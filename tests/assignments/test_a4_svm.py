"""Assignment 4: who gets which points."""

import pytest

from tests.assignments.grading import autograde_all, total, with_solution

EVERYTHING = 24
pytestmark = pytest.mark.timeout(500)

# Right results by the calls that the slide tells to replace.
UNTUNED = with_solution(
    new_gradient="""
def new_gradient(comm, F, rows, change):
    total = np.array(F)
    for root in range(comm.size):
        total += comm.bcast(change @ rows, root=root)
    return total""",
    holder="""
def holder(comm, cached):
    everyone = np.array([comm.bcast(cached, root=r) for r in range(comm.size)])
    return np.where(everyone.any(axis=0), everyone.argmax(axis=0), -1)""",
    search="""
def search(comm, cells, score):
    scores = [score(*cell) for cell in cells]  # everybody does everything
    return scores, cells[int(np.argmax(scores))]""",
)

# Plausible slips in the results.
SLIPS = with_solution(
    new_gradient="""
def new_gradient(comm, F, rows, change):
    total = np.empty_like(F)
    comm.Allreduce(F + change @ rows, total)  # F once per rank
    return total""",
    holder="""
def holder(comm, cached):
    everyone = np.empty((comm.size, len(cached)), np.int8)
    comm.Allgather(cached, everyone)
    return everyone.argmax(axis=0)  # nobody looks like rank 0""",
    search="""
def search(comm, cells, score):
    part = len(cells) // comm.size  # forgets the rest
    mine = [score(*cell) for cell in cells[comm.rank * part : (comm.rank + 1) * part]]
    scores = [value for values in comm.allgather(mine) for value in values]
    return scores, cells[int(np.argmax(scores))]""",
    curve="""
def efficiency(ranks, seconds):
    return seconds[0] / np.asarray(seconds) / np.asarray(ranks)  # as if ranks[0] were 1


def serial_share(ranks, seconds):
    return 1 - efficiency(ranks, seconds)[-1]


def worthwhile(ranks, seconds, least):
    best = ranks[0]
    for p, e in zip(ranks, efficiency(ranks, seconds)):
        if e < least:
            break
        best = p
    return best""",
)


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    variants = {
        "reference": "reference",
        "release": "release",
        "untuned": UNTUNED,
        "slips": SLIPS,
    }
    return autograde_all("a4_svm", variants, tmp_path_factory.mktemp("a4"), deadline=400)


def lost(marks):
    return {name.replace("_", "-") for name, (points, _) in marks.items() if points == 0}


def test_the_reference_gets_everything(marks):
    assert total(marks["reference"]) == (EVERYTHING, EVERYTHING)


def test_an_untouched_release_gets_nothing(marks):
    assert total(marks["release"])[0] == 0


def test_loops_of_broadcasts_lose_the_contracts_only(marks):
    assert lost(marks["untuned"]) == {"gradient-contract", "holder-contract", "search-shared"}


def test_slips_lose_results(marks):
    assert {"gradient-results", "holder-results", "search-results", "curve-hidden"} <= lost(
        marks["slips"]
    )
