"""What decides the marks of assignment 4: results, contracts, and who scores which cell."""

import numpy as np

from course.grading import RANKS, Ask, Contract, Rubric, Trial, close, draws

rubric = Rubric(hidden=["course.svm", "course.clustering", "course.mpi.partition"])


def keeps_its_input(student, comm, F, rows, change):
    """Return the new gradient, and the old one as it is afterwards."""
    new = student.new_gradient(comm, F, rows, change)
    return new, F


@rubric.task("new_gradient", driver=keeps_its_input)
def gradient(rng):
    """Some ranks have no rows; all rows may lie on one rank."""
    for ranks in RANKS:
        n, m = int(rng.integers(1, 40)), int(rng.integers(1, 9))
        F, rows, change = (
            rng.standard_normal(n),
            rng.standard_normal((m, n)),
            rng.standard_normal(m),
        )
        places = draws.parts(rng, np.arange(m), ranks)
        right = F + np.einsum("k,kn->n", change, rows)
        args = [(F, rows[p], change[p]) for p in places]
        yield Trial(args, ranks, [(right, F)] * ranks, n, draws.lengths(places))


rubric.results("gradient-results", gradient, close(1e-10, 1e-11))
rubric.contract(
    "gradient-contract",
    gradient,
    Contract({"Allreduce": 1}, bytes={"Allreduce": "8 * n"}, only=True),
)


@rubric.task("holder")
def holder(rng):
    """Rows that nobody has, rows that all have, and ranks that have none."""
    for ranks in RANKS:
        n = int(rng.integers(5, 30))
        cached = (rng.random((ranks, n)) < 0.35).astype(np.int8)
        cached[:, 0], cached[:, 1] = 0, 1
        if ranks > 1:
            cached[rng.integers(ranks), 2:] = 0
        order = rng.permutation(n)
        cached = np.ascontiguousarray(cached[:, order])
        lowest = [next((r for r in range(ranks) if cached[r, k]), -1) for k in range(n)]
        args = [(cached[r],) for r in range(ranks)]
        yield Trial(args, ranks, [np.array(lowest)] * ranks, n, f"{n} rows")


rubric.results("holder-results", holder)
rubric.contract(
    "holder-contract", holder, Contract({"Allgather": 1}, bytes={"Allgather": "n"}, only=True)
)


@rubric.task("search")
def search(rng):
    """More cells than ranks, more ranks than cells, and cells that are equally good."""
    for ranks, gammas, Cs in ((1, 2, 2), (2, 3, 3), (3, 5, 2), (4, 5, 2), (7, 2, 2), (3, 2, 2)):
        grid = [(2.0**k, 10.0**j) for k in range(gammas) for j in range(Cs)]
        (cells,) = draws.permuted(rng, np.array(grid))
        cells = [(float(gamma), float(C)) for gamma, C in cells]
        values = [float(v) for v in rng.integers(500, 980, len(cells)) / 1000]
        best = int(rng.integers(len(cells)))
        values[best] = 0.985
        for other in rng.integers(best, len(cells), 2):
            values[other] = 0.985  # as good, but later in the list
        table = dict(zip(cells, values, strict=True))

        def score(gamma, C, table=table):
            return table[gamma, C]

        right = (values, cells[best])
        args = [(cells, Ask(score))] * ranks
        yield Trial(args, ranks, [right] * ranks, len(cells), f"{len(cells)} cells")


rubric.results("search-results", search, close())


@rubric.judge("search-shared", search)
def search_shared(trial, done):
    """Each cell once, nobody more than a fair share, one allgather; counted by the grader."""
    cells = trial.args[0][0]
    asked = [tuple(args) for rank in done.asked for _, args in rank]
    if sorted(asked) != sorted(cells):
        return (
            f"each of {len(cells)} cells has to be scored once; score was called {len(asked)} times"
        )
    most, fair = max(map(len, done.asked)), -(-len(cells) // trial.ranks)
    if most > fair:
        return f"one rank scored {most} cells, its fair share is {fair}"
    verdict = Contract({"allgather": 1}, only=True).check(done.trace, trial.n)
    return None if verdict else str(verdict)


def call(student, name, *args):
    """Call one of several functions."""
    return getattr(student, name)(*args)


def curve(rng, ranks, first=1):
    """Times that fall, with some noise."""
    share = rng.uniform(0.02, 0.3)
    seconds = 100 * (share + (1 - share) / np.array(ranks)) * rng.uniform(0.95, 1.05, len(ranks))
    return [float(t) for t in seconds]


@rubric.task("efficiency")
def efficiency(rng):
    """Curves that begin at one rank, and others."""
    for ranks in ([1, 2, 4, 8], [2, 4, 16], [3, 12, 24, 96]):
        seconds = curve(rng, ranks)
        right = [seconds[0] * ranks[0] / (t * p) for p, t in zip(ranks, seconds, strict=True)]
        yield Trial((ranks, seconds), expected=np.array(right), label=f"from {ranks[0]} ranks on")


rubric.results("curve-efficiency", efficiency, close())


@rubric.task("serial_share", driver=call)
def judgement(rng):
    """Amdahl's law for two and for more points; ranks that dip below what is asked for."""
    for share in (0.0, float(rng.uniform(0.02, 0.9))):
        p = int(rng.integers(3, 97))
        seconds = [80.0, 80.0 * (share + (1 - share) / p)]
        args = ("serial_share", [1, p], seconds)
        yield Trial(args, expected=share, label=f"serial_share with 1 and {p} ranks")
        middle = float(rng.uniform(*sorted(seconds)))
        args = ("serial_share", [1, 2, p], [seconds[0], middle, seconds[1]])
        yield Trial(args, expected=share, label=f"serial_share with 1, 2 and {p} ranks")
    dip = [8.0, 8.0 / (2 * rng.uniform(0.5, 0.85)), 2.0, 8.0 / (8 * rng.uniform(0.3, 0.8))]
    args = ("worthwhile", [1, 2, 4, 8], dip, 0.9)
    yield Trial(args, expected=4, label="worthwhile where 2 ranks are below and 4 are not")
    args = ("worthwhile", [1, 2], [8.0, 8.0], 0.9)
    yield Trial(args, expected=1, label="worthwhile where no speed is gained")
    args = ("worthwhile", [2, 4, 8], [8.0, 4.1, 3.0], 0.9)
    yield Trial(args, expected=4, label="worthwhile from 2 ranks on")


rubric.results("curve-judgement", judgement, close(1e-7, 1e-9))
