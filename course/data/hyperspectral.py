"""Hyperspectral land cover: a synthetic scene, Indian Pines, and the lecture's Rome table.

`scene` needs no file and no internet. `indian_pines` reads the two public Matlab files, which
are not shipped: their licence does not say that they may be.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from course.data.archive import DataError

if TYPE_CHECKING:
    import numpy as np

ROME = {
    "Buildings": (18126, 163129),
    "Blocks": (10982, 98834),
    "Roads": (16353, 147176),
    "Light Train": (1606, 14454),
    "Vegetation": (6962, 62655),
    "Trees": (9088, 81792),
    "Bare Soil": (8127, 73144),
    "Soil": (1506, 13551),
    "Tower": (4792, 43124),
}
"""The lecture's land-cover table: training and test pixels of each class."""

ROME_TOTAL = (77542, 697859)
"""The last row of that table."""

SLIDE_GAMMAS = (2, 4, 8, 16, 32)
SLIDE_CS = (1, 10, 100, 1000, 10_000)

SLIDE_SERIAL = (
    ((48.90, 18.81), (65.01, 19.57), (73.21, 20.11), (75.55, 22.53), (74.42, 21.21)),
    ((57.53, 16.82), (70.74, 13.94), (75.94, 13.53), (76.04, 14.04), (74.06, 15.55)),
    ((64.18, 18.30), (74.45, 15.04), (77.00, 14.41), (75.78, 14.65), (74.58, 14.92)),
    ((68.37, 23.21), (76.20, 21.88), (76.51, 20.69), (75.32, 19.60), (74.72, 19.66)),
    ((70.17, 34.45), (75.48, 34.76), (74.88, 34.05), (74.08, 34.03), (73.84, 38.78)),
)
"""The slide's serial grid search: a row per gamma of (accuracy in percent, minutes)."""

SLIDE_PARALLEL = (
    ((75.26, 1.02), (65.12, 1.03), (73.18, 1.33), (75.76, 2.35), (74.53, 4.40)),
    ((57.60, 1.03), (70.88, 1.02), (75.87, 1.03), (76.01, 1.33), (74.06, 2.35)),
    ((64.17, 1.02), (74.52, 1.03), (77.02, 1.02), (75.79, 1.04), (74.42, 1.34)),
    ((68.57, 1.33), (76.07, 1.33), (76.40, 1.34), (75.26, 1.05), (74.53, 1.34)),
    ((70.21, 1.33), (75.38, 1.34), (74.69, 1.34), (73.91, 1.47), (73.73, 1.33)),
)
"""The slide's parallel grid search, the same form."""


@dataclass(frozen=True)
class Scene:
    """A hyperspectral image and what grows where."""

    cube: "np.ndarray"
    """Reflectance in thousandths, shape (rows, columns, bands), float32."""
    labels: "np.ndarray"
    """Class of each pixel, shape (rows, columns), int: 1 to k; 0 where nobody looked."""
    wavelengths: "np.ndarray | None" = None
    """Centres of the bands in nanometres, shape (bands,), where known."""

    def pixels(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return ``(X, y)`` of the labelled pixels: shapes (n, bands) and (n,)."""
        known = self.labels > 0
        return self.cube[known], self.labels[known]


def scene(
    rows: int = 80, columns: int = 80, bands: int = 200, classes: int = 16, seed: int = 0
) -> Scene:
    """Make a scene of fields with the spectra of `classes` kinds of land cover.

    A class is a smooth spectrum with water absorption near 1400 and 1900 nm, and some classes
    are close relatives. Fields are Voronoi cells. A pixel mixes its field's spectrum with the
    neighbours', is lit more or less brightly, varies smoothly along the bands and has noise,
    so that neighbouring pixels are alike and classes overlap.

    Args:
        rows: height in pixels.
        columns: width in pixels.
        bands: number of spectral bands, from 400 to 2500 nm.
        classes: kinds of land cover, at least 2.
        seed: the same seed gives the same scene.

    Raises:
        ValueError: a size is below its minimum.
    """
    import numpy as np
    from scipy.ndimage import gaussian_filter

    if min(rows, columns, bands) < 4 or classes < 2:
        raise ValueError(
            "expected at least 4 rows, columns and bands and 2 classes, got "
            f"{rows}, {columns}, {bands} and {classes}"
        )
    rng = np.random.default_rng(seed)
    wavelengths = np.linspace(400, 2500, bands)
    spectra = _spectra(wavelengths, classes, rng)

    fields = max(3 * classes, rows * columns // 60)
    centres = rng.uniform(size=(fields, 2)) * (rows, columns)
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    distance = ((grid[:, :, None, :] - centres) ** 2).sum(axis=-1)
    kinds = np.concatenate([np.arange(classes), rng.integers(classes, size=fields - classes)])
    kind = kinds[distance.argmin(axis=2)]

    shares = np.stack([gaussian_filter((kind == c).astype(float), 0.7) for c in range(classes)])
    cube = np.einsum("crk,cb->rkb", shares, spectra)
    light = gaussian_filter(rng.normal(size=(rows, columns)), 3.0)
    cube *= 1 + 0.12 * (light / light.std())[:, :, None]
    drift = gaussian_filter(rng.normal(size=(rows, columns, bands)), (0.6, 0.6, bands / 20))
    cube += 18 * drift / drift.std()
    cube += rng.normal(scale=12, size=cube.shape)
    return Scene(np.maximum(cube, 0).astype(np.float32), kind + 1, wavelengths)


def _spectra(wavelengths: "np.ndarray", classes: int, rng: "np.random.Generator") -> "np.ndarray":
    """Return one smooth reflectance curve per class, shape (classes, bands), in thousandths."""
    import numpy as np

    families = max(2, classes // 3)

    def bumps(count: int, height: float) -> "np.ndarray":
        centre, width = rng.uniform(400, 2500, count), rng.uniform(80, 350, count)
        size = rng.normal(scale=height, size=count)
        return (size * np.exp(-(((wavelengths[:, None] - centre) / width) ** 2))).sum(axis=1)

    parents = [250 + 100 * rng.uniform() + bumps(6, 120) for _ in range(families)]
    water = 1 - sum(
        depth * np.exp(-(((wavelengths - centre) / 55) ** 2))
        for centre, depth in ((1400, 0.7), (1900, 0.8))
    )
    curves = [(parents[c % families] + bumps(5, 28)) * water for c in range(classes)]
    return np.maximum(np.array(curves), 20)


INDIAN_PINES = {
    "Indian_pines_corrected.mat": ("indian_pines_corrected", (145, 145, 200)),
    "Indian_pines_gt.mat": ("indian_pines_gt", (145, 145)),
}
"""The public files: name, variable inside, its shape. AVIRIS, Purdue University, 1992."""

INDIAN_PINES_SHA256: dict[str, str] = {}
"""Hashes by file name. Empty until somebody has checked the files against their source."""


def indian_pines(folder: str | os.PathLike | None = None) -> Scene:
    """Read the Indian Pines scene, the data set that the slide's job scripts name.

    Args:
        folder: where the two files lie; default: ``COURSE_INDIAN_PINES``, or else the
            folder ``indian_pines`` in the working directory.

    Raises:
        DataError: a file is missing, differs from its known hash or is not what it should
            be. The message says where to get it.
    """
    from scipy.io import loadmat

    place = Path(folder or os.environ.get("COURSE_INDIAN_PINES", "indian_pines"))
    arrays = []
    for name, (variable, shape) in INDIAN_PINES.items():
        path = place / name
        if not path.is_file():
            raise DataError(
                f"Indian Pines: there is no file {path}. It is not shipped and nothing is "
                "downloaded. On a machine with internet, search for 'Hyperspectral Remote "
                f"Sensing Scenes', get {' and '.join(INDIAN_PINES)}, and put them into "
                f"{place.resolve()} (or set COURSE_INDIAN_PINES). "
                "course.data.hyperspectral.scene() needs no file."
            )
        data = path.read_bytes()
        found, known = hashlib.sha256(data).hexdigest(), INDIAN_PINES_SHA256.get(name)
        if known is not None and found != known:
            raise DataError(f"{path}: expected SHA-256 {known}, got {found}")
        try:
            contents = loadmat(path)
        except Exception as error:  # scipy raises many kinds on a damaged file
            raise DataError(f"{path}: expected a Matlab 5 file, got {error}") from None
        if variable not in contents:
            names = sorted(key for key in contents if not key.startswith("__"))
            raise DataError(f"{path}: expected a variable {variable!r}, got {names}")
        if contents[variable].shape != shape:
            raise DataError(f"{path}: expected shape {shape}, got {contents[variable].shape}")
        arrays.append(contents[variable])
    return Scene(arrays[0].astype("float32"), arrays[1].astype(int))
