"""What does recording every MPI call cost? The same work traced and untraced, in turn.

    python benchmarks/mpi_trace.py --ranks 2 --rounds 15

On the same ranks and data, in one run, each program is called alternately with the plain
world and with the traced one; the figure is the ratio of the medians. The programs are our
own algorithms (HPDBSCAN, the parallel SVM), a k-means iteration and a ring Allreduce, and,
as the worst case that no algorithm reaches, a loop of nothing but 8-byte Allreduces.
The limit that we set ourselves for the algorithms is 5 per cent.
"""

import argparse
import csv
import os
import platform
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

from course.mpi import run

RESULTS = Path(__file__).parent / "results" / "mpi_trace.csv"


def kmeans(comm, rng):
    """Ten iterations of Lloyd's algorithm on 20,000 points per rank: one Allreduce each."""
    points, centres = rng.standard_normal((20_000, 8)), rng.standard_normal((16, 8))
    for _ in range(10):
        distances = (points**2).sum(1)[:, None] - 2 * points @ centres.T + (centres**2).sum(1)
        nearest = distances.argmin(1)
        sums = np.zeros((16, 9))
        np.add.at(sums[:, 8], nearest, 1)
        for axis in range(8):
            sums[:, axis] = np.bincount(nearest, points[:, axis], 16)
        total = np.empty_like(sums)
        comm.Allreduce(sums, total)
        centres = total[:, :8] / np.maximum(total[:, 8:], 1)


def ring(comm, rng):
    """Twenty ring Allreduces of 4 MB, by Sendrecv."""
    values, p = np.ones(500_000), comm.size
    parts, inbox = np.array_split(values, p), np.empty(500_000)
    right, left = (comm.rank + 1) % p, (comm.rank - 1) % p
    for _ in range(20):
        for step in range(2 * (p - 1)):
            out, back = parts[(comm.rank - step) % p], parts[(comm.rank - step - 1) % p]
            comm.Sendrecv(out, right, 0, inbox[: back.size], left, 0)
            back += inbox[: back.size]


def hpdbscan(comm, rng):
    """HPDBSCAN of 50,000 skewed points per rank."""
    from course.clustering.estimator import HPDBSCAN

    centres = np.random.default_rng(0).uniform(0, 20, (10, 2))
    points = centres[rng.integers(0, 10, 50_000)] + rng.standard_normal((50_000, 2))
    HPDBSCAN(eps=0.1, min_samples=20, comm=comm, threads=1).fit(points)


def svm(comm, rng):
    """One-vs-one training of six classes with 2,000 rows in all."""
    from course.svm.estimator import ParallelSVC

    same = np.random.default_rng(0)
    classes = np.arange(2_000) % 6
    rows = same.standard_normal((2_000, 20)) + 0.8 * classes[:, None] ** 0.5
    ParallelSVC(C=10, comm=comm, n_jobs=1).fit(rows, classes)


def only_calls(comm, rng):
    """Ten thousand Allreduces of 8 bytes and nothing else: the worst case."""
    mine, total = np.ones(1), np.ones(1)
    for _ in range(10_000):
        comm.Allreduce(mine, total)


PROGRAMS = {program.__name__: program for program in (hpdbscan, svm, kmeans, ring, only_calls)}


def measure(comm, name, rounds, folder):
    """Return seconds untraced and traced, and the number of calls, on this rank."""
    import sys
    import time

    from course.mpi import trace

    program, seconds = PROGRAMS[name], {False: [], True: []}
    world = trace.start(folder)  # `comm` itself stays untraced
    largest = sys.modules["mpi4py.MPI"].MAX
    for attempt in range(-4, 2 * rounds):
        traced = attempt % 4 in (1, 2)  # plain, traced, traced, plain: drift hits both alike
        rng = np.random.default_rng(comm.rank)
        comm.Barrier()
        began = time.perf_counter()
        program(world if traced else comm, rng)
        elapsed = comm.allreduce(time.perf_counter() - began, op=largest)
        if attempt >= 0:
            seconds[traced].append(elapsed)
    trace.stop()
    calls = len(trace.load(folder).calls[comm.rank]) // (rounds + 2)
    return seconds[False], seconds[True], calls


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--programs", nargs="*", default=list(PROGRAMS), choices=list(PROGRAMS))
    options = parser.parse_args()
    rows = []
    print("program       plain (ms)   traced (ms)   overhead (95 % interval)   calls a rank")
    for name in options.programs:
        with tempfile.TemporaryDirectory() as folder:
            outcome = run(measure, options.ranks, name, options.rounds, folder, timeout=380)
        plain, traced, calls = outcome[0]
        ratio, low, high = interval(np.array(plain), np.array(traced))
        print(
            f"{name:12s} {1e3 * np.median(plain):11.2f} {1e3 * np.median(traced):13.2f}"
            f"   {ratio - 1:+8.1%} ({low - 1:+.1%} to {high - 1:+.1%}) {calls:12d}"
        )
        rows.append(
            {
                "date": date.today().isoformat(),
                "program": name,
                "ranks": options.ranks,
                "rounds": options.rounds,
                "cores": os.cpu_count(),
                "machine": platform.machine(),
                "plain_ms": round(1e3 * float(np.median(plain)), 3),
                "traced_ms": round(1e3 * float(np.median(traced)), 3),
                "overhead_percent": round(100 * (ratio - 1), 2),
                "low_percent": round(100 * (low - 1), 2),
                "high_percent": round(100 * (high - 1), 2),
                "calls_per_rank": calls,
            }
        )
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def interval(plain, traced, draws=2000):
    """Return the ratio of the medians and its bootstrap interval of 95 per cent."""
    rng = np.random.default_rng(0)
    ratios = [
        np.median(rng.choice(traced, traced.size)) / np.median(rng.choice(plain, plain.size))
        for _ in range(draws)
    ]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return np.median(traced) / np.median(plain), low, high


if __name__ == "__main__":
    main()
