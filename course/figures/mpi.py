"""Pictures of communication: a timeline of calls, who tells whom, who waits for whom, costs."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from course.figures.base import describe
from course.figures.training import COLOURS, MARKERS

PHASES = ("compute", "wait", "transfer")
_FILL = ("#CCE5F2", "#D55E00", "#009E73")
_HATCH = ("", "////", "")


def timeline(
    rank: ArrayLike,
    start: ArrayLike,
    stop: ArrayLike,
    phase: ArrayLike,
    name: Sequence[str] | None = None,
    title: str = "What each rank did",
    ax: Axes | None = None,
) -> Axes:
    """Draw each rank's time as a bar of computing, waiting and transferring.

    Args:
        rank: (m,) rank of each interval.
        start: (m,) seconds.
        stop: (m,) seconds.
        phase: (m,) 0 for computing, 1 for waiting, 2 for transferring.
        name: (m,) name of the MPI call, written into intervals that are wide enough.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.

    Raises:
        ValueError: The arrays differ in length, or there is no interval.
    """
    ranks, kinds = np.asarray(rank, dtype=int), np.asarray(phase, dtype=int)
    begin, end = np.asarray(start, dtype=float), np.asarray(stop, dtype=float)
    if not (ranks.shape == kinds.shape == begin.shape == end.shape and ranks.ndim == 1):
        raise ValueError(
            "rank, start, stop and phase must have one shape (m,), got "
            f"{ranks.shape}, {begin.shape}, {end.shape}, {kinds.shape}"
        )
    if not ranks.size:
        raise ValueError("expected at least one interval, got none")
    size = ranks.max() + 1
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 1.2 + 0.55 * size), layout="constrained")
    span = end.max() - begin.min()
    unit, factor = ("ms", 1e3) if span < 1 else ("s", 1.0)
    for kind in range(3):
        mine = kinds == kind
        ax.barh(
            ranks[mine],
            factor * (end - begin)[mine],
            left=factor * begin[mine],
            height=0.7,
            color=_FILL[kind],
            hatch=_HATCH[kind],
            edgecolor="white" if kind else "none",
            linewidth=0,
        )
    if name is not None:
        for who, a, b, text in zip(ranks, begin, end, name, strict=True):
            if text and (b - a) > 0.012 * len(text) * span:
                ax.text(
                    factor * (a + b) / 2,
                    who,
                    text,
                    ha="center",
                    va="center",
                    fontsize=8,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
                )
    ax.set_yticks(range(size), [f"rank {who}" for who in range(size)])
    ax.invert_yaxis()
    ax.set_xlabel(f"time ({unit})")
    ax.set_title(title)
    handles = [
        Patch(facecolor=_FILL[kind], hatch=_HATCH[kind], edgecolor="white", label=PHASES[kind])
        for kind in range(3)
    ]
    ax.legend(handles=handles, ncols=3, fontsize=9, loc="upper left", bbox_to_anchor=(0, -0.25))
    table = np.zeros((size, 3))
    np.add.at(table, (ranks, kinds), end - begin)
    shares = "; ".join(
        f"rank {who} computes {row[0] / span:.0%}, waits {row[1] / span:.0%} and "
        f"transfers {row[2] / span:.0%}"
        for who, row in enumerate(table)
    )
    return describe(ax, f"{title}, over {factor * span:.3g} {unit}: {shares}.")


def communication_matrix(
    volume: ArrayLike, title: str = "Bytes sent by messages", ax: Axes | None = None
) -> Axes:
    """Draw who sent how many bytes to whom.

    Args:
        volume: (ranks, ranks) bytes from the row's rank to the column's.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.

    Raises:
        ValueError: `volume` is not square.
    """
    table = np.asarray(volume, dtype=float)
    if table.ndim != 2 or table.shape[0] != table.shape[1]:
        raise ValueError(f"volume must have shape (ranks, ranks), got {table.shape}")
    size = len(table)
    unit, factor = next(
        (unit, scale)
        for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("bytes", 1.0))
        if table.max(initial=0) >= scale or unit == "bytes"
    )
    if ax is None:
        width = max(3.6, 0.62 * size + 2)
        _, ax = plt.subplots(figsize=(width, width - 0.8), layout="constrained")
    image = ax.imshow(table / factor, cmap="Blues", vmin=0)
    for (i, j), value in np.ndenumerate(table):
        if value and size <= 12:
            dark = value > 0.6 * table.max()
            ax.text(j, i, f"{value / factor:.3g}", ha="center", va="center", fontsize=9,
                    color="white" if dark else "black")  # fmt: skip
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("to rank")
    ax.set_ylabel("from rank")
    ax.set_title(title)
    colour_bar = ax.figure.colorbar(image, ax=ax, shrink=0.85)
    colour_bar.set_label(unit)
    pairs = [(table[i, j], i, j) for i in range(size) for j in range(size) if table[i, j]]
    told = "; ".join(
        f"rank {i} to rank {j} {value / factor:.3g} {unit}"
        for value, i, j in sorted(pairs, key=lambda pair: (-pair[0], pair[1:]))[:8]
    )
    more = f", and {len(pairs) - 8} smaller pairs" if len(pairs) > 8 else ""
    return describe(ax, f"{title} between {size} ranks: {told or 'nothing'}{more}.")


def wait_graph(
    waits: Mapping[int, Sequence[int]],
    ranks: int,
    cycle: Sequence[int] = (),
    labels: Mapping[int, str] | None = None,
    title: str = "Who waits for whom",
    ax: Axes | None = None,
) -> Axes:
    """Draw ranks on a circle, and an arrow from each that waits to those it waits for.

    Args:
        waits: For each rank that waits, the ranks that it waits for.
        ranks: Number of ranks.
        cycle: Ranks that wait for each other in a ring, in its order: drawn bold.
        labels: A few words for a rank, such as the call that it is in.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.

    Raises:
        ValueError: A rank is out of range.
    """
    named = {*waits, *cycle, *(other for others in waits.values() for other in others)}
    if any(not 0 <= who < ranks for who in named):
        raise ValueError(f"ranks must be from 0 to {ranks - 1}, got {sorted(named)}")
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4.4), layout="constrained")
    angle = np.pi / 2 - 2 * np.pi * np.arange(ranks) / max(ranks, 1)
    place = np.column_stack([np.cos(angle), np.sin(angle)])
    ring = set(zip(cycle, [*cycle[1:], *cycle[:1]], strict=True))
    for who, others in waits.items():
        for other in others:
            bold = (who, other) in ring
            colour, width = ("#D55E00", 2.6) if bold else ("0.45", 1.2)
            if who == other:
                style = {"connectionstyle": "arc3,rad=1.6"}
                begin, end = place[who] + [-0.1, 0.08], place[who] + [0.1, 0.08]
            else:
                style = {"connectionstyle": "arc3,rad=0.16"}
                begin, end = place[who], place[other]
            ax.annotate(
                "",
                xy=end,
                xytext=begin,
                arrowprops={"arrowstyle": "-|>", "color": colour, "linewidth": width,
                            "shrinkA": 19, "shrinkB": 19, "mutation_scale": 16, **style},
            )  # fmt: skip
    for who in range(ranks):
        face = "#F6C9A8" if who in cycle else ("#E8E8E8" if who in waits else "#CCE5F2")
        ax.scatter(place[who, 0], place[who, 1], s=900, color=face, edgecolor="0.2", zorder=3)
        ax.text(
            place[who, 0], place[who, 1], str(who), ha="center", va="center", fontsize=13, zorder=4
        )
        if labels and who in labels:
            x, y = 1.3 * place[who]
            side = "center" if abs(x) < 0.3 else ("left" if x > 0 else "right")
            ax.text(x, y, labels[who], ha=side, va="center", fontsize=9)
    ax.set_xlim(-2, 2)
    ax.set_ylim(-1.6, 1.6)
    ax.set_aspect("equal")
    ax.set_axis_off()
    ax.set_title(title)
    told = "; ".join(
        f"rank {who} waits for rank {' and '.join(map(str, others))}"
        for who, others in sorted(waits.items())
    )
    around = " → ".join(map(str, [*cycle, *cycle[:1]]))
    text = f"{title}: {told or 'nobody waits'}." + (f" The ring is {around}." if cycle else "")
    return describe(ax, text)


def cost_model(
    sizes: ArrayLike,
    measured: Mapping[str, ArrayLike],
    predicted: Mapping[str, ArrayLike],
    title: str = "Time of a message",
    ax: Axes | None = None,
) -> Axes:
    """Draw measured times over the message size as points, predicted ones as lines.

    Args:
        sizes: (k,) bytes.
        measured: (k,) seconds each, by the name in the legend.
        predicted: (k,) seconds each, by the name in the legend. One of the same name as a
            measurement is drawn in its colour.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.
    """
    size = np.asarray(sizes, dtype=float)
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    names = list(dict.fromkeys([*measured, *predicted]))
    texts = []
    for place, name in enumerate(names):
        colour = COLOURS[place % len(COLOURS)]
        if name in measured:
            times = 1e6 * np.asarray(measured[name], dtype=float)
            label = f"{name}, measured"
            marker = MARKERS[place % len(MARKERS)]
            ax.plot(size, times, linestyle="", marker=marker, color=colour, label=label)
            texts.append(f"{label}, goes from {times[0]:.3g} to {times[-1]:.3g} microseconds")
        if name in predicted:
            times = 1e6 * np.asarray(predicted[name], dtype=float)
            style, label = ("-", "--", "-.", ":")[place % 4], f"{name}, model"
            ax.plot(size, times, linestyle=style, color=colour, label=label)
            texts.append(f"{label}, from {times[0]:.3g} to {times[-1]:.3g}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("size (bytes)")
    ax.set_ylabel("time (µs)")
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    over = f"from {size.min():.3g} to {size.max():.3g} bytes"
    return describe(ax, f"{title}, {over}: {'; '.join(texts)}.")
