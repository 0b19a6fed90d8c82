"""What can go wrong on engines, each error naming the rank."""

from collections.abc import Mapping, Sequence


class EnginesError(RuntimeError):
    """The engines did not start, are gone, or are still busy with an earlier cell."""

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in a notebook: frames of this package would not help."""
        return [f"{type(self).__name__}: {self}"]


class EnginesDied(EnginesError):
    """The MPI job ended: a rank crashed, was killed, or called ``Abort``."""


class Hang(EnginesError):
    """Ranks did not finish before the deadline.

    Attributes:
        ranks: those that did not finish.
        report: where each of them was.
    """

    def __init__(self, message: str, ranks: Sequence[int], report: str) -> None:
        """Keep `ranks` and `report` beside the message."""
        super().__init__(f"{message}\n{report}" if report else message)
        self.ranks = list(ranks)
        self.report = report


class Deadlock(Hang):
    """Ranks wait for each other, or for a rank that has left: they can never go on."""


class RankError(EnginesError):
    """A rank raised.

    Attributes:
        rank: the first rank that raised.
        ename: name of its exception's class.
        evalue: text of its exception.
        traceback: its traceback as text.
        others: "class: text" of every further rank that raised, by rank.
        unfinished: ranks that were still running.
    """

    def __init__(
        self,
        rank: int,
        ename: str,
        evalue: str,
        traceback: str,
        others: Mapping[int, str],
        unfinished: Sequence[int],
        report: str,
    ) -> None:
        """Compose the message from what each rank did."""
        self.rank, self.ename, self.evalue, self.traceback = rank, ename, evalue, traceback
        self.others, self.unfinished, self.report = dict(others), list(unfinished), report
        parts = [f"rank {rank} raised {ename}: {evalue}"]
        parts += [f"rank {r} raised {text}" for r, text in self.others.items()]
        if report:
            parts += [report]
        super().__init__("\n".join(parts))

    def _render_traceback_(self) -> list[str]:
        return [*self.traceback.splitlines(), "", *str(self).splitlines()]


def ranks_text(ranks: Sequence[int]) -> str:
    """Return "rank 2", "ranks 0 and 2" or "ranks 0, 2 and 3"."""
    names = [str(rank) for rank in ranks]
    if len(names) == 1:
        return f"rank {names[0]}"
    return f"ranks {', '.join(names[:-1])} and {names[-1]}"
