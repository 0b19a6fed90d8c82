"""Curves of training: loss and accuracy over the epochs, beside the slides' numbers."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from course.figures.base import describe

# Okabe and Ito: told apart by readers with any colour vision.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
NAMES = {"loss": "loss (cross-entropy)", "accuracy": "accuracy (%)"}


def curves(
    runs: Mapping[str, Sequence[float]],
    quantity: str = "accuracy",
    slide: Mapping[str, float] | None = None,
    title: str = "Training",
    ax: Axes | None = None,
) -> Axes:
    """Draw one curve over the epochs per run, and the slide's values as dashed lines.

    Args:
        runs: values after epoch 1, 2, ..., by the name in the legend: accuracies as
            fractions 0..1, or losses.
        quantity: ``"accuracy"`` (drawn in per cent) or ``"loss"``.
        slide: values on the slides, by the name in the legend; same unit as `runs`.
        title: title of the Axes.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: an unknown quantity, or a run without epochs.
    """
    if quantity not in NAMES:
        raise ValueError(f"quantity must be one of {tuple(NAMES)}, got {quantity!r}")
    empty = [name for name, values in runs.items() if not len(values)]
    if empty or not runs:
        raise ValueError(f"expected runs of at least one epoch, these have none: {empty}")
    scale = 100.0 if quantity == "accuracy" else 1.0
    if ax is None:
        _, ax = plt.subplots(figsize=(6.2, 3.8), layout="constrained")
    texts = []
    for i, (name, values) in enumerate(runs.items()):
        heights = scale * np.asarray(values, dtype=float)
        ax.plot(
            np.arange(1, len(heights) + 1),
            heights,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4,
            label=name,
        )
        texts.append(
            f"{name} goes from {heights[0]:.4g} to {heights[-1]:.4g} in {len(heights)} epochs"
        )
    for i, (name, value) in enumerate((slide or {}).items()):
        style = ("--", ":", "-.")[i % 3]
        ax.axhline(scale * value, color="0.25", linestyle=style, linewidth=1.2, label=name)
        texts.append(f"{name} is drawn as a line at {scale * value:.4g}")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set_xlabel("epoch")
    ax.set_ylabel(NAMES[quantity])
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    return describe(ax, f"{title}, {NAMES[quantity]}: {'; '.join(texts)}.")


def history(
    log: Mapping[str, Sequence[float]],
    slide: Mapping[str, float] | None = None,
    title: str = "Training",
) -> tuple[Axes, Axes]:
    """Draw the loss and the accuracy of a Keras history side by side.

    Args:
        log: ``History.history``: lists ``loss`` and ``accuracy``, and ``val_loss`` and
            ``val_accuracy`` where there was a validation set.
        slide: the slide's test ``loss`` and ``accuracy`` (fraction), drawn as lines.
        title: what was trained, for the titles.

    Returns:
        The two Axes: loss, accuracy.
    """
    _, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for ax, quantity in zip(axes, NAMES, strict=True):
        runs = {"training": log[quantity]}
        if f"val_{quantity}" in log:
            runs["validation"] = log[f"val_{quantity}"]
        line = {}
        if slide and quantity in slide:
            shown = f"{slide[quantity]:.4f}" if quantity == "loss" else f"{slide[quantity]:.2%}"
            line = {f"slide, test: {shown}": slide[quantity]}
        curves(runs, quantity, line, f"{title}: {quantity}", ax)
    return axes[0], axes[1]


def spread(
    values: Mapping[str, Sequence[float]],
    slide: Mapping[str, float] | None = None,
    quantity: str = "test accuracy (%)",
    title: str = "Runs with different seeds",
    ax: Axes | None = None,
) -> Axes:
    """Draw repeated results as points, one row a model, with the slide's value as a cross.

    Args:
        values: repeated results by model.
        slide: the slide's result by model, for some or all of the models.
        quantity: label of the axis, with the unit.
        title: title of the Axes.
        ax: where to draw; by default a new figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 0.6 * len(values) + 1.4), layout="constrained")
    texts = []
    for row, (name, results) in enumerate(values.items()):
        heights = np.full(len(results), float(row))
        label = "one run" if row == 0 else None
        ax.plot(results, heights, "o", color=COLOURS[0], alpha=0.7, markersize=7, label=label)
        text = f"{name} from {min(results):.2f} to {max(results):.2f} in {len(results)} runs"
        if slide and name in slide:
            drawn = any(line.get_label() == "slide" for line in ax.lines)
            ax.plot(
                slide[name],
                row,
                "x",
                color=COLOURS[1],
                markersize=10,
                markeredgewidth=2.5,
                label=None if drawn else "slide",
            )
            text += f", on the slide {slide[name]:.2f}"
        texts.append(text)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    ax.set_xlabel(quantity)
    ax.set_title(title)
    ax.grid(axis="x", alpha=0.3)
    ax.legend(fontsize=9)
    return describe(ax, f"{title}, {quantity}: {'; '.join(texts)}.")


def times(
    intervals: Mapping[str, tuple[float, float, float]],
    unit: str = "µs per sample",
    title: str = "Training time",
    ax: Axes | None = None,
) -> Axes:
    """Draw measured times as points with their spread, one row each, on a logarithmic axis.

    Args:
        intervals: (low, middle, high) by name, such as the quartiles and the median.
        unit: unit of the numbers.
        title: title of the Axes.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: an interval is not positive and in order.
    """
    bad = {n: v for n, v in intervals.items() if not 0 < v[0] <= v[1] <= v[2]}
    if bad or not intervals:
        raise ValueError(f"expected 0 < low <= middle <= high, got {bad or 'nothing'}")
    if ax is None:
        _, ax = plt.subplots(figsize=(8, 0.42 * len(intervals) + 1.3), layout="constrained")
    low, middle, high = np.array(list(intervals.values()), dtype=float).T
    rows = np.arange(len(middle))
    ax.errorbar(
        middle, rows, xerr=(middle - low, high - middle), fmt="o", color=COLOURS[0], capsize=4
    )
    for row, value, right in zip(rows, middle, high, strict=True):
        text = f"{value:.3g}"
        ax.annotate(text, (right, row), (8, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set_yticks(rows, list(intervals))
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(0.7 * low.min(), 1.8 * high.max())
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(unit)
    ax.set_title(title)
    ax.grid(axis="x", alpha=0.3)
    listed = "; ".join(f"{n} {m:.3g} ({a:.3g} to {b:.3g})" for n, (a, m, b) in intervals.items())
    return describe(ax, f"{title} in {unit}, middle and spread: {listed}.")


def functions(
    x: Sequence[float],
    values: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    title: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw functions of one variable as lines that differ in colour and dashes.

    Args:
        x: where the functions were evaluated.
        values: values at `x`, by the name in the legend.
        xlabel: label of the horizontal axis, with the unit.
        ylabel: label of the vertical axis, with the unit.
        title: title of the Axes.
        ax: where to draw; by default a new figure.
    """
    if ax is None:
        _, ax = plt.subplots(figsize=(6.2, 3.8), layout="constrained")
    texts = []
    for i, (name, heights) in enumerate(values.items()):
        dashes = ("-", "--", "-.", ":")[i % 4]
        ax.plot(x, heights, dashes, color=COLOURS[i % len(COLOURS)], linewidth=2, label=name)
        texts.append(f"{name} runs from {min(heights):.3g} to {max(heights):.3g}")
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.set_title(title)
    ax.grid(alpha=0.3)
    ax.legend(fontsize=9)
    return describe(ax, f"{title} for {xlabel} from {x[0]:.3g} to {x[-1]:.3g}: {'; '.join(texts)}.")
