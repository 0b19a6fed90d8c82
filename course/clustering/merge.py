"""Merging of halos by rules, and numbering: from each rank's clusters to everybody's.

A local cluster goes by the lowest row number of its own core points. Where two ranks see the
same core point under different names, these names mean the same cluster: a rule. Götz,
Bodenstein, Riedel 2015, section "Merging of halos".
"""

import numpy as np
from mpi4py import MPI
from numba import njit

from course.clustering.halo import Halo
from course.clustering.redistribute import send_rows
from course.clustering.unionfind import find, link


def make_rules(
    names: np.ndarray, parent: np.ndarray, halo: Halo, around: np.ndarray, comm: MPI.Intracomm
) -> np.ndarray:
    """Compare how neighbouring ranks call the same core points; gather all differences.

    Args:
        names: int64 (components,), or -1 for components of the halo's points only: in
            place, these get a name of one of their owners.
        parent: int32, the component of each core point this rank sees, else -1.
        halo: which of these points others see too.
        around: which of these points are the halo's.
        comm: the ranks.

    Returns:
        int64 (rules, 2): pairs of names of one cluster, the same on every rank.
    """
    leaving = parent[halo.leaving]
    known = np.full(len(leaving), -1, dtype=np.int64)
    known[leaving >= 0] = names[leaving[leaving >= 0]]
    theirs = halo.swap(known, comm)
    ours = parent[around]
    theirs, ours = theirs[ours >= 0], ours[ours >= 0]
    nameless = names[ours] < 0
    names[ours[nameless]] = theirs[nameless]
    differ = theirs != names[ours]
    rules = np.column_stack((theirs[differ], names[ours[differ]]))
    rules = np.unique(np.sort(rules, axis=1), axis=0)
    sizes = np.array(comm.allgather(len(rules)))
    together = np.empty((int(sizes.sum()), 2), dtype=np.int64)
    comm.Allgatherv(rules, [together, (2 * sizes).tolist(), MPI.INT64_T])
    return np.unique(together, axis=0)


@njit(nogil=True, cache=True)
def _link_all(parent: np.ndarray, pairs: np.ndarray) -> None:
    for pair in range(len(pairs)):
        link(parent, pairs[pair, 0], pairs[pair, 1])
    for i in range(len(parent)):
        parent[i] = find(parent, i)


def apply_rules(names: np.ndarray, rules: np.ndarray) -> np.ndarray:
    """Replace each of `names`, int64, by the lowest name that the rules lead to."""
    if not len(rules):
        return names
    known, pairs = np.unique(rules, return_inverse=True)
    parent = np.arange(len(known), dtype=np.int32)
    _link_all(parent, pairs.reshape(-1, 2))
    place = np.minimum(np.searchsorted(known, names), len(known) - 1)
    return np.where(known[place] == names, known[parent[place]], names)


def number_clusters(names: np.ndarray, offsets: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Replace names by numbers from 0, in the order of the names, over all ranks.

    A name is a row number, so the rank that gave in that row can look after it: none has
    to know all clusters.

    Args:
        names: int64, ascending and distinct: the clusters of which this rank sees points.
        offsets: int64 (ranks + 1,): the rows before those that each rank gave in.
        comm: the ranks.

    Returns:
        int64, the number of each cluster.
    """
    counts = np.diff(np.searchsorted(names, offsets))
    asked = send_rows(names, counts, comm)
    incoming = np.empty(comm.size, dtype=np.int64)
    comm.Alltoall(counts, incoming)
    kept, where = np.unique(asked, return_inverse=True)
    before = comm.exscan(len(kept)) or 0
    return send_rows(before + where.astype(np.int64), incoming, comm)
