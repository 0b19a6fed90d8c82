"""Tell the kinds of faults apart, each from what it leaves in the recorded calls.

A diagnosis is its kind (a key of `course.mpi.advice.TITLES`), the ranks it is about, and
the facts that show it, one sentence each.
"""

from collections.abc import Sequence

from course.mpi import calls as names
from course.mpi.matching import Meeting, Posted, Replay, Sent
from course.mpi.records import ANY, Call
from course.mpi.waits import OVER, Wait, Waits, mismatch

Diagnosis = tuple[str, list[int], list[str]]

_MISMATCH = {
    "kind": "collective-mismatch",
    "root": "root-mismatch",
    "operation": "operation-mismatch",
    "count": "count-mismatch",
}


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


def ranks_text(ranks: Sequence[int]) -> str:
    """Name several ranks in words."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return "ranks " + ", ".join(map(str, ranks[:-1])) + f" and {ranks[-1]}"


def classify(waits: Waits) -> Diagnosis:
    """Return the diagnosis of a deadlock, the ranks it is about, and its own facts."""
    unequal = find_unequal(waits.replay, waits.stuck)
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


def find_unequal(replay: Replay, ranks: Sequence[int]) -> Diagnosis | None:
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


def _astray(waits: Waits, wait: Wait, ring: bool) -> Diagnosis | None:
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
                    return kind, [posted.rank, sent.source], [went(sent)]
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


def went(sent: Sent) -> str:
    """Say who sent a message, and where."""
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


def _abandoned(waits: Waits) -> Diagnosis:
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


def find_mixed(replay: Replay, ranks: Sequence[int] | None = None) -> Diagnosis | None:
    """Find a pickled object that met a buffer, or two types that met."""
    for posted in replay.posted:
        sent = posted.takes
        if sent is None or (ranks is not None and posted.rank not in ranks):
            continue
        facts = [went(sent), f"rank {posted.rank} called {describe(posted.call)}, "
                 f"at {posted.call.site}"]  # fmt: skip
        if sent.call.pickled != posted.call.pickled:
            return "kind-mismatch", [sent.source, posted.rank], facts
        types = {sent.call.dtype, posted.call.dtype} - {0}
        plain = posted.call.name in (*names.RECV, *names.IRECV)
        if len(types) > 1 and plain and sent.call.name not in names.SENDRECV:
            return "type-mismatch", [sent.source, posted.rank], facts
    return None


def find_truncated(replay: Replay, last: Call) -> Diagnosis:
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
