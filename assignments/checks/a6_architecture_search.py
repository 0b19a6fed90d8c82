"""What decides the marks of assignment 6: searches whose trials the grader counts."""

import numpy as np

from course.grading import Ask, Contract, Rubric, Trial, close

rubric = Rubric()


def space(rng, properties):
    return tuple(int(k) for k in rng.integers(2, 5, properties))


class Score:
    """Scores of architectures, drawn once; what is answered is the grader's."""

    def __init__(self, rng, sizes, ties=False):
        """Draw a score for each architecture, of which some may be equal."""
        number = int(np.prod(sizes))
        values = rng.integers(0, 4, number) if ties else rng.permutation(number)
        self.table = (values / number).reshape(sizes)

    def __call__(self, architecture):
        """Return the score of one architecture, or say that it is none."""
        self.check(architecture)
        return float(self.table[tuple(architecture)])

    def check(self, architecture):
        """Raise where this is no architecture."""
        sizes = self.table.shape
        fits = isinstance(architecture, tuple | list) and len(architecture) == len(sizes)
        if not fits or not all(
            isinstance(k, int | np.integer) and 0 <= k < n
            for k, n in zip(architecture, sizes, strict=True)
        ):
            raise ValueError(f"expected an architecture for the sizes {sizes}: {architecture!r}")


def try_seeds(student, score, sizes, budget, seeds):
    """Search once with each seed."""
    found = []
    for seed in seeds:
        try:
            found.append(student.random_search(score, sizes, budget, seed))
        except ValueError as error:
            found.append(("ValueError", str(error)))
    return found


def random_trial(rng, sizes, budget, label, ties=False):
    seeds = [int(k) for k in rng.integers(0, 1 << 30, 2)]
    return Trial((Ask(Score(rng, sizes, ties), "score"), sizes, budget, seeds), label=label)


@rubric.task("random_search", driver=try_seeds)
def random_search(rng):
    """Two seeds each: a part of the space, the whole space, equal scores, too large a budget."""
    sizes = space(rng, 4)
    yield random_trial(rng, sizes, 12, "12 trials")
    sizes = space(rng, 3)
    yield random_trial(rng, sizes, int(np.prod(sizes)), "the whole space")
    yield random_trial(rng, space(rng, 3), 8, "equally good architectures", ties=True)
    sizes = space(rng, 2)
    yield random_trial(rng, sizes, int(np.prod(sizes)) + 1, "more trials than architectures")


@rubric.judge("random-results", random_search)
def wrong_search(trial, done):
    """Hold what was returned against what the grader was asked for."""
    score, sizes, budget, _ = trial.args
    asked = [tuple(int(k) for k in args[0]) for _, args in done.asked[0]]
    if budget > np.prod(sizes):
        if any(found[0] != "ValueError" for found in done.results[0]):
            return "no ValueError was raised"
        return f"{len(asked)} trials before the ValueError" if asked else None
    if len(asked) != 2 * budget:
        return f"two searches with a budget of {budget} called score {len(asked)} times"
    halves = asked[:budget], asked[budget:]
    for tried, found in zip(halves, done.results[0], strict=True):
        if len(set(tried)) != budget:
            return f"only {len(set(tried))} of {budget} architectures were different"
        values = [score.function(one) for one in tried]
        curve = [max(values[: k + 1]) for k in range(budget)]
        best = tried[values.index(max(values))]
        said = close()(found, (best, curve))
        if said:
            return said
    if halves[0] == halves[1]:
        return "two seeds gave the same architectures in the same order"
    if any(tried == sorted(tried) for tried in halves):
        return "the architectures were tried in ascending order, not at random"
    return None


class Learning:
    """Scores after some epochs of training: what starts well does not always end well."""

    def __init__(self, rng, candidates, ties):
        """Draw a curve for each candidate."""
        self.candidates, self.ties = candidates, ties
        self.ends, self.starts = rng.random((2, len(candidates)))

    def __call__(self, architecture, epochs):
        """Return the accuracy after `epochs`."""
        k = self.candidates.index(tuple(architecture))
        value = self.ends[k] + (self.starts[k] - self.ends[k]) * 0.8 ** float(epochs)
        return round(float(value), 1 if self.ties else 9)


def halving_trial(rng, number, ties, label):
    numbers = rng.permutation(4**3)[:number]
    candidates = [tuple(int(k) for k in np.unravel_index(n, (4, 4, 4))) for n in numbers]
    score, epochs = Learning(rng, candidates, ties), int(rng.integers(1, 4))
    rounds, left, length = [], list(range(number)), epochs
    while len(left) > 1:
        rounds.append([(candidates[k], length) for k in left])
        values = {k: score(candidates[k], length) for k in left}
        worse = sorted(left, key=lambda k: (values[k], -k))[: len(left) // 2]
        left, length = [k for k in left if k not in worse], 2 * length
    spent = sum(length for one in rounds for _, length in one)
    args = (Ask(score, "score"), candidates, epochs)
    return Trial(args, expected=((candidates[left[0]], spent), rounds), label=label)


@rubric.task("successive_halving")
def halving(rng):
    """Powers of two, odd numbers, equal scores, a single candidate."""
    for number in (8, 16):
        yield halving_trial(rng, number, False, f"{number} candidates")
    yield halving_trial(rng, 11, False, "11 candidates")
    yield halving_trial(rng, 12, True, "12 candidates, some equally good")
    yield halving_trial(rng, 1, False, "one candidate")


@rubric.judge("halving-results", halving)
def wrong_halving(trial, done):
    """Compare the result, and every training that was asked for."""
    right, rounds = trial.expected
    said = close()(done.results[0], right)
    asked = [(tuple(args[0]), args[1]) for _, args in done.asked[0]]
    number = sum(map(len, rounds))
    if len(asked) != number:
        return f"{number} trainings were to be asked for, not {len(asked)}"
    for place, one in enumerate(rounds):
        part, asked = asked[: len(one)], asked[len(one) :]
        if sorted(part) != sorted(one):
            return f"round {place + 1}: not the right candidates for {one[0][1]} epochs"
    return said


def sampled(rng, scale=1.0):
    sizes, m = space(rng, 3), int(rng.integers(3, 9))
    logits = [scale * rng.standard_normal(n) for n in sizes]
    architectures = [tuple(int(rng.integers(n)) for n in sizes) for _ in range(m)]
    return logits, architectures, [float(r) for r in rng.random(m)]


def gradient_of(logits, architectures, rewards, baseline):
    """Add up what each sample says, in logarithms."""
    total = [np.zeros(len(row)) for row in logits]
    for architecture, reward in zip(architectures, rewards, strict=True):
        for k, row in enumerate(logits):
            logs = row - row.max()
            logs = logs - np.log(np.exp(logs).sum())
            total[k] -= (reward - baseline) * np.exp(logs)
            total[k][architecture[k]] += reward - baseline
    return [g / len(architectures) for g in total]


@rubric.task("policy_gradient")
def policy(rng):
    """Several properties, no baseline, logits that overflow."""
    for label, baseline, scale in (
        ("a baseline", float(rng.random()), 1.0),
        ("no baseline", 0.0, 2.0),
        ("logits of about 1000", float(rng.random()), 1000.0),
    ):
        args = (*sampled(rng, scale), baseline)
        yield Trial(args, expected=gradient_of(*args), label=label)


rubric.results("policy-results", policy, close(1e-7, 1e-9))


def keeps_its_input(student, logits, *args):
    """Return the new logits, and the old ones as they are afterwards."""
    return student.reinforce_step(logits, *args), logits


@rubric.task("reinforce_step", driver=keeps_its_input)
def step(rng):
    """One step from drawn logits."""
    for _ in range(2):
        logits, architectures, rewards = sampled(rng)
        rate = float(rng.uniform(0.1, 3))
        g = gradient_of(logits, architectures, rewards, sum(rewards) / len(rewards))
        right = [row + rate * one for row, one in zip(logits, g, strict=True)], logits
        yield Trial((logits, architectures, rewards, rate), expected=right)


rubric.results("step-results", step, close(1e-7, 1e-9), partial=False)


def longest_first(costs, ranks):
    """Return the trials of each rank."""
    work, mine = [0] * ranks, [[] for _ in range(ranks)]
    for k in sorted(range(len(costs)), key=lambda k: (-costs[k], k)):
        rank = min(range(ranks), key=lambda r: (work[r], r))
        work[rank] += costs[k]
        mine[rank].append(k)
    return mine


@rubric.task("share_trials")
def share(rng):
    """Unequal and equal costs, more ranks than trials, one dear trial."""
    for ranks, number in ((1, 4), (2, 9), (3, 10), (4, 12), (7, 5), (7, 20)):
        sizes = (4, 4, 4)
        numbers = rng.permutation(64)[:number]
        tries = [tuple(int(k) for k in np.unravel_index(n, sizes)) for n in numbers]
        costs = [int(k) for k in rng.integers(1, 9, number)]
        costs[int(rng.integers(number))] = 30
        score = Score(rng, sizes)
        right = [score(one) for one in tries]
        args = [(tries, costs, Ask(score, "score"))] * ranks
        yield Trial(args, ranks, [right] * ranks, number, f"{number} trials")


rubric.results("share-results", share, close())


@rubric.judge("share-contract", share)
def wrong_share(trial, done):
    """Who asked for which score, and one allgather."""
    tries, costs, _ = trial.args[0]
    for rank, wanted in enumerate(longest_first(costs, trial.ranks)):
        asked = sorted(tuple(args[0]) for _, args in done.asked[rank])
        if asked != sorted(tries[k] for k in wanted):
            return (
                f"rank {rank} did {len(asked)} trials: not those that the rule names, which cost "
                f"{sum(costs[k] for k in wanted)} together"
            )
    verdict = Contract({"allgather": 1}, only=True).check(done.trace, trial.n)
    return None if verdict else str(verdict)


def search_of(rng, n):
    return [(int(rng.integers(1, 9)), float(s)) for s in rng.random(n)]


def within(trials, budget):
    spent, best = 0, float("nan")
    for cost, score in trials:
        spent += cost
        if spent > budget:
            break
        best = score if best != best else max(best, score)
    return best


def same(got, right):
    """Compare arrays in which nan stands where nothing is known."""
    for value in (got, right):
        if not isinstance(value, np.ndarray):
            return f"expected an array of shape {np.shape(right)}, got {value!r}"
    if got.shape != right.shape or got.dtype.kind not in "fiu":
        return f"expected an array of shape {right.shape}, got {got.dtype} of shape {got.shape}"
    if not np.array_equal(np.isnan(got), np.isnan(right)):
        return f"nan in the wrong places: expected {right.tolist()}, got {got.tolist()}"
    return close()(np.nan_to_num(got), np.nan_to_num(right))


def some_budgets(trials):
    ends = np.cumsum([cost for cost, _ in trials])
    return [0, int(ends[0]) - 1, int(ends[0]), int(ends[2]), int(ends[3]) - 1, int(ends[-1]) + 9]


@rubric.task("best_within")
def budgets(rng):
    """Budgets before, on and after the end of a trial; a cheap trial after a dear one."""
    for _ in range(2):
        trials = search_of(rng, 6)
        asked = some_budgets(trials)
        right = np.array([within(trials, b) for b in asked])
        yield Trial((trials, asked), expected=right, label=f"budgets {asked}")
    trials = [(2, 0.5), (50, 0.6), (1, 0.9)]
    right = np.array([0.5, 0.5, 0.6, 0.9])
    yield Trial((trials, [2, 10, 52, 53]), expected=right, label="cheap trials after a dear one")


rubric.results("budget-results", budgets, same)


@rubric.task("summary")
def summary(rng):
    """Some seeds, of which one is late."""
    for number in (4, 5):
        searches = [search_of(rng, 6) for _ in range(number)]
        searches[1][0] = (12, searches[1][0][1])
        asked = [9, 14, 25, 60]
        table = np.array([[within(trials, b) for b in asked] for trials in searches])
        right = np.array([np.quantile(table, q, axis=0) for q in (0.25, 0.5, 0.75)])
        yield Trial((searches, asked), expected=right, label=f"{number} searches")


rubric.results("summary-results", summary, same)
