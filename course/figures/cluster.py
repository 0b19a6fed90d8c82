"""Figures of batch jobs: when each waited and ran, and which waited for which."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from course.figures.base import describe

MODULES = {"cluster": "C0", "booster": "C1", "dam": "C2"}


def pipeline(
    names: Sequence[str],
    partitions: Sequence[str],
    submitted: Sequence[float],
    started: Sequence[float | None],
    ended: Sequence[float | None],
    states: Sequence[str],
    ax: Axes | None = None,
    title: str = "A pipeline over modules",
) -> Axes:
    """Draw each job as a bar over time: pale while it waits, full while it runs.

    A row for each job, coloured by the module that it runs on; arrows lead from the end of a job
    to the start of the one that waited for it.

    Args:
        names: of the jobs, each of which waits for the one before.
        partitions: where each runs, one of each for a row.
        submitted: seconds, when each was handed in.
        started: seconds, when each began to run; None if it never did.
        ended: seconds, when each ended; None if it never ran, or still runs.
        states: how each stands, as Slurm names it.
        ax: where to draw; a new figure by default.
        title: title of the figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 1.2 + 0.5 * len(names)))
    known = [time for time in (*submitted, *started, *ended) if time is not None]
    last = max(known, default=1.0)
    texts = []
    for row, name in enumerate(names):
        start, stop = started[row], ended[row]
        color = MODULES.get(partitions[row], "C7")
        waited = (last if start is None else start) - submitted[row]
        ax.barh(row, waited, left=submitted[row], height=0.5, color=color, alpha=0.2)
        if start is None:
            texts.append(f"{name} on {partitions[row]} never ran ({states[row]})")
            ax.text(last, row, f" {states[row].lower()}", va="center", fontsize=8)
            continue
        stop = last if stop is None else stop
        ax.barh(row, stop - start, left=start, height=0.5, color=color)
        good = states[row] == "COMPLETED"
        label = f" {stop - start:.1f} s" + ("" if good else f", {states[row].lower()}")
        ax.text(stop, row, label, va="center", fontsize=8)
        texts.append(
            f"{name} on {partitions[row]} waited {waited:.1f} s and ran {stop - start:.1f} s "
            f"({states[row]})"
        )
        before = ended[row - 1] if row else None
        if before is not None:
            style = {"arrowstyle": "->", "color": "black", "connectionstyle": "arc3,rad=-0.2"}
            ax.annotate("", (start, row - 0.25), (before, row - 0.75), arrowprops=style)
    ax.set_yticks(range(len(names)), [f"{n}\n{p}" for n, p in zip(names, partitions, strict=True)])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.15 * last)
    ax.set_xlabel("seconds since the first was submitted")
    ax.set_title(title)
    return describe(ax, f"{title}: jobs over time. {'; '.join(texts)}.")
