"""What all recording methods share: how values are spelt in a trace, and the call itself."""

import pickle
from collections.abc import Callable
from typing import Any

from mpi4py import MPI

from course.mpi.recorder import Slot, measure, recorder
from course.mpi.records import ANY, NONE, PROC_NULL

_SPECIAL = {MPI.ANY_SOURCE: ANY, MPI.PROC_NULL: PROC_NULL, None: NONE}
_OPS = ("SUM", "MAX", "MIN", "PROD", "LAND", "BAND", "LOR", "BOR", "LXOR", "BXOR")
OPERATIONS = [*_OPS, "MAXLOC", "MINLOC", "REPLACE", "NO_OP"]
_NUMBER = {id(getattr(MPI, name)): number for number, name in enumerate(OPERATIONS, 1)}
_MANY = {"scatter", "alltoall"}  # calls that pickle one object per rank

UNKNOWN = (-1, -1, 0)  # elements, bytes, type: pickle will tell


def plain(rank: int) -> int:
    """Spell a rank as the trace does, also where it is a special value."""
    return rank if rank is not None and rank >= 0 else _SPECIAL.get(rank, NONE)


def operation(op: Any) -> int:
    """Number a reduction's operation; one that the user made has no number."""
    return _NUMBER.get(id(op), NONE)


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


def carry_out(comm: Any, base: Method, args: tuple[Any, ...], slot: Slot, lower: str = "") -> Any:
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
