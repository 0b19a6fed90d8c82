"""From a trace to "rank 0 waits for rank 1, which waits for rank 0".

explanation = explain(trace.load(directory), ["running", "running"])
explanation.kind     # "receive-cycle"
print(explanation)   # who waits in what, on which line, for whom, and what mends it
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course.mpi import trace as tracing
from course.mpi.advice import MENDS, TITLES
from course.mpi.diagnosis import (
    classify,
    describe,
    find_mixed,
    find_truncated,
    find_unequal,
    ranks_text,
    went,
)
from course.mpi.records import Trace
from course.mpi.waits import OVER, Wait, Waits


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
    if not trace.complete:
        return _incomplete(trace)
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


def _line(wait: Wait) -> str:
    """Say what a rank waits in, for whom and where."""
    what = describe(wait.call)
    if wait.part is not None:
        what += f" for its {describe(wait.part)}"
    others = [rank for rank in wait.ranks if rank != wait.rank]
    whom = f", for {ranks_text(others)}" if others else ""
    return f"rank {wait.rank} waits in {what}{whom}, at {wait.call.site}"


def _base(waits: Waits, kind: str, ranks: Sequence[int], facts: list[str]) -> Explanation:
    lines = [_line(waits.waiting[rank]) for rank in sorted(waits.waiting)]
    edges = {rank: wait.ranks for rank, wait in waits.waiting.items() if wait.ranks}
    over = [rank for rank, status in enumerate(waits.statuses) if status == "finished"]
    waited = {other for ranks in edges.values() for other in ranks}
    lines += [f"rank {rank} has returned" for rank in over if rank in waited]
    return Explanation(kind, sorted(set(ranks)), facts + lines, edges)


def _deadlock(waits: Waits) -> Explanation:
    kind, ranks, facts = classify(waits)
    found = _base(waits, kind, ranks, facts)
    found.cycle = waits.cycle() if kind in CYCLES else []
    found.deadlock = True
    return found


CYCLES = ("receive-cycle", "send-cycle", "cycle", "message-and-collective", "collective-cycle")


def _failure(waits: Waits, failed: list[int], errors: list[str]) -> Explanation:
    """A rank failed: say whether its calls are the reason, and who waits for it."""
    mixed = find_mixed(waits.replay, failed)
    if mixed is not None:
        return _base(waits, *mixed)
    for rank in failed:
        calls = waits.trace.calls[rank]
        last = calls[-1] if calls else None
        if "TRUNCATE" in errors[rank].upper() and last is not None:
            unequal = find_unequal(waits.replay, [rank])
            if unequal is not None:
                return _base(waits, *unequal)
            return _base(waits, *find_truncated(waits.replay, last))
        if "ERR_RANK" in errors[rank] or "invalid rank" in errors[rank].lower():
            facts = [f"rank {rank} called {describe(last)}, at {last.site}"] if last else []
            return _base(waits, "invalid-rank", [rank], facts)
        if "MPI_ERR" in errors[rank] or "MPI error" in errors[rank]:
            unequal = find_unequal(waits.replay, [rank])
            if unequal is not None:
                return _base(waits, *unequal)
    kind = waits.statuses[failed[0]]
    if kind != "raised":  # the library may have given up on calls that do not fit
        unequal = find_unequal(waits.replay, failed)
        if unequal is not None:
            return _base(waits, *unequal)
    facts = [f"{ranks_text(failed)} {kind if kind != 'crashed' else 'crashed'}"]
    return _base(waits, kind, failed, facts)


def _review(waits: Waits) -> Explanation:
    """All ranks returned: look for what went wrong without a hang."""
    found = find_mixed(waits.replay) or find_unequal(waits.replay, [])
    if found is None:
        left = waits.replay.untaken()
        if left:
            facts = [went(sent) for sent in left[:5]]
            found = "missing-receive", sorted({sent.source for sent in left}), facts
    return _base(waits, *found) if found else Explanation("none")


def _incomplete(trace: Trace) -> Explanation:
    """Old calls are lost, so nothing can be matched: say only where each rank is."""
    facts = [
        f"rank {calls[-1].rank} is in {describe(calls[-1])}, at {calls[-1].site}"
        for calls in trace.calls
        if calls and calls[-1].open
    ]
    return Explanation("incomplete", facts=facts)


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
