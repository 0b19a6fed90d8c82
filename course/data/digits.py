"""MNIST: 60,000 + 10,000 handwritten digits of 28 x 28 grey levels, 0 (ground) to 255 (ink).

Slides "Handwritten Character Recognition MNIST Dataset" and "HPC Download Challenges".
"""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.data.archive import FILES, DataError, Spec, read

if TYPE_CHECKING:
    import numpy as np

    Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

SPECS = {
    "x_train": Spec(
        (60000, 28, 28),
        "uint8",
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    ),
    "y_train": Spec(
        (60000,), "uint8", "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13"
    ),
    "x_test": Spec(
        (10000, 28, 28),
        "uint8",
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    ),
    "y_test": Spec(
        (10000,), "uint8", "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5"
    ),
}


def keras_cache() -> Path:
    """Return where Keras keeps MNIST: ``$KERAS_HOME`` or ``~/.keras``, then ``datasets``."""
    home = os.environ.get("KERAS_HOME") or os.path.join("~", ".keras")
    return Path(home).expanduser() / "datasets" / "mnist.npz"


def mnist(path: str | os.PathLike[str] | None = None) -> "Split":
    """Load MNIST, with the signature and the arrays of ``keras.datasets.mnist.load_data``.

    With no `path`, Keras's cache is used where it holds an intact MNIST, else the file
    shipped with the package; a damaged cache is reported by a warning. Nothing is ever
    downloaded.

    Args:
        path: an ``mnist.npz`` to read instead.

    Returns:
        ``(x_train, y_train), (x_test, y_test)``: uint8 arrays of shape (60000, 28, 28),
        (60000,), (10000, 28, 28) and (10000,). Grey levels 0 (white ground) to 255 (black
        ink), labels 0 to 9.

    Raises:
        DataError: the file at `path`, or the shipped file, is missing, cut or not MNIST.
    """
    if path is not None:
        return _split(read(path, SPECS))
    cached = keras_cache()
    if cached.is_file():
        try:
            return _split(read(cached, SPECS))
        except DataError as error:
            warnings.warn(f"{error} Using the shipped MNIST instead.", stacklevel=2)
    return _split(read(FILES / "mnist.npz", SPECS))


def serve_keras() -> None:
    """Let ``keras.datasets.mnist.load_data()`` return the same arrays without the internet.

    For scripts like the slides', on batch nodes that cannot download: call this once, then
    ``from keras.datasets import mnist`` and ``mnist.load_data()`` work in this process.
    A file alone in Keras's cache would not do: Keras compares its bytes with the sha256 of
    its own archive and downloads again when, as here, the same arrays are packed otherwise.
    """
    import keras

    def load_data(path: str | os.PathLike[str] = "mnist.npz") -> Any:
        """Stand in for Keras's loader, from `course.data.mnist`."""
        return mnist(path if os.path.isabs(path) else None)

    keras.datasets.mnist.load_data = load_data


def _split(arrays: dict[str, "np.ndarray"]) -> "Split":
    return (arrays["x_train"], arrays["y_train"]), (arrays["x_test"], arrays["y_test"])
