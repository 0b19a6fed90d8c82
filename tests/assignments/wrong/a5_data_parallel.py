"""Wrong solutions of assignment 5, and what they earn."""

from tests.assignments.grading import Wrong, earns

ROWS = ("rows-results",)
WEIGHTS = ("weights-results", "weights-contract")
AVERAGE = ("average-results", "average-contract")
RATE = ("rate-results",)
TRAIN = ("train-results", "train-contract")
PLAN = ("plan-steps",)
PARTS = ("my-rows", "first-weights", "batch-gradient", "learning-rate")  # what train stands on


TRAINING = """
def train(comm, W, X, y, orders, batch_size, base, warmup):
    W, step = {first}, 0
    for order in orders:
        for k in range({steps}):
            rows = my_rows(order, k, batch_size, comm.rank, comm.size)
            g = gradient(W, X[rows], y[rows])
            {average}
            W = W - learning_rate(step, base, {size}, warmup) * g
            step += 1
    return W
"""
USUAL = {
    "first": "first_weights(comm, W)",
    "steps": "-(-len(order) // batch_size)",
    "average": "g = batch_gradient(comm, g, len(rows))",
    "size": "comm.size",
}

WRONG = [
    Wrong(
        "the rest of the division is forgotten",
        "my-rows",
        """
def my_rows(order, step, batch_size, rank, size):
    batch = order[step * batch_size : (step + 1) * batch_size]
    share = len(batch) // size
    return batch[rank * share : (rank + 1) * share]""",
        earns(ROWS, 0),
        "each once",
    ),
    Wrong(
        "fewer rows than ranks: some rows are taken twice",
        "my-rows",
        """
def my_rows(order, step, batch_size, rank, size):
    batch = order[step * batch_size : (step + 1) * batch_size]
    share = -(-len(batch) // size)
    return np.array([batch[k % len(batch)] for k in range(rank * share, (rank + 1) * share)])""",
        earns(ROWS, 0),
        "each once",
    ),
    Wrong(
        "rounded up: the last ranks go without",
        "my-rows",
        """
def my_rows(order, step, batch_size, rank, size):
    batch = order[step * batch_size : (step + 1) * batch_size]
    share = -(-len(batch) // size)
    return batch[rank * share : (rank + 1) * share]""",
        earns(ROWS, 0.75),
        "not fair",
    ),
    Wrong(
        "the last batch is as large as the others, and begins earlier",
        "my-rows",
        """
def my_rows(order, step, batch_size, rank, size):
    low = min(step * batch_size, len(order) - batch_size)
    return order[low : low + batch_size][rank::size]""",
        earns(ROWS, 0),
        "each once",
    ),
    Wrong(
        "everybody keeps its own weights",
        "first-weights",
        """
def first_weights(comm, W):
    comm.Bcast(W.copy(), root=0)
    return W""",
        earns(WEIGHTS, 0, 2),
        "numbers are wrong",
    ),
    Wrong(
        "the mean of all ranks' weights",
        "first-weights",
        """
def first_weights(comm, W):
    total = np.empty_like(W)
    comm.Allreduce(W, total)
    return total / comm.size""",
        earns(WEIGHTS, 0, 0),
        "Allreduce",
    ),
    Wrong(
        "a loop of messages instead of a broadcast",
        "first-weights",
        """
def first_weights(comm, W):
    W = W.copy()
    if comm.rank == 0:
        for rank in range(1, comm.size):
            comm.Send(W, rank)
    else:
        comm.Recv(W, 0)
    return W""",
        earns(WEIGHTS, 2, 0),
        "Bcast",
    ),
    Wrong(
        "broadcast into the caller's own array",
        "first-weights",
        """
def first_weights(comm, W):
    comm.Bcast(W, root=0)
    return W""",
        earns(WEIGHTS, 0, 2),
        "item 1",
    ),
    Wrong(
        "the mean of the ranks' means",
        "batch-gradient",
        """
def batch_gradient(comm, g, rows):
    total = np.empty_like(g)
    comm.Allreduce(g, total)
    return total / comm.size""",
        earns(AVERAGE, 0, 3),
    ),
    Wrong(
        "the gradient and the number of rows in two messages",
        "batch-gradient",
        """
def batch_gradient(comm, g, rows):
    total = np.empty_like(g)
    comm.Allreduce(rows * g, total)
    return total / comm.allreduce(rows)""",
        earns(AVERAGE, 4, 0),
        "allreduce",
    ),
    Wrong(
        "a rank without rows leaves early",
        "batch-gradient",
        """
def batch_gradient(comm, g, rows):
    if rows == 0:
        return g
    mine = np.append(rows * g.ravel(), float(rows))
    total = np.empty_like(mine)
    comm.Allreduce(mine, total)
    return (total[:-1] / total[-1]).reshape(g.shape)""",
        earns(AVERAGE, 0, 0),
        "waits",
    ),
    Wrong(
        "added in float32",
        "batch-gradient",
        """
def batch_gradient(comm, g, rows):
    mine = np.append(rows * g.ravel(), rows).astype(np.float32)
    total = np.empty_like(mine)
    comm.Allreduce(mine, total)
    return (total[:-1] / total[-1]).reshape(g.shape).astype(float)""",
        earns(AVERAGE, 0, 3),
    ),
    Wrong(
        "only the root has the gradient",
        "batch-gradient",
        """
def batch_gradient(comm, g, rows):
    mine = np.append(rows * g.ravel(), float(rows))
    total = np.zeros_like(mine)
    comm.Reduce(mine, total, root=0)
    return (total[:-1] / max(1, total[-1])).reshape(g.shape)""",
        earns(AVERAGE, 0, 0),
        "Reduce",
    ),
    Wrong(
        "no warm-up",
        "learning-rate",
        """
def learning_rate(step, base, size, warmup):
    return base * size""",
        earns(RATE, 0.75),
    ),
    Wrong(
        "the climb begins at 0",
        "learning-rate",
        """
def learning_rate(step, base, size, warmup):
    return base * size * min(1, step / warmup) if warmup else base * size""",
        earns(RATE, 0.75),
    ),
    Wrong(
        "scaled by the root of the number of ranks",
        "learning-rate",
        """
def learning_rate(step, base, size, warmup):
    climbed = min(1, step / warmup) if warmup else 1
    return base * (1 + (size**0.5 - 1) * climbed)""",
        earns(RATE, 0),
    ),
    Wrong(
        "divides by a warm-up of 0",
        "learning-rate",
        """
def learning_rate(step, base, size, warmup):
    return base * (1 + (size - 1) * min(1, step / warmup))""",
        earns(RATE, 2.25),
        "ZeroDivisionError",
    ),
    Wrong(
        "every rank begins with its own weights",
        "train",
        TRAINING.format(**{**USUAL, "first": "W"}),
        earns(TRAIN, 0, 0),
        "Bcast",
        uses=PARTS,
    ),
    Wrong(
        "a rank without rows skips the step",
        "train",
        TRAINING.format(
            **{**USUAL, "average": "g = batch_gradient(comm, g, len(rows)) if len(rows) else g"}
        ),
        earns(TRAIN, 0, 0),
        "waits",
        uses=PARTS,
    ),
    Wrong(
        "the last, smaller batch is left out",
        "train",
        TRAINING.format(**{**USUAL, "steps": "len(order) // batch_size"}),
        earns(TRAIN, 0, 0),
        "Allreduce",
        uses=PARTS,
    ),
    Wrong(
        "the learning rate of one rank",
        "train",
        TRAINING.format(**{**USUAL, "size": "1"}),
        earns(TRAIN, 0, 3),
        uses=PARTS,
    ),
    Wrong(
        "ranks train on their own and average the weights in the end",
        "train",
        TRAINING.format(**{**USUAL, "average": "pass"}).replace(
            "return W", "return batch_gradient(comm, W, 1)"
        ),
        earns(TRAIN, 0, 0),
        "Allreduce",
        uses=PARTS,
    ),
    Wrong(
        "the batch of one rank, whatever their number",
        "plan",
        """
def plan(size):
    return {"batch_size": 32, "base": 0.1, "warmup": 8, "epochs": 8}""",
        earns(PLAN, 1),
        "steps, at most",
    ),
    Wrong(
        "quick, and misses the accuracy",
        "plan",
        """
def plan(size):
    return {"batch_size": 32 * size, "base": 1e-4, "warmup": 0, "epochs": 2}""",
        earns(PLAN, 0),
        "an accuracy of",
    ),
]
