"""Figures of density-based clustering: points, cells, ranks, and how they scale."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, to_rgb
from matplotlib.patches import Circle

from course.figures.base import describe

PALETTE = plt.get_cmap("tab10").colors  # type: ignore[attr-defined]
NOISE = "0.65"


def _colours(labels: np.ndarray) -> list[Any]:
    return [NOISE if label < 0 else PALETTE[label % len(PALETTE)] for label in labels]


def clusters(
    points: np.ndarray,
    labels: np.ndarray,
    core: np.ndarray | None = None,
    circles: Sequence[int] = (),
    eps: float = 1.0,
    numbered: bool = False,
    title: str = "Clusters",
    unit: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw points on a plane: colours are clusters, large dots core points, crosses noise.

    Args:
        points: shape (n, 2).
        labels: whole numbers (n,), -1 for noise.
        core: truth values (n,); all points are drawn alike without.
        circles: rows around which a circle of radius `eps` is drawn.
        eps: radius, in the units of `points`.
        numbered: write each point's row beside it.
        title: what is shown.
        unit: of both axes.
        ax: where to draw; a new figure by default.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5))
    size = float(np.clip(12_000 / len(points), 0.5, 60))
    colours = np.array([to_rgb(colour) for colour in _colours(labels)])
    solid = np.ones(len(points), dtype=bool) if core is None else np.asarray(core, dtype=bool)
    noise = labels < 0
    x, y = points.T
    full, hollow = solid & ~noise, ~solid & ~noise
    ax.scatter(x[noise], y[noise], s=size, c=colours[noise], marker="x", linewidths=0.8)
    ax.scatter(x[full], y[full], s=size, c=colours[full], linewidths=0)
    ax.scatter(x[hollow], y[hollow], s=size, facecolors="none", edgecolors=colours[hollow].tolist())
    for row in circles:
        ax.add_patch(Circle(points[row], eps, fill=False, linestyle="--", color="black"))
    if numbered:
        for row, place in enumerate(points):
            ax.annotate(str(row), place, xytext=(5, 5), textcoords="offset points", fontsize=8)
    ax.set_aspect("equal")
    ax.set_title(title)
    ax.set_xlabel(f"x {unit}".strip())
    ax.set_ylabel(f"y {unit}".strip())
    found = len(set(labels[~noise].tolist()))
    text = f"{title}: {len(points)} points in {found} clusters, {int(noise.sum())} are noise"
    if core is not None:
        text += f", {int(solid.sum())} are core points"
    if len(circles):
        text += f"; circles of radius {eps:g} around points {list(circles)}"
    return describe(ax, text + ".")


def grid(
    points: np.ndarray, width: float, title: str = "Grid", unit: str = "", ax: Axes | None = None
) -> Axes:
    """Draw points under a grid of cells, with the number of points in each.

    Args:
        points: shape (n, 2).
        width: of a cell, in the units of `points`; the grid begins at the lowest ones.
        title: what is shown.
        unit: of both axes.
        ax: where to draw; a new figure by default.
    """
    points = np.asarray(points)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5))
    low = points.min(axis=0)
    cells, counts = np.unique(np.floor((points - low) / width), axis=0, return_counts=True)
    sides = cells.max(axis=0).astype(int) + 1
    ax.scatter(points[:, 0], points[:, 1], s=12, color="0.3")
    for cell, count in zip(cells, counts, strict=True):
        x, y = low + (cell + 0.06) * width
        ax.text(x, y, str(count), color="C3", va="bottom", fontsize=9)
    for k in range(sides[0] + 1):
        ax.axvline(low[0] + k * width, color="C0", linewidth=0.6)
    for k in range(sides[1] + 1):
        ax.axhline(low[1] + k * width, color="C0", linewidth=0.6)
    ax.set_aspect("equal")
    ax.set_title(title)
    ax.set_xlabel(f"x {unit}".strip())
    ax.set_ylabel(f"y {unit}".strip())
    return describe(
        ax,
        f"{title}: {len(points)} points in a grid of {sides[0]} by {sides[1]} cells of width "
        f"{width:g}; {len(cells)} cells hold any, the fullest {counts.max()}.",
    )


def cost_map(
    costs: np.ndarray,
    cuts: Sequence[int] = (),
    title: str = "Cost of each cell",
    ax: Axes | None = None,
) -> Axes:
    """Draw the cost of each cell of a plane as a picture, on a logarithmic scale.

    Args:
        costs: shape (columns, rows), 0 for empty cells.
        cuts: cells before each boundary between ranks, counted column by column.
        title: what is shown.
        ax: where to draw; a new figure by default.
    """
    costs = np.asarray(costs, dtype=float)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5))
    shown = np.ma.masked_less_equal(costs.T, 0)
    image = ax.imshow(shown, origin="lower", norm=LogNorm(), cmap="viridis", aspect="equal")
    plt.colorbar(image, ax=ax, label="comparisons")
    for cut in cuts:
        column, row = divmod(int(cut), costs.shape[1])
        ax.plot(
            [column - 0.5, column - 0.5, column + 0.5, column + 0.5],
            [costs.shape[1] - 0.5, row - 0.5, row - 0.5, -0.5],
            color="C3",
        )
    ax.set_title(title)
    ax.set_xlabel("cell along x")
    ax.set_ylabel("cell along y")
    top = np.sort(costs.ravel())[::-1]
    share = top[: max(1, top.size // 100)].sum() / top.sum()
    return describe(
        ax,
        f"{title}: {costs.shape[0]} by {costs.shape[1]} cells; the dearest hundredth of them "
        f"causes {share:.0%} of the cost; {len(cuts)} boundaries between ranks are drawn.",
    )


def loads(
    shares: Mapping[str, Sequence[float]], title: str = "Load of each rank", ax: Axes | None = None
) -> Axes:
    """Draw what each rank has to do, for several ways to share it out.

    Args:
        shares: for each way, the load of each rank.
        title: what is shown.
        ax: where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 3.5))
    text = []
    for place, (name, given) in enumerate(shares.items()):
        values = np.asarray(given, dtype=float) / np.sum(given)
        at = np.arange(len(values)) + (place - (len(shares) - 1) / 2) * 0.8 / len(shares)
        ax.bar(at, values, width=0.8 / len(shares), label=name)
        worst = values.max() * len(values)
        text.append(f"{name}: the busiest rank has {worst:.1f} times the mean")
        ax.axhline(1 / len(values), color="black", linewidth=0.8, linestyle=":")
        ax.set_xticks(range(len(values)))
    ax.set_xlabel("rank")
    ax.set_ylabel("share of the work")
    ax.set_title(title)
    ax.legend()
    return describe(ax, f"{title}, a bar for each rank. " + "; ".join(text) + ".")


def halo(
    points: np.ndarray,
    owner: np.ndarray,
    rank: int,
    seen: np.ndarray,
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """Draw what one rank owns, what it sees of others, and the rest.

    Args:
        points: shape (n, 2).
        owner: the rank that owns each point, (n,).
        rank: the one that is shown.
        seen: truth values (n,): in its halo.
        title: what is shown.
        ax: where to draw; a new figure by default.
    """
    points, owner, seen = np.asarray(points), np.asarray(owner), np.asarray(seen, dtype=bool)
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 5))
    own = owner == rank
    size = float(np.clip(4000 / len(points), 1, 30))
    for chosen, colour, name in (
        (~own & ~seen, "0.85", "of other ranks"),
        (own, f"C{rank}", f"of rank {rank}"),
        (seen, "black", f"halo of rank {rank}"),
    ):
        ax.scatter(
            points[chosen, 0],
            points[chosen, 1],
            s=size,
            color=colour,
            label=f"{name}: {chosen.sum()}",
        )
    ax.set_aspect("equal")
    ax.legend(loc="upper right", markerscale=2)
    ax.set_title(title or f"What rank {rank} sees")
    ax.set_xlabel("x")
    ax.set_ylabel("y")
    return describe(
        ax, f"Rank {rank} owns {own.sum()} of {len(points)} points and sees {seen.sum()} of others."
    )


def k_distance(
    distances: np.ndarray, k: int, eps: float | None = None, unit: str = "", ax: Axes | None = None
) -> Axes:
    """Draw the distance of each point to its k-th nearest, largest first.

    Args:
        distances: (n,), in any order.
        k: which neighbour, the point itself counting as the first.
        eps: a radius to mark.
        unit: of the distances.
        ax: where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 4))
    values = np.sort(np.asarray(distances))[::-1]
    share = np.arange(1, len(values) + 1) / len(values)
    ax.plot(100 * share, values)
    ax.set_yscale("log")
    ax.set_xlabel("points, % (farthest first)")
    ax.set_ylabel(f"distance to neighbour {k} {unit}".strip())
    ax.set_title(f"{k}-distance plot")
    ax.grid(alpha=0.3)
    text = f"Falling curve of the distance to neighbour {k}, median {np.median(values):.3g} {unit}"
    if eps is not None:
        sparse = float(np.mean(values > eps))
        ax.axhline(eps, color="C3", linestyle="--", label=f"eps = {eps:g}: {sparse:.0%} not core")
        ax.legend()
        text += f"; at the radius {eps:g} a share of {sparse:.0%} of the points is not core"
    return describe(ax, text + ".")


def cloud(
    points: np.ndarray,
    labels: np.ndarray,
    title: str = "Point cloud",
    unit: str = "",
    most: int = 20_000,
    flip: bool = False,
    elevation: float = 25,
) -> Axes:
    """Draw points in space, noise faintly; the largest clusters have the first colours.

    Args:
        points: shape (n, 3).
        labels: whole numbers (n,), -1 for noise.
        title: what is shown.
        unit: of the axes.
        most: points that are drawn, evenly chosen.
        flip: let the third axis point down.
        elevation: from where one looks, in degrees.
    """
    points, labels = np.asarray(points), np.asarray(labels)
    figure = plt.figure(figsize=(8, 5.5))
    ax = figure.add_subplot(projection="3d", computed_zorder=False)
    names, sizes = np.unique(labels[labels >= 0], return_counts=True)
    place = {name: k for k, name in enumerate(names[np.argsort(-sizes)])}
    some = np.linspace(0, len(points) - 1, min(most, len(points))).astype(int)
    kept, shown = labels[some], points[some]
    noise = kept < 0
    colours = _colours(np.array([place.get(label, -1) for label in kept]))
    ax.scatter(*shown[noise].T, s=0.5, color=NOISE, alpha=0.3)
    ax.scatter(*shown[~noise].T, s=1.5, c=[c for c in colours if c != NOISE])
    ax.set_box_aspect(np.ptp(points, axis=0))
    ax.view_init(elev=elevation, azim=-70)
    if flip:
        ax.invert_zaxis()
    ax.set_title(title)
    ax.set_xlabel(f"x {unit}")
    ax.set_ylabel(f"y {unit}")
    ax.set_zlabel(f"z {unit}")
    largest = sorted(sizes.tolist(), reverse=True)[:3]
    return describe(
        ax,
        f"{title}: {len(points)} points in space, {len(names)} clusters, the largest of "
        f"{largest} points; {np.mean(labels < 0):.0%} is noise.",
    )


def phases(
    seconds: Mapping[str, Mapping[str, float]], title: str = "Phases", ax: Axes | None = None
) -> Axes:
    """Draw a bar for each run, divided into its phases.

    Args:
        seconds: for each run, the time of each phase.
        title: what is shown.
        ax: where to draw; a new figure by default.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 1.3 + 0.5 * len(seconds)))
    names = list(dict.fromkeys(name for run in seconds.values() for name in run))
    left = np.zeros(len(seconds))
    for number, name in enumerate(names):
        values = np.array([run.get(name, 0.0) for run in seconds.values()])
        ax.barh(range(len(seconds)), values, left=left, color=PALETTE[number % 10], label=name)
        left += values
    ax.set_yticks(range(len(seconds)), list(seconds))
    ax.invert_yaxis()
    ax.set_xlabel("s")
    ax.set_title(title)
    ax.legend(bbox_to_anchor=(1.01, 1), loc="upper left", fontsize=8)
    text = []
    for run, parts in seconds.items():
        longest = max(parts, key=lambda name: parts[name])
        total = sum(parts.values())
        text.append(f"{run}: {total:.2f} s, most of it {longest} ({parts[longest] / total:.0%})")
    return describe(ax, f"{title}, stacked bars. " + "; ".join(text) + ".")


def scaling(
    ranks: Sequence[int],
    speed_ups: Mapping[str, Sequence[float]],
    title: str = "Strong scaling",
    band: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Axes:
    """Draw speed-up and, beside it, efficiency against the number of ranks.

    Args:
        ranks: numbers of ranks, ascending.
        speed_ups: for each curve, the speed-up at each; NaN where there is none.
        title: what is shown.
        band: lower and upper bound of a model's speed-up, at each of `ranks`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    at = np.asarray(ranks, dtype=float)
    left.plot(at, at, color="black", linestyle=":", label="ideal")
    right.axhline(1, color="black", linestyle=":", label="ideal")
    text = []
    for number, (name, values) in enumerate(speed_ups.items()):
        gains = np.asarray(values, dtype=float)
        kept = np.isfinite(gains)
        style = {"marker": "o", "color": f"C{number}", "label": name}
        left.plot(at[kept], gains[kept], **style)
        right.plot(at[kept], (gains / at)[kept], **style)
        text.append(f"{name}: {gains[kept][-1]:.2f} times on {at[kept][-1]:.0f} ranks")
    if band is not None:
        low, high = (np.asarray(side, dtype=float) for side in band)
        left.fill_between(at, low, high, alpha=0.2, color="0.4", label="model's range")
        right.fill_between(at, low / at, high / at, alpha=0.2, color="0.4")
        text.append(f"the model's range at {at[-1]:.0f} ranks is {low[-1]:.0f} to {high[-1]:.0f}")
    for ax, name in ((left, "speed-up"), (right, "efficiency")):
        if at[-1] > 8:
            ax.set_xscale("log", base=2)
            if name == "speed-up":
                ax.set_yscale("log", base=2)
        ax.set_xticks(at, [f"{rank:.0f}" for rank in at])
        ax.minorticks_off()
        ax.set_xlabel("ranks")
        ax.set_ylabel(name)
        ax.grid(alpha=0.3)
    right.set_ylim(bottom=0)
    left.legend(fontsize=8)
    figure.suptitle(title)
    return describe(left, f"{title}, speed-up and efficiency. " + "; ".join(text) + ".")
