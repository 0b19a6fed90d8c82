"""HPDBSCAN: density-based clustering on threads and MPI ranks.

DBSCAN after Ester et al. (KDD 1996), distributed after Götz, Bodenstein and Riedel (HPDBSCAN,
MLHPC 2015), with the dense cells of Gan and Tao (SIGMOD 2015). One module for each phase:
`grid`, `redistribute`, `halo`, then `index`, `cores` and `components` on each rank, `merge`,
and `labels`; `estimator` strings them together.
"""

from course.clustering.estimator import HPDBSCAN

__all__ = ["HPDBSCAN"]
