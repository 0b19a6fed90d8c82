"""Write down calls as they happen; used by the traced communicators, requests and windows."""

import linecache
import sys
import time
from pathlib import Path
from struct import Struct
from typing import Any

from course.mpi.calls import CODES
from course.mpi.records import COMPLETED, DONE, ENTERED, NONE, RAISED, RECORD, Writer

# Where single fields lie inside a record, so that they can be changed alone.
FLAGS, REPEATS, FOUND, SIZE, END = 1, 12, 32, 48, 80
_HERE = Path(__file__).parent
OWN = {__file__, *map(str, _HERE.glob("traced*.py"))}  # not the user's lines
Slot = tuple[Any, int]

_now = time.monotonic_ns
_pack = RECORD.pack_into
_pack_two = Struct("<2i").pack_into
_pack_long = Struct("<q").pack_into
_pack_int = Struct("<I").pack_into


class Recorder:
    """One rank's record of its MPI calls."""

    def __init__(self, directory: Path, rank: int, size: int) -> None:
        """Open the trace of `rank`, one of `size`, in `directory`."""
        self.writer = Writer(directory, rank, size)
        self.sites: dict[Any, int] = {}
        self.comms: dict[str, int] = {}
        self.created: dict[Any, int] = {}
        self.requests = 0
        self.polled: tuple[int, int, int] | None = None  # the newest unsuccessful test
        self.last: Any = None  # the newest lower-case call: pickle will tell its size

    def enter(
        self,
        name: str,
        comm: int = 0,
        flags: int = 0,
        dest: int = NONE,
        tag: int = NONE,
        source: int = NONE,
        rtag: int = NONE,
        what: tuple[int, int, int] = (0, 0, 0),
        room: int = -1,
        request: int = 0,
    ) -> Slot:
        """Record that a call begins.

        Args:
            name: The method's name.
            comm: The communicator's number in this rank's trace.
            flags: `records.PICKLED` for a lower-case call.
            dest: Rank sent to, root or target.
            tag: Tag to send with; for a reduction, the number of its operation.
            source: Rank to receive from.
            rtag: Tag to receive with.
            what: Elements, bytes and type number handed over.
            room: Bytes of room to receive.
            request: Number of the request.

        Returns:
            Where the record lies, for `leave`.
        """
        frame = sys._getframe(2)
        site = self.sites.get((frame.f_code, frame.f_lineno))
        if site is None:
            site = self.site(frame)
        writer = self.writer
        at = writer.offset
        if at >= _CHUNK:
            writer.grow()
            at = 0
        writer.offset = at + _SIZE
        buffer = writer.buffer
        count, size, dtype = what
        _pack(
            buffer, at, 0, flags, CODES[name], comm, dtype, site, 0,
            dest, tag, source, rtag, NONE, NONE, count, size, room, request, _now(), 0,
        )  # fmt: skip
        buffer[at] = ENTERED  # last: a record is there as a whole or not at all
        return buffer, at

    def leave(self, slot: Slot) -> None:
        """Record that the call at `slot` returned."""
        buffer, at = slot
        _pack_long(buffer, at + END, _now())
        buffer[at] = DONE

    def fail(self, slot: Slot) -> None:
        """Record that the call at `slot` raised."""
        buffer, at = slot
        _pack_long(buffer, at + END, _now())
        buffer[at] = RAISED

    def found(self, slot: Slot, source: int, tag: int) -> None:
        """Record whose message came where any was asked for."""
        _pack_two(slot[0], slot[1] + FOUND, source, tag)

    def sized(self, slot: Slot, size: int) -> None:
        """Record the size in bytes, once it is known."""
        _pack_long(slot[0], slot[1] + SIZE, size)

    def complete(self, slot: Slot) -> None:
        """Record that the request made by the call at `slot` has been completed."""
        slot[0][slot[1] + FLAGS] |= COMPLETED

    def repeat(self, slot: Slot, times: int) -> None:
        """Record one more unsuccessful test in the record of the first."""
        buffer, at = slot
        _pack_int(buffer, at + REPEATS, times)
        _pack_long(buffer, at + END, _now())

    def request(self) -> int:
        """Return the next request's number."""
        self.requests += 1
        return self.requests

    def site(self, frame: Any) -> int:
        """Number the line of code that called, leaving out the frames of tracing itself."""
        while frame.f_code.co_filename in OWN and frame.f_back is not None:
            frame = frame.f_back
        key = (frame.f_code, frame.f_lineno)
        number = self.sites.get(key)
        if number is None:
            number = self.sites[key] = len(self.sites) + 1
            file = frame.f_code.co_filename
            fact = {"site": number, "file": file, "line": frame.f_lineno}
            text = linecache.getline(file, frame.f_lineno, frame.f_globals).strip()
            self.writer.say({**fact, "function": frame.f_code.co_name, "text": text})
        return number

    def comm(self, key: str, ranks: list[int]) -> int:
        """Number the communicator `key` whose members have the world ranks `ranks`."""
        number = self.comms.get(key)
        if number is None:
            number = self.comms[key] = len(self.comms) + 1
            self.writer.say({"comm": number, "key": key, "ranks": ranks})
        return number

    def name_child(self, parent: str, how: str, ranks: list[int]) -> str:
        """Name a new communicator alike on all its members.

        The members agree on who they are, and they create communicators of the same
        members from the same parent in the same order.
        """
        key = (parent, how, tuple(ranks))
        self.created[key] = self.created.get(key, 0) + 1
        number = self.created[key]
        return f"{parent} > {how}{f' {number}' if number > 1 else ''} of ranks {ranks}"


_active: Recorder | None = None  # the recorder of this process while it is traced


def recorder() -> Recorder:
    """Return the recorder in use.

    Raises:
        RuntimeError: Tracing has not been started.
    """
    if _active is None:
        raise RuntimeError("a traced communicator was used after its trace was stopped")
    return _active


def use(new: Recorder | None) -> None:
    """Make `new` the recorder in use."""
    global _active
    _active = new


def again(rec: Recorder, slot: Slot) -> Slot:
    """Merge an unsuccessful test with the one before it, if that was the same.

    A loop around a test would fill the trace with equal records otherwise.
    """
    buffer, at = slot
    before = at - _SIZE
    if rec.polled is not None and rec.polled[:2] == (id(buffer), before):
        same = all(
            buffer[at + a : at + b] == buffer[before + a : before + b]
            for a, b in ((1, 12), (16, 32), (64, 72))
        )
        if same:
            times = rec.polled[2] + 1
            rec.repeat((buffer, before), times)
            buffer[at] = 0
            rec.writer.offset = at
            rec.polled = id(buffer), before, times
            return buffer, before
    rec.polled = id(buffer), at, 0
    return slot


_SIZE = RECORD.size
_CHUNK = Writer.chunk_bytes


def measure(buffer: Any) -> tuple[int, int, int]:
    """Return elements, bytes and type number of a buffer as mpi4py accepts it."""
    try:
        return buffer.size, buffer.nbytes, buffer.dtype.num + 1
    except AttributeError:
        return _measure_spec(buffer)


def _measure_spec(buffer: Any) -> tuple[int, int, int]:
    """The same for lists such as ``[data, (counts, displacements), MPI.DOUBLE]``."""
    if buffer is None:
        return -1, -1, 0
    if isinstance(buffer, list | tuple) and buffer:
        count, size, dtype = measure(buffer[0])
        item = size // count if count else getattr(getattr(buffer[0], "dtype", None), "itemsize", 1)
        for part in buffer[1:]:
            if hasattr(part, "Get_size") and hasattr(part, "Get_extent"):
                width = part.Get_size()
                count = size // width if width else 0
                item, dtype = width, 0
        for part in buffer[1:]:
            counts = _counts(part)
            if counts is not None:
                count = counts
                break
        return count, count * item, dtype
    try:
        view = memoryview(buffer)
    except TypeError:
        return 0, 0, 0
    return view.nbytes // (view.itemsize or 1), view.nbytes, 0


def _counts(part: Any) -> int | None:
    """Return the number of elements that one part of a buffer list names, if it does."""
    if isinstance(part, int):
        return part
    if isinstance(part, list | tuple) and part:
        return _counts(part[0]) if not isinstance(part[0], int) else int(sum(part))
    if hasattr(part, "sum") and hasattr(part, "dtype"):
        return int(part.sum())
    return None
