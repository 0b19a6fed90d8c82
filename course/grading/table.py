"""Which MPI calls a graded function can make, and what kind each of their arguments is.

One row per method of mpi4py's communicator: the names of its parameters in mpi4py's order,
each with its kind. Both ends of the wire read the same table: `course.grading.remote` in the
student's process, and `course.grading.agent`, which makes the call.

Kinds: ``obj`` an object that is pickled by the student and unpickled by a student; ``objs`` a
list of such, one per rank; ``num`` a value that the library itself adds up, so it has to be
plain data; ``in`` and ``out`` buffers; ``op`` an operation; ``int`` a whole number; ``status``
a status to be filled in; ``any`` other plain data.
"""

_SEND = ("obj:obj", "dest:int", "tag:int=0")
_RECV = ("buf:any=None", "source:int=ANY_SOURCE", "tag:int=ANY_TAG", "status:status=None")
_PROBE = _RECV[1:]
_BUF_SEND = ("buf:in", "dest:int", "tag:int=0")
_BUF_RECV = ("buf:out", "source:int=ANY_SOURCE", "tag:int=ANY_TAG", "status:status=None")
_TWO = ("sendbuf:in", "recvbuf:out")
_ADD = ("sendbuf:in", "recvbuf:out", "op:op=SUM")
_NUM = ("sendobj:num", "op:op=SUM")

# name: (parameters, what comes back)
CALLS: dict[str, tuple[tuple[str, ...], str]] = {
    **{name: (_SEND, "none") for name in ("send", "ssend", "bsend")},
    **{name: (_SEND, "request") for name in ("isend", "issend", "ibsend")},
    "recv": (_RECV, "obj"),
    "irecv": (_RECV[:3], "request"),
    "sendrecv": (
        ("sendobj:obj", "dest:int", "sendtag:int=0", "recvbuf:any=None")
        + ("source:int=ANY_SOURCE", "recvtag:int=ANY_TAG", "status:status=None"),
        "obj",
    ),
    **{name: (_PROBE, "plain") for name in ("probe", "iprobe", "Probe", "Iprobe")},
    **{name: (_BUF_SEND, "none") for name in ("Send", "Ssend", "Bsend", "Rsend")},
    **{name: (_BUF_SEND, "request") for name in ("Isend", "Issend", "Ibsend", "Irsend")},
    "Recv": (_BUF_RECV, "none"),
    "Irecv": (_BUF_RECV[:3], "request"),
    "Sendrecv": (
        ("sendbuf:in", "dest:int", "sendtag:int=0", "recvbuf:out=None")
        + ("source:int=ANY_SOURCE", "recvtag:int=ANY_TAG", "status:status=None"),
        "none",
    ),
    "Sendrecv_replace": (
        ("buf:out", "dest:int", "sendtag:int=0", "source:int=ANY_SOURCE")
        + ("recvtag:int=ANY_TAG", "status:status=None"),
        "none",
    ),
    "barrier": ((), "none"),
    "Barrier": ((), "none"),
    "Ibarrier": ((), "request"),
    "bcast": (("obj:obj", "root:int=0"), "obj"),
    "scatter": (("sendobj:objs", "root:int=0"), "obj"),
    "gather": (("sendobj:obj", "root:int=0"), "objs"),
    "allgather": (("sendobj:obj",), "objs"),
    "alltoall": (("sendobj:objs",), "objs"),
    "reduce": ((*_NUM, "root:int=0"), "plain"),
    **{name: (_NUM, "plain") for name in ("allreduce", "scan", "exscan")},
    **{name: (("buf:out", "root:int=0"), "none") for name in ("Bcast",)},
    "Ibcast": (("buf:out", "root:int=0"), "request"),
    **{name: ((*_TWO, "root:int=0"), "none") for name in ("Gather", "Gatherv")},
    **{name: ((*_TWO, "root:int=0"), "request") for name in ("Igather", "Igatherv")},
    **{name: ((*_TWO, "root:int=0"), "none") for name in ("Scatter", "Scatterv")},
    **{name: ((*_TWO, "root:int=0"), "request") for name in ("Iscatter", "Iscatterv")},
    **{name: (_TWO, "none") for name in ("Allgather", "Allgatherv", "Alltoall", "Alltoallv")},
    **{name: (_TWO, "request") for name in ("Iallgather", "Iallgatherv")},
    **{name: (_TWO, "request") for name in ("Ialltoall", "Ialltoallv")},
    "Reduce": ((*_ADD, "root:int=0"), "none"),
    "Ireduce": ((*_ADD, "root:int=0"), "request"),
    **{name: (_ADD, "none") for name in ("Allreduce", "Scan", "Exscan", "Reduce_scatter_block")},
    **{name: (_ADD, "request") for name in ("Iallreduce", "Iscan", "Iexscan")},
    "Reduce_scatter": ((*_TWO, "recvcounts:any=None", "op:op=SUM"), "none"),
    "Dup": ((), "comm"),
    "Clone": ((), "comm"),
    "Split": (("color:int=0", "key:int=0"), "comm"),
    "Create_cart": (("dims:any", "periods:any=None", "reorder:any=False"), "comm"),
    "Sub": (("remain_dims:any",), "comm"),
    "Shift": (("direction:int", "disp:int"), "plain"),
    "Get_coords": (("rank:int",), "plain"),
    "Get_cart_rank": (("coords:any",), "plain"),
    "Get_topo": ((), "plain"),
    "Free": ((), "none"),
}

WAITS = ("wait", "Wait", "test", "Test", "Cancel", "cancel", "Free")
WAITS_ON_MANY = (
    *("waitall", "Waitall", "testall", "Testall", "waitany", "Waitany"),
    *("testany", "Testany", "waitsome", "Waitsome", "testsome", "Testsome"),
)
OPERATIONS = (
    *("SUM", "MAX", "MIN", "PROD", "LAND", "BAND", "LOR", "BOR", "LXOR", "BXOR"),
    *("MAXLOC", "MINLOC", "REPLACE", "NO_OP"),
)
DATATYPES = (
    *("BYTE", "CHAR", "SHORT", "INT", "LONG", "LONG_LONG", "FLOAT", "DOUBLE", "BOOL", "C_BOOL"),
    *("SIGNED_CHAR", "UNSIGNED_CHAR", "UNSIGNED_SHORT", "UNSIGNED", "UNSIGNED_LONG"),
    *("UNSIGNED_LONG_LONG", "INT8_T", "INT16_T", "INT32_T", "INT64_T", "UINT8_T", "UINT16_T"),
    *("UINT32_T", "UINT64_T", "COMPLEX", "DOUBLE_COMPLEX", "C_FLOAT_COMPLEX"),
    *("C_DOUBLE_COMPLEX", "LONG_DOUBLE", "INT_INT", "DOUBLE_INT", "FLOAT_INT"),
)
