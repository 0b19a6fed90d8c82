"""What decides the marks of assignment 3: results on drawn cells and rules, and one speed."""

from fractions import Fraction

import numpy as np

from course.grading import Rubric, Trial

rubric = Rubric(hidden=["course.clustering", "course.svm"])


def touches(one, other):
    """Whether two cells touch; for the grader's own, slow solutions over all pairs."""
    return all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


def cells(rng, n, dimensions, width):
    """At most n different cells around zero, in no order."""
    drawn = rng.integers(-width, width + 1, (n, dimensions))
    return list(dict.fromkeys(tuple(int(k) for k in row) for row in drawn))


def unchanged(student, name, *args):
    """Call a function, and return its result and its arguments as they are afterwards."""
    result = getattr(student, name)(*args)
    return result, list(args)


def costs_of(counts):
    return {
        cell: n * sum(m for other, m in counts.items() if touches(cell, other))
        for cell, n in counts.items()
    }


def counted(rng, n, dimensions, width):
    return {cell: int(rng.integers(1, 9)) for cell in cells(rng, n, dimensions, width)}


def costs_trial(counts, label):
    right = costs_of(counts), [counts]
    return Trial(("cell_costs", counts), expected=right, label=label)


@rubric.task("cell_costs", driver=unchanged)
def costs(rng):
    """On a plane, as in the lecture."""
    yield costs_trial(counted(rng, 30, 2, 4), "on a plane")
    yield costs_trial(counted(rng, 60, 2, 9), "on a plane, fewer cells touch")


@rubric.task("cell_costs", driver=unchanged, seconds=60)
def costs_more(rng):
    """Other dimensions, and so many cells that all pairs would take for ever."""
    yield costs_trial(counted(rng, 12, 1, 12), "on a line")
    yield costs_trial(counted(rng, 40, 3, 2), "in space")
    yield costs_trial(counted(rng, 30, 4, 1), "in four dimensions")
    diagonal = {(3 * k, k): int(rng.integers(1, 9)) for k in range(20_000)}
    right = {cell: n * n for cell, n in diagonal.items()}
    yield Trial(
        ("cell_costs", diagonal), expected=(right, [diagonal]), label="20,000 cells, none touch"
    )


rubric.results("test_costs", costs)
rubric.results("test_costs_more", costs_more)


def shares_of(costs, ranks):
    total, before, owner = sum(costs.values()), 0, {}
    for cell in sorted(costs):
        middle = before + Fraction(costs[cell], 2)
        owner[cell] = int(middle * ranks / total)
        before += costs[cell]
    return owner


def share_trial(costs, ranks, label=""):
    label = f"{len(costs)} cells on {ranks} ranks{', ' if label else ''}{label}"
    right = shares_of(costs, ranks), [costs, ranks]
    return Trial(("share_out", costs, ranks), expected=right, label=label)


@rubric.task("share_out", driver=unchanged)
def share(rng):
    """Many cells for few ranks, in ascending order."""
    for ranks in (2, 3, 4, 7):
        found = sorted(cells(rng, 60, 2, 6))
        dear = len(found) // 3  # the first third
        costs = {c: int(rng.integers(1, 50)) * (9 if k < dear else 1) for k, c in enumerate(found)}
        yield share_trial(costs, ranks)


@rubric.task("share_out", driver=unchanged)
def share_more(rng):
    """What goes wrong at the edges."""
    found = cells(rng, 40, 3, 3)
    costs = {cell: int(rng.integers(1, 50)) for cell in found}
    yield share_trial(costs, 3, "not in ascending order")
    half = int(rng.integers(2, 9))
    yield share_trial({(0,): half, (1,): 2, (2,): half}, 2, "a middle exactly on the cut")
    few = {(k,): int(rng.integers(1, 9)) for k in range(int(rng.integers(2, 5)))}
    yield share_trial(few, 7, "more ranks than cells")
    yield share_trial({(0,): 1, (1,): int(rng.integers(90, 200)), (2,): 1}, 3, "one dear cell")
    half = 10**17 + int(rng.integers(1000))
    large = {(0,): half, (1,): 2, (2,): half + 1}  # a middle just below the cut
    yield share_trial(large, 2, "costs that a float cannot hold")


rubric.results("test_share", share)
rubric.results("test_share_more", share_more)


def halo_of(owner, rank):
    own = [cell for cell, holder in owner.items() if holder == rank]
    others = [cell for cell, holder in owner.items() if holder != rank]
    return {cell for cell in others if any(touches(cell, one) for one in own)}


def halo_trial(owner, rank, label):
    right = halo_of(owner, rank), [owner, rank]
    return Trial(("halo_cells", owner, rank), expected=right, label=label)


def owned(rng, n, dimensions, width, ranks):
    found = sorted(cells(rng, n, dimensions, width))
    return {cell: k * ranks // len(found) for k, cell in enumerate(found)}


@rubric.task("halo_cells", driver=unchanged)
def halo(rng):
    """Two ranks on a plane, seen from both sides."""
    owner = owned(rng, 40, 2, 4, 2)
    for rank in range(2):
        yield halo_trial(owner, rank, f"rank {rank} of 2, on a plane")


@rubric.task("halo_cells", driver=unchanged)
def halo_more(rng):
    """More ranks and dimensions."""
    for ranks, dimensions, n, width in ((4, 2, 50, 4), (7, 3, 60, 2), (3, 1, 60, 9)):
        owner, rank = owned(rng, n, dimensions, width, ranks), int(rng.integers(ranks))
        yield halo_trial(owner, rank, f"rank {rank} of {ranks}, {dimensions} dimensions")
    scattered = {cell: int(rng.integers(4)) for cell in cells(rng, 50, 2, 4)}
    yield halo_trial(scattered, 2, "rank 2 of 4, cells in no order")


rubric.results("test_halo", halo)
rubric.results("test_halo_more", halo_more)


def rules_of(here, there, core):
    pairs = [(here[p], there[p]) for p in sorted(core) if p in here and p in there]
    return {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}


def clustered(rng, core_share):
    """What two ranks see of 40 points; the lower names are on either side."""
    names = rng.permutation(100)[:12]
    here = {p: int(names[rng.integers(6)]) for p in range(27)}
    there = {p: int(names[rng.integers(4, 12)]) for p in range(13, 40)}
    core = {p for p in range(40) if rng.random() < core_share}
    return here, there, core


def rules_trial(here, there, core, label):
    right = rules_of(here, there, core), [here, there, core]
    return Trial(("find_rules", here, there, core), expected=right, label=label)


@rubric.task("find_rules", driver=unchanged)
def rules(rng):
    """All points are core points."""
    for _ in range(2):
        yield rules_trial(*clustered(rng, 1.0), "all points are core points")


@rubric.task("find_rules", driver=unchanged)
def rules_more(rng):
    """Border points, no points at all."""
    for share_of_core in (0.5, 0.2):
        yield rules_trial(*clustered(rng, share_of_core), "some points are border points")
    here, there, _ = clustered(rng, 1.0)
    yield rules_trial(here, there, {p for p in range(40) if not 13 <= p < 27}, "no common core")


rubric.results("test_rules", rules)
rubric.results("test_rules_more", rules_more, partial=False)


def followed(names, rules):
    """Hand the lowest name along the rules, until nothing changes."""
    lowest = {name: name for pair in rules for name in pair} | {name: name for name in names}
    changed = True
    while changed:
        changed = False
        for low, high in rules:
            least = min(lowest[low], lowest[high])
            changed = changed or lowest[low] != least or lowest[high] != least
            lowest[low] = lowest[high] = least
    return {name: lowest[name] for name in names}


def follow_trial(names, rules, label):
    right = followed(names, rules), [names, rules]
    return Trial(("follow", names, rules), expected=right, label=label)


def forest(rng, names, number):
    pairs = rng.choice(names, (number, 2))
    return [(int(min(pair)), int(max(pair))) for pair in pairs if pair[0] != pair[1]]


@rubric.task("follow", driver=unchanged)
def follow(rng):
    """A chain in ascending order, with names that no rule mentions."""
    for _ in range(2):
        names = [int(k) for k in np.sort(rng.permutation(60)[:12])]
        chain = list(zip(names[:6], names[1:7], strict=True))
        yield follow_trial(names, chain, "a chain of rules in ascending order")


@rubric.task("follow", driver=unchanged)
def follow_more(rng):
    """Rules in any order, again and again, about other names too, and a long chain."""
    names = [int(k) for k in rng.permutation(200)[:40]]
    yield follow_trial(names, forest(rng, names, 35), "rules in any order")
    yield follow_trial(names[:15], forest(rng, names, 60), "names that were not asked for")
    twice = forest(rng, names, 12)
    yield follow_trial(names, twice + twice[::-1], "rules more than once")
    low = int(rng.integers(-9, 0))
    chain = [(low + k, low + k + 1) for k in reversed(range(20_000))]
    right = {low + 20_000: low, low + 7: low}
    asked = list(right)
    yield Trial(("follow", asked, chain), expected=(right, [asked, chain]), label="a long chain")


rubric.results("test_follow", follow)
rubric.results("test_follow_more", follow_more)


def follow_arrays(student, names, rules):
    """Call follow with arrays, so that little of the time is spent on messages."""
    import numpy as np

    found = student.follow(names.tolist(), [tuple(pair) for pair in rules.tolist()])
    return np.array([found[name] for name in names.tolist()])


@rubric.task("follow", driver=follow_arrays)
def long_chains(rng):
    """A chain from its end, so that no path is short; every name is asked for."""
    names = np.cumsum(rng.integers(1, 5, 3000))
    pairs = np.stack([names[:-1], names[1:]], axis=1)[::-1].copy()
    right = np.full(len(names), names[0])
    yield Trial((names, pairs), expected=right, label="a chain of 3,000 names")


rubric.speed("test_follow_speed", long_chains, slower=8)
