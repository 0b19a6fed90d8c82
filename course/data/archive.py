"""Read an ``.npz`` archive and check that it holds what it should, array by array.

The check is on the arrays, not on the bytes of the file: the same arrays can be packed in
many ways, and Keras's own download of MNIST is another archive than the shipped one.
"""

import hashlib
import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np

FILES = Path(__file__).parent / "files"

KEYS = ("x_train", "y_train", "x_test", "y_test")


class DataError(ValueError):
    """A data file is missing, cut or holds something else than it should."""


class Spec(NamedTuple):
    """What one array of an archive must be: its shape, dtype and sha256 of its bytes."""

    shape: tuple[int, ...]
    dtype: str
    sha256: str


def read(path: str | os.PathLike[str], specs: dict[str, Spec]) -> dict[str, "np.ndarray"]:
    """Return the arrays of the archive at `path` that `specs` names.

    Args:
        path: an ``.npz`` file.
        specs: what must be in it, by key. Further keys are ignored.

    Raises:
        DataError: the file is missing, is no zip archive, is cut, or an array is missing or
            differs in shape, dtype or content. The message names the path, what was
            expected and what came.
    """
    import numpy as np

    path = Path(path)
    if not path.is_file():
        raise _error(path, "a file", "a folder" if path.is_dir() else "nothing there")
    arrays = {}
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise _error(path, "an .npz archive", "a single array (.npy)")
        with loaded as archive:
            missing = [key for key in specs if key not in archive.files]
            if missing:
                came = f"{archive.files}, without {missing}"
                raise _error(path, f"arrays {list(specs)}", came)
            for key, spec in specs.items():
                arrays[key] = _checked(path, key, archive[key], spec)
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        size = f"{path.stat().st_size:,} bytes that do not read as one"
        raise _error(path, "an .npz archive", f"{size} ({error})") from error
    return arrays


def _checked(path: Path, key: str, array: "np.ndarray", spec: Spec) -> "np.ndarray":
    came = (array.shape, str(array.dtype))
    if came != (spec.shape, spec.dtype):
        expected = f"{key} of shape {spec.shape} and dtype {spec.dtype}"
        raise _error(path, expected, f"shape {came[0]} and dtype {came[1]}")
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    if digest != spec.sha256:
        expected = f"{key} with sha256 {spec.sha256[:12]}..."
        raise _error(path, expected, f"other values, sha256 {digest[:12]}...")
    return array


def _error(path: Path, expected: str, came: str) -> DataError:
    shipped = path.parent == FILES
    mend = "restore it (git checkout, or reinstall)" if shipped else "delete or replace it"
    return DataError(f"{path}: expected {expected}, got {came}. To mend: {mend}.")
