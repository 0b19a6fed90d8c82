"""HPDBSCAN's files: points in one HDF5 data set, clusters in another.

Points are a data set of shape (n, d), ``DATA`` by default. Clusters are a data set of n
64-bit whole numbers, ``CLUSTERS`` by default: 0 is noise, and the points of a cluster have
its number, from 1, which is negative for core points. Every rank reads and writes its own
slice only, so a file may be larger than what one rank can hold.
"""

from pathlib import Path

import h5py
import numpy as np
from mpi4py import MPI

from course.clustering.checks import agree


def slice_of(n: int, comm: MPI.Intracomm) -> tuple[int, int]:
    """Return which of `n` rows are this rank's: ``start <= row < stop``."""
    return n * comm.rank // comm.size, n * (comm.rank + 1) // comm.size


def read_points(path: str | Path, dataset: str, comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    """Read this rank's slice of the points.

    Args:
        path: an HDF5 file that every rank can open.
        dataset: name of a data set of shape (n, d) of numbers.
        comm: the ranks.

    Returns:
        The rows, float32 where the file has that or smaller floats, else float64; and n.

    Raises:
        ValueError: there is no such file or data set, or it does not hold points; on
            every rank.
    """
    return agree(comm, lambda: _read(Path(path), dataset, comm))


def _read(path: Path, dataset: str, comm: MPI.Intracomm) -> tuple[np.ndarray, int]:
    if not path.is_file():
        raise ValueError(f"input file {str(path)!r} does not exist")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"input file {str(path)!r} is not readable as HDF5: {error}") from error
    with file:
        if dataset not in file or not isinstance(file[dataset], h5py.Dataset):
            names: list[str] = []
            file.visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
            raise ValueError(f"{str(path)!r} has no data set {dataset!r}, only {sorted(names)}")
        points = file[dataset]
        if points.ndim != 2 or points.dtype.kind not in "iuf":
            raise ValueError(
                f"data set {dataset!r} must hold numbers in two dimensions, one row for each "
                f"point; it has shape {points.shape} and type {points.dtype}"
            )
        start, stop = slice_of(len(points), comm)
        small = points.dtype.kind == "f" and points.dtype.itemsize <= 4
        rows = np.empty((stop - start, points.shape[1]), dtype=np.float32 if small else np.float64)
        if rows.size:
            points.read_direct(rows, np.s_[start:stop])
        return rows, len(points)


def write_clusters(
    path: str | Path, dataset: str, values: np.ndarray, n: int, comm: MPI.Intracomm
) -> None:
    """Write this rank's slice of the clusters.

    Rank 0 makes room in the file, then all ranks write at once, by MPI. A data set of that
    name is replaced; the rest of the file stays.

    Args:
        path: an HDF5 file, made if it does not exist.
        dataset: name of the data set.
        values: int64, one for each row of this rank's slice, see `encode`.
        n: rows on all ranks together.
        comm: the ranks.

    Raises:
        ValueError: the file cannot be written; on every rank.
    """
    offset = agree(comm, lambda: _make_room(Path(path), dataset, n) if comm.rank == 0 else 0)
    offset = comm.bcast(offset)
    start, _ = slice_of(n, comm)
    file = MPI.File.Open(comm, str(path), MPI.MODE_WRONLY)
    file.Write_at_all(offset + 8 * start, np.ascontiguousarray(values, dtype="<i8"))
    file.Close()


def _make_room(path: Path, dataset: str, n: int) -> int:
    """Create the data set; return where in the file its contents begin."""
    try:
        with h5py.File(path, "a") as file:
            if dataset in file:
                del file[dataset]
            layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            layout.set_layout(h5py.h5d.CONTIGUOUS)
            layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
            links = h5py.h5p.create(h5py.h5p.LINK_CREATE)
            links.set_create_intermediate_group(True)
            made = h5py.h5d.create(
                file.id,
                dataset.encode(),
                h5py.h5t.STD_I64LE,
                h5py.h5s.create_simple((n,)),
                dcpl=layout,
                lcpl=links,
            )
            offset = made.get_offset()
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"cannot write {dataset!r} to {str(path)!r}: {error}") from error
    if offset is None:
        raise ValueError(f"cannot write {dataset!r} to {str(path)!r}: the file has no room for it")
    return int(offset)


def encode(labels: np.ndarray, core: np.ndarray) -> np.ndarray:
    """Turn labels as scikit-learn has them into those of the file.

    Args:
        labels: int64 (n,), from 0, or -1 for noise.
        core: numbers of the rows that are core points.

    Returns:
        int64 (n,): 0 for noise, else the cluster from 1, negative for core points.

    Example:
        >>> encode(np.array([0, -1, 1]), np.array([2]))
        array([ 1,  0, -2])
    """
    values = labels + 1
    values[core] *= -1
    return values


def decode(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn clusters of a file into labels from 0, -1 for noise, and the core points' rows."""
    return np.abs(values) - 1, np.flatnonzero(values < 0)
