"""Figures of training time: on one device and another, on one rank and many."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from course.figures.base import describe


def epoch_times(
    seconds: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    title: str = "Time of one epoch",
    unit: str = "s per epoch",
) -> Axes:
    """Draw a bar for each variant at its median time, with the quartiles as a whisker.

    Args:
        seconds: times by the name of the variant, at least one each.
        ax: where to draw; a new figure by default.
        title: what is trained.
        unit: label of the axis.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6, 0.6 + 0.5 * len(seconds)))
    names = list(seconds)
    medians = np.array([np.median(seconds[name]) for name in names])
    quartiles = np.array([np.percentile(seconds[name], [25, 75]) for name in names]).T
    positions = np.arange(len(names))
    ax.barh(positions, medians, color=[f"C{index}" for index in positions], height=0.6)
    spread = np.abs(quartiles - medians)
    ax.errorbar(medians, positions, xerr=spread, fmt="none", ecolor="black", capsize=4)
    reach = quartiles[1].max()
    for position, median, high in zip(positions, medians, quartiles[1], strict=True):
        ax.text(high + 0.03 * reach, position, f"{median:.3g}", va="center")
    ax.set_yticks(positions, names)
    ax.invert_yaxis()
    ax.set_xlim(0, 1.3 * reach)
    ax.set_xlabel(unit)
    ax.set_title(title)
    listed = "; ".join(
        f"{name} {median:.3g} (quartiles {low:.3g} to {high:.3g})"
        for name, median, low, high in zip(names, medians, *quartiles, strict=True)
    )
    return describe(ax, f"Bars, {title}, in {unit}, median of repeated measurements: {listed}.")


def speed_up(
    ranks: Sequence[int],
    seconds: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    title: str = "Speed-up",
) -> Axes:
    """Draw how many times faster than on the first number of ranks, beside the ideal line.

    Both axes are logarithmic where the numbers of ranks span more than a factor of 16.

    Args:
        ranks: numbers of ranks, ascending; the first is the reference.
        seconds: for each model, its time on each of `ranks`.
        ax: where to draw; a new figure by default.
        title: title of the figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(5, 3.6))
    counts = np.asarray(ranks, float)
    ax.plot(counts, counts / counts[0], "--", color="grey", label="ideal")
    texts = []
    for index, (name, values) in enumerate(seconds.items()):
        ratio = values[0] / np.asarray(values, float)
        ax.plot(counts, ratio, "os^Dv"[index % 5] + "-", label=name)
        texts.append(f"{name} reaches {ratio[-1]:.2f} on {ranks[-1]} ranks")
    if counts[-1] > 16 * counts[0]:
        ax.set_xscale("log", base=2)
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter("{x:g}")
    else:
        ax.axhline(1, color="black", linewidth=0.8)
        ax.set_ylim(0)
    ax.set_xticks(counts, [str(count) for count in ranks])
    ax.minorticks_off()
    ax.set_xlabel("ranks")
    ax.set_ylabel("speed-up (times)")
    ax.set_title(title)
    ax.legend()
    return describe(ax, f"{title} against the number of ranks: {'; '.join(texts)}.")


def learning_rates(
    steps_per_epoch: int,
    rates: Mapping[str, Sequence[float]],
    ax: Axes | None = None,
    title: str = "Learning rate",
) -> Axes:
    """Draw the learning rate of every step.

    Args:
        steps_per_epoch: steps in one epoch.
        rates: learning rates step by step, by name.
        ax: where to draw; a new figure by default.
        title: title of the figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(5.5, 3.2))
    texts = []
    for index, (name, values) in enumerate(rates.items()):
        epochs = np.arange(len(values)) / steps_per_epoch
        ax.plot(epochs, values, ("-", "--", ":", "-.")[index % 4], label=name)
        texts.append(f"{name} goes from {values[0]:.3g} to {values[-1]:.3g}")
    ax.set_ylim(0)
    ax.set_xlabel("epochs")
    ax.set_ylabel("learning rate")
    ax.set_title(title)
    ax.legend()
    return describe(ax, f"{title} over the epochs: {'; '.join(texts)}.")


def gradient_agreement(
    joined: np.ndarray,
    averaged: np.ndarray,
    parts: Sequence[np.ndarray],
    ax: Axes | None = None,
    title: str = "Gradient, value by value",
) -> Axes:
    """Draw each rank's gradient and their mean against the gradient of the joined batch.

    Args:
        joined: (n,) gradient of the joined batch.
        averaged: (n,) mean of the ranks' gradients.
        parts: one (n,) gradient per rank.
        ax: where to draw; a new figure by default.
        title: title of the figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(4.6, 4.2))
    joined = np.ravel(joined)
    for rank, part in enumerate(parts):
        ax.plot(joined, np.ravel(part), ".", markersize=3, alpha=0.4, label=f"rank {rank} alone")
    ax.plot(joined, np.ravel(averaged), "k.", markersize=4, label="mean of the ranks")
    ax.set_xlabel("gradient of the joined batch")
    ax.set_ylabel("gradient of the shards")
    ax.set_title(title)
    ax.legend(markerscale=2)
    error = float(np.abs(joined - np.ravel(averaged)).max())
    apart = max(float(np.abs(joined - np.ravel(part)).max()) for part in parts)
    return describe(
        ax,
        f"{joined.size} gradient values: the ranks' own scatter around those of the joined batch "
        f"by up to {apart:.2g}; their mean lies on the diagonal, within {error:.1g}.",
    )
