"""Pictures of handwritten digits, and of what a model makes of them.

Slides "MNIST Dataset": digits, one digit in matrix notation, and "Why not 100 %?".
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from course.figures.base import describe

GAP = 3  # pixels between the pictures of a mosaic
CAPTION = 9  # pixels above a picture that has a caption


def _images(images: ArrayLike) -> NDArray:
    array = np.asarray(images)
    if array.ndim == 2 and array.shape[1] == 784:
        array = array.reshape(-1, 28, 28)
    if array.ndim != 3 or not array.size:
        raise ValueError(
            f"expected images of shape (n, rows, columns) or (n, 784), got {array.shape}"
        )
    return array


def mosaic(
    images: ArrayLike,
    captions: Sequence[str] | None = None,
    columns: int = 5,
    title: str = "",
    cmap: str = "gray_r",
    limit: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw many small pictures side by side on one Axes, each with its caption above.

    Args:
        images: (n, rows, columns) values of any unit, or (n, 784).
        captions: n short texts.
        columns: pictures in a row.
        title: title of the Axes.
        cmap: matplotlib colour map; the default shows 0 white and the maximum black.
        limit: value of the colour map's ends: 0..limit, or -limit..limit for negative
            values. By default the largest magnitude in `images`.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: the shape is no stack of pictures, or the captions are not n.
    """
    pictures = _images(images)
    count, height, width = pictures.shape
    if captions is not None and len(captions) != count:
        raise ValueError(f"expected {count} captions, one a picture, got {len(captions)}")
    columns = min(columns, count)
    rows = -(-count // columns)
    step_x, step_y = width + GAP, height + GAP + (CAPTION if captions is not None else 0)
    canvas = np.full((rows * step_y, columns * step_x - GAP), np.nan)
    tops = [(i // columns) * step_y + step_y - height - GAP for i in range(count)]
    lefts = [(i % columns) * step_x for i in range(count)]
    for picture, top, left in zip(pictures, tops, lefts, strict=True):
        canvas[top : top + height, left : left + width] = picture
    if ax is None:
        shape = (min(10.0, 1.3 * columns + 0.4), min(10.0, 1.3 * columns + 0.4))
        shape = (shape[0], shape[0] * canvas.shape[0] / canvas.shape[1] + 0.4)
        _, ax = plt.subplots(figsize=shape, layout="constrained")
    limit = float(np.nanmax(np.abs(pictures))) or 1.0 if limit is None else limit
    low = -limit if pictures.min() < 0 else 0.0
    ax.imshow(canvas, cmap=cmap, vmin=low, vmax=limit, interpolation="nearest")
    for top, left in zip(tops, lefts, strict=True):
        frame = plt.Rectangle(
            (left - 0.5, top - 0.5), width, height, fill=False, color="0.7", linewidth=0.6
        )
        ax.add_patch(frame)
    for i, caption in enumerate(captions or []):
        ax.text(lefts[i] + width / 2, tops[i] - 2, caption, ha="center", va="bottom", fontsize=10)
    ax.set_xlim(-1.5, canvas.shape[1] + 0.5)
    ax.set_axis_off()
    ax.set_title(title)
    listed = f", captioned {', '.join(captions)}" if captions is not None else ""
    return describe(ax, f"{title or 'Pictures'}: {count} pictures in {columns} columns{listed}.")


def digits(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    columns: int = 5,
    title: str = "Handwritten digits",
    ax: Axes | None = None,
) -> Axes:
    """Draw digits as pictures, black ink on white, with their labels.

    Args:
        images: (n, 28, 28) or (n, 784) grey levels, 0 white.
        labels: (n,) classes.
        columns: pictures in a row.
        title: title of the Axes.
        ax: where to draw; by default a new figure.
    """
    captions = None if labels is None else [str(label) for label in np.asarray(labels).ravel()]
    return mosaic(images, captions, columns, title, ax=ax)


def grey_levels(image: ArrayLike, label: object = None, ax: Axes | None = None) -> Axes:
    """Draw one digit as a picture with the grey level of every inked pixel written on it.

    This is the slide's "matrix notation" of a character over the picture that it is.

    Args:
        image: (rows, columns) grey levels 0..255.
        label: class, for the title.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: `image` is not two-dimensional.
    """
    picture = np.asarray(image)
    if picture.ndim != 2:
        raise ValueError(f"expected one image of shape (rows, columns), got {picture.shape}")
    if ax is None:
        _, ax = plt.subplots(figsize=(8.5, 8.5), layout="constrained")
    ax.imshow(picture, cmap="gray_r", vmin=0, vmax=255)
    for row, column in np.argwhere(picture > 0):
        level = picture[row, column]
        colour = "white" if level > 127 else "black"
        ax.text(column, row, f"{level:.0f}", ha="center", va="center", fontsize=6.5, color=colour)
    ax.set_xlabel("column (pixel)")
    ax.set_ylabel("row (pixel)")
    named = "" if label is None else f", label {label}"
    ax.set_title(f"One digit as a matrix of grey levels{named}")
    inked = np.argwhere(picture > 0)
    box = (
        f"ink in rows {inked[:, 0].min()} to {inked[:, 0].max()} "
        f"and columns {inked[:, 1].min()} to {inked[:, 1].max()}"
        if len(inked)
        else "no ink"
    )
    shape = " x ".join(map(str, picture.shape))
    return describe(
        ax,
        f"A {shape} picture{named}, with the grey level written on each of its {len(inked)} "
        f"inked pixels, up to {picture.max():.0f}: {box}.",
    )


def class_balance(y_train: ArrayLike, y_test: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw the share of each class in the training and the test set, in per cent.

    Args:
        y_train: (n,) classes, whole numbers from 0.
        y_test: (m,) classes.
        ax: where to draw; by default a new figure.
    """
    train, test = np.asarray(y_train).ravel(), np.asarray(y_test).ravel()
    num_classes = int(max(train.max(), test.max())) + 1
    shares = [100 * np.bincount(y, minlength=num_classes) / len(y) for y in (train, test)]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
    classes = np.arange(num_classes)
    styles = ((-0.2, "#0072B2", "", "training"), (0.2, "#E69F00", "///", "test"))
    for share, y, (shift, colour, hatch, name) in zip(shares, (train, test), styles, strict=True):
        ax.bar(
            classes + shift,
            share,
            0.4,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=f"{name} ({len(y):,})",
        )
    ax.axhline(100 / num_classes, color="0.3", linestyle="--", linewidth=1, label="equal shares")
    ax.set_xticks(classes)
    ax.set_xlabel("class")
    ax.set_ylabel("share of the set (%)")
    ax.set_ylim(0, 1.25 * max(share.max() for share in shares))
    ax.set_title("Class balance")
    ax.legend(ncols=3, loc="upper center", frameon=False)
    least, most = int(shares[0].argmin()), int(shares[0].argmax())
    return describe(
        ax,
        f"Bars of the share of each of {num_classes} classes. In the training set it runs from "
        f"{shares[0][least]:.1f} % (class {least}) to {shares[0][most]:.1f} % (class {most}); "
        f"the largest difference to the test set is "
        f"{np.abs(shares[0] - shares[1]).max():.1f} percentage points.",
    )


def pixel_histogram(images: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw how often each grey level occurs, on a logarithmic axis.

    Args:
        images: any array of grey levels 0..255.
        ax: where to draw; by default a new figure.
    """
    levels = np.bincount(np.asarray(images, dtype=np.uint8).ravel(), minlength=256)
    if ax is None:
        _, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    ax.bar(np.arange(256), 100 * levels / levels.sum(), width=1.0, color="#0072B2")
    ax.set_yscale("log")
    ax.set_xlabel("grey level (0 white ground, 255 black ink)")
    ax.set_ylabel("share of all pixels (%)")
    ax.set_title("Grey levels")
    white = 100 * levels[0] / levels.sum()
    other = 1 + int(levels[1:].argmax())
    return describe(
        ax,
        f"Histogram of grey levels: {white:.1f} % of all pixels are 0; among the others level "
        f"{other} is the most frequent, with {100 * levels[other] / levels.sum():.1f} %.",
    )


def weight_images(weights: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw the weights of a perceptron as one picture per class.

    Args:
        weights: (784, classes) weights of a dense layer on 28 x 28 pixels.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: there are not 784 rows.
    """
    array = np.asarray(weights)
    if array.ndim != 2 or array.shape[0] != 784:
        raise ValueError(f"expected weights of shape (784, classes), got {array.shape}")
    limit = float(np.quantile(np.abs(array), 0.995)) or 1.0
    ax = mosaic(
        array.T,
        [str(i) for i in range(array.shape[1])],
        title="Weights of each output: blue speaks for the class, red against it",
        cmap="RdBu",
        limit=limit,
        ax=ax,
    )
    return describe(ax, f"The colours end at weights of -{limit:.2f} and +{limit:.2f}.")


def feature_maps(
    maps: ArrayLike, title: str = "Feature maps", columns: int = 10, ax: Axes | None = None
) -> Axes:
    """Draw what each filter of a convolution answers to one picture, or the filters themselves.

    Args:
        maps: (rows, columns, filters) activations or weights, channels last.
        title: title of the Axes.
        columns: pictures in a row.
        ax: where to draw; by default a new figure.
    """
    stack = np.moveaxis(np.asarray(maps), -1, 0)
    signed = bool((stack < 0).any())
    return mosaic(stack, None, columns, title, "RdBu" if signed else "viridis", ax=ax)


def confusion(matrix: ArrayLike, title: str = "Confusion matrix", ax: Axes | None = None) -> Axes:
    """Draw a confusion matrix: rows are true classes, columns predicted ones.

    The colour shows the share of wrong answers; the many right ones on the diagonal are
    written but not coloured.

    Args:
        matrix: (classes, classes) counts.
        title: title of the Axes.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: the matrix is not square.
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1]:
        raise ValueError(f"expected a square matrix of counts, got shape {counts.shape}")
    if ax is None:
        _, ax = plt.subplots(figsize=(6.4, 6.0), layout="constrained")
    wrong = counts.astype(float)
    np.fill_diagonal(wrong, 0)
    most = wrong.max() or 1
    ax.imshow(wrong, cmap="Oranges", vmin=0, vmax=1.3 * most)
    for row, column in np.ndindex(counts.shape):
        ax.text(
            column,
            row,
            f"{counts[row, column]:d}",
            ha="center",
            va="center",
            fontsize=8,
            weight="bold" if row == column else "normal",
            color="0.6" if counts[row, column] == 0 else "black",
        )
    ax.set_xticks(range(len(counts)))
    ax.set_yticks(range(len(counts)))
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.set_title(title)
    right, total = int(np.trace(counts)), int(counts.sum())
    row, column = divmod(int(wrong.argmax()), len(wrong))
    return describe(
        ax,
        f"{title}: {right:,} of {total:,} on the diagonal, that is, right. The most frequent "
        f"mistake is {row} read as {column}, {int(wrong[row, column])} times.",
    )


def misread(
    images: ArrayLike,
    predicted: ArrayLike,
    true: ArrayLike,
    confidence: ArrayLike | None = None,
    columns: int = 8,
    ax: Axes | None = None,
) -> Axes:
    """Draw the digits that a model got wrong, captioned "true→predicted".

    Args:
        images: (n, 28, 28) or (n, 784) grey levels.
        predicted: (n,) predicted classes.
        true: (n,) labels; pictures whose label was predicted are left out.
        confidence: (n,) probabilities 0..1 of the predicted classes; the surest mistakes
            come first.
        columns: pictures in a row.
        ax: where to draw; by default a new figure.

    Raises:
        ValueError: no picture was misread.
    """
    predicted, true = np.asarray(predicted).ravel(), np.asarray(true).ravel()
    wrong = np.flatnonzero(predicted != true)
    if not len(wrong):
        raise ValueError(f"expected at least one misread picture, all {len(true)} were right")
    captions = [f"{true[i]}→{predicted[i]}" for i in wrong]
    if confidence is not None:
        sure = np.asarray(confidence).ravel()[wrong]
        order = np.argsort(-sure, kind="stable")
        captions = [f"{captions[i]} {100 * sure[i]:.0f} %" for i in order]
        wrong = wrong[order]
    title = "Misread digits: true→predicted" + ("" if confidence is None else ", confidence")
    return mosaic(_images(images)[wrong], captions, columns, title, ax=ax)
