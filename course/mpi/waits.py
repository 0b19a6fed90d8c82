"""Who waits for whom, and which ranks can never go on.

Each blocked rank's condition is a list of clauses: it can go on when, for every clause,
some rank of that clause can act. A rank that computes can act. What remains when this is
followed to its end waits for ever: for others that wait, or for a rank that has left. This
is the standard reduction of an AND-OR wait-for graph (Hilbrich et al., "MPI runtime error
detection with MUST", 2012).
"""

from dataclasses import dataclass, field

from course.mpi import calls as names
from course.mpi.matching import Replay
from course.mpi.records import ANY, DONE, Call, Trace

ONE_WAY_OUT = {"Bcast", "bcast", "Scatter", "Scatterv", "scatter"}  # all wait for the root
ONE_WAY_IN = {"Reduce", "reduce", "Gather", "Gatherv", "gather"}  # the root waits for all
UPWARDS = {"Scan", "scan", "Exscan", "exscan"}  # each waits for the ranks below it
OVER = ("finished", "raised", "exited", "killed", "crashed")


@dataclass
class Wait:
    """What one rank waits for.

    Attributes:
        rank: Who waits.
        call: The call it is in.
        clauses: Sets of ranks, of each of which one has to act.
        soft: Whether the library might let the call return without them (by buffering).
        part: The call that made the request waited for; `call` itself otherwise.
    """

    rank: int
    call: Call
    clauses: list[set[int]] = field(default_factory=list)
    soft: bool = False
    part: Call | None = None

    @property
    def what(self) -> Call:
        """The call whose partner is missing."""
        return self.part or self.call

    @property
    def ranks(self) -> list[int]:
        """Everybody this rank waits for."""
        return sorted(set().union(*self.clauses)) if self.clauses else []


def _repeats(calls: list[Call]) -> int:
    """Return how often the newest call, a test, was repeated in vain.

    The newest record may not have been merged yet with the one before it.
    """
    newest, before = calls[-1], calls[-2] if len(calls) > 1 else None
    same = before is not None and (before.name, before.site, before.request) == (
        newest.name,
        newest.site,
        newest.request,
    )
    return newest.repeats + (before.repeats if before is not None and same else 0)


class Waits:
    """The wait-for graph of a trace at its end.

    Attributes:
        waiting: What each blocked rank waits for, by rank.
        stuck: The ranks that can never go on.
    """

    def __init__(self, trace: Trace, statuses: list[str], polling: bool = False) -> None:
        """Build the graph.

        Args:
            trace: What was recorded.
            statuses: Each rank's status: ``running`` or how it ended.
            polling: Count a rank that repeats an unsuccessful test as waiting.
        """
        self.trace = trace
        self.replay = Replay(trace)
        self.statuses = statuses
        self.waiting: dict[int, Wait] = {}
        for rank, calls in enumerate(trace.calls):
            if statuses[rank] in OVER or not calls:
                continue
            call = calls[-1]
            tests = call.name in (*names.TEST, *names.IPROBE, *names.IMPROBE)
            if call.open or (polling and tests and _repeats(calls) > 100):
                self.waiting[rank] = self._wait(call)
        self.stuck = self._stuck()

    def _stuck(self) -> list[int]:
        able = {
            rank
            for rank, status in enumerate(self.statuses)
            if status not in OVER and rank not in self.waiting
        }
        grew = True
        while grew:
            grew = False
            for rank, wait in self.waiting.items():
                if rank not in able and all(clause & able for clause in wait.clauses):
                    able.add(rank)
                    grew = True
        return sorted(set(self.waiting) - able)

    @property
    def soft(self) -> bool:
        """Whether the proof rests on a call that the library might let return."""
        return any(self.waiting[rank].soft for rank in self.stuck)

    def cycle(self) -> list[int]:
        """Return stuck ranks that wait for each other in a ring; empty where there is none."""
        seen: dict[int, int] = {}
        for start in self.stuck:
            path: list[int] = []
            rank = start
            while rank in self.stuck and rank not in path:
                if rank in seen:
                    break
                path.append(rank)
                following = [other for other in self.waiting[rank].ranks if other in self.stuck]
                if not following:
                    break
                rank = following[0]
            else:
                if rank in path:
                    return path[path.index(rank) :]
            seen.update(dict.fromkeys(path, start))
        return []

    def _wait(self, call: Call) -> Wait:
        wait = Wait(call.rank, call)
        name = call.name
        if name in (*names.RECV, *names.MPROBE):
            self._receive(wait, call)
        elif name in (*names.PROBE, *names.IPROBE, *names.IMPROBE):
            self._probe(wait, call)
        elif name in names.SEND:
            self._send(wait, call)
        elif name in names.SENDRECV:
            self._receive(wait, call)
            if not wait.clauses:
                self._send(wait, call)
        elif name in (*names.WAIT, *names.WAIT_ANY, *names.TEST):
            self._requests(wait, call)
        elif (call.rank, call.index) in self.replay.of_meeting:
            self._collective(wait, call)
        elif name in names.LOCK:
            self._lock(wait, call)
        return wait

    def _others(self, call: Call) -> set[int]:
        return set(call.comm.ranks) - {call.rank}

    def _receive(self, wait: Wait, call: Call) -> None:
        posted = self.replay.of_receive.get((call.rank, call.index))
        if posted is not None and posted.takes is None:
            wait.clauses.append({call.source} if call.source != ANY else self._others(call))

    def _probe(self, wait: Wait, call: Call) -> None:
        for sent in self.replay.untaken():
            if (
                sent.comm == call.comm.key
                and sent.dest == call.rank
                and call.source in (ANY, sent.source)
                and call.rtag in (ANY, sent.tag)
            ):
                return
        wait.clauses.append({call.source} if call.source != ANY else self._others(call))

    def _send(self, wait: Wait, call: Call) -> None:
        sent = self.replay.of_send.get((call.rank, call.index))
        if sent is not None and sent.taken is None:
            wait.clauses.append({call.dest})
            wait.soft = call.name not in ("Ssend", "ssend")

    def _requests(self, wait: Wait, call: Call) -> None:
        parts: list[Wait] = []
        for number in call.requests:
            made = self.replay.of_request.get((call.rank, number))
            if made is None:
                return
            part = Wait(call.rank, call, part=made)
            if made.completed:
                pass
            elif made.name in names.IRECV:
                self._receive(part, made)
            elif made.name in names.ISEND:
                self._send(part, made)
            else:
                self._collective(part, made)
            parts.append(part)
        if call.name in names.WAIT_ANY or "any" in call.name or "some" in call.name:
            if parts and all(part.clauses for part in parts):
                wait.clauses = [set().union(*(set(part.ranks) for part in parts))]
                wait.part = parts[0].part
            return
        hard = [part for part in parts if part.clauses and not part.soft]
        chosen = hard or [part for part in parts if part.clauses]
        for part in chosen:
            wait.clauses += part.clauses
            wait.soft = wait.soft or part.soft
            wait.part = wait.part or part.part

    def _collective(self, wait: Wait, call: Call) -> None:
        meeting = self.replay.of_meeting.get((call.rank, call.index))
        if meeting is None:
            return
        missing = meeting.missing
        if not missing:
            if mismatch(list(meeting.calls.values())):
                wait.clauses.append(set())
                wait.soft = True
            return
        name, rank = kind(call.name), call.rank
        needed = missing
        if name in ONE_WAY_OUT and rank != call.dest:
            needed = [call.dest] if call.dest in missing else []
        elif (name in ONE_WAY_OUT) or (name in ONE_WAY_IN and rank != call.dest):
            needed = []
        elif name in UPWARDS:
            order = meeting.comm.ranks
            needed = [other for other in missing if order.index(other) < order.index(rank)]
        elif name.lower().startswith("neighbor"):
            needed = []
        wait.soft = not needed
        wait.clauses += [{other} for other in (needed or missing)]

    def _lock(self, wait: Wait, call: Call) -> None:
        """Wait for those who hold a lock of the window that this call wants."""
        holders = set()
        for other, calls in enumerate(self.trace.calls):
            if other == call.rank:
                continue
            held: dict[int, int] = {}
            for earlier in calls:
                if earlier.comm.key == call.comm.key and earlier.state == DONE:
                    if earlier.name == "Lock":
                        held[earlier.dest] = earlier.tag
                    elif earlier.name == "Unlock":
                        held.pop(earlier.dest, None)
            for target, shared in held.items():
                if call.name.endswith("_all") or target == call.dest:
                    if not (shared and call.tag):
                        holders.add(other)
        if holders:
            wait.clauses = [{holder} for holder in holders]


def mismatch(meeting: list[Call]) -> str:
    """Say in what the calls of one collective differ that must not.

    Returns:
        ``kind``, ``root``, ``operation``, ``count``, or nothing.
    """
    if len({call.name for call in meeting}) > 1:
        return "kind"
    name = kind(meeting[0].name)
    plain = name.capitalize()
    if plain in ("Bcast", "Reduce", "Gather", "Gatherv", "Scatter", "Scatterv"):
        if len({call.dest for call in meeting}) > 1:
            return "root"
    if name in names.REDUCTIONS or name.capitalize() in names.REDUCTIONS:
        known = {call.tag for call in meeting if call.tag >= 0}
        if len(known) > 1:
            return "operation"
    if plain in (*names.EVERY_RANK_THE_SAME, "Allgather", "Alltoall", "Gather", "Scatter"):
        sizes = {call.bytes for call in meeting if call.bytes >= 0 and not call.pickled}
        if len(sizes) > 1:
            return "count"
    if plain in ("Allgather", "Gather"):
        for call in meeting:
            short = 0 <= call.room < call.bytes * len(meeting)
            if short and not call.pickled and (plain == "Allgather" or call.rank == call.dest):
                return "count"
    return ""


def kind(name: str) -> str:
    """Return the name of the blocking form of a collective."""
    return name[1:].capitalize() if name in names.ICOLLECTIVE else name
