"""Cluster many problems on the ranks of this world; rank 0 prints what came out, as JSON."""

import json
import os
import sys

import numpy as np
from mpi4py import MPI

from course.clustering import HPDBSCAN, redistribute
from tests.clustering import cases


def cluster(comm: MPI.Comm, number: int) -> dict[str, list]:
    """Cluster the `number`-th problem; on rank 0, return all labels, core points and counts."""
    rng = np.random.default_rng(number)
    case = cases.make(rng, number)
    cuts = cases.cut(rng, len(case.data), comm.size)
    mine = case.data[cuts[comm.rank] : cuts[comm.rank + 1]]
    if not len(mine) and rng.integers(2):
        mine = []  # a chunk without rows need not know how wide rows are
    redistribute.ROUND = (16, 1 << 18)[number % 2]  # points travel in many rounds, or in one
    model = HPDBSCAN(case.eps, case.min_samples, comm=comm, threads=1 + number % 2).fit(mine)
    labels = comm.gather(model.labels_)
    core = comm.gather(model.core_sample_indices_ + cuts[comm.rank])
    clusters = comm.gather(int(model.n_clusters_))
    if comm.rank:
        return {}
    return {
        "labels": np.concatenate(labels).tolist(),
        "core": np.concatenate(core).tolist(),
        "clusters": clusters,
    }


def refusals(comm: MPI.Comm) -> dict[str, list[str]]:
    """What every rank says about input that one of them spoiled."""
    last = comm.size - 1
    good = np.random.default_rng(0).normal(size=(20, 2))
    bad = np.where(np.arange(20)[:, None] == 7, np.nan, good)
    attempts = {
        "nan": (0.5, bad if comm.rank == last else good),
        "infinite": (0.5, np.where(np.isnan(bad), np.inf, bad) if comm.rank == last else good),
        "flat": (0.5, good[:, 0] if comm.rank == last else good),
        "eps": (-1.0 if comm.rank == last else 0.5, good),
        "nothing": (0.5, np.empty((0, 2))),
    }
    if comm.size > 1:
        attempts["widths"] = (0.5, good[:, :1] if comm.rank == last else good)
        attempts["different eps"] = (0.5 + 0.1 * comm.rank, good)
    said = {}
    for name, (eps, data) in attempts.items():
        try:
            HPDBSCAN(eps, comm=comm).fit(data)
            text = "no error"
        except ValueError as error:
            text = str(error).splitlines()[0]
        said[name] = comm.gather(text)
    return said


def main() -> None:
    comm = MPI.COMM_WORLD
    assert comm.size == int(os.environ["COURSE_EXPECTED_RANKS"])
    found = [cluster(comm, number) for number in range(int(sys.argv[1]))]
    said = refusals(comm)
    if comm.rank == 0:
        print(json.dumps({"found": found, "refusals": said}))


main()
