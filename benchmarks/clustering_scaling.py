"""HPDBSCAN on more and more ranks: measured here, and by a model on 96.

    python benchmarks/clustering_scaling.py --ranks 1 2 4

Strong scaling clusters the same points on each number of ranks, weak scaling as many points
per rank. Every rank has one thread. More ranks than cores take turns, so what they show is
overhead, not speed-up; such rows are marked.

The model takes from the data what any number of ranks would own and see in their halos, by the
very code that cuts them; from the run on one rank what a point costs; and assumes a network.
It leaves out the operating system's noise and the file system. Its range comes from two networks,
and from how much slower a rank is when all cores of a machine are busy, as measured on two.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from course.data import points

SETS = {
    "plane": (points.skewed_plane, 0.05, 40),
    "street": (points.street_scan, 0.2, 20),
}
MODEL_RANKS = (1, 2, 4, 8, 16, 24, 48, 96)
# Seconds until a message arrives, and bytes a second of each rank: 24 ranks share the adapter
# of a node (12.5 GB/s), well or badly.
NETWORKS = {"good": (2e-6, 12.5e9 / 24), "poor": (10e-6, 1.25e9 / 24)}
LOCAL = ("local index", "local clustering", "relabel")
FIELDS = ("set", "scaling", "points", "ranks", "seconds", "oversubscribed", "largest_halo")


def worker(name: str, n: int, repeat: int) -> None:
    """One rank: cluster its slice `repeat` times; rank 0 prints the fastest run as JSON."""
    from mpi4py import MPI

    from course.clustering import HPDBSCAN

    comm = MPI.COMM_WORLD
    generate, eps, min_samples = SETS[name]
    data = generate(n)[comm.rank :: comm.size].copy()
    model = HPDBSCAN(eps, min_samples, comm=comm, threads=1).fit(data[:1000])
    best: dict | None = None
    for _ in range(repeat):
        comm.Barrier()
        begin = time.perf_counter()
        model.fit(data)
        seconds = comm.allreduce(time.perf_counter() - begin, MPI.MAX)
        everyone = comm.gather((model.phases_, model.n_points_))
        if comm.rank == 0 and (best is None or seconds < best["seconds"]):
            phases = {phase: max(each[phase] for each, _ in everyone) for phase in everyone[0][0]}
            best = {
                "seconds": seconds,
                "phases": phases,
                "owned": [sizes[0] for _, sizes in everyone],
                "halo": [sizes[1] for _, sizes in everyone],
                "clusters": model.n_clusters_,
            }
    if comm.rank == 0:
        print(json.dumps(best))


def launch(name: str, n: int, ranks: int, repeat: int) -> dict:
    mpiexec = Path(sysconfig.get_path("scripts")) / "mpiexec"
    command = [mpiexec, "-n", ranks, sys.executable, "-m", "mpi4py", __file__]
    command += ["--worker", name, n, "--repeat", repeat]
    done = subprocess.run(
        [str(part) for part in command],
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def shares(name: str, n: int, ranks: int) -> tuple[np.ndarray, np.ndarray]:
    """What each of `ranks` would own and have in its halo, by the code that cuts the data."""
    from mpi4py import MPI

    from course.clustering.grid import cell_numbers, lay_grid
    from course.clustering.halo import _visit
    from course.clustering.redistribute import cell_costs
    from course.clustering.threads import Threads

    generate, eps, min_samples = SETS[name]
    data = generate(n)
    grid = lay_grid(data, eps, MPI.COMM_SELF)
    cells = np.sort(cell_numbers(data, grid, Threads(1)))
    kept, counts = np.unique(cells, return_counts=True)
    below = np.cumsum(cell_costs(counts, min_samples, data.shape[1]))
    wanted = below[-1] * np.arange(1, ranks) / ranks
    bounds = kept[np.searchsorted(below, wanted)] + 1
    edges = np.concatenate(([0], np.searchsorted(cells, bounds), [n]))
    halo = np.zeros(ranks, dtype=np.int64)
    for rank in range(ranks):
        own = cells[edges[rank] : edges[rank + 1]]
        _visit(own, grid.rows(), bounds, rank, halo, np.empty(0, dtype=np.int32), False)
    return np.diff(edges), halo


def predict(name: str, n: int, one: dict, slowdown: float, network: str) -> np.ndarray:
    """Seconds on each of `MODEL_RANKS`."""
    latency, bandwidth = NETWORKS[network]
    row = SETS[name][0](1).nbytes + 8
    # On one rank nothing is cut: the grid and the exchanges cost what they do on two.
    point = sum(one["phases"][phase] for phase in LOCAL) / n
    shared = one["overhead_per_point"]
    result = []
    for ranks in MODEL_RANKS:
        owned, halo = shares(name, n, ranks)
        busiest = float((owned + halo).max())
        seconds = point * slowdown * busiest
        if ranks > 1:
            mean = n / ranks
            steps = np.log2(ranks)
            seconds += shared * slowdown * max(busiest, mean)
            moved = mean * (row + 8) + 2 * float(halo.max()) * (row + 9)
            seconds += moved / bandwidth
            # About 60 halvings to find the bounds; 9 exchanges, each with every other rank.
            seconds += latency * (120 * steps + 9 * (ranks - 1))
        result.append(seconds)
    return np.array(result)


def draw(name: str, n: int, strong: dict[int, dict], model: dict[str, np.ndarray]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from course.figures import clustering as figures

    folder = ROOT / "benchmarks/results"
    runs = {f"{ranks} ranks": run["phases"] for ranks, run in strong.items()}
    ax = figures.phases(runs, title=f"Phases, {name}, {n:,} points")
    ax.figure.savefig(folder / f"clustering_phases_{name}.png", dpi=80, bbox_inches="tight")
    base = strong[1]["seconds"]
    measured = [
        base / strong[ranks]["seconds"] if ranks in strong else np.nan for ranks in MODEL_RANKS
    ]
    low = model["poor"][0] / model["poor"]
    high = model["good"][0] / model["good"]
    ax = figures.scaling(
        MODEL_RANKS,
        {"measured": measured, "model, middle": np.sqrt(low * high)},
        title=f"Strong scaling, {name}, {n:,} points",
        band=(low, high),
    )
    ax.figure.savefig(folder / f"clustering_scaling_{name}.png", dpi=80, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], int(options.worker[1]), options.repeat)
        return
    if not {1, 2} <= set(options.ranks):
        parser.error("the model needs runs on 1 and 2 ranks")
    cores = len(os.sched_getaffinity(0))
    out = ROOT / "benchmarks/results/clustering_scaling.csv"
    rows: list[dict] = []
    if out.exists():
        with out.open() as file:
            rows = [row for row in csv.DictReader(file) if row["set"] not in options.sets]
    for name in options.sets:
        n = options.points
        strong = {ranks: launch(name, n, ranks, options.repeat) for ranks in options.ranks}
        weak = {
            ranks: launch(name, n // 4 * ranks, ranks, options.repeat) for ranks in options.ranks
        }
        for scaling, runs in (("strong", strong), ("weak", weak)):
            for ranks, run in runs.items():
                values = (name, scaling, sum(run["owned"]), ranks, f"{run['seconds']:.3f}")
                values += (ranks > cores, max(run["halo"]))
                rows.append(dict(zip(FIELDS, values, strict=True)))
                print(*values, {k: round(v, 3) for k, v in run["phases"].items()}, flush=True)
        one, two = strong[1], strong[2]
        exchange = sum(v for k, v in two["phases"].items() if k not in LOCAL)
        one["overhead_per_point"] = exchange / max(two["owned"])
        local = [sum(run["phases"][phase] for phase in LOCAL) for run in (one, two)]
        seen = max(a + b for a, b in zip(two["owned"], two["halo"], strict=True))
        crowded = max(1.0, (local[1] / seen) / (local[0] / n))
        model = {
            "good": predict(name, n, one, 1.0, "good"),
            "poor": predict(name, n, one, crowded, "poor"),
        }
        # On one rank nothing is sent and no core is shared: both start at the measured time.
        model["poor"][0] = model["good"][0]
        print(f"{name}: a rank on a busy machine takes {crowded:.2f} times as long per point")
        for network, seconds in model.items():
            for ranks, value in zip(MODEL_RANKS, seconds, strict=True):
                values = (name, f"model, {network} network", n, ranks, f"{value:.4f}", "", "")
                rows.append(dict(zip(FIELDS, values, strict=True)))
            print(name, network, dict(zip(MODEL_RANKS, np.round(seconds, 4), strict=True)))
        draw(name, n, strong, model)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
