"""Margin and kernel by eye: C, gamma and kernel around `course.figures.svm.margin`.

Where no front end answers (a test, a printed copy), `margin` shows one still picture.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

Train = Callable[[float, float, str], tuple[Callable[[np.ndarray], np.ndarray], np.ndarray]]


def field(
    X: ArrayLike, decide: Callable[[np.ndarray], np.ndarray], points: int = 80
) -> tuple[tuple[float, float, float, float], np.ndarray]:
    """Return the region around `X` and the decision values on a grid in it.

    Args:
        X: (n, 2) points.
        decide: from (m, 2) points to (m,) decision values.
        points: of the grid, along each side.

    Returns:
        ``((left, right, bottom, top), values)``, values of shape (points, points), first row
        at the bottom.
    """
    X = np.asarray(X, float)
    (left, bottom), (right, top) = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
    across, up = np.linspace(left, right, points), np.linspace(bottom, top, points)
    mesh = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    extent = (float(left), float(right), float(bottom), float(top))
    return extent, np.asarray(decide(mesh)).reshape(points, points)


def margin(
    X: ArrayLike,
    y: ArrayLike,
    train: Train,
    C: float = 1.0,
    gamma: float = 1.0,
    kernels: Sequence[str] = ("rbf", "linear", "poly"),
) -> Any:
    """Return controls that retrain at each change and draw boundary, margin, support vectors.

    Args:
        X: (n, 2) points.
        y: (n,) two labels.
        train: from C, gamma and kernel to a decision function and the positions of the
            support vectors.
        C: where the slider starts; it runs from 0.01 to 1000.
        gamma: where the slider starts; it runs from 0.01 to 100.
        kernels: to choose from; starts at the first.

    Returns:
        A widget; its ``children[-1]`` holds the picture, drawn once already.
    """
    import ipywidgets as widgets
    import matplotlib.pyplot as plt
    from IPython.display import display

    from course.figures import svm as figures

    picture = widgets.Output()
    choices = {
        "C": widgets.FloatLogSlider(C, min=-2, max=3, step=0.25, description="C"),
        "gamma": widgets.FloatLogSlider(gamma, min=-2, max=2, step=0.25, description="gamma"),
        "kernel": widgets.Dropdown(options=list(kernels), description="kernel"),
    }
    for name in ("C", "gamma"):
        choices[name].continuous_update = False

    def draw(_: Any = None) -> None:
        values = {name: choice.value for name, choice in choices.items()}
        decide, support = train(values["C"], values["gamma"], values["kernel"])
        extent, decision = field(X, decide)
        title = f"{values['kernel']}, C = {values['C']:.3g}"
        if values["kernel"] != "linear":
            title += f", gamma = {values['gamma']:.3g}"
        with picture:
            picture.clear_output(wait=True)
            ax = figures.margin(X, y, extent, decision, support, title=title)
            display(ax.figure)
            plt.close(ax.get_figure(root=True))

    for choice in choices.values():
        choice.observe(draw, names="value")
    draw()
    return widgets.VBox([*choices.values(), picture])
