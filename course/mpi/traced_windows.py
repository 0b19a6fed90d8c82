"""Windows of one-sided access that record what is put, got and waited for."""

from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from course.mpi.calls import ACCESS
from course.mpi.recorder import measure, recorder
from course.mpi.traced import TracedIntracomm
from course.mpi.traced_calls import plain


def _access(name: str, base: Callable[..., Any]) -> Callable[..., Any]:
    """Record an access and its target; the rank of the target is where mpi4py has it."""
    place = {"Get_accumulate": 2, "Fetch_and_op": 2, "Compare_and_swap": 3}.get(name, 1)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        rec = recorder()
        target = kwargs.get("target_rank", args[place] if len(args) > place else 0)
        origin = args[0] if args else kwargs.get("origin")
        slot = rec.enter(name, self.number, 0, plain(target), what=measure(origin))
        try:
            result = base(self, *args, **kwargs)
        except BaseException:
            rec.fail(slot)
            raise
        rec.leave(slot)
        return result

    return method


def _plain(name: str, record: str, rank_first: bool = False) -> Callable[..., Any]:
    """Record a call that synchronises; `rank_first` where it names the target first."""
    base = getattr(MPI.Win, name)

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        rec = recorder()
        target = -3
        if rank_first:
            target = plain(kwargs.get("rank", args[0] if args else 0))
        shared = name == "Lock" and MPI.LOCK_SHARED in (*args[1:2], kwargs.get("lock_type"))
        slot = rec.enter(record, self.number, 0, target, tag=int(shared))
        try:
            result = base(self, *args, **kwargs)
        except BaseException:
            rec.fail(slot)
            raise
        rec.leave(slot)
        return result

    method.__name__, method.__doc__ = name, base.__doc__
    return method


def _create(name: str) -> Any:
    """Record the making of a window, a collective of its communicator."""
    base = getattr(MPI.Win, name)
    place = {"Create": 3, "Allocate": 3, "Allocate_shared": 3, "Create_dynamic": 1}[name]

    def method(cls: type, *args: Any, **kwargs: Any) -> Any:
        rec = recorder()
        comm = kwargs.get("comm", args[place] if len(args) > place else MPI.COMM_SELF)
        if not isinstance(comm, TracedIntracomm):
            key, number = "unknown", 0
        else:
            key, number = comm.key, comm.number  # type: ignore[attr-defined]
        slot = rec.enter(f"Win.{name}", number)
        try:
            raw = base(*args, **kwargs)
        except BaseException:
            rec.fail(slot)
            raise
        rec.leave(slot)
        window = TracedWin(raw)
        ranks = raw.Get_group().Translate_ranks(None, MPI.COMM_WORLD.Get_group())
        window.number = rec.comm(rec.name_child(key, "window", ranks), ranks)
        return window

    return classmethod(method)


_METHODS: dict[str, Any] = {
    **{name: _access(name, getattr(MPI.Win, name)) for name in ACCESS},
    **{name: _create(name) for name in ("Create", "Allocate", "Allocate_shared", "Create_dynamic")},
    "Fence": _plain("Fence", "Fence"),
    "Free": _plain("Free", "Win.Free"),
    "Start": _plain("Start", "Win.Start"),
    "Complete": _plain("Complete", "Win.Complete"),
    "Post": _plain("Post", "Win.Post"),
    "Wait": _plain("Wait", "Win.Wait"),
    "Lock": _plain("Lock", "Lock", True),
    "Unlock": _plain("Unlock", "Unlock", True),
    "Flush": _plain("Flush", "Flush", True),
    "Lock_all": _plain("Lock_all", "Lock_all"),
    "Unlock_all": _plain("Unlock_all", "Unlock_all"),
    "Flush_all": _plain("Flush_all", "Flush_all"),
}
TracedWin: Any = type("TracedWin", (MPI.Win,), _METHODS)
