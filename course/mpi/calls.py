"""The MPI calls that a trace records, by what they do. The order numbers them in a file."""

SEND = ("Send", "Ssend", "Bsend", "Rsend", "send", "ssend", "bsend")
ISEND = ("Isend", "Issend", "Ibsend", "Irsend", "isend", "issend", "ibsend")
RECV = ("Recv", "recv")
IRECV = ("Irecv", "irecv")
SENDRECV = ("Sendrecv", "Sendrecv_replace", "sendrecv")
PROBE = ("Probe", "probe")
IPROBE = ("Iprobe", "iprobe")
MPROBE = ("Mprobe", "mprobe")
IMPROBE = ("Improbe", "improbe")
SEND_INIT = ("Send_init", "Ssend_init", "Bsend_init", "Rsend_init")
RECV_INIT = ("Recv_init",)

_ROOTED = ("Bcast", "Reduce", "Gather", "Gatherv", "Scatter", "Scatterv")
_EVERYONE = (
    "Allreduce",
    "Scan",
    "Exscan",
    "Allgather",
    "Allgatherv",
    "Alltoall",
    "Alltoallv",
    "Alltoallw",
    "Reduce_scatter",
    "Reduce_scatter_block",
    "Barrier",
)
_LOWER_ROOTED = ("bcast", "reduce", "gather", "scatter")
_LOWER_EVERYONE = ("allreduce", "scan", "exscan", "allgather", "alltoall", "barrier")
_NEIGHBOURS = ("Neighbor_allgather", "Neighbor_alltoall", "neighbor_allgather", "neighbor_alltoall")

ROOTED = (*_ROOTED, *_LOWER_ROOTED)
COLLECTIVE = (*ROOTED, *_EVERYONE, *_LOWER_EVERYONE, *_NEIGHBOURS)
ICOLLECTIVE = tuple("I" + name.lower() for name in (*_ROOTED, *_EVERYONE))
IROOTED = tuple("I" + name.lower() for name in _ROOTED)
CREATE = (
    "Dup",
    "Clone",
    "Split",
    "Split_type",
    "Create",
    "Create_group",
    "Create_cart",
    "Create_graph",
    "Create_dist_graph",
    "Create_dist_graph_adjacent",
    "Sub",
)

WAIT = ("Wait", "wait", "Waitall", "waitall")
WAIT_ANY = ("Waitany", "waitany", "Waitsome", "waitsome")
TEST = ("Test", "test", "Testall", "testall", "Testany", "testany", "Testsome", "testsome")
START = ("Start", "Startall")

WINDOW_CREATE = ("Win.Create", "Win.Allocate", "Win.Allocate_shared", "Win.Create_dynamic")
WINDOW_COLLECTIVE = ("Fence", "Win.Free")
ACCESS = (
    "Put",
    "Get",
    "Accumulate",
    "Get_accumulate",
    "Fetch_and_op",
    "Compare_and_swap",
    "Rput",
    "Rget",
    "Raccumulate",
)
LOCK = ("Lock", "Lock_all", "Unlock", "Unlock_all", "Flush", "Flush_all")
EPOCH = ("Win.Start", "Win.Complete", "Win.Post", "Win.Wait")
ABORT = ("Abort",)
MARKS = ("(end)", "(request)")

NAMES = [
    *MARKS,
    *SEND,
    *ISEND,
    *RECV,
    *IRECV,
    *SENDRECV,
    *PROBE,
    *IPROBE,
    *MPROBE,
    *IMPROBE,
    *SEND_INIT,
    *RECV_INIT,
    *COLLECTIVE,
    *ICOLLECTIVE,
    *CREATE,
    *WAIT,
    *WAIT_ANY,
    *TEST,
    *START,
    *WINDOW_CREATE,
    *WINDOW_COLLECTIVE,
    *ACCESS,
    *LOCK,
    *EPOCH,
    *ABORT,
]
CODES = {name: code for code, name in enumerate(NAMES)}

# Calls that may return before a partner takes part: whether they block is the library's choice.
MAY_BUFFER = {*SEND, *_ROOTED, *_LOWER_ROOTED, "Scan", "Exscan", "scan", "exscan"} - {
    "Ssend",
    "ssend",
}
REDUCTIONS = {"Reduce", "Allreduce", "Scan", "Exscan", "Reduce_scatter", "Reduce_scatter_block"}
REDUCTIONS |= {name.lower() for name in REDUCTIONS} | {"I" + name.lower() for name in REDUCTIONS}
EVERY_RANK_THE_SAME = {"Bcast", "Reduce", "Allreduce", "Scan", "Exscan"}
