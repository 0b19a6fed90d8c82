"""Communicators with mpi4py's interface that record each call.

They are subclasses of mpi4py's own, so whatever takes a communicator takes them. Each
method writes a record, calls mpi4py's method, and completes the record.
"""

import pickle
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from course.mpi import calls
from course.mpi.recorder import Slot, again, measure, recorder
from course.mpi.records import ANY, NONE, PICKLED, PROC_NULL
from course.mpi.traced_requests import TracedPrequest, TracedRequest

_SPECIAL = {MPI.ANY_SOURCE: ANY, MPI.PROC_NULL: PROC_NULL, None: NONE}
_OPS = ("SUM", "MAX", "MIN", "PROD", "LAND", "BAND", "LOR", "BOR", "LXOR", "BXOR")
OPERATIONS = [*_OPS, "MAXLOC", "MINLOC", "REPLACE", "NO_OP"]
_NUMBER = {id(getattr(MPI, name)): number for number, name in enumerate(OPERATIONS, 1)}
_MANY = {"scatter", "alltoall"}  # calls that pickle one object per rank

UNKNOWN = (-1, -1, 0)  # elements, bytes, type: pickle will tell


def plain(rank: int) -> int:
    """Spell a rank as the trace does, also where it is a special value."""
    return rank if rank is not None and rank >= 0 else _SPECIAL.get(rank, NONE)


def plain_tag(tag: int) -> int:
    """Spell a tag as the trace does."""
    return ANY if tag == MPI.ANY_TAG else tag


def handed(mine: Any, parts: Any, ranks: int = 1) -> tuple[int, int, int]:
    """Measure what this rank hands over; when that is in place, a part of the other buffer."""
    if mine is not MPI.IN_PLACE:
        return measure(mine)
    count, size, dtype = measure(parts)
    return count // ranks, size // ranks, dtype


def dumps(obj: Any, *args: Any) -> bytes:
    """Pickle for mpi4py, and record the size in the call that needs it."""
    data = pickle.dumps(obj, *args)
    rec = recorder()
    if rec.last is not None:
        slot, name, known = rec.last
        if known == 0 or name in _MANY:
            rec.last = slot, name, known + len(data)
            rec.sized(slot, known + len(data))
    return data


Method = Callable[..., Any]


def _run(comm: Any, base: Method, args: tuple[Any, ...], slot: Slot, lower: str = "") -> Any:
    """Call mpi4py's method inside the record at `slot`; `lower` names a pickling call."""
    rec = recorder()
    rec.last = (slot, lower, 0) if lower else None
    try:
        result = base(comm, *args)
    except BaseException:
        rec.fail(slot)
        raise
    finally:
        rec.last = None
    rec.leave(slot)
    return result


def _send(name: str, base: Method) -> Method:
    if name[0].isupper():

        def upper(self: Any, buf: Any, dest: int, tag: int = 0) -> None:
            what = measure(buf)
            slot = recorder().enter(name, self.number, 0, plain(dest), tag, what=what)
            _run(self, base, (buf, dest, tag), slot)

        return upper

    def lower(self: Any, obj: Any, dest: int, tag: int = 0) -> None:
        slot = recorder().enter(name, self.number, PICKLED, plain(dest), tag, what=UNKNOWN)
        _run(self, base, (obj, dest, tag), slot, name)

    return lower


def _isend(name: str, base: Method) -> Method:
    if name[0].isupper():

        def upper(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
            rec = recorder()
            number, what = rec.request(), measure(buf)
            slot = rec.enter(name, self.number, 0, plain(dest), tag, what=what, request=number)
            return TracedRequest.of(_run(self, base, (buf, dest, tag), slot), number, slot)

        return upper

    def lower(self: Any, obj: Any, dest: int, tag: int = 0) -> Any:
        rec = recorder()
        number, to = rec.request(), plain(dest)
        slot = rec.enter(name, self.number, PICKLED, to, tag, what=UNKNOWN, request=number)
        return TracedRequest.of(_run(self, base, (obj, dest, tag), slot, name), number, slot)

    return lower


def _recv(name: str, base: Method) -> Method:
    pickled = 0 if name[0].isupper() else PICKLED

    def method(
        self: Any,
        buf: Any = None,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        what, rec = UNKNOWN if pickled else measure(buf), recorder()
        who, which = plain(source), plain_tag(tag)
        slot = rec.enter(
            name, self.number, pickled, source=who, rtag=which, what=what, room=what[1]
        )
        if status is None and (who == ANY or which == ANY):
            status = MPI.Status()
        result = _run(self, base, (buf, source, tag, status), slot)
        if status is not None:
            rec.found(slot, status.source, status.tag)
        return result

    return method


def _irecv(name: str, base: Method) -> Method:
    pickled = 0 if name[0].isupper() else PICKLED

    def method(
        self: Any, buf: Any = None, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG
    ) -> Any:
        what, rec = UNKNOWN if pickled else measure(buf), recorder()
        number, who, which = rec.request(), plain(source), plain_tag(tag)
        slot = rec.enter(
            name,
            self.number,
            pickled,
            source=who,
            rtag=which,
            what=what,
            room=what[1],
            request=number,
        )
        raw = _run(self, base, (buf, source, tag), slot)
        return TracedRequest.of(raw, number, slot, ANY in (who, which))

    return method


def _init(name: str, base: Method) -> Method:
    receives = name == "Recv_init"

    def send(self: Any, buf: Any, dest: int, tag: int = 0) -> Any:
        number, rec = recorder().request(), recorder()
        fields = (self.number, 0, plain(dest), tag, NONE, NONE, measure(buf), -1, number)
        slot = rec.enter(name, *fields)
        return TracedPrequest.made(_run(self, base, (buf, dest, tag), slot), "Isend", fields)

    def recv(self: Any, buf: Any, source: int = MPI.ANY_SOURCE, tag: int = MPI.ANY_TAG) -> Any:
        number, what, rec = recorder().request(), measure(buf), recorder()
        who, which = plain(source), plain_tag(tag)
        fields = (self.number, 0, NONE, NONE, who, which, what, what[1], number)
        slot = rec.enter(name, *fields)
        return TracedPrequest.made(_run(self, base, (buf, source, tag), slot), "Irecv", fields)

    return recv if receives else send


def _sendrecv(name: str, base: Method) -> Method:
    replace, pickled = name.endswith("_replace"), 0 if name[0].isupper() else PICKLED

    def both(
        self: Any,
        sendbuf: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Any = None,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        rec, who, which = recorder(), plain(source), plain_tag(recvtag)
        what = UNKNOWN if pickled else measure(sendbuf)
        room = what[1] if replace or pickled else measure(recvbuf)[1]
        slot = rec.enter(name, self.number, pickled, plain(dest), sendtag, who, which, what, room)
        if status is None and (who == ANY or which == ANY):
            status = MPI.Status()
        middle = () if replace else (recvbuf,)
        args = (sendbuf, dest, sendtag, *middle, source, recvtag, status)
        result = _run(self, base, args, slot, name if pickled else "")
        if status is not None:
            rec.found(slot, status.source, status.tag)
        return result

    def in_place(
        self: Any,
        buf: Any,
        dest: int,
        sendtag: int = 0,
        source: int = MPI.ANY_SOURCE,
        recvtag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        return both(self, buf, dest, sendtag, None, source, recvtag, status)

    return in_place if replace else both


def _probe(name: str, base: Method) -> Method:
    def method(
        self: Any,
        source: int = MPI.ANY_SOURCE,
        tag: int = MPI.ANY_TAG,
        status: MPI.Status | None = None,
    ) -> Any:
        rec = recorder()
        slot = rec.enter(name, self.number, source=plain(source), rtag=plain_tag(tag))
        if status is None:
            status = MPI.Status()
        result = _run(self, base, (source, tag, status), slot)
        if result:
            rec.found(slot, status.source, status.tag)
        else:
            slot = again(rec, slot)
        return result

    return method


def _bcast(name: str, base: Method) -> Method:
    pickled = name[0].islower()

    def method(self: Any, buf: Any = None, root: int = 0) -> Any:
        what = UNKNOWN if pickled else measure(buf)
        slot = recorder().enter(name, self.number, PICKLED * pickled, plain(root), what=what)
        return _run(self, base, (buf, root), slot, name if pickled else "")

    return method


def _barrier(name: str, base: Method) -> Method:
    def method(self: Any) -> Any:
        return _run(self, base, (), recorder().enter(name, self.number))

    return method


def _reduce(name: str, base: Method) -> Method:
    rooted = name.lower() == "reduce"
    if name[0].islower():

        def lower(self: Any, sendobj: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
            to = plain(root) if rooted else NONE
            tag = _NUMBER.get(id(op), NONE)
            slot = recorder().enter(name, self.number, PICKLED, to, tag, what=UNKNOWN)
            args = (sendobj, op, root) if rooted else (sendobj, op)
            return _run(self, base, args, slot, name)

        return lower

    def upper(self: Any, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM, root: int = 0) -> Any:
        to, what = plain(root) if rooted else NONE, handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, to, _NUMBER.get(id(op), NONE), what=what)
        args = (sendbuf, recvbuf, op, root) if rooted else (sendbuf, recvbuf, op)
        return _run(self, base, args, slot)

    return upper


def _reduce_scatter(name: str, base: Method) -> Method:
    def method(
        self: Any, sendbuf: Any, recvbuf: Any, recvcounts: Any = None, op: Any = MPI.SUM
    ) -> Any:
        what = handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, NONE, _NUMBER.get(id(op), NONE), what=what)
        return _run(self, base, (sendbuf, recvbuf, recvcounts, op), slot)

    def block(self: Any, sendbuf: Any, recvbuf: Any, op: Any = MPI.SUM) -> Any:
        what = handed(sendbuf, recvbuf)
        slot = recorder().enter(name, self.number, 0, NONE, _NUMBER.get(id(op), NONE), what=what)
        return _run(self, base, (sendbuf, recvbuf, op), slot)

    return block if name.endswith("_block") else method


def _exchange(name: str, base: Method) -> Method:
    """Gather, scatter, allgather, alltoall: what this rank hands over, or a scatter's share."""
    rooted, scatters = name in calls.ROOTED, name in ("Scatter", "Scatterv")
    if name[0].islower():

        def lower(self: Any, sendobj: Any = None, root: int = 0) -> Any:
            to = plain(root) if rooted else NONE
            slot = recorder().enter(name, self.number, PICKLED, to, what=UNKNOWN)
            return _run(self, base, (sendobj, root) if rooted else (sendobj,), slot, name)

        return lower

    def upper(self: Any, sendbuf: Any, recvbuf: Any, root: int = 0) -> Any:
        to = plain(root) if rooted else NONE
        mine, all_parts = (recvbuf, sendbuf) if scatters else (sendbuf, recvbuf)
        what, room = handed(mine, all_parts, self.size), measure(all_parts)[1]
        slot = recorder().enter(name, self.number, 0, to, what=what, room=room)
        return _run(self, base, (sendbuf, recvbuf, root) if rooted else (sendbuf, recvbuf), slot)

    return upper


def _icollective(name: str, base: Method) -> Method:
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
        to, tag = plain(root) if rooted else NONE, _NUMBER.get(id(op), NONE)
        slot = rec.enter(name, self.number, 0, to, tag, what=what, request=number)
        raw = _run(self, lambda comm: base(comm, *args, **kwargs), (), slot)
        return TracedRequest.of(raw, number, slot)

    return method


def _create(name: str, base: Method) -> Method:
    """Calls that make a communicator: collectives of the old one, and a traced new one."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        slot = recorder().enter(name, self.number)
        new = _run(self, lambda comm: base(comm, *args, **kwargs), (), slot)
        return adopt(new, self.key, name)

    return method


def _abort(name: str, base: Method) -> Method:
    def method(self: Any, errorcode: int = 0) -> Any:
        recorder().enter(name, self.number)
        base(self, errorcode)

    return method


_FACTORIES: dict[tuple[str, ...], Callable[[str, Method], Method]] = {
    calls.SEND: _send,
    calls.ISEND: _isend,
    calls.RECV: _recv,
    calls.IRECV: _irecv,
    (*calls.SEND_INIT, *calls.RECV_INIT): _init,
    calls.SENDRECV: _sendrecv,
    (*calls.PROBE, *calls.IPROBE): _probe,
    ("Bcast", "bcast"): _bcast,
    ("Barrier", "barrier"): _barrier,
    ("Reduce", "reduce", "Allreduce", "allreduce", "Scan", "scan", "Exscan", "exscan"): _reduce,
    ("Reduce_scatter", "Reduce_scatter_block"): _reduce_scatter,
    calls.ICOLLECTIVE: _icollective,
    calls.CREATE: _create,
    calls.ABORT: _abort,
}
_FACTORY = {name: factory for names, factory in _FACTORIES.items() for name in names}
_FACTORY = {name: _exchange for name in calls.COLLECTIVE} | _FACTORY


def _methods(parent: type) -> dict[str, Any]:
    """Return recording versions of all methods of `parent` that a trace records."""
    found = {}
    for name, factory in _FACTORY.items():
        base = getattr(parent, name, None)
        if base is not None:
            method = factory(name, base)
            method.__name__ = name
            method.__doc__ = base.__doc__
            found[name] = method
    return found


class _Traced:
    """What all traced communicators have beside mpi4py's methods.

    Attributes:
        key: The communicator's name, the same on all its ranks.
        number: Its number in this rank's trace.
    """

    key: str
    number: int

    def __getattr__(self, name: str) -> Any:
        """Name a communicator that mpi4py itself made from a traced one."""
        if name in ("key", "number"):
            _register(self, "unknown", "communicator")
            return self.__dict__[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def _class(parent: type) -> type:
    return type(f"Traced{parent.__name__}", (_Traced, parent), _methods(parent))


TracedIntracomm = _class(MPI.Intracomm)
_CLASSES = {
    MPI.Intracomm: TracedIntracomm,
    MPI.Cartcomm: _class(MPI.Cartcomm),
    MPI.Graphcomm: _class(MPI.Graphcomm),
    MPI.Distgraphcomm: _class(MPI.Distgraphcomm),
}


def _register(comm: Any, parent: str, how: str, world: Any = None) -> None:
    rec = recorder()
    group = comm.Get_group()
    ranks = group.Translate_ranks(None, MPI.COMM_WORLD.Get_group())
    comm.key = rec.name_child(parent, how, ranks) if world is None else world
    comm.number = rec.comm(comm.key, ranks)


def adopt(comm: Any, parent: str, how: str) -> Any:
    """Return a traced version of `comm`, which `parent` made by the call `how`.

    Intercommunicators and COMM_NULL are returned as they are.
    """
    kind = next((base for base in type(comm).__mro__ if base in _CLASSES), None)
    if kind is None or comm == MPI.COMM_NULL:
        return comm
    traced = _CLASSES[kind](comm)
    _register(traced, parent, how)
    return traced


def world(comm: Any) -> Any:
    """Return a traced version of the world `comm`."""
    traced = TracedIntracomm(comm)
    _register(traced, "", "", "world")
    return traced
