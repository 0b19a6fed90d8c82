"""The file format of a trace: one record of fixed size per MPI call, one file per rank.

A record is written into a memory-mapped file when its call is entered and completed when
it returns. The pages belong to the kernel, so whatever kills the rank, even SIGKILL, what
was recorded stays readable. Names that do not fit a record (source lines, communicators)
go once each to a file of JSON lines beside it.
"""

import json
import linecache
import mmap
import os
from dataclasses import dataclass, field
from pathlib import Path
from struct import Struct
from typing import Any

# Values that MPI libraries number differently, as the trace spells them.
ANY, PROC_NULL, NONE = -1, -2, -3
EMPTY, ENTERED, DONE, RAISED = range(4)
COMPLETED = 1  # flag of a non-blocking call whose request has been completed
PICKLED = 2  # flag of a lower-case call

# state, flags, call, comm, dtype, site, repeats | dest or root, tag, source, tag to receive,
# source and tag found | elements, bytes, bytes of room to receive | request, start, end (ns)
RECORD = Struct("<BBHHHII" + "6i" + "3q" + "3q")
HEADER = 65536  # a multiple of every page size
PER_CHUNK = 8192  # records; a chunk is a whole number of pages
LIMIT = 125  # chunks: a million records, 90 MB a rank; after that only the newest are kept
MAGIC = b"MPITRACE1"


class Writer:
    """The recording side: one rank's trace files, open for writing."""

    chunk_bytes = PER_CHUNK * RECORD.size

    def __init__(self, directory: Path, rank: int, size: int) -> None:
        """Create the files of `rank`, one of `size`, in `directory`."""
        stem = Path(directory) / f"trace-{rank}"
        self.fd = os.open(f"{stem}.calls", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.names = os.open(f"{stem}.names", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.ftruncate(self.fd, HEADER)
        os.pwrite(self.fd, MAGIC, 0)
        self.chunks = 0
        self.limit = LIMIT
        self.wrapped = False
        self.grow()
        self.say({"rank": rank, "size": size, "pid": os.getpid()})

    def grow(self) -> None:
        """Make room for more records."""
        if self.chunks < self.limit:
            length = self.chunk_bytes
            start = HEADER + self.chunks * length
            try:
                _allocate(self.fd, start, length)
            except OSError:
                if self.chunks == 0:
                    raise
                self.limit = self.chunks  # the disk is full: from now on only the newest are kept
                return self.grow()
            self.buffer = mmap.mmap(self.fd, length, offset=start)
            self.chunks += 1
        elif not self.wrapped:
            self.wrapped = True
            os.pwrite(self.fd, b"W", len(MAGIC))
        self.offset = 0

    def say(self, fact: dict[str, Any]) -> None:
        """Write one line to the file of names."""
        os.write(self.names, json.dumps(fact).encode() + b"\n")


def _allocate(file: int, start: int, length: int) -> None:
    # Writing to a mapped page that the disk has no room for would kill the rank by SIGBUS.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, start, length)
    else:
        os.ftruncate(file, start + length)


@dataclass
class Comm:
    """A communicator (or a window) as a trace knows it.

    Attributes:
        key: The same on all its ranks, and on no other communicator.
        ranks: World ranks of its members, in its order.
    """

    key: str
    ranks: list[int]

    def world(self, rank: int) -> int:
        """Return the world rank of `rank`; special values stay what they are."""
        return self.ranks[rank] if 0 <= rank < len(self.ranks) else rank


@dataclass
class Site:
    """A line of source code that made MPI calls."""

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        """Where, and what it says there."""
        return f"line {self.line} of {self.function}" + (f": {self.text}" if self.text else "")


@dataclass(slots=True)
class Call:
    """One MPI call. Ranks are world ranks; times are seconds of the monotonic clock.

    Attributes:
        rank: Who called.
        name: The method's name, such as ``Allreduce``.
        dest: Rank that is sent to, root of a collective, or target of one-sided access.
        source: Rank to receive from.
        tag: Tag to send with.
        rtag: Tag to receive with.
        found: Source and tag of what was received, where the call asked for any.
        count: Elements handed over (to be received, for a receive and a Scatter).
        bytes: The same in bytes; -1 where not known.
        room: Bytes of room to receive; -1 where there is no limit.
        dtype: numpy's type number plus one; 0 where not known.
        request: Number of the request that the call made or waited for; 0 for none.
        requests: Numbers of all requests that a Waitall, Testany... was given.
        state: `ENTERED`, `DONE` or `RAISED`.
        repeats: How many more times the same unsuccessful test was made.
    """

    rank: int
    index: int
    name: str
    comm: Comm
    site: Site
    dest: int
    source: int
    tag: int
    rtag: int
    found: tuple[int, int]
    count: int
    bytes: int
    room: int
    dtype: int
    request: int
    state: int
    completed: bool
    pickled: bool
    repeats: int
    start: float
    end: float
    requests: list[int] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether the rank is (or was when it ended) inside this call."""
        return self.state == ENTERED


@dataclass
class Trace:
    """All that the ranks recorded.

    Attributes:
        calls: Each rank's calls, oldest first.
        comms: All communicators by key.
        ended: How each rank's function ended: ``finished``, ``raised``, or None.
        complete: False where a rank made more calls than are kept.
    """

    calls: list[list[Call]]
    comms: dict[str, Comm]
    ended: list[str | None]
    complete: bool = True

    @property
    def size(self) -> int:
        """Number of ranks in the world."""
        return len(self.calls)

    def all(self) -> list[Call]:
        """Return the calls of all ranks in order of time."""
        return sorted((call for calls in self.calls for call in calls), key=lambda c: c.start)

    def counts(self) -> list[dict[str, int]]:
        """Return how many calls of each name each rank made."""
        tables: list[dict[str, int]] = []
        for calls in self.calls:
            table: dict[str, int] = {}
            for call in calls:
                table[call.name] = table.get(call.name, 0) + 1 + call.repeats
            tables.append(table)
        return tables


class Reader:
    """One rank's trace files, read while they grow."""

    def __init__(self, directory: Path, rank: int) -> None:
        """Prepare to read the files of `rank` in `directory`; they need not exist yet."""
        self.stem = Path(directory) / f"trace-{rank}"
        self.rank = rank
        self.known = 0  # records seen by `position`

    def raw(self) -> bytes:
        """Return the bytes of all records written so far."""
        try:
            data = Path(f"{self.stem}.calls").read_bytes()
        except FileNotFoundError:
            return b""
        return data[HEADER:]

    def position(self) -> tuple[int, int]:
        """Return how many records there are, and the newest one's state; cheap to repeat."""
        try:
            with open(f"{self.stem}.calls", "rb", buffering=0) as file:
                state = EMPTY
                while self.known:
                    file.seek(HEADER + (self.known - 1) * RECORD.size)
                    state = (file.read(1) or b"\0")[0]
                    if state != EMPTY:
                        break
                    self.known -= 1  # a repeated test was merged with the one before
                while True:
                    file.seek(HEADER + self.known * RECORD.size)
                    following = (file.read(1) or b"\0")[0]
                    if following == EMPTY:
                        return self.known, state
                    state = following
                    self.known += 1
        except FileNotFoundError:
            return 0, EMPTY

    def names(self) -> tuple[dict[int, Site], dict[int, Comm]]:
        """Return source lines and communicators by their numbers."""
        sites: dict[int, Site] = {}
        comms: dict[int, Comm] = {}
        try:
            lines = Path(f"{self.stem}.names").read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            lines = []
        for fact in map(json.loads, lines):
            if "site" in fact:
                number = fact.pop("site")
                site = sites[number] = Site(**fact)
                # A cell's source may be known only where it was written.
                site.text = site.text or linecache.getline(site.file, site.line).strip()
            elif "comm" in fact:
                comms[fact["comm"]] = Comm(fact["key"], fact["ranks"])
        return sites, comms

    def load(self, names: list[str]) -> tuple[list[Call], dict[int, Comm], str | None, bool]:
        """Return the calls, communicators, how the function ended, and whether all is there."""
        sites, comms = self.names()
        nowhere, unknown = Site("?", 0, "?", ""), Comm("?", [])
        calls: list[Call] = []
        ended = None
        requests: list[int] = []
        data = self.raw()
        usable = len(data) - len(data) % RECORD.size
        for values in RECORD.iter_unpack(data[:usable]):
            state, flags, code, comm_id, dtype, site, repeats = values[:7]
            if state == EMPTY:
                break
            name = names[code]
            dest, tag, source, rtag, found, found_tag = values[7:13]
            count, size, room, request, start, end = values[13:]
            if name == "(end)":
                ended = "finished" if state == DONE else "raised"
                continue
            if name == "(request)":
                requests.append(request)
                continue
            comm = comms.get(comm_id, unknown)
            call = Call(
                rank=self.rank,
                index=len(calls),
                name=name,
                comm=comm,
                site=sites.get(site, nowhere),
                dest=comm.world(dest),
                source=comm.world(source),
                tag=tag,
                rtag=rtag,
                found=(comm.world(found), found_tag),
                count=count,
                bytes=size,
                room=room,
                dtype=dtype,
                request=request,
                state=state,
                completed=bool(flags & COMPLETED),
                pickled=bool(flags & PICKLED),
                repeats=repeats,
                start=start / 1e9,
                end=end / 1e9,
                requests=requests or ([request] if request else []),
            )
            requests = []
            calls.append(call)
        complete = not self.wrapped()
        if not complete:
            calls.sort(key=lambda call: call.start)
        return calls, comms, ended, complete

    def wrapped(self) -> bool:
        """Whether old records were overwritten."""
        try:
            with open(f"{self.stem}.calls", "rb") as file:
                return file.read(len(MAGIC) + 1).endswith(b"W")
        except FileNotFoundError:
            return False
