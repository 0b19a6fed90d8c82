"""The estimator: the phases of HPDBSCAN, one after the other."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from mpi4py import MPI
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import validate_data

from course.clustering.checks import agree, check_parameters, check_sizes, same_everywhere
from course.clustering.components import connect_cores, number_components
from course.clustering.cores import find_cores
from course.clustering.grid import cell_numbers, lay_grid
from course.clustering.halo import Halo, find_halo
from course.clustering.index import build_index
from course.clustering.labels import assign_borders, spread_labels
from course.clustering.merge import apply_rules, make_rules, number_clusters
from course.clustering.redistribute import find_bounds, redistribute, send_back
from course.clustering.threads import Threads
from course.processes import cores


class HPDBSCAN(ClusterMixin, BaseEstimator):
    """Density-based clustering of points that are spread over MPI ranks.

    The labels are those of `sklearn.cluster.DBSCAN`, number by number, for every number
    of ranks and threads and every way to cut the input into chunks:

    - Two points are neighbours if the sum of the squared differences of their
      coordinates, in float64 and in the order of the dimensions, is at most
      ``eps * eps`` in float64. Coordinates given in float32 are taken exactly.
    - A core point has at least `min_samples` neighbours, itself included.
    - Clusters are numbered from 0 in the order of their first core points in the input,
      the chunks being taken in the order of the ranks.
    - A border point belongs to the lowest-numbered of the clusters it touches.

    Args:
        eps: radius of a neighbourhood, in the units of the data.
        min_samples: neighbours that make a core point.
        comm: the ranks that work together; each calls `fit` with its own rows. None for
            this process alone.
        threads: threads of each rank; None for the cores that this process may use,
            shared among the ranks on the same machine.

    Attributes:
        labels_: cluster of each of this rank's rows, int64 (n,); -1 for noise.
        core_sample_indices_: which of this rank's rows are core points, ascending, int64.
        n_clusters_: clusters on all ranks together.
        phases_: seconds that each phase took on this rank, waiting included.
        n_points_: rows this rank clustered itself, and rows in its halo.

    Example:
        >>> HPDBSCAN(eps=1.5, min_samples=2).fit_predict([[0, 0], [1, 0], [9, 9]])
        array([ 0,  0, -1])
    """

    def __init__(
        self,
        eps: float = 0.5,
        min_samples: int = 5,
        comm: MPI.Intracomm | None = None,
        threads: int | None = None,
    ) -> None:
        """Store the parameters, as scikit-learn wants it."""
        self.eps = eps
        self.min_samples = min_samples
        self.comm = comm
        self.threads = threads

    def fit(self, X: Any, y: None = None) -> "HPDBSCAN":
        """Cluster the rows of all ranks together.

        Args:
            X: this rank's rows, array-like of shape (n, d), float32 or float64 (other types
                become float64), finite. With several ranks n may be 0 on some of them.
            y: ignored.

        Returns:
            The estimator.

        Raises:
            ValueError: parameters or data are not as described, here or on another rank;
                every rank raises.
            TypeError: a parameter is not a number.
        """
        comm = self.comm
        data = agree(comm, lambda: self._check(X))
        if comm is None or comm.size == 1:
            self._cluster_alone(data)
        else:
            same_everywhere(comm, eps=self.eps, min_samples=self.min_samples)
            self._cluster_together(self._unite(data, comm), comm)
        return self

    def _check(self, X: Any) -> np.ndarray:
        check_parameters(self.eps, self.min_samples, self.threads)
        alone = self.comm is None or self.comm.size == 1
        if not alone and np.size(X) == 0:
            shape = np.shape(X)
            empty = np.empty((0, shape[1] if len(shape) == 2 else 0), dtype=np.float32)
            return np.asarray(X, dtype=np.float32).reshape(empty.shape)
        return validate_data(
            self, X, dtype=(np.float64, np.float32), order="C", ensure_min_samples=1
        )

    def _unite(self, data: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Give all ranks' data the same width and type; chunks without rows follow the rest."""
        shapes = comm.allgather((*data.shape, data.dtype.char))
        widths = [d for n, d, _ in shapes if n]
        if not widths:
            raise ValueError("Found array with 0 sample(s) on every rank: at least 1 is required")
        if len(set(widths)) > 1:
            raise ValueError(
                "every rank must give rows of the same width, got "
                f"{[d if n else 'no rows' for n, d, _ in shapes]} on ranks 0, 1, ..."
            )
        double = any(kind == "d" for n, _, kind in shapes if n)
        self.n_features_in_ = widths[0]
        kind = np.float64 if double else np.float32
        return np.asarray(data.reshape(-1, widths[0]), dtype=kind)

    def _count_threads(self) -> int:
        if self.threads is not None:
            return int(self.threads)
        if self.comm is None or self.comm.size == 1:
            return cores()
        node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        neighbours = node.size
        node.Free()
        return max(1, cores() // neighbours)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.phases_[name] = self.phases_.get(name, 0.0) + time.perf_counter() - begin

    def _cluster_alone(self, data: np.ndarray) -> None:
        """Cluster on this rank only: no grid of all ranks, no halo, no rules."""
        n = len(data)
        check_sizes(None, n)
        self.phases_: dict[str, float] = {}
        with Threads(self._count_threads()) as threads:
            with self._phase("local index"):
                index = build_index(data, float(self.eps), threads)
            with self._phase("local clustering"):
                core = find_cores(index, n, int(self.min_samples), threads)
                parent = connect_cores(index, n, core, threads)
            with self._phase("relabel"):
                heads = number_components(parent, index.order, np.empty(0, dtype=np.int64))
                number = np.empty_like(heads)
                number[np.argsort(heads)] = np.arange(len(heads))
                assign_borders(index, n, core, parent, number, threads)
                order = index.order
                del index  # makes room for the labels
                self.labels_ = spread_labels(order, parent, number, n)
                del parent
                flags = np.empty(n, dtype=bool)
                flags[order] = core
        self.core_sample_indices_ = np.flatnonzero(flags)
        self.n_clusters_ = len(heads)
        self.n_points_ = (n, 0)

    def _cluster_together(self, data: np.ndarray, comm: MPI.Intracomm) -> None:
        """Cluster with other ranks: the phases of the paper."""
        self.phases_ = {}
        eps, min_samples = float(self.eps), int(self.min_samples)
        offsets = np.concatenate(([0], np.cumsum(comm.allgather(len(data)))))
        with Threads(self._count_threads()) as threads:
            with self._phase("grid index"):
                grid = lay_grid(data, eps, comm)
                cells = cell_numbers(data, grid, threads)
            with self._phase("redistribution"):
                bounds = find_bounds(cells, grid.size, min_samples, len(grid.dimensions), comm)
                points, rows, route = redistribute(data, cells, bounds, comm)
                del cells
            with self._phase("halo exchange"):
                halo = find_halo(cell_numbers(points, grid, threads), grid, bounds, comm)
                owned = len(points)
                check_sizes(comm, owned + halo.size)
                outside = halo.send(points, comm)
                # Grown in place: a copy would need room for all points twice.
                points.resize((owned + halo.size, points.shape[1]), refcheck=False)
                points[owned:] = outside
                del outside
                rows = np.concatenate((rows, halo.send(rows, comm)))
            values = self._cluster_seen(points, rows, owned, halo, offsets, comm, threads)
            with self._phase("original order"):
                values = send_back(values, route, comm)
        self.core_sample_indices_ = np.flatnonzero(values < 0)
        self.labels_ = np.abs(values) - 1
        self.n_points_ = (owned, halo.size)

    def _cluster_seen(
        self,
        points: np.ndarray,
        rows: np.ndarray,
        owned: int,
        halo: Halo,
        offsets: np.ndarray,
        comm: MPI.Intracomm,
        threads: Threads,
    ) -> np.ndarray:
        """Cluster the points a rank sees; return ±(label + 1) of its own, < 0 for core points."""
        eps, min_samples = float(self.eps), int(self.min_samples)
        seen = len(points)
        core = np.zeros(seen, dtype=np.uint8)  # in the order of `points`
        index = None
        with self._phase("local index"):
            if seen:
                index = build_index(points, eps, threads)
        with self._phase("local clustering"):
            if index is not None:
                core[index.order] = find_cores(index, owned, min_samples, threads)
        with self._phase("merge halos"):
            core[owned:] = halo.send(core[:owned], comm)
        names = np.full(seen, -1, dtype=np.int64)
        heads = np.empty(0, dtype=np.int64)
        with self._phase("local clustering"):
            if index is not None:
                sorted_core = core[index.order]
                parent = connect_cores(index, owned, sorted_core, threads)
                heads = number_components(parent, index.order, rows)
                joined = parent >= 0
                names[index.order[joined]] = heads[parent[joined]]
        with self._phase("merge halos"):
            rules = make_rules(names, owned, halo, comm)
            del names
            merged = apply_rules(heads, rules)
        with self._phase("relabel"):
            distinct, which = np.unique(merged, return_inverse=True)
            numbers = number_clusters(distinct, offsets, comm)
            self.n_clusters_ = comm.allreduce(int(numbers.max(initial=-1)), MPI.MAX) + 1
            if index is None:
                return np.empty(0, dtype=np.int64)
            number = numbers[which]
            assign_borders(index, owned, sorted_core, parent, number, threads)
            order = index.order
            del index
            values = spread_labels(order, parent, number, owned)
            values += 1
            np.negative(values, out=values, where=core[:owned].astype(bool))
        return values
