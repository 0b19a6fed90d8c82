"""Wrong solutions of assignment 6, and what they earn."""

from tests.assignments.grading import Wrong, earns

SHARE = ("share-results", "share-contract")
BUDGET = ("budget-results", "summary-results")


WRONG = [
    Wrong(
        "the same architecture may be drawn twice",
        "random-search",
        """
def random_search(score, sizes, budget, seed):
    if budget > np.prod(sizes):
        raise ValueError("too large a budget")
    rng, tried = np.random.default_rng(seed), []
    for _ in range(budget):
        one = tuple(int(rng.integers(n)) for n in sizes)
        tried.append((score(one), one))
    values = [value for value, _ in tried]
    best = tried[values.index(max(values))][1]
    return best, [max(values[: k + 1]) for k in range(budget)]""",
        {"random-results": 2.5},
        "were different",
    ),
    Wrong(
        "a curve of scores instead of the best so far",
        "random-search",
        """
def random_search(score, sizes, budget, seed):
    total = int(np.prod(sizes))
    if budget > total:
        raise ValueError("too large a budget")
    numbers = np.random.default_rng(seed).permutation(total)[:budget]
    tried = [tuple(int(k) for k in np.unravel_index(n, sizes)) for n in numbers]
    curve = [score(one) for one in tried]
    return tried[int(np.argmax(curve))], curve""",
        {"random-results": 1.25},
        "item 1",
    ),
    Wrong(
        "a grid in its order, and no look at the seed",
        "random-search",
        """
import itertools

def random_search(score, sizes, budget, seed):
    grid = list(itertools.product(*map(range, sizes)))
    if budget > len(grid):
        raise ValueError("too large a budget")
    curve = [score(one) for one in grid[:budget]]
    best = grid[curve.index(max(curve))]
    return best, [max(curve[: k + 1]) for k in range(budget)]""",
        {"random-results": 1.25},
        "same architectures",
    ),
    Wrong(
        "the best is scored once more than the budget allows",
        "random-search",
        """
def random_search(score, sizes, budget, seed):
    total = int(np.prod(sizes))
    if budget > total:
        raise ValueError("too large a budget")
    numbers = np.random.default_rng(seed).permutation(total)[:budget]
    tried = [tuple(int(k) for k in np.unravel_index(n, sizes)) for n in numbers]
    values = [score(one) for one in tried]
    best = max(tried, key=score)
    return best, [max(values[: k + 1]) for k in range(budget)]""",
        {"random-results": 1.25},
        "called score",
    ),
    Wrong(
        "the epochs are not doubled: later rounds are too short",
        "successive-halving",
        """
def successive_halving(score, candidates, epochs):
    left, spent = list(candidates), 0
    while len(left) > 1:
        spent += epochs * len(left)
        left.sort(key=lambda a: -score(a, epochs))
        left = left[: (len(left) + 1) // 2]
    return left[0], spent""",
        {"halving-results": 1.2},
        "round 2",
    ),
    Wrong(
        "the smaller half of an odd number is kept",
        "successive-halving",
        """
def successive_halving(score, candidates, epochs):
    left, spent = list(candidates), 0
    while len(left) > 1:
        spent += epochs * len(left)
        left = sorted(left, key=lambda a: -score(a, epochs))[: len(left) // 2]
        left, epochs = [a for a in candidates if a in left], 2 * epochs
    return left[0], spent""",
        {"halving-results": 3.6},
    ),
    Wrong(
        "the worse half is kept",
        "successive-halving",
        """
def successive_halving(score, candidates, epochs):
    left, spent = list(candidates), 0
    while len(left) > 1:
        spent += epochs * len(left)
        left = sorted(left, key=lambda a: score(a, epochs))[: (len(left) + 1) // 2]
        left, epochs = [a for a in candidates if a in left], 2 * epochs
    return left[0], spent""",
        {"halving-results": 1.2},
    ),
    Wrong(
        "everybody is trained to the end: no bandit at all",
        "successive-halving",
        """
def successive_halving(score, candidates, epochs):
    if len(candidates) == 1:
        return candidates[0], 0
    values = [score(a, 4 * epochs) for a in candidates]
    return candidates[values.index(max(values))], 4 * epochs * len(candidates)""",
        {"halving-results": 1.2},
        "trainings were to be asked for",
    ),
    Wrong(
        "one-hot without the probabilities: right only where the baseline is the mean",
        "policy-gradient",
        """
def policy_gradient(logits, architectures, rewards, baseline):
    gradient = [np.zeros(len(row)) for row in logits]
    for a, r in zip(architectures, rewards):
        for k, j in enumerate(a):
            gradient[k][j] += (r - baseline) / len(rewards)
    return gradient""",
        {"policy-results": 0, "step-results": 3},
    ),
    Wrong(
        "the sum over the samples instead of the mean, and no baseline",
        "policy-gradient",
        """
def policy_gradient(logits, architectures, rewards, baseline):
    gradient = []
    for k, row in enumerate(logits):
        p = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        hot = np.eye(len(row))[[a[k] for a in architectures]]
        gradient.append(np.asarray(rewards) @ (hot - p))
    return gradient""",
        {"policy-results": 0, "step-results": 0},
    ),
    Wrong(
        "an exponential that overflows",
        "policy-gradient",
        """
def policy_gradient(logits, architectures, rewards, baseline):
    gradient = []
    for k, row in enumerate(logits):
        p = np.exp(row) / np.exp(row).sum()
        hot = np.eye(len(row))[[a[k] for a in architectures]]
        gradient.append((np.asarray(rewards) - baseline) @ (hot - p) / len(rewards))
    return gradient""",
        {"policy-results": 4, "step-results": 3},
        "1000",
    ),
    Wrong(
        "down the gradient instead of up",
        "reinforce-step",
        """
def reinforce_step(logits, architectures, rewards, rate):
    gradient = policy_gradient(logits, architectures, rewards, np.mean(rewards))
    return [row - rate * g for row, g in zip(logits, gradient)]""",
        {"step-results": 0},
    ),
    Wrong(
        "the old logits are changed in place",
        "reinforce-step",
        """
def reinforce_step(logits, architectures, rewards, rate):
    gradient = policy_gradient(logits, architectures, rewards, np.mean(rewards))
    for row, g in zip(logits, gradient):
        row += rate * g
    return logits""",
        {"step-results": 0},
        "item 1",
    ),
    Wrong(
        "trials dealt like cards, whatever they cost",
        "share-trials",
        """
def share_trials(comm, architectures, costs, score):
    mine = {k: score(architectures[k]) for k in range(comm.rank, len(costs), comm.size)}
    found = {k: value for part in comm.allgather(mine) for k, value in part.items()}
    return [found[k] for k in range(len(costs))]""",
        earns(SHARE, 4, 0),
        "the rule names",
    ),
    Wrong(
        "everybody does everything",
        "share-trials",
        """
def share_trials(comm, architectures, costs, score):
    return [score(one) for one in architectures]""",
        earns(SHARE, 4, 0),
    ),
    Wrong(
        "a rank without trials leaves early",
        "share-trials",
        """
def share_trials(comm, architectures, costs, score):
    work, mine = [0] * comm.size, {}
    for k in sorted(range(len(costs)), key=lambda k: -costs[k]):
        rank = work.index(min(work))
        work[rank] += costs[k]
        if rank == comm.rank:
            mine[k] = score(architectures[k])
    if not mine:
        return []
    found = {k: value for part in comm.allgather(mine) for k, value in part.items()}
    return [found[k] for k in range(len(architectures))]""",
        earns(SHARE, 3.2, 3.2),
        "waits",
    ),
    Wrong(
        "a loop of broadcasts",
        "share-trials",
        """
def share_trials(comm, architectures, costs, score):
    work, found = [0] * comm.size, {}
    for k in sorted(range(len(costs)), key=lambda k: -costs[k]):
        rank = work.index(min(work))
        work[rank] += costs[k]
        found[k] = comm.bcast(score(architectures[k]) if rank == comm.rank else None, root=rank)
    return [found[k] for k in range(len(architectures))]""",
        earns(SHARE, 4, 0),
        "bcast",
    ),
    Wrong(
        "cheap trials first, and only the root has all scores",
        "share-trials",
        """
def share_trials(comm, architectures, costs, score):
    work, mine = [0] * comm.size, {}
    for k in sorted(range(len(costs)), key=lambda k: costs[k]):
        rank = work.index(min(work))
        work[rank] += costs[k]
        if rank == comm.rank:
            mine[k] = score(architectures[k])
    parts = comm.gather(mine, root=0)
    if comm.rank:
        return list(mine.values())
    found = {k: value for part in parts for k, value in part.items()}
    return [found[k] for k in range(len(architectures))]""",
        earns(SHARE, 0, 0),
    ),
    Wrong(
        "a trial counts as soon as it begins, and lucky seeds make the median",
        "equal-budget",
        """
def best_within(trials, budgets):
    begun = np.cumsum([0] + [cost for cost, _ in trials])[:-1]
    best = np.array([np.nan, *np.maximum.accumulate([score for _, score in trials])])
    return best[np.searchsorted(begun, budgets, side="right")]


def summary(searches, budgets):
    curves = np.array([best_within(trials, budgets) for trials in searches])
    return np.nanquantile(curves, (0.25, 0.5, 0.75), axis=0)""",
        earns(BUDGET, 0, 0),
        "nan in the wrong places",
    ),
    Wrong(
        "the last score instead of the best, and the mean with its deviation",
        "equal-budget",
        """
def best_within(trials, budgets):
    ended = np.cumsum([cost for cost, _ in trials])
    scores = np.array([np.nan, *[score for _, score in trials]])
    return scores[np.searchsorted(ended, budgets, side="right")]


def summary(searches, budgets):
    curves = np.array([best_within(trials, budgets) for trials in searches])
    mean, spread = curves.mean(axis=0), curves.std(axis=0)
    return np.array([mean - spread, mean, mean + spread])""",
        earns(BUDGET, 0.67, 0),
    ),
]
