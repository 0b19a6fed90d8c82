"""Cluster with other ranks: the phases of the paper, one after the other.

What is no longer needed is let go at once: beside its input a rank holds its points once, and
never more than twice the input in all.
"""

import numpy as np
from mpi4py import MPI

from course.clustering.checks import check_sizes
from course.clustering.components import NOBODY, connect_cores, number_components
from course.clustering.cores import find_cores
from course.clustering.grid import cell_numbers, lay_grid
from course.clustering.halo import find_halo
from course.clustering.index import build_index
from course.clustering.labels import assign_borders, sign_labels, split_signs
from course.clustering.merge import apply_rules, make_rules, number_clusters
from course.clustering.phases import Found, Phases
from course.clustering.redistribute import Route, find_bounds
from course.clustering.threads import Threads


def cluster_together(
    data: np.ndarray,
    eps: float,
    min_samples: int,
    comm: MPI.Intracomm,
    threads: Threads,
    phases: Phases,
) -> Found:
    """Cluster the rows of all ranks.

    Args:
        data: this rank's rows, shape (n, d), of the same type and width on all ranks; n may
            be 0, but not on all ranks.
        eps: the radius.
        min_samples: neighbours that make a core point.
        comm: the ranks.
        threads: the pool that does the local work.
        phases: the stopwatch.
    """
    d = data.shape[1]
    with phases("grid index"):
        grid = lay_grid(data, eps, comm)
    with phases("redistribution"):
        bounds = find_bounds(data, grid, min_samples, threads, comm)
        route = Route(data, grid, bounds, comm)
        points = route.send()
        owned = route.owned
    with phases("halo exchange"):
        cells = cell_numbers(points.reshape(d, owned).T, grid, threads)
        halo = find_halo(cells, grid, bounds, comm)
        del cells
        check_sizes(comm, owned + halo.size)
        points = halo.extend(points, d, comm)
    index = None
    with phases("local index"):
        if points.size:
            index = build_index(points, eps, threads, reuse=True)
            del points
    with phases("halo exchange"):
        order = np.empty(0, dtype=np.int32) if index is None else index.order
        halo, around = halo.follow(order)
    core = np.zeros(len(order), dtype=np.uint8)
    with phases("local clustering"):
        if index is not None:
            core = find_cores(index, owned, min_samples, threads)
    with phases("merge halos"):
        core[around] = halo.send(core, comm)
    parent = np.empty(0, dtype=np.int32)
    with phases("local clustering"):
        if index is not None:
            parent = connect_cores(index, owned, core, threads)
    with phases("merge halos"):
        names = _name_components(parent, order, owned, route)
        rules = make_rules(names, parent, halo, around, comm)
        merged = apply_rules(names, rules)
    with phases("relabel"):
        offsets = np.concatenate(([0], np.cumsum(comm.allgather(len(data)))))
        distinct, which = np.unique(merged, return_inverse=True)
        numbers = number_clusters(distinct, offsets, comm)
        clusters = comm.allreduce(int(numbers.max(initial=-1)), MPI.MAX) + 1
        if index is not None:
            assign_borders(index, owned, core, parent, numbers[which], threads)
            del index  # makes room for the labels
        values = sign_labels(order, parent, numbers[which], core, owned)
        del order, parent, core
    with phases("original order"):
        values = route.send_back(values)
        labels, rows = split_signs(values)
    return Found(labels, rows, clusters, (owned, halo.size))


def _name_components(parent: np.ndarray, order: np.ndarray, owned: int, route: Route) -> np.ndarray:
    """Number the components in `parent`, in place; name each by its first core point.

    Returns:
        int64 (components,): the lowest row, in all ranks' input, of a core point that this
        rank owns; -1 where all are of the halo.
    """
    lowest = number_components(parent, order, owned)
    ours = np.flatnonzero(lowest != NOBODY)
    ours = ours[np.argsort(lowest[ours])]
    names = np.full(len(lowest), -1, dtype=np.int64)
    names[ours] = route.row_numbers(lowest[ours])
    return names
