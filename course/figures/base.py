"""What every figure shares: a text alternative, and a way to show it in a notebook.

A figure function takes arrays, draws on an `matplotlib.axes.Axes` and returns it. It
calls `describe` with a sentence or two that say what the picture shows, so that a reader
who cannot see it gets the same message.
"""

import base64
import html
import io
from weakref import WeakKeyDictionary

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_texts: "WeakKeyDictionary[Figure, list[str]]" = WeakKeyDictionary()


def describe(ax: Axes, text: str) -> Axes:
    """Attach `text` as (a further part of) the text alternative of the figure of `ax`."""
    figure = ax.get_figure(root=True)
    assert isinstance(figure, Figure)
    parts = _texts.setdefault(figure, [])
    text = " ".join(text.split())
    if text not in parts:
        parts.append(text)
    return ax


def alternative(figure: Figure) -> str:
    """Return the text alternative of `figure`; its titles where nobody described it."""
    parts = _texts.get(figure)
    if parts:
        return " ".join(parts)
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    return "Figure: " + "; ".join(titles) if titles else "Figure without a description"


def to_html(figure: Figure) -> str:
    """Return `figure` as an HTML ``<img>`` with its text alternative."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", dpi=figure.dpi)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    alt = html.escape(alternative(figure), quote=True)
    # A white ground, because labels are black also where the notebook is dark.
    return (
        f'<img alt="{alt}" src="data:image/png;base64,{data}" '
        'style="max-width: 100%; background: white"/>'
    )


def install() -> None:
    """In a notebook, show figures with their text alternative; elsewhere do nothing.

    Jupyter's own PNG output cannot carry one: JupyterLab ignores ``alt`` in its metadata.
    """
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    shell = get_ipython()
    if shell is None:
        return

    def show(figure: Figure) -> None:
        bundle = {"text/html": to_html(figure), "text/plain": alternative(figure)}
        display(bundle, raw=True)

    shell.display_formatter.ipython_display_formatter.for_type(Figure, show)
