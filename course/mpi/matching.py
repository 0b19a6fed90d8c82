"""Replay a trace: which send met which receive, and which calls met in which collective.

The rules are MPI's (standard 4.1, section 3.5): between two ranks of one communicator,
messages that a receive could take are taken in the order in which they were sent.
"""

from collections import deque
from dataclasses import dataclass, field

from course.mpi import calls as names
from course.mpi.records import ANY, PROC_NULL, RAISED, Call, Comm, Trace

SENDS = {*names.SEND, *names.ISEND, *names.SENDRECV}
RECEIVES = {*names.RECV, *names.IRECV, *names.SENDRECV, *names.MPROBE, *names.IMPROBE}
TOGETHER = {
    *names.COLLECTIVE,
    *names.ICOLLECTIVE,
    *names.CREATE,
    *names.WINDOW_CREATE,
    *names.WINDOW_COLLECTIVE,
} - {"Create_group"}


@dataclass(eq=False)
class Sent:
    """A message on its way, and the receive that takes it, if one does."""

    call: Call
    comm: str
    source: int
    dest: int
    tag: int
    taken: "Posted | None" = None


@dataclass(eq=False)
class Posted:
    """A receive, and the message that it takes, if there is one."""

    call: Call
    comm: str
    rank: int
    source: int
    tag: int
    takes: Sent | None = None

    def fits(self, sent: Sent) -> bool:
        """Whether this receive may take `sent`."""
        return (
            sent.comm == self.comm
            and sent.dest == self.rank
            and self.source in (ANY, sent.source)
            and self.tag in (ANY, sent.tag)
        )


@dataclass
class Meeting:
    """The calls by which ranks take part in the same collective.

    Attributes:
        comm: The communicator (or window).
        number: How many collectives came before it there.
        calls: Each participant's call so far, by world rank.
    """

    comm: Comm
    number: int
    calls: dict[int, Call] = field(default_factory=dict)

    @property
    def missing(self) -> list[int]:
        """World ranks that have not come."""
        return [rank for rank in self.comm.ranks if rank not in self.calls]

    def first(self) -> Call:
        """Return the call that came first."""
        return min(self.calls.values(), key=lambda call: call.start)


class Replay:
    """What met what in a trace.

    Attributes:
        sent: All messages.
        posted: All receives.
        meetings: All collectives, in order, by communicator.
    """

    def __init__(self, trace: Trace) -> None:
        """Match the calls of `trace`."""
        self.trace = trace
        self.sent: list[Sent] = []
        self.posted: list[Posted] = []
        self.meetings: dict[str, list[Meeting]] = {}
        self.of_send: dict[tuple[int, int], Sent] = {}
        self.of_receive: dict[tuple[int, int], Posted] = {}
        self.of_meeting: dict[tuple[int, int], Meeting] = {}
        self.of_request: dict[tuple[int, int], Call] = {}
        for calls in trace.calls:
            place: dict[str, int] = {}
            for call in calls:
                self._collect(call, place)
        self._match()

    def _collect(self, call: Call, place: dict[str, int]) -> None:
        key = (call.rank, call.index)
        if call.request and call.name[0] in "Ii":
            self.of_request[call.rank, call.request] = call
        if call.name in SENDS and call.dest != PROC_NULL and call.state != RAISED:
            sent = Sent(call, call.comm.key, call.rank, call.dest, call.tag)
            self.sent.append(sent)
            self.of_send[key] = sent
        if call.name in RECEIVES and call.source != PROC_NULL:
            found, found_tag = call.found
            if call.name in names.IMPROBE and found < 0:
                return
            source = found if call.source == ANY and found >= 0 else call.source
            tag = found_tag if call.rtag == ANY and found_tag >= 0 else call.rtag
            posted = Posted(call, call.comm.key, call.rank, source, tag)
            self.posted.append(posted)
            self.of_receive[key] = posted
        if call.name in TOGETHER and len(call.comm.ranks) > 0:
            number = place.get(call.comm.key, 0)
            place[call.comm.key] = number + 1
            row = self.meetings.setdefault(call.comm.key, [])
            if number == len(row):
                row.append(Meeting(call.comm, number))
            row[number].calls[call.rank] = call
            self.of_meeting[key] = row[number]

    def _match(self) -> None:
        waiting: dict[tuple[str, int, int, int], deque[Sent]] = {}
        for sent in self.sent:
            key = (sent.comm, sent.dest, sent.source, sent.tag)
            waiting.setdefault(key, deque()).append(sent)
        undecided = []
        for posted in self.posted:
            if ANY in (posted.source, posted.tag):
                undecided.append(posted)
                continue
            queue = waiting.get((posted.comm, posted.rank, posted.source, posted.tag))
            if queue:
                posted.takes = queue.popleft()
                posted.takes.taken = posted
        for posted in undecided:
            for queue in waiting.values():
                if queue and posted.fits(queue[0]):
                    posted.takes = queue.popleft()
                    posted.takes.taken = posted
                    break

    def untaken(self) -> list[Sent]:
        """Return the messages that no receive takes, oldest first."""
        left = [sent for sent in self.sent if sent.taken is None]
        return sorted(left, key=lambda sent: sent.call.start)

    def unserved(self) -> list[Posted]:
        """Return the receives that no message serves, oldest first."""
        left = [posted for posted in self.posted if posted.takes is None]
        return sorted(left, key=lambda posted: posted.call.start)
