"""Assignment 3: who gets which points."""

import pytest

from tests.assignments.grading import autograde_all, lost, total, with_solution

EVERYTHING = 32

# Plausible first attempts: each passes the visible check and misses what was asked for.
SLIPS = with_solution(
    cell_costs="""
def cell_costs(counts):
    costs = {}
    for (i, j), n in counts.items():  # two dimensions only, and no corners
        beside = [(i, j), (i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        costs[i, j] = n * sum(counts.get(other, 0) for other in beside)
    return costs""",
    share_out="""
def share_out(costs, ranks):
    total, before, owner = sum(costs.values()), 0, {}
    for cell, cost in costs.items():  # in the order of the dictionary
        owner[cell] = min(int((before + cost / 2) * ranks / total), ranks - 1)
        before += cost
    return owner""",
    halo_cells="""
def halo_cells(owner, rank):
    halo = set()
    for (i, j), holder in owner.items():
        for k, m in itertools.product((i - 1, i, i + 1), (j - 1, j, j + 1)):
            if holder != rank and owner.get((k, m)) == rank:
                halo.add((i, j))
    return halo""",
    find_rules="""
def find_rules(here, there, core):
    shared = here.keys() & there.keys()  # border points too
    pairs = {tuple(sorted((here[p], there[p]))) for p in shared}
    return {pair for pair in pairs if pair[0] != pair[1]}""",
    follow="""
def follow(names, rules):
    lowest = {name: name for name in names}
    for low, high in rules:  # once, in the order given
        lowest[high] = min(lowest.get(high, high), lowest.get(low, low))
    return {name: lowest[name] for name in names}""",
)

# Misunderstandings, which the visible checks show at once.
WRONG = with_solution(
    cell_costs="""
def cell_costs(counts):
    return {cell: n * n for cell, n in counts.items()} or {(0,): 0}""",
    share_out="""
def share_out(costs, ranks):
    cells = sorted(costs)  # equal numbers of cells
    return {cell: k * ranks // len(cells) for k, cell in enumerate(cells)} or None""",
    halo_cells="""
def halo_cells(owner, rank):
    return {cell for cell, holder in owner.items() if holder != rank}""",
    find_rules="""
def find_rules(here, there, core):
    return {(here.get(point), name) for point, name in there.items()}""",
    follow="""
def follow(names, rules):
    return {**{name: name for name in names}, **{high: low for low, high in rules}}""",
)

# Made to pass what can be seen.
HARD_CODED = with_solution(
    cell_costs="""
def cell_costs(counts):
    return {cell: (12, 4, 4)[k] for k, cell in enumerate(counts)}""",
    share_out="""
def share_out(costs, ranks):
    return {cell: int(ranks > 1 and cost == 9) for cell, cost in costs.items()}""",
    halo_cells="""
def halo_cells(owner, rank):
    return [{(1, 0)}, {(0, 0), (0, 1)}][rank] if rank < 2 else set()""",
    find_rules="""
def find_rules(here, there, core):
    return {(10, 40)} if here else set()""",
    follow="""
def follow(names, rules):
    return {name: 1 if name in (1, 4, 9) and rules else name for name in names}""",
)


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    variants = {
        "reference": "reference",
        "release": "release",
        "slips": SLIPS,
        "wrong": WRONG,
        "hard-coded": HARD_CODED,
    }
    folder = tmp_path_factory.mktemp("a3")
    return autograde_all("a3_clustering", variants, folder, deadline=270)


HIDDEN = {
    "test_costs_more",
    "test_share_more",
    "test_halo_more",
    "test_rules_more",
    "test_follow_more",
}


def test_reference_gets_everything(marks):
    assert total(marks["reference"]) == (EVERYTHING, EVERYTHING)


def test_untouched_release_gets_nothing(marks):
    assert total(marks["release"]) == (0, EVERYTHING)


def test_slips_pass_the_visible_checks_and_lose_the_hidden_ones(marks):
    assert lost(marks["slips"]) == HIDDEN


def test_misunderstandings_get_nothing(marks):
    assert total(marks["wrong"]) == (0, EVERYTHING)


def test_hard_coded_answers_lose_the_hidden_tests(marks):
    assert lost(marks["hard-coded"]) == HIDDEN
