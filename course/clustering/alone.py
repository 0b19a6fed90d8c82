"""Cluster on one rank only: no grid of all ranks, no halo, no rules."""

import numpy as np

from course.clustering.checks import check_sizes
from course.clustering.components import connect_cores, number_components
from course.clustering.cores import find_cores
from course.clustering.index import build_index
from course.clustering.labels import assign_borders, sign_labels, split_signs
from course.clustering.phases import Found, Phases
from course.clustering.threads import Threads


def cluster_alone(
    data: np.ndarray, eps: float, min_samples: int, threads: Threads, phases: Phases
) -> Found:
    """Cluster the rows of `data`, shape (n, d), n >= 1."""
    n = len(data)
    check_sizes(None, n)
    with phases("local index"):
        index = build_index(data.T, eps, threads, reuse=False)
    with phases("local clustering"):
        core = find_cores(index, n, min_samples, threads)
        parent = connect_cores(index, n, core, threads)
    with phases("relabel"):
        heads = number_components(parent, index.order, n)
        number = np.empty_like(heads)
        number[np.argsort(heads)] = np.arange(len(heads))
        assign_borders(index, n, core, parent, number, threads)
        order = index.order
        del index  # makes room for the labels
        values = sign_labels(order, parent, number, core, n)
        del order, parent, core
        labels, rows = split_signs(values)
    return Found(labels, rows, len(heads), (n, 0))
