"""Pictures of support vector machines: margins, maps of land cover, grids of parameters."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from numpy.typing import ArrayLike

from course.figures.base import describe
from course.figures.training import COLOURS, MARKERS

_GROUND = ("#CFE3F2", "#F3D5C0")


def margin(
    X: ArrayLike,
    y: ArrayLike,
    extent: Sequence[float],
    decision: ArrayLike,
    support: ArrayLike,
    title: str = "Decision function and margin",
    ax: Axes | None = None,
) -> Axes:
    """Draw two classes in the plane, the decision boundary, both margins, support vectors.

    Args:
        X: (n, 2) points.
        y: (n,) labels of two kinds.
        extent: left, right, bottom and top of the region that `decision` covers.
        decision: (rows, columns) decision values on a regular grid, first row at the bottom.
        support: (s,) positions of the support vectors in `X`.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.

    Raises:
        ValueError: there are not two classes of points in the plane.
    """
    points, labels = np.asarray(X, float), np.asarray(y)
    values, chosen = np.asarray(decision, float), np.asarray(support, int)
    kinds = np.unique(labels)
    if points.ndim != 2 or points.shape[1] != 2 or len(kinds) != 2:
        raise ValueError(
            f"expected points (n, 2) of two classes, got {points.shape} and {len(kinds)} classes"
        )
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 4.6), layout="constrained")
    left, right, bottom, top = extent
    across = np.linspace(left, right, values.shape[1])
    up = np.linspace(bottom, top, values.shape[0])
    ax.contourf(across, up, values, levels=[-np.inf, 0, np.inf], colors=_GROUND)
    low, high = values.min(), values.max()
    for level, style in ((-1, "--"), (0, "-"), (1, "--")):
        if low < level < high:
            ax.contour(across, up, values, levels=[level], colors="black", linestyles=style)
    for k, kind in enumerate(kinds):
        mine = labels == kind
        ax.plot(*points[mine].T, MARKERS[k], color=COLOURS[k], markersize=5, label=f"class {kind}")
    ax.plot(
        *points[chosen].T, "o", markersize=10, markerfacecolor="none", markeredgecolor="black",
        label=f"{len(chosen)} support vectors",
    )  # fmt: skip
    ax.set(xlabel="feature 1", ylabel="feature 2", title=title)
    ax.legend(loc="upper right", fontsize="small")
    inside = 0
    if low < 0 < high:
        inside = round(100 * float((np.abs(values) < 1).mean()))
    return describe(
        ax,
        f"{title}: {len(points)} points of two classes in the plane, of which {len(chosen)} are "
        f"circled as support vectors. A solid line separates the classes; dashed lines mark "
        f"the margin, which takes {inside} % of the area.",
    )


def land_cover(
    maps: Mapping[str, ArrayLike],
    names: Sequence[str],
    title: str = "Land cover",
) -> list[Axes]:
    """Draw maps of classes side by side, with one legend.

    Args:
        maps: title of each map, and its classes, (rows, columns) of 0 to k - 1; -1 is drawn
            black: a pixel without a class, or one that is wrong.
        names: (k,) names of the classes.
        title: Title of the figure.

    Raises:
        ValueError: there is no map, or a class has no name.
    """
    arrays = {name: np.asarray(values, int) for name, values in maps.items()}
    if not arrays:
        raise ValueError("expected at least one map, got none")
    if any(values.max() >= len(names) for values in arrays.values()):
        raise ValueError(f"expected classes below {len(names)}, the number of names")
    colours = plt.get_cmap("tab20")(np.linspace(0, 1, 20))[np.arange(len(names)) % 20]
    colours = ListedColormap(np.vstack([[0, 0, 0, 1], colours]))
    figure, grid = plt.subplots(
        1, len(arrays), figsize=(3.4 * len(arrays) + 1.2, 3.7), layout="constrained", squeeze=False
    )
    axes = list(grid[0])
    for ax, (name, values) in zip(axes, arrays.items(), strict=True):
        ax.imshow(values, cmap=colours, vmin=-1.5, vmax=len(names) - 0.5, interpolation="nearest")
        ax.set(title=name, xlabel="column (pixels)", ylabel="row (pixels)")
        share = 100 * float((values < 0).mean())
        describe(
            ax,
            f"Map {name!r}: {values.shape[0]} by {values.shape[1]} pixels in "
            f"{len(np.unique(values[values >= 0]))} classes; {share:.1f} % are black.",
        )
    figure.suptitle(title)
    handles = [
        plt.Rectangle((0, 0), 1, 1, color=colours(k + 1), label=name)
        for k, name in enumerate(names)
    ]
    figure.legend(handles=handles, loc="outside right upper", fontsize="x-small")
    return axes


def grid(
    accuracy: ArrayLike,
    minutes: ArrayLike,
    gammas: Sequence[float],
    Cs: Sequence[float],
    title: str = "Cross-validated accuracy",
    ax: Axes | None = None,
    mark: tuple[int, int] | None = None,
) -> Axes:
    """Draw a grid search as the slide's table: accuracy in percent and minutes in each cell.

    Args:
        accuracy: (g, c) in percent; colours the cells.
        minutes: (g, c) computing time.
        gammas: (g,) rows.
        Cs: (c,) columns.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.
        mark: Row and column of a cell to frame.
    """
    percent, time = np.asarray(accuracy, float), np.asarray(minutes, float)
    if percent.shape != (len(gammas), len(Cs)) or time.shape != percent.shape:
        raise ValueError(
            f"expected shape {(len(gammas), len(Cs))}, got {percent.shape} and {time.shape}"
        )
    if ax is None:
        size = (1.4 + 1.15 * len(Cs), 1.2 + 0.55 * len(gammas))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    ax.imshow(percent, cmap="cividis", aspect="auto")
    middle = (percent.min() + percent.max()) / 2
    for (row, column), value in np.ndenumerate(percent):
        ax.text(
            column, row, f"{value:.2f}\n({time[row, column]:.2f})", ha="center", va="center",
            fontsize="small", color="white" if value < middle else "black",
        )  # fmt: skip
    if mark is not None:
        row, column = mark
        ax.add_patch(
            plt.Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor="red", lw=3)
        )
    ax.set_xticks(range(len(Cs)), [f"{C:g}" for C in Cs])
    ax.set_yticks(range(len(gammas)), [f"{gamma:g}" for gamma in gammas])
    ax.set(xlabel="C", ylabel="gamma", title=f"{title}, % (minutes)")
    best_row, best_column = divmod(int(percent.argmax()), percent.shape[1])
    marked = f" The cell gamma {gammas[mark[0]]:g}, C {Cs[mark[1]]:g} is framed." if mark else ""
    return describe(
        ax,
        f"{title}: a table of {percent.shape[0]} gammas by {percent.shape[1]} Cs with accuracies "
        f"from {percent.min():.2f} to {percent.max():.2f} %. Best: gamma {gammas[best_row]:g}, "
        f"C {Cs[best_column]:g}. Minutes add up to {time.sum():.2f}.{marked}",
    )


def collectives(
    seconds: Mapping[str, float],
    ranks: int,
    title: str = "The same sum, three ways",
    ax: Axes | None = None,
) -> Axes:
    """Draw how long variants of one communication took.

    Args:
        seconds: time of each variant.
        ranks: number of ranks that took part.
        title: Title of the Axes.
        ax: Where to draw; by default a new figure.
    """
    if not seconds:
        raise ValueError("expected at least one variant, got none")
    names, times = list(seconds), [1e3 * value for value in seconds.values()]
    if ax is None:
        _, ax = plt.subplots(figsize=(6.5, 1.0 + 0.45 * len(names)), layout="constrained")
    bars = ax.barh(names, times, color=COLOURS[0])
    ax.bar_label(bars, [f"{value:.2f} ms" for value in times], padding=3)
    ax.invert_yaxis()
    ax.set(xlabel="time of one call (ms)", title=f"{title}, {ranks} ranks")
    ax.set_xlim(0, 1.25 * max(times))
    told = ", ".join(f"{name} {value:.2f} ms" for name, value in zip(names, times, strict=True))
    return describe(ax, f"{title} on {ranks} ranks: {told}.")
