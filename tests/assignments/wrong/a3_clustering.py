"""Wrong solutions of assignment 3, and what they earn."""

from tests.assignments.grading import Wrong


def earns(task: str, *points: float) -> dict[str, float]:
    """Name the points of the cells of a task."""
    return dict(
        zip((f"test_{task}", f"test_{task}_more", f"test_{task}_speed"), points, strict=False)
    )


WRONG = [
    Wrong(
        "two dimensions only, and no corners",
        "cell_costs",
        """
def cell_costs(counts):
    costs = {}
    for (i, j), n in counts.items():
        beside = [(i, j), (i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
        costs[i, j] = n * sum(counts.get(other, 0) for other in beside)
    return costs""",
        earns("costs", 0, 0.75),
        "at (",
    ),
    Wrong(
        "a cell's own points only",
        "cell_costs",
        """
def cell_costs(counts):
    return {cell: n * n for cell, n in counts.items()}""",
        earns("costs", 0, 0.75),
    ),
    Wrong(
        "cells without points get a cost, too",
        "cell_costs",
        """
from collections import defaultdict

def cell_costs(counts):
    table, costs = defaultdict(int, counts), {}
    for cell in list(table):
        sides = [(k - 1, k, k + 1) for k in cell]
        costs[cell] = table[cell] * sum(table[o] for o in itertools.product(*sides))
    return {cell: costs.get(cell, 0) for cell in table}""",
        earns("costs", 0, 0),
        "unexpected key",
    ),
    Wrong(
        "in the order of the dictionary, with floats",
        "share_out",
        """
def share_out(costs, ranks):
    total, before, owner = sum(costs.values()), 0, {}
    for cell, cost in costs.items():
        owner[cell] = min(int((before + cost / 2) * ranks / total), ranks - 1)
        before += cost
    return owner""",
        earns("share", 3, 1.8),
    ),
    Wrong(
        "equal numbers of cells instead of equal costs",
        "share_out",
        """
def share_out(costs, ranks):
    cells = sorted(costs)
    return {cell: k * ranks // len(cells) for k, cell in enumerate(cells)}""",
        earns("share", 0, 1.2),
    ),
    Wrong(
        "the start of a cell's cost decides, not its middle",
        "share_out",
        """
def share_out(costs, ranks):
    total, before, owner = sum(costs.values()), 0, {}
    for cell in sorted(costs):
        owner[cell] = before * ranks // total
        before += costs[cell]
    return owner""",
        earns("share", 0, 1.2),
    ),
    Wrong(
        "the own rim instead of the others' cells",
        "halo_cells",
        """
def halo_cells(owner, rank):
    halo = set()
    for cell, holder in owner.items():
        for other in itertools.product(*[(k - 1, k, k + 1) for k in cell]):
            if holder == rank and owner.get(other, rank) != rank:
                halo.add(cell)
    return halo""",
        earns("halo", 0, 0),
    ),
    Wrong(
        "everything that others own",
        "halo_cells",
        """
def halo_cells(owner, rank):
    return {cell for cell, holder in owner.items() if holder != rank}""",
        earns("halo", 0, 0),
    ),
    Wrong(
        "a halo from the neighbouring ranks only",
        "halo_cells",
        """
def halo_cells(owner, rank):
    halo = set()
    for cell, holder in owner.items():
        if holder == rank:
            for other in itertools.product(*[(k - 1, k, k + 1) for k in cell]):
                if owner.get(other) in (rank - 1, rank + 1):
                    halo.add(other)
    return halo""",
        earns("halo", 2, 2),
    ),
    Wrong(
        "border points make rules, too",
        "find_rules",
        """
def find_rules(here, there, core):
    shared = here.keys() & there.keys()
    pairs = {tuple(sorted((here[p], there[p]))) for p in shared}
    return {pair for pair in pairs if pair[0] != pair[1]}""",
        earns("rules", 2, 0),
    ),
    Wrong(
        "rules in the direction from here to there",
        "find_rules",
        """
def find_rules(here, there, core):
    shared = here.keys() & there.keys() & core
    return {(here[p], there[p]) for p in shared if here[p] != there[p]}""",
        earns("rules", 0, 0),
    ),
    Wrong(
        "rules followed once, in the order given",
        "follow",
        """
def follow(names, rules):
    lowest = {name: name for name in names}
    for low, high in rules:
        lowest[high] = min(lowest.get(high, high), lowest.get(low, low))
    return {name: lowest[name] for name in names}""",
        earns("follow", 3, 0, 0),
        "a long chain",
    ),
    Wrong(
        "find calls itself",
        "follow",
        """
def follow(names, rules):
    parent = {name: name for pair in rules for name in pair} | {name: name for name in names}

    def find(name):
        if parent[name] != name:
            parent[name] = find(parent[name])
        return parent[name]

    for low, high in rules:
        low, high = sorted((find(low), find(high)))
        parent[high] = low
    return {name: find(name) for name in names}""",
        earns("follow", 3, 3.75, 2),
        "RecursionError",
    ),
    Wrong(
        "paths are not shortened: right, and quadratic",
        "follow",
        """
def follow(names, rules):
    parent = {name: name for pair in rules for name in pair} | {name: name for name in names}

    def find(name):
        while parent[name] != name:
            name = parent[name]
        return name

    for low, high in rules:
        low, high = sorted((find(low), find(high)))
        parent[high] = low
    return {name: find(name) for name in names}""",
        earns("follow", 3, 5, 0),
        "times slower than the reference",
    ),
    Wrong(
        "a rule without direction: the last name wins",
        "follow",
        """
def follow(names, rules):
    parent = {name: name for pair in rules for name in pair} | {name: name for name in names}

    def find(name):
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for low, high in rules:
        parent[find(high)] = find(low)
    return {name: find(name) for name in names}""",
        earns("follow", 3, 2.5, 2),
    ),
]
