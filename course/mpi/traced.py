"""Communicators with mpi4py's interface that record each call.

They are subclasses of mpi4py's own, so whatever takes a communicator takes them. Each
method writes a record, calls mpi4py's method, and completes the record.
"""

from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from course.mpi import calls
from course.mpi import traced_collectives as collectives
from course.mpi import traced_messages as messages
from course.mpi.recorder import recorder
from course.mpi.traced_calls import Method, carry_out, dumps

__all__ = ["TracedIntracomm", "adopt", "dumps", "world"]


def _create(name: str, base: Method) -> Method:
    """Calls that make a communicator: collectives of the old one, and a traced new one."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        slot = recorder().enter(name, self.number)
        new = carry_out(self, lambda comm: base(comm, *args, **kwargs), (), slot)
        return adopt(new, self.key, name)

    return method


def _abort(name: str, base: Method) -> Method:
    def method(self: Any, errorcode: int = 0) -> Any:
        recorder().enter(name, self.number)
        base(self, errorcode)

    return method


_FACTORIES: dict[tuple[str, ...], Callable[[str, Method], Method]] = {
    calls.SEND: messages.send,
    calls.ISEND: messages.isend,
    calls.RECV: messages.recv,
    calls.IRECV: messages.irecv,
    (*calls.SEND_INIT, *calls.RECV_INIT): messages.init,
    calls.SENDRECV: messages.sendrecv,
    (*calls.PROBE, *calls.IPROBE): messages.probe,
    ("Bcast", "bcast"): collectives.bcast,
    ("Barrier", "barrier"): collectives.barrier,
    (
        "Reduce",
        "reduce",
        "Allreduce",
        "allreduce",
        "Scan",
        "scan",
        "Exscan",
        "exscan",
    ): collectives.reduce,
    ("Reduce_scatter", "Reduce_scatter_block"): collectives.reduce_scatter,
    calls.ICOLLECTIVE: collectives.icollective,
    calls.CREATE: _create,
    calls.ABORT: _abort,
}
_FACTORY = {name: factory for names, factory in _FACTORIES.items() for name in names}
_FACTORY = {name: collectives.exchange for name in calls.COLLECTIVE} | _FACTORY


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
