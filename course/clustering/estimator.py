"""The estimator: it checks what it is given and leaves the work to one rank or to many."""

from typing import TYPE_CHECKING, Any

import numpy as np

from course.clustering.alone import cluster_alone
from course.clustering.base import Clusterer, check_rows
from course.clustering.checks import agree, check_parameters, same_everywhere
from course.clustering.phases import Phases
from course.clustering.threads import Threads
from course.processes import cores

if TYPE_CHECKING:
    from mpi4py import MPI


class HPDBSCAN(Clusterer):
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
        comm: "MPI.Intracomm | None" = None,
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
        phases = Phases()
        eps, min_samples = float(self.eps), int(self.min_samples)
        with Threads(self._count_threads()) as threads:
            if comm is None or comm.size == 1:
                found = cluster_alone(data, eps, min_samples, threads, phases)
            else:
                # A process alone needs no MPI.
                from course.clustering.together import cluster_together

                same_everywhere(comm, eps=self.eps, min_samples=self.min_samples)
                data = self._unite(data, comm)
                found = cluster_together(data, eps, min_samples, comm, threads, phases)
        self.labels_, self.core_sample_indices_, self.n_clusters_, self.n_points_ = found
        self.phases_ = phases.seconds
        return self

    def _check(self, X: Any) -> np.ndarray:
        check_parameters(self.eps, self.min_samples, self.threads)
        alone = self.comm is None or self.comm.size == 1
        if not alone and np.size(X) == 0:
            shape = np.shape(X)
            empty = np.empty((0, shape[1] if len(shape) == 2 else 0), dtype=np.float32)
            return np.asarray(X, dtype=np.float32).reshape(empty.shape)
        return check_rows(self, X)

    def _unite(self, data: np.ndarray, comm: "MPI.Intracomm") -> np.ndarray:
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
        from mpi4py import MPI

        node = self.comm.Split_type(MPI.COMM_TYPE_SHARED)
        neighbours = node.size
        node.Free()
        return max(1, cores() // neighbours)
