"""From a trace to arrays: who computed, waited and transferred when, and who told whom how much."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from course.mpi import calls as names
from course.mpi.matching import Replay
from course.mpi.records import Call, Trace

COMPUTE, WAIT, TRANSFER = 0, 1, 2


@dataclass
class Phases:
    """What each rank did, as intervals.

    Attributes:
        rank: (m,) rank of each interval.
        start: (m,) seconds since the first call or start of a rank.
        stop: (m,) likewise.
        phase: (m,) `COMPUTE`, `WAIT` (the partner was not there yet) or `TRANSFER`.
        name: The call of each interval; empty for computing.
    """

    rank: NDArray[np.int64]
    start: NDArray[np.float64]
    stop: NDArray[np.float64]
    phase: NDArray[np.int64]
    name: list[str]

    def seconds(self, ranks: int) -> NDArray[np.float64]:
        """Return (ranks, 3) seconds of each rank in each phase."""
        table = np.zeros((ranks, 3))
        np.add.at(table, (self.rank, self.phase), self.stop - self.start)
        return table


def phases(trace: Trace) -> Phases:
    """Split each rank's time into computing, waiting for a partner, and transferring.

    A call waits until the last rank that it needs has made its own call; what follows is
    transfer. Between two calls a rank computes. A call that was never answered waits to
    the end of the trace.
    """
    everything = trace.all()
    if not everything:
        nothing = np.zeros(0)
        return Phases(nothing.astype(int), nothing, nothing, nothing.astype(int), [])
    replay = Replay(trace)
    first = everything[0].start
    last = max(max(call.start, call.end) for call in everything)
    rows: list[tuple[int, float, float, int, str]] = []
    for rank, calls in enumerate(trace.calls):
        now = first
        for call in calls:
            end = last if call.open else call.end
            ready = min(max(call.start, _ready(replay, call, end)), end)
            rows.append((rank, now, call.start, COMPUTE, ""))
            rows.append((rank, call.start, ready, WAIT, call.name))
            rows.append((rank, ready, end, TRANSFER, call.name))
            now = end
    rows = [row for row in rows if row[2] > row[1]]
    return Phases(
        np.array([row[0] for row in rows], dtype=np.int64),
        np.array([row[1] - first for row in rows]),
        np.array([row[2] - first for row in rows]),
        np.array([row[3] for row in rows], dtype=np.int64),
        [row[4] for row in rows],
    )


def _ready(replay: Replay, call: Call, end: float) -> float:
    """Return when the last partner of `call` was there."""
    key = (call.rank, call.index)
    times = [call.start]
    meeting = replay.of_meeting.get(key)
    if meeting is not None and call.name not in names.ICOLLECTIVE:
        times.append(end if meeting.missing else max(c.start for c in meeting.calls.values()))
    if call.name in (*names.RECV, *names.SENDRECV, *names.SEND):
        times.append(_partner(replay, call, end))
    if call.name in (*names.WAIT, *names.WAIT_ANY):
        for number in call.requests:
            made = replay.of_request.get((call.rank, number))
            if made is None:
                continue
            others = replay.of_meeting.get((made.rank, made.index))
            if others is not None:
                times.append(max(c.start for c in others.calls.values()))
            else:
                times.append(_partner(replay, made, end))
    return max(times)


def _partner(replay: Replay, call: Call, end: float) -> float:
    """Return when the other side of a message was there."""
    key = (call.rank, call.index)
    posted, sent = replay.of_receive.get(key), replay.of_send.get(key)
    if posted is not None:
        return posted.takes.call.start if posted.takes is not None else end
    if sent is not None:
        taken = sent.taken.call.start if sent.taken is not None else end
        # A send that returned before anybody received was buffered: it did not wait.
        return call.start if taken >= end and not call.open else taken
    return call.start


def volume(trace: Trace) -> NDArray[np.int64]:
    """Return (ranks, ranks) bytes that each rank (row) sent to each rank (column) by messages.

    Collectives are left out: who tells whom inside them is the library's affair.
    """
    table = np.zeros((trace.size, trace.size), dtype=np.int64)
    for sent in Replay(trace).sent:
        if 0 <= sent.dest < trace.size:
            table[sent.source, sent.dest] += max(0, sent.call.bytes)
    return table
