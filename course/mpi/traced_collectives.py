"""Recording versions of mpi4py's collectives; see `course.mpi.traced`."""

from typing import Any

from mpi4py import MPI

from course.mpi import calls
from course.mpi.recorder import measure, recorder
from course.mpi.records import NONE, PICKLED
from course.mpi.traced_calls import (
    UNKNOWN,
    Method,
    carry_out,
    handed,
    operation,
    plain,
)
from course.mpi.traced_requests import TracedRequest


def bcast(name: str, base: Method) -> Method:
    """Bcast and bcast: what the root hands out."""
    pickled = name[0].islower()

    def method(self: Any, buf: Any = None, root: int = 0) -> Any:
        what = UNKNOWN if pickled else measure(buf)
        slot = recorder().enter(name, self.number, PICKLED * pickled, plain(root), what=what)
        return carry_out(self, base, (buf, root), slot, name if pickled else "")

    return method


def barrier(name: str, base: Method) -> Method:
    """Barrier and barrier."""

    def method(self: Any) -> Any:
        return carry_out(self, base, (), recorder().enter(name, self.number))

    return method


def reduce(name: str, base: Method) -> Method:
    """Reductions and scans: what this rank puts in, and the operation."""
    rooted = name.lower() == "reduce"
    if name[0].islower():

        def lower(self: Any, sendobj: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
            to = plain(root) if rooted else NONE
            tag = operation(op)
            slot = recorder().enter(name, self.number, PICKLED, to, tag, what=UNKNOWN)
            args = (sendobj, op, root) if rooted else (sendobj, op)
            return carry_out(self, base, args, slot, name)

        return lower

    def upper(self: Any, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
        to, what = plain(root) if rooted else NONE, handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, to, operation(op), what=what)
        args = (sendbuf, recvbuf, op, root) if rooted else (sendbuf, recvbuf, op)
        return carry_out(self, base, args, slot)

    return upper


def reduce_scatter(name: str, base: Method) -> Method:
    """Reductions of which each rank gets a part."""

    def method(
        self: Any, sendbuf: Any, recvbuf: Any, recvcounts: Any = None, op: Any = MPI.SUM
    ) -> Any:
        what = handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, NONE, operation(op), what=what)
        return carry_out(self, base, (sendbuf, recvbuf, recvcounts, op), slot)

    def block(self: Any, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> Any:
        what = handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, NONE, operation(op), what=what)
        return carry_out(self, base, (sendbuf, recvbuf, op), slot)

    return block if name.endswith("_block") else method


def exchange(name: str, base: Method) -> Method:
    """Gather, scatter, allgather, alltoall: what this rank hands over, or a scatter's share."""
    rooted, scatters = name in calls.ROOTED, name in ("Scatter", "Scatterv")
    if name[0].islower():

        def lower(self: Any, sendobj: Any = None, root: int = 0) -> Any:
            to = plain(root) if rooted else NONE
            slot = recorder().enter(name, self.number, PICKLED, to, what=UNKNOWN)
            return carry_out(self, base, (sendobj, root) if rooted else (sendobj,), slot, name)

        return lower

    def upper(self: Any, sendbuf: Any, recvbuf: Any, root: int = 0) -> Any:
        to = plain(root) if rooted else NONE
        mine, all_parts = (recvbuf, sendbuf) if scatters else (sendbuf, recvbuf)
        what, room = handed(mine, all_parts, self.size), measure(all_parts)[1]
        slot = recorder().enter(name, self.number, 0, to, what=what, room=room)
        return carry_out(
            self, base, (sendbuf, recvbuf, root) if rooted else (sendbuf, recvbuf), slot
        )

    return upper


def icollective(name: str, base: Method) -> Method:
    """The non-blocking form of a collective: the same record, and a request."""
    rooted = name in calls.IROOTED
    reduces, scatters = name in calls.REDUCTIONS, name in ("Iscatter", "Iscatterv")

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        rec = recorder()
        number, position = rec.request(), 1 if name == "Ibcast" else 3 if name == "Ireduce" else 2
        root = kwargs.get("root", args[position] if len(args) > position else 0)
        op = kwargs.get("op", args[2] if len(args) > 2 else MPI.SUM) if reduces else None
        first = args[0] if args else kwargs.get("sendbuf", kwargs.get("buf"))
        second = args[1] if len(args) > 1 else kwargs.get("recvbuf")
        if scatters:
            first, second = second, first
        what = handed(first, second, 1 if reduces else self.size)
        to, tag = plain(root) if rooted else NONE, operation(op)
        slot = rec.enter(name, self.number, 0, to, tag, what=what, request=number)
        raw = carry_out(self, lambda comm: base(comm, *args, **kwargs), (), slot)
        return TracedRequest.of(raw, number, slot)

    return method
