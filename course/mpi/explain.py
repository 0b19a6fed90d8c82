"""From a trace to "rank 0 waits for rank 1, which waits for rank 0".

explanation = explain(trace.load(directory), ["running", "running"])
explanation.kind     # "receive-cycle"
print(explanation)   # who waits in what, on which line, for whom, and what mends it
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course.mpi import calls as names
from course.mpi import trace as tracing
from course.mpi.advice import MENDS, TITLES
from course.mpi.matching import Meeting, Posted, Replay, Sent
from course.mpi.records import ANY, Call, Trace
from course.mpi.waits import OVER, Wait, Waits, mismatch

_MISMATCH = {
    "kind": "collective-mismatch",
    "root": "root-mismatch",
    "operation": "operation-mismatch",
    "count": "count-mismatch",
}


@dataclass
class Explanation:
    """Why a program hangs, or what in its calls is wrong.

    Attributes:
        kind: The diagnosis, a key of `course.mpi.advice.TITLES`; ``none`` when all is well.
        ranks: The ranks it is about.
        facts: What the trace shows, one sentence each.
        waits: For each rank that waits, the ranks that it waits for.
        cycle: Ranks that wait for each other in a ring.
        deadlock: Whether it is certain that these ranks can never go on.
    """

    kind: str
    ranks: list[int] = field(default_factory=list)
    facts: list[str] = field(default_factory=list)
    waits: dict[int, list[int]] = field(default_factory=dict)
    cycle: list[int] = field(default_factory=list)
    deadlock: bool = False

    @property
    def title(self) -> str:
        """The diagnosis in a sentence."""
        return TITLES[self.kind]

    @property
    def says_nothing_new(self) -> bool:
        """Whether it only repeats that a rank failed, with nobody waiting for it."""
        return self.kind in OVER[1:] and not self.waits

    @property
    def mend(self) -> str:
        """What usually helps."""
        return MENDS[self.kind]

    def __str__(self) -> str:
        """The whole explanation as text."""
        head = "Deadlock: " if self.deadlock else ""
        lines = [head + self.title + "."]
        lines += [f"  {fact}" for fact in self.facts]
        if len(self.cycle) > 1:
            ring = " → ".join(f"rank {rank}" for rank in [*self.cycle, self.cycle[0]])
            lines.append(f"  The ring: {ring}.")
        if self.mend:
            lines.append(f"What usually mends it: {self.mend}")
        return "\n".join(lines)


def explain(
    trace: Trace,
    statuses: Sequence[str] | None = None,
    errors: Sequence[str] | None = None,
    stacks: Sequence[str] | None = None,
) -> Explanation:
    """Find out what is wrong in a program from its trace.

    Args:
        trace: The recorded calls.
        statuses: Each rank's status: ``running``, ``finished``, ``raised``, ``exited``,
            ``killed`` or ``crashed``. When None, as the trace itself has it.
        errors: Each rank's error message, where it raised.
        stacks: Where each rank is, innermost call first, where that is known.

    Returns:
        The diagnosis; its kind is ``none`` when the calls are all right.
    """
    if statuses is None:
        statuses = [end or "running" for end in trace.ended]
    errors = list(errors or [""] * trace.size)
    stacks = list(stacks or [""] * trace.size)
    waits = Waits(trace, list(statuses))
    failed = [rank for rank, status in enumerate(statuses) if status in OVER[1:]]
    if failed:
        found = _failure(waits, failed, errors)
    elif waits.stuck:
        found = _deadlock(waits)
    elif all(status == "finished" for status in statuses):
        found = _review(waits)
    else:
        patient = Waits(trace, list(statuses), polling=True)
        found = _deadlock(patient) if patient.stuck else _slow(waits, stacks)
        found.deadlock = False
    return found


def explain_directory(
    directory: str | Path,
    statuses: Sequence[str] | None = None,
    errors: Sequence[str] | None = None,
    stacks: Sequence[str] | None = None,
) -> Explanation:
    """The same from the folder where `course.mpi.trace.start` recorded."""
    return explain(tracing.load(directory), statuses, errors, stacks)


def describe(call: Call) -> str:
    """Say what a call is about: its name, its partner, tag and communicator."""
    where = "" if call.comm.key in ("world", "?") else f" in {call.comm.key}"
    if call.name in (*names.SEND, *names.ISEND):
        size = f", {call.bytes} bytes" if call.bytes >= 0 else ""
        return f"{call.name} to rank {call.dest} (tag {call.tag}{size}){where}"
    if call.name in (*names.RECV, *names.IRECV, *names.PROBE, *names.MPROBE, *names.IPROBE):
        who = "any rank" if call.source == ANY else f"rank {call.source}"
        tag = "any tag" if call.rtag == ANY else f"tag {call.rtag}"
        return f"{call.name} from {who} ({tag}){where}"
    if call.name in names.SENDRECV:
        who = "any rank" if call.source == ANY else f"rank {call.source}"
        return f"{call.name} to rank {call.dest} and from {who}{where}"
    if call.name in (*names.ROOTED, *names.IROOTED):
        return f"{call.name} with root {call.dest}{where}"
    if call.name in names.LOCK and call.dest >= 0:
        return f"{call.name} of rank {call.dest}{where}"
    return call.name + where


def _line(wait: Wait) -> str:
    """Say what a rank waits in, for whom and where."""
    what = describe(wait.call)
    if wait.part is not None:
        what += f" for its {describe(wait.part)}"
    others = [rank for rank in wait.ranks if rank != wait.rank]
    whom = f", for {_ranks(others)}" if others else ""
    return f"rank {wait.rank} waits in {what}{whom}, at {wait.call.site}"


def _ranks(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return "ranks " + ", ".join(map(str, ranks[:-1])) + f" and {ranks[-1]}"


def _base(waits: Waits, kind: str, ranks: Sequence[int], facts: list[str]) -> Explanation:
    lines = [_line(waits.waiting[rank]) for rank in sorted(waits.waiting)]
    edges = {rank: wait.ranks for rank, wait in waits.waiting.items() if wait.ranks}
    over = [rank for rank, status in enumerate(waits.statuses) if status == "finished"]
    waited = {other for ranks in edges.values() for other in ranks}
    lines += [f"rank {rank} has returned" for rank in over if rank in waited]
    return Explanation(kind, sorted(set(ranks)), facts + lines, edges)


def _deadlock(waits: Waits) -> Explanation:
    kind, ranks, facts = _classify(waits)
    found = _base(waits, kind, ranks, facts)
    found.cycle = waits.cycle() if kind in CYCLES else []
    found.deadlock = True
    return found


CYCLES = ("receive-cycle", "send-cycle", "cycle", "message-and-collective", "collective-cycle")


def _classify(waits: Waits) -> tuple[str, list[int], list[str]]:
    """Return the diagnosis of a deadlock, the ranks it is about, and its own facts."""
    unequal = _unequal(waits.replay, waits.stuck)
    if unequal is not None:
        return unequal
    cycle = waits.cycle()
    for rank in waits.stuck:
        hint = _astray(waits, waits.waiting[rank], bool(cycle))
        if hint is not None:
            return hint
    if cycle:
        return _ring(waits, cycle), cycle, []
    return _abandoned(waits)


def _unequal(replay: Replay, ranks: Sequence[int]) -> tuple[str, list[int], list[str]] | None:
    """Find the first collective whose calls do not fit each other."""
    for meetings in replay.meetings.values():
        for meeting in meetings:
            difference = mismatch(list(meeting.calls.values()))
            if difference:
                return _MISMATCH[difference], sorted(meeting.calls), _roll(meeting, difference)
    return None


def _roll(meeting: Meeting, difference: str) -> list[str]:
    """Say what each rank called in a collective that does not fit."""
    facts = []
    for rank in sorted(meeting.calls):
        call = meeting.calls[rank]
        what = describe(call)
        if difference == "count":
            what += f", {call.bytes} bytes" + (f" (room for {call.room})" if call.room > 0 else "")
        if difference == "operation":
            what += f", op {_operation(call.tag)}"
        facts.append(f"rank {rank} called {what}, at {call.site}")
    return facts


def _operation(number: int) -> str:
    names_of = "SUM MAX MIN PROD LAND BAND LOR BOR LXOR BXOR MAXLOC MINLOC REPLACE NO_OP".split()
    return names_of[number - 1] if 1 <= number <= len(names_of) else "of its own"


def _astray(waits: Waits, wait: Wait, ring: bool) -> tuple[str, list[int], list[str]] | None:
    """Find a message that is there, but not where it is waited for.

    In a ring, a send that still waits says nothing about its partner: that one may well
    receive it later, so there only a differing tag counts.
    """
    replay, what = waits.replay, wait.what
    posted = replay.of_receive.get((what.rank, what.index))
    if posted is not None and posted.takes is None:
        order = ("wrong-tag", "wrong-source", "wrong-communicator", "wrong-destination")
        for kind in order:
            for sent in replay.untaken():
                held = ring and sent.call.open and kind != "wrong-tag"
                if not held and sent.call is not what and _near(posted, sent) == kind:
                    return kind, [posted.rank, sent.source], [_went(sent)]
    sent_here = replay.of_send.get((what.rank, what.index))
    if sent_here is not None and sent_here.taken is None:
        for kind in ("wrong-tag", "wrong-source", "wrong-communicator", "wrong-destination"):
            for other in replay.unserved():
                held = ring and kind != "wrong-tag"
                if not held and other.call is not what and _near(other, sent_here) == kind:
                    facts = [f"rank {other.rank} called {describe(other.call)}, "
                             f"at {other.call.site}"]  # fmt: skip
                    return kind, [sent_here.source, other.rank], facts
    return None


def _went(sent: Sent) -> str:
    return f"rank {sent.source} called {describe(sent.call)}, at {sent.call.site}"


def _near(posted: Posted, sent: Sent) -> str:
    """Say in which single respect a message misses a receive; nothing if it is in several."""
    if sent.source == sent.dest != posted.rank:
        return ""
    same_comm = sent.comm == posted.comm
    to_me = sent.dest == posted.rank
    from_there = posted.source in (ANY, sent.source)
    tag = posted.tag in (ANY, sent.tag)
    wrong = {
        "wrong-communicator": not same_comm,
        "wrong-destination": not to_me,
        "wrong-source": not from_there,
        "wrong-tag": not tag,
    }
    reasons = [kind for kind, is_so in wrong.items() if is_so]
    if len(reasons) != 1 or (reasons[0] == "wrong-destination" and posted.source == ANY):
        return ""
    return reasons[0]


def _ring(waits: Waits, cycle: list[int]) -> str:
    calls = [waits.waiting[rank].what for rank in cycle]
    together = [(call.rank, call.index) in waits.replay.of_meeting for call in calls]
    if len(cycle) == 1:
        return "lock" if calls[0].name in names.LOCK else "self"
    if any(call.name in names.LOCK for call in calls):
        return "lock"
    if all(together):
        return "collective-cycle"
    if any(together):
        return "message-and-collective"
    if all(call.name in (*names.RECV, *names.IRECV, *names.PROBE) for call in calls):
        return "receive-cycle"
    if all(call.name in (*names.SEND, *names.ISEND) for call in calls):
        return "send-cycle"
    return "cycle"


def _abandoned(waits: Waits) -> tuple[str, list[int], list[str]]:
    """Stuck ranks without a ring: in the end they wait for one that has left."""
    gone = {rank for rank, status in enumerate(waits.statuses) if status in OVER}
    for rank in waits.stuck:
        wait = waits.waiting[rank]
        if gone & set(wait.ranks):
            what, left = wait.what, sorted(gone & set(wait.ranks))
            if (what.rank, what.index) in waits.replay.of_meeting:
                return "left-early", [rank, *left], []
            if what.name in names.LOCK:
                return "lock", [rank, *left], []
            sends = what.name in (*names.SEND, *names.ISEND)
            receive = waits.replay.of_receive.get((what.rank, what.index))
            if receive is None or receive.takes is not None or sends:
                return "missing-receive", [rank, *left], []
            return "missing-send", [rank, *left], []
    return "cycle", waits.stuck, []


def _failure(waits: Waits, failed: list[int], errors: list[str]) -> Explanation:
    """A rank failed: say whether its calls are the reason, and who waits for it."""
    mixed = _mixed(waits.replay, failed)
    if mixed is not None:
        return _base(waits, *mixed)
    for rank in failed:
        calls = waits.trace.calls[rank]
        last = calls[-1] if calls else None
        if "TRUNCATE" in errors[rank].upper() and last is not None:
            unequal = _unequal(waits.replay, [rank])
            if unequal is not None:
                return _base(waits, *unequal)
            return _base(waits, *_truncated(waits.replay, last))
        if "ERR_RANK" in errors[rank] or "invalid rank" in errors[rank].lower():
            facts = [f"rank {rank} called {describe(last)}, at {last.site}"] if last else []
            return _base(waits, "invalid-rank", [rank], facts)
        if "MPI_ERR" in errors[rank] or "MPI error" in errors[rank]:
            unequal = _unequal(waits.replay, [rank])
            if unequal is not None:
                return _base(waits, *unequal)
    kind = waits.statuses[failed[0]]
    facts = [f"{_ranks(failed)} {kind if kind != 'crashed' else 'crashed'}"]
    return _base(waits, kind, failed, facts)


def _mixed(
    replay: Replay, ranks: Sequence[int] | None = None
) -> tuple[str, list[int], list[str]] | None:
    """Find a pickled object that met a buffer, or two types that met."""
    for posted in replay.posted:
        sent = posted.takes
        if sent is None or (ranks is not None and posted.rank not in ranks):
            continue
        facts = [_went(sent), f"rank {posted.rank} called {describe(posted.call)}, "
                 f"at {posted.call.site}"]  # fmt: skip
        if sent.call.pickled != posted.call.pickled:
            return "kind-mismatch", [sent.source, posted.rank], facts
        types = {sent.call.dtype, posted.call.dtype} - {0}
        plain = posted.call.name in (*names.RECV, *names.IRECV)
        if len(types) > 1 and plain and sent.call.name not in names.SENDRECV:
            return "type-mismatch", [sent.source, posted.rank], facts
    return None


def _truncated(replay: Replay, last: Call) -> tuple[str, list[int], list[str]]:
    """Say which message did not fit into which buffer."""
    posted = replay.of_receive.get((last.rank, last.index))
    if posted is None:
        for number in last.requests:
            made = replay.of_request.get((last.rank, number))
            candidate = made and replay.of_receive.get((made.rank, made.index))
            if candidate and candidate.takes and candidate.takes.call.bytes > candidate.call.room:
                posted = candidate
    if posted is None or posted.takes is None:
        return "truncated", [last.rank], [f"rank {last.rank} called {describe(last)}, "
                                          f"at {last.site}"]  # fmt: skip
    sent = posted.takes
    facts = [
        f"rank {sent.source} sends {sent.call.bytes} bytes, at {sent.call.site}",
        f"rank {posted.rank} has room for {posted.call.room} bytes, at {posted.call.site}",
    ]
    return "truncated", [sent.source, posted.rank], facts


def _review(waits: Waits) -> Explanation:
    """All ranks returned: look for what went wrong without a hang."""
    found = _mixed(waits.replay) or _unequal(waits.replay, [])
    if found is None:
        left = waits.replay.untaken()
        if left:
            facts = [_went(sent) for sent in left[:5]]
            found = "missing-receive", sorted({sent.source for sent in left}), facts
    return _base(waits, *found) if found else Explanation("none")


def _slow(waits: Waits, stacks: list[str]) -> Explanation:
    """Nobody is stuck: say who is at work and who waits for them."""
    running = [
        rank
        for rank, status in enumerate(waits.statuses)
        if status not in OVER and rank not in waits.waiting
    ]
    facts = []
    for rank in running:
        calls = waits.trace.calls[rank]
        last = f"its last MPI call was {describe(calls[-1])}, at {calls[-1].site}" if calls else (
            "it has made no MPI call yet"
        )  # fmt: skip
        facts.append(f"rank {rank} is computing; {last}")
        if stacks[rank]:
            facts += [f"    {line.strip()}" for line in stacks[rank].splitlines()[1:4]]
    return _base(waits, "slow", running, facts)
