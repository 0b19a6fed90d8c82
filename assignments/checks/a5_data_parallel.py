"""What decides the marks of assignment 5: equality with the joined batch, contracts, steps."""

import numpy as np

from course.grading import RANKS, Contract, Rubric, Trial, close, draws

rubric = Rubric(
    hidden=[
        "course.deep.distributed",
        "course.deep.callbacks",
        "course.deep.sharding",
        "course.mpi.partition",
    ]
)
EXACT = close(1e-9, 1e-11)  # other orders of summation, but not float32


def joined_gradient(W, X, y):
    """The mean gradient of the cross-entropy, row by row."""
    total = np.zeros_like(W)
    for row, label in zip(X, y, strict=True):
        z = row @ W
        p = np.exp(z - z.max())
        p /= p.sum()
        p[label] -= 1
        total += np.outer(row, p)
    return total / max(1, len(X))


def rate_of(step, base, size, warmup):
    return base * size if step >= warmup else base + base * (size - 1) * step / warmup


def everybody(student, order, batch_size, size):
    """Return what each rank takes in each step."""
    steps = -(-len(order) // batch_size)
    return [
        [student.my_rows(order.copy(), k, batch_size, rank, size) for rank in range(size)]
        for k in range(steps)
    ]


@rubric.task("my_rows", driver=everybody)
def rows(rng):
    """Last batches that are smaller, and smaller than the number of ranks."""
    for size in RANKS:
        batch = size + int(rng.integers(1, 9))
        left = int(rng.integers(1, max(2, size)))  # in the last batch: fewer rows than ranks
        order = rng.permutation(2 * batch + left)
        label = f"{size} rank{'s' * (size > 1)}, batches of {batch}, {batch} and {left} rows"
        yield Trial((order, batch, size), label=label, weight=float(size > 1))


@rubric.judge("rows-results", rows)
def wrong_rows(trial, done):
    """Each row of a batch once, and fair shares."""
    order, batch, _ = trial.args
    for step, ranks in enumerate(done.results[0]):
        if not all(isinstance(rows, np.ndarray) and rows.ndim == 1 for rows in ranks):
            return f"step {step}: expected an array of rows for each rank, got {ranks}"
        lengths = [len(rows) for rows in ranks]
        wanted = np.sort(order[step * batch : (step + 1) * batch])
        if not np.array_equal(np.sort(np.concatenate(ranks)), wanted):
            return f"step {step}: the ranks' rows ({lengths}) are not those of the batch, each once"
        if max(lengths) - min(lengths) > 1:
            return f"step {step}: the ranks' shares of {lengths} rows are not fair"
    return None


def keeps_its_input(student, comm, W):
    """Return the new weights, and the own ones as they are afterwards."""
    return student.first_weights(comm, W), W


@rubric.task("first_weights", driver=keeps_its_input)
def weights(rng):
    """Every rank drew its own."""
    for ranks in RANKS:
        shape = tuple(int(k) for k in rng.integers(2, 9, 2))
        drawn = rng.standard_normal((ranks, *shape))
        right = [(drawn[0], own) for own in drawn]
        yield Trial([(own,) for own in drawn], ranks, right, drawn[0].size)


rubric.results("weights-results", weights)
rubric.contract(
    "weights-contract",
    weights,
    Contract({"Bcast": 1}, bytes={"Bcast": "<= 8 * n"}, roots={"Bcast": 0}, only=True),
)


@rubric.task("batch_gradient")
def average(rng):
    """Shards of unequal size, one of them empty; fewer rows than ranks on seven."""
    for ranks in RANKS:
        n = int(rng.integers(3, 6)) if ranks == 7 else int(rng.integers(ranks + 3, 40))
        X, y, W = rng.standard_normal((n, 6)), rng.integers(0, 4, n), rng.standard_normal((6, 4))
        places = draws.parts(rng, rng.permutation(n), ranks)
        args = [(joined_gradient(W, X[p], y[p]), len(p)) for p in places]
        right = joined_gradient(W, X, y)
        yield Trial(args, ranks, [right] * ranks, W.size, draws.lengths(places))


rubric.results("average-results", average, EXACT)
rubric.contract(
    "average-contract",
    average,
    Contract({"Allreduce": 1}, bytes={"Allreduce": "<= 8 * (n + 1)"}, only=True),
)


def rates(student, steps, base, size, warmup):
    """Return the rates of many steps."""
    return [float(student.learning_rate(step, base, size, warmup)) for step in steps]


@rubric.task("learning_rate", driver=rates)
def rate(rng):
    """The climb, its ends, and no climb."""
    for size in (2, 8, 96):
        base, warmup = float(rng.uniform(0.01, 0.5)), int(rng.integers(3, 50))
        steps = [0, 1, warmup - 1, warmup, warmup + 1, 10 * warmup]
        right = [rate_of(step, base, size, warmup) for step in steps]
        label = f"{size} ranks, warm-up of {warmup} steps"
        yield Trial((steps, base, size, warmup), expected=right, label=label)
    base = float(rng.uniform(0.01, 0.5))
    right = [base * 4, base * 4]
    yield Trial(([0, 7], base, 4, 0), expected=right, label="4 ranks, no warm-up")


rubric.results("rate-results", rate, close())


@rubric.task("train", seconds=30)
def train(rng):
    """Two epochs whose last batch has fewer rows than there are ranks."""
    for ranks in RANKS:
        batch = ranks + int(rng.integers(1, 6))
        n = 2 * batch + int(rng.integers(1, max(2, ranks)))
        X, y = rng.standard_normal((n, 5)), rng.integers(0, 3, n)
        orders = [rng.permutation(n) for _ in range(2)]
        drawn = rng.standard_normal((ranks, 5, 3))
        base, warmup = float(rng.uniform(0.1, 0.5)), int(rng.integers(2, 5))
        W, step = drawn[0], 0
        for order in orders:
            for low in range(0, n, batch):
                picked = order[low : low + batch]
                g = joined_gradient(W, X[picked], y[picked])
                W, step = W - rate_of(step, base, ranks, warmup) * g, step + 1
        args = [(own, X, y, orders, batch, base, warmup) for own in drawn]
        yield Trial(args, ranks, [W] * ranks, step, f"{n} rows in batches of {batch}")


rubric.results("train-results", train, EXACT)
rubric.contract(
    "train-contract",
    train,
    Contract({"Bcast": 1, "Allreduce": "n"}, bytes={"Allreduce": "<= 8 * 16 * n"}, only=True),
)


@rubric.task("plan")
def plan(rng):
    """The plan is the student's, the training is the grader's."""
    seed = int(rng.integers(1 << 40))
    for size in (1, 2, 4, 8):
        yield Trial((size,), expected=seed, label=f"plan for {size} rank{'s' * (size > 1)}")


def scene(rng, n):
    """The notebook's kind of data."""
    centres = 1.7 * rng.standard_normal((5, 8))
    y = rng.integers(0, 5, 2 * n)
    X = np.hstack([centres[y] + rng.standard_normal((2 * n, 8)), np.ones((2 * n, 1))])
    return X[:n], y[:n], X[n:], y[n:]


def reached(seed, batch, base, size, warmup, epochs):
    """Train in this process; return the accuracy."""
    rng = np.random.default_rng(seed)
    X, y, X_test, y_test = scene(rng, 1000)
    W, step = np.zeros((9, 5)), 0
    for _ in range(epochs):
        order = rng.permutation(1000)
        for low in range(0, 1000, batch):
            picked = order[low : low + batch]
            Z = X[picked] @ W
            P = np.exp(Z - Z.max(axis=1, keepdims=True))
            P /= P.sum(axis=1, keepdims=True)
            P[np.arange(len(picked)), y[picked]] -= 1
            W = W - rate_of(step, base, size, warmup) * (X[picked].T @ P) / len(picked)
            step += 1
    return float(((X_test @ W).argmax(axis=1) == y_test).mean())


@rubric.judge("plan-steps", plan)
def wrong_plan(trial, done):
    """Few steps count only at the demanded accuracy."""
    (size,), found, names = trial.args, done.results[0], ("batch_size", "base", "warmup", "epochs")
    if not isinstance(found, dict) or set(found) != set(names):
        return f"expected a dictionary with {', '.join(names)}, got {found!r}"
    batch, base, warmup, epochs = (found[name] for name in names)
    whole = all(type(k) is int for k in (batch, warmup, epochs))
    if not whole or not isinstance(base, int | float) or not 0 < base < 1e6:
        return f"expected whole numbers and a positive rate, got {found!r}"
    if not 1 <= batch <= 32 * size or warmup < 0 or not 1 <= epochs <= 100:
        return f"expected a batch of at most {32 * size} rows and at least one epoch, got {found!r}"
    steps = epochs * -(-1000 // batch)
    if steps > 256 / size:
        return f"{steps} steps, at most {256 / size:g} were allowed"
    scenes = range(trial.expected, trial.expected + 3)
    wanted = np.mean([reached(s, 32, 0.1, 1, 0, 40) for s in scenes]) - 0.03
    got = np.mean([reached(s, batch, base, size, warmup, epochs) for s in scenes])
    if got < wanted:
        return f"an accuracy of {got:.3f} after {steps} steps, at least {wanted:.3f} was asked for"
    return None
