"""Wrong solutions of assignment 4, and what they earn."""

from tests.assignments.grading import Wrong, earns

GRADIENT = ("gradient-results", "gradient-contract")
HOLDER = ("holder-results", "holder-contract")
SEARCH = ("search-results", "search-shared")
CURVE = ("curve-efficiency", "curve-judgement")


REST_OF_CURVE = """
def serial_share(ranks, seconds):
    p, ratio = ranks[-1], seconds[-1] / seconds[0]
    return float((ratio - 1 / p) / (1 - 1 / p))


def worthwhile(ranks, seconds, least):
    return max(p for p, e in zip(ranks, efficiency(ranks, seconds)) if e >= least)
"""

WRONG = [
    Wrong(
        "a loop of broadcasts adds the gradients",
        "new-gradient",
        """
def new_gradient(comm, F, rows, change):
    total = np.array(F)
    for root in range(comm.size):
        total += comm.bcast(change @ rows, root=root)
    return total""",
        earns(GRADIENT, 3, 0),
        "bcast",
    ),
    Wrong(
        "the old gradient is added once for every rank",
        "new-gradient",
        """
def new_gradient(comm, F, rows, change):
    total = np.empty_like(F)
    comm.Allreduce(F + change @ rows, total)
    return total""",
        earns(GRADIENT, 0, 3),
    ),
    Wrong(
        "the old gradient is changed in place",
        "new-gradient",
        """
def new_gradient(comm, F, rows, change):
    total = np.empty_like(F)
    comm.Allreduce(change @ rows, total)
    F += total
    return F""",
        earns(GRADIENT, 0, 3),
        "item 1",
    ),
    Wrong(
        "added in float32",
        "new-gradient",
        """
def new_gradient(comm, F, rows, change):
    total = np.empty(len(F), np.float32)
    comm.Allreduce((change @ rows).astype(np.float32), total)
    return F + total""",
        earns(GRADIENT, 0, 0),
        "bytes",
    ),
    Wrong(
        "ranks without rows do not take part",
        "new-gradient",
        """
def new_gradient(comm, F, rows, change):
    if len(change) == 0:
        return F
    total = np.empty_like(F)
    comm.Allreduce(change @ rows, total)
    return F + total""",
        earns(GRADIENT, 0, 0),
        "waits",
    ),
    Wrong(
        "nobody looks like rank 0",
        "holder",
        """
def holder(comm, cached):
    everyone = np.empty((comm.size, len(cached)), np.int8)
    comm.Allgather(cached, everyone)
    return everyone.argmax(axis=0)""",
        earns(HOLDER, 0, 3),
    ),
    Wrong(
        "every rank broadcasts its own",
        "holder",
        """
def holder(comm, cached):
    everyone = np.array([comm.bcast(cached, root=r) for r in range(comm.size)])
    return np.where(everyone.any(axis=0), everyone.argmax(axis=0), -1)""",
        earns(HOLDER, 3, 0),
        "bcast",
    ),
    Wrong(
        "the highest rank instead of the lowest",
        "holder",
        """
def holder(comm, cached):
    everyone = np.empty((comm.size, len(cached)), np.int8)
    comm.Allgather(cached, everyone)
    last = comm.size - 1 - everyone[::-1].argmax(axis=0)
    return np.where(everyone.any(axis=0), last, -1)""",
        earns(HOLDER, 0, 3),
    ),
    Wrong(
        "the first holder seen from the own rank: every rank says something else",
        "holder",
        """
def holder(comm, cached):
    everyone = np.empty((comm.size, len(cached)), np.int8)
    comm.Allgather(cached, everyone)
    lowest = np.where(everyone.any(axis=0), everyone.argmax(axis=0), -1)
    return np.where(cached == 1, comm.rank, lowest)""",
        earns(HOLDER, 0, 3),
    ),
    Wrong(
        "everybody scores everything",
        "search",
        """
def search(comm, cells, score):
    scores = [score(*cell) for cell in cells]
    return scores, cells[int(np.argmax(scores))]""",
        earns(SEARCH, 3, 0),
        "has to be scored once",
    ),
    Wrong(
        "the rest of the division is forgotten",
        "search",
        """
def search(comm, cells, score):
    part = len(cells) // comm.size
    mine = [score(*cell) for cell in cells[comm.rank * part : (comm.rank + 1) * part]]
    scores = [value for values in comm.allgather(mine) for value in values]
    return scores, cells[int(np.argmax(scores))]""",
        earns(SEARCH, 0, 0),
    ),
    Wrong(
        "the last rank gets the whole rest",
        "search",
        """
def search(comm, cells, score):
    part = len(cells) // comm.size
    end = len(cells) if comm.rank == comm.size - 1 else (comm.rank + 1) * part
    mine = [score(*cell) for cell in cells[comm.rank * part : end]]
    scores = [value for values in comm.allgather(mine) for value in values]
    return scores, cells[int(np.argmax(scores))]""",
        earns(SEARCH, 3, 1.8),
        "fair share",
    ),
    Wrong(
        "results in the order in which ranks found them",
        "search",
        """
def search(comm, cells, score):
    mine = [score(*cells[k]) for k in range(comm.rank, len(cells), comm.size)]
    scores = [value for values in comm.allgather(mine) for value in values]
    return scores, cells[int(np.argmax(scores))]""",
        earns(SEARCH, 0.6, 3),
    ),
    Wrong(
        "efficiency as if the curve began at one rank",
        "curve",
        """
def efficiency(ranks, seconds):
    return seconds[0] / np.asarray(seconds) / np.asarray(ranks)
"""
        + REST_OF_CURVE,
        earns(CURVE, 0.67, 3.43),
    ),
    Wrong(
        "stops at the first number of ranks below the demand",
        "curve",
        """
def efficiency(ranks, seconds):
    return seconds[0] * ranks[0] / (np.asarray(seconds) * np.asarray(ranks))


def serial_share(ranks, seconds):
    return float(1 - efficiency(ranks, seconds)[-1])


def worthwhile(ranks, seconds, least):
    best = ranks[0]
    for p, e in zip(ranks, efficiency(ranks, seconds)):
        if e < least:
            break
        best = p
    return best""",
        earns(CURVE, 2, 2.29),
    ),
]
