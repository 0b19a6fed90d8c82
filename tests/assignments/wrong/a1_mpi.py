"""Wrong solutions of assignment 1, and what they earn."""

from tests.assignments.grading import Wrong, earns

JOIN = ("join-results", "join-contract")
ADD_UP = ("add-up-results", "add-up-contract")
MOMENTS = ("moments-results", "moments-contract")
HALO = ("halo-results", "halo-contract")
FIRST = ("first-number-results", "first-number-contract")


WRONG = [
    Wrong(
        "the loop of Bcast that was to go",
        "join",
        """
def join(comm, mine):
    return np.concatenate([comm.bcast(mine, root=k) for k in range(comm.size)])
""",
        earns(JOIN, 2, 0),
        "bcast",
    ),
    Wrong(
        "lengths of rank 0 taken for those of all",
        "join",
        """
def join(comm, mine):
    everything = np.empty(comm.size * len(mine))
    comm.Allgather(mine, everything)
    return everything
""",
        earns(JOIN, 0, 0),
    ),
    Wrong(
        "pickled lists instead of one buffer",
        "join",
        """
def join(comm, mine):
    return np.concatenate(comm.allgather(mine))
""",
        earns(JOIN, 2, 0),
        "Allgatherv",
    ),
    Wrong(
        "add written as overwrite: the largest is taken",
        "add-up",
        """
def add_up(comm, mine, root):
    total = np.zeros_like(mine) if comm.rank == root else None
    comm.Reduce(mine, total, op=MPI.MAX, root=root)
    return total
""",
        earns(ADD_UP, 0, 2),
        "numbers are wrong",
    ),
    Wrong(
        "root hard-coded to 0",
        "add-up",
        """
def add_up(comm, mine, root):
    total = np.empty_like(mine) if comm.rank == 0 else None
    comm.Reduce(mine, total, op=MPI.SUM, root=0)
    return total
""",
        earns(ADD_UP, 0, 0),
        "root",
    ),
    Wrong(
        "everybody gets the sum",
        "add-up",
        """
def add_up(comm, mine, root):
    total = np.empty_like(mine)
    comm.Allreduce(mine, total)
    return total if comm.rank == root else None
""",
        earns(ADD_UP, 2, 0),
        "Allreduce",
    ),
    Wrong(
        "the sum is added to the caller's own array",
        "add-up",
        """
def add_up(comm, mine, root):
    parts = comm.gather(mine, root=root)
    if comm.rank != root:
        return None
    for part in parts[1:]:
        mine += part
    return mine
""",
        earns(ADD_UP, 0, 0),
    ),
    Wrong(
        "an empty rank leaves early",
        "mean-and-variance",
        """
def mean_and_variance(comm, mine):
    if len(mine) == 0:
        return None
    count, total, squares = comm.allreduce(np.array([len(mine), mine.sum(), (mine**2).sum()]))
    return total / count, squares / count - (total / count) ** 2
""",
        earns(MOMENTS, 0, 0),
        "waits",
    ),
    Wrong(
        "the mean of the ranks' means",
        "mean-and-variance",
        """
def mean_and_variance(comm, mine):
    mine = mine if len(mine) else np.zeros(1)
    mean, var = comm.allreduce(np.array([mine.mean(), mine.var()])) / comm.size
    return float(mean), float(var)
""",
        earns(MOMENTS, 0, 2),
    ),
    Wrong(
        "accumulated in float32",
        "mean-and-variance",
        """
def mean_and_variance(comm, mine):
    local = np.array([len(mine), np.sum(mine), np.sum(mine**2)], dtype=np.float32)
    total = np.empty(3, np.float32)
    comm.Allreduce(local, total)
    mean = total[1] / total[0]
    return float(mean), float(total[2] / total[0] - mean**2)
""",
        earns(MOMENTS, 0, 2),
    ),
    Wrong(
        "everybody sends first: works for short rows only",
        "halo",
        """
def halo(comm, mine):
    above, below = np.zeros_like(mine[0]), np.zeros_like(mine[0])
    if comm.rank > 0:
        comm.Send(mine[0], comm.rank - 1)
    if comm.rank < comm.size - 1:
        comm.Send(mine[-1], comm.rank + 1)
    if comm.rank > 0:
        comm.Recv(above, comm.rank - 1)
    if comm.rank < comm.size - 1:
        comm.Recv(below, comm.rank + 1)
    return above, below
""",
        earns(HALO, 0, 0),
        "waits",
    ),
    Wrong(
        "a halo off by one: the first row goes both ways",
        "halo",
        """
def halo(comm, mine):
    up = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
    down = comm.rank + 1 if comm.rank < comm.size - 1 else MPI.PROC_NULL
    above, below = np.zeros_like(mine[0]), np.zeros_like(mine[0])
    comm.Sendrecv(mine[0], down, 0, above, up, 0)
    comm.Sendrecv(mine[0], up, 1, below, down, 1)
    return above, below
""",
        earns(HALO, 0, 2),
        "ranks",
    ),
    Wrong(
        "the image closed to a ring",
        "halo",
        """
def halo(comm, mine):
    up, down = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
    above, below = np.zeros_like(mine[0]), np.zeros_like(mine[0])
    comm.Sendrecv(mine[-1], down, 0, above, up, 0)
    comm.Sendrecv(mine[0], up, 1, below, down, 1)
    return above, below
""",
        earns(HALO, 0, 2),
    ),
    Wrong(
        "rank 0 gets None from exscan",
        "first-number",
        """
def first_number(comm, found):
    return comm.exscan(found)
""",
        earns(FIRST, 0, 2),
        "rank 0",
    ),
    Wrong(
        "all numbers brought to all ranks",
        "first-number",
        """
def first_number(comm, found):
    return sum(comm.allgather(found)[: comm.rank])
""",
        earns(FIRST, 2, 0),
        "allgather",
    ),
    Wrong(
        "the own clusters counted, too",
        "first-number",
        """
def first_number(comm, found):
    return comm.scan(found)
""",
        earns(FIRST, 0, 2),
    ),
]
