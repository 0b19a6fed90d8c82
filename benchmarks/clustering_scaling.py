"""HPDBSCAN on more and more ranks: measured here, and by a model on 96.

    python benchmarks/clustering_scaling.py
    python benchmarks/clustering_scaling.py street_1m --repeat 5

Strong scaling clusters the same points on each number of ranks; weak scaling a third of them per
rank. Every rank has one thread. More ranks than cores take turns, so what they show is overhead,
not speed-up; such rows are marked.

The model takes from the data what any number of ranks would own and see in their halos, by the
very code that cuts them; from the run on one rank what a point costs, from the run on two what
exchanging one costs; and assumes a network. It leaves out the operating system's noise and the
file system. Its range comes from two networks, and from how much slower a rank is when all cores
of a machine are busy. It counts in processor time, which says the same on a busy machine and on
few cores; of phases that wait for other ranks, that of the rank which waits least. So it can be
checked here on rank counts that it was not fitted to (`HELD_OUT`).
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from course.data import points

SETS = {
    "plane_200k": (points.skewed_plane, 200_000, 0.05, 40),
    "plane_1m": (points.skewed_plane, 1_000_000, 0.05, 40),
    "street_1m": (points.street_scan, 1_000_000, 0.2, 20),
}
FITTED, HELD_OUT = (1, 2), (3, 4)
MODEL_RANKS = (1, 2, 3, 4, 8, 16, 24, 48, 96)
# Seconds until a message arrives, and bytes a second of each rank: 24 ranks share the adapter
# of a node (12.5 GB/s), well or badly.
NETWORKS = {"good": (2e-6, 12.5e9 / 24), "poor": (10e-6, 1.25e9 / 24)}
LOCAL = ("local index", "local clustering")  # phases without messages
PHASES = ("grid index", "redistribution", "halo exchange", *LOCAL, "merge halos", "relabel")
PHASES += ("original order",)
FIELDS = ("set", "scaling", "points", "ranks", "seconds", "oversubscribed", "largest_halo", "busy")
FIELDS += tuple(f"{phase} %" for phase in PHASES)


def worker(name: str, n: int, repeat: int) -> None:
    """One rank: cluster its slice `repeat` times; rank 0 prints the fastest run as JSON."""
    from mpi4py import MPI

    from course.clustering import HPDBSCAN, estimator

    busy: dict[str, float] = {}

    class Busy(estimator.Phases):
        """Counts processor time, too."""

        @contextmanager
        def __call__(self, name: str) -> Iterator[None]:
            begin = time.process_time()
            with super().__call__(name):
                yield
            busy[name] = busy.get(name, 0.0) + time.process_time() - begin

    estimator.Phases = Busy
    comm = MPI.COMM_WORLD
    generate, _, eps, min_samples = SETS[name]
    data = generate(n)[comm.rank :: comm.size].copy()
    model = HPDBSCAN(eps, min_samples, comm=comm, threads=1).fit(data[:1000])
    best: dict = {}
    least: dict[str, float] = {}
    for _ in range(repeat):
        busy.clear()
        comm.Barrier()
        begin = time.perf_counter()
        model.fit(data)
        seconds = comm.allreduce(time.perf_counter() - begin, MPI.MAX)
        least = {phase: min(value, least.get(phase, value)) for phase, value in busy.items()}
        everyone = comm.gather((model.phases_, model.n_points_))
        if comm.rank == 0 and seconds < best.get("seconds", np.inf):
            mean = {
                phase: float(np.mean([each.get(phase, 0.0) for each, _ in everyone]))
                for phase in PHASES
            }
            owned, halo = zip(*[sizes for _, sizes in everyone], strict=True)
            best = {"seconds": seconds, "phases": mean, "owned": owned, "halo": halo}
    processor = comm.gather(least)
    if comm.rank == 0:
        best["local"] = [sum(each[phase] for phase in LOCAL) for each in processor]
        rest = set(processor[0]) - set(LOCAL)
        best["rest"] = sum(min(each[phase] for each in processor) for phase in rest)
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


def shares(name: str, ranks: int) -> tuple[np.ndarray, np.ndarray]:
    """What each of `ranks` would own and have in its halo, by the code that cuts the data."""
    from mpi4py import MPI

    from course.clustering.grid import cell_numbers, lay_grid
    from course.clustering.halo import _visit
    from course.clustering.redistribute import cell_costs
    from course.clustering.threads import Threads

    generate, n, eps, min_samples = SETS[name]
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


class Model:
    """What a clustering takes on any number of ranks."""

    def __init__(self, name: str, one: dict, two: dict) -> None:
        """Fit it to the runs on one and two ranks."""
        _, self.n, eps, min_samples = SETS[name]
        self.name = name
        self.row = SETS[name][0](1).nbytes
        self.point = one["local"][0] / self.n
        self.crowded = max(
            1.0, np.max(two["local"] / np.add(two["owned"], two["halo"])) / self.point
        )
        # Beside local clustering: one rank only relabels, two exchange as well.
        self.relabel = one["rest"] / self.n
        self.exchange = two["rest"] / max(two["owned"])

    def busiest(self, ranks: int, slower: float) -> float:
        """Processor time of the local clustering on the rank that has most to do.

        Args:
            ranks: how many work together.
            slower: how many times as long a point takes as on an idle machine.
        """
        owned, halo = shares(self.name, ranks)
        return self.point * slower * float((owned + halo).max())

    def seconds(self, ranks: int, network: str, slower: float) -> float:
        """Return the time from begin to end, with a core for each rank, on one of `NETWORKS`."""
        owned, halo = shares(self.name, ranks)
        work = self.busiest(ranks, slower)
        if ranks == 1:
            return work + self.relabel * self.n * slower
        latency, bandwidth = NETWORKS[network]
        moved = self.n / ranks * (self.row + 8) + 2 * float(halo.max()) * (self.row + 9)
        # About 10 sums to find the bounds; 9 exchanges, each with every other rank.
        messages = latency * (20 * np.log2(ranks) + 9 * (ranks - 1))
        return work + self.exchange * float(owned.max()) * slower + moved / bandwidth + messages


def draw(name: str, strong: dict[int, dict], predicted: dict[str, list[float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from course.figures import clustering as figures

    folder, n = ROOT / "benchmarks/results", SETS[name][1]
    runs = {f"{ranks} ranks": run["phases"] for ranks, run in strong.items()}
    ax = figures.phases(runs, title=f"Phases, {name}, mean of the ranks")
    ax.figure.savefig(folder / f"clustering_phases_{name}.png", dpi=80, bbox_inches="tight")
    measured = [
        strong[1]["seconds"] / strong[ranks]["seconds"] if ranks in strong else np.nan
        for ranks in MODEL_RANKS
    ]
    gains = {network: seconds[0] / np.array(seconds) for network, seconds in predicted.items()}
    low, high = gains["poor"], gains["good"]
    ax = figures.scaling(
        MODEL_RANKS,
        {"measured": measured, "model, middle": np.sqrt(low * high)},
        title=f"Strong scaling, {name}, {n:,} points",
        band=(low, high),
    )
    ax.figure.savefig(folder / f"clustering_scaling_{name}.png", dpi=80, bbox_inches="tight")


def study(name: str, repeat: int) -> list[dict]:
    """Measure one set, fit the model, check it, and draw; return the table's rows."""
    cores = len(os.sched_getaffinity(0))
    n = SETS[name][1]
    rows: list[dict] = []

    def add(scaling: str, points: int, ranks: int, seconds: float, **more: object) -> None:
        rows.append(
            {"set": name, "scaling": scaling, "points": points, "ranks": ranks}
            | {"seconds": f"{seconds:.4f}"}
            | more
        )
        print(*rows[-1].values(), flush=True)

    strong: dict[int, dict] = {}
    for scaling in ("strong", "weak"):
        for ranks in (*FITTED, *HELD_OUT):
            run = launch(name, n if scaling == "strong" else n // 3 * ranks, ranks, repeat)
            if scaling == "strong":
                strong[ranks] = run
            whole = sum(run["phases"].values())
            parts = {f"{phase} %": f"{100 * run['phases'][phase] / whole:.1f}" for phase in PHASES}
            more = {"oversubscribed": ranks > cores, "largest_halo": max(run["halo"])}
            add(
                scaling,
                sum(run["owned"]),
                ranks,
                run["seconds"],
                **more,
                busy=f"{max(run['local']):.4f}",
                **parts,
            )
    model = Model(name, strong[1], strong[2])
    print(f"{name}: a rank on a busy machine takes {model.crowded:.2f} times as long per point")
    for ranks in HELD_OUT:
        said, was = model.busiest(ranks, model.crowded), max(strong[ranks]["local"])
        print(f"  {ranks} ranks, busiest one: {said:.3f} s predicted, {was:.3f} s measured")
        add("model, busiest rank", n, ranks, said, busy=f"{was:.4f}")
    predicted: dict[str, list[float]] = {}
    for network, slower in (("good", 1.0), ("poor", model.crowded)):
        predicted[network] = [model.seconds(r, network, slower) for r in MODEL_RANKS]
        predicted[network][0] = predicted["good"][0]  # one rank shares nothing with others
        for ranks, seconds in zip(MODEL_RANKS, predicted[network], strict=True):
            add(f"model, {network} network", n, ranks, seconds)
    draw(name, strong, predicted)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker[0], int(options.worker[1]), options.repeat)
        return
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"unknown set {sorted(unknown)}, known are {list(SETS)}")
    out = ROOT / "benchmarks/results/clustering_scaling.csv"
    rows: list[dict] = []
    if out.exists():
        with out.open() as file:
            rows = [row for row in csv.DictReader(file) if row["set"] in SETS]
        rows = [row for row in rows if row["set"] not in options.sets]
    for name in options.sets:
        rows += study(name, options.repeat)
    with out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
