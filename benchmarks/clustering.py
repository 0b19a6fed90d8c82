"""HPDBSCAN beside its peers: same data, same run, same cores.

    python benchmarks/clustering.py                       # the three sets of 200 k and 1 M points
    python benchmarks/clustering.py plane_10m --skip scikit-learn
    python benchmarks/clustering.py --cpp path/to/hpdbscan

Peers: scikit-learn's DBSCAN, PyPI's `dbscan` (Wang, Gu, Shun, SIGMOD 2020), and, if a path to
its binary is given, the original HPDBSCAN in C++. Each is run once to warm up on a hundredth
of the data, then `--repeat` times in turn; the table gives medians, the ratio to ours, and the
peak memory of a process that only loads the data and clusters them, alone and as one of two ranks.
Labels and core points are compared with each peer's on the way. Beside the time on the clock there
is the ratio of processor times, which other work on the machine disturbs less; but a peer whose
threads spin while they wait looks worse in it than it is.
"""

import argparse
import csv
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np

from course.clustering import HPDBSCAN
from course.data import points

SETS: dict[str, tuple[Callable[[], np.ndarray], float, int]] = {
    "plane_200k": (lambda: points.skewed_plane(200_000), 0.05, 40),
    "plane_1m": (lambda: points.skewed_plane(1_000_000), 0.05, 40),
    "street_1m": (lambda: points.street_scan(1_000_000), 0.2, 20),
    # The same with fewer points in a neighbourhood, so that hardly any cell is full.
    "plane_1m_sparse": (lambda: points.skewed_plane(1_000_000), 0.02, 40),
    "street_1m_sparse": (lambda: points.street_scan(1_000_000), 0.1, 10),
    "plane_10m": (lambda: points.skewed_plane(10_000_000), 0.05, 40),
    "street_10m": (lambda: points.street_scan(10_000_000), 0.1, 20),
}
MOST_PAIRS = 1e9  # scikit-learn keeps all neighbours in memory, 8 bytes each
DEFAULT = ("plane_200k", "plane_1m", "street_1m")
FIELDS = ("set", "points", "d", "eps", "min_samples", "what", "seconds", "times_ours")
FIELDS += ("processor_times_ours", "note")


def same_core(core: np.ndarray, other: np.ndarray) -> str:
    differ = int(np.count_nonzero(core != other))
    return "same core points" if not differ else f"{differ} core points differ"


def clock(work: Callable[[], object]) -> tuple[tuple[float, float], object]:
    """Seconds on the clock and of the processors, and what `work` returns."""
    begin, busy = time.perf_counter(), time.process_time()
    result = work()
    return (time.perf_counter() - begin, time.process_time() - busy), result


def measure_ours(data: np.ndarray, eps: float, min_samples: int, threads: int) -> tuple:
    return clock(lambda: HPDBSCAN(eps, min_samples, threads=threads).fit(data))


def measure_dbscan(data: np.ndarray, eps: float, min_samples: int, threads: int) -> tuple:
    os.environ["PARLAY_NUM_THREADS"] = str(threads)
    from dbscan import DBSCAN

    seconds, (_, core) = clock(lambda: DBSCAN(data, eps=eps, min_samples=min_samples))
    return seconds, np.asarray(core).astype(bool).ravel()


def measure_sklearn(data: np.ndarray, eps: float, min_samples: int, threads: int) -> tuple:
    from sklearn.cluster import DBSCAN

    return clock(lambda: DBSCAN(eps=eps, min_samples=min_samples, n_jobs=threads).fit(data))


def pairs_of_neighbours(data: np.ndarray, eps: float) -> float:
    """Estimate how many neighbours all points have together."""
    d = data.shape[1]
    _, counts = np.unique(np.floor(data / eps), axis=0, return_counts=True)
    return float((counts.astype(float) ** 2).sum()) * (np.pi if d == 2 else 4 / 3 * np.pi)


def measure_cpp(binary: str, path: Path, eps: float, min_samples: int, threads: int) -> tuple:
    """Time the C++ program as a whole; it reads and writes its file within that time."""
    command = [binary, "-m", min_samples, "-e", eps, "-t", threads, "-i", path, "-o", f"{path}.out"]
    begin = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    return time.perf_counter() - begin, float("nan")  # another process: its own processor time


def peak_memory(path: Path, eps: float, min_samples: int, threads: int, ranks: int) -> float:
    """Peak resident set, in MB, of a fresh process that loads its share and clusters it.

    With `ranks` 0 it is alone; otherwise the largest of that many ranks counts. What
    libraries map is part of it, though ranks on one machine share these pages.
    """
    code = (
        "import re, numpy; from course.clustering import HPDBSCAN\n"
        + ("from mpi4py.MPI import COMM_WORLD as comm\n" if ranks else "comm = None\n")
        + "rank, size = (comm.rank, comm.size) if comm else (0, 1)\n"
        f"rows = numpy.load({str(path)!r}, mmap_mode='r')\n"
        "rows = rows[len(rows) * rank // size : len(rows) * (rank + 1) // size].copy()\n"
        f"HPDBSCAN({eps}, {min_samples}, comm=comm, threads={threads}).fit(rows)\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])"
    )
    mpiexec = [str(Path(sysconfig.get_path("scripts")) / "mpiexec"), "-n", str(ranks)]
    done = subprocess.run(
        [*(mpiexec if ranks else []), sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    return max(map(float, done.stdout.split())) / 1e3  # the kernel counts in kB


def compare(name: str, options: argparse.Namespace, folder: Path) -> list[dict]:
    build, eps, min_samples = SETS[name]
    data = build()
    double = data.astype(np.float64)  # what the peers compute in, so not in their time
    n, d = data.shape
    threads = options.threads
    small, small_double = data[: n // 100].copy(), double[: n // 100].copy()
    pairs = pairs_of_neighbours(data, eps)
    times: dict[str, list[tuple[float, float]]] = {}
    notes: dict[str, str] = {}
    runs = options.repeat
    for kind in (small, small.astype(np.float64)):
        measure_ours(kind, eps, min_samples, threads)
    for turn in range(runs):
        seconds, ours = measure_ours(data, eps, min_samples, threads)
        times.setdefault("ours", []).append(seconds)
        core = np.zeros(n, dtype=bool)
        core[ours.core_sample_indices_] = True
        if "dbscan" not in options.skip:
            if turn == 0:
                measure_dbscan(small_double, eps, min_samples, threads)
            seconds, theirs = measure_dbscan(double, eps, min_samples, threads)
            times.setdefault("dbscan", []).append(seconds)
            notes["dbscan"] = same_core(core, theirs)
        if turn == 0 and "scikit-learn" not in options.skip and pairs > MOST_PAIRS:
            print(f"{name}: no scikit-learn, it would store about {pairs:.1e} neighbours")
        elif turn == 0 and "scikit-learn" not in options.skip:  # too slow to repeat
            seconds, model = measure_sklearn(double, eps, min_samples, threads)
            times.setdefault("scikit-learn", []).append(seconds)
            same = np.array_equal(model.labels_, ours.labels_)
            notes["scikit-learn"] = "same labels" if same else "labels differ"
            del model
        if options.cpp:
            import h5py

            path = folder / f"{name}.h5"
            if not path.exists():
                with h5py.File(path, "w") as file:
                    file["DATA"] = data
            seconds = measure_cpp(options.cpp, path, eps, min_samples, threads)
            times.setdefault("hpdbscan c++", []).append(seconds)
            notes["hpdbscan c++"] = "with reading and writing the file"
    path = folder / "data.npy"
    np.save(path, data)
    memory = []
    for where, ranks in (("alone", 0), ("one of two ranks", 2)):
        parts = max(1, ranks)
        peak = peak_memory(path, eps, min_samples, max(1, threads // parts), ranks)
        memory.append(f"{where} {peak:.0f} MB (goal {3 * data.nbytes / parts / 1e6 + 200:.0f})")
    notes["ours"] = (
        f"{ours.n_clusters_} clusters, {core.mean():.0%} core; peak memory {', '.join(memory)}"
    )
    base = np.median(times["ours"], axis=0)
    rows = []
    for what, seconds in times.items():
        middle = np.median(seconds, axis=0)
        ratio, busy = middle / base
        numbers = (f"{middle[0]:.3f}", f"{ratio:.2f}", f"{busy:.2f}")
        values = (name, n, d, eps, min_samples, what, *numbers, notes.get(what, ""))
        rows.append(dict(zip(FIELDS, values, strict=True)))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=DEFAULT, help=f"of {', '.join(SETS)}")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--skip", nargs="*", default=[], choices=("dbscan", "scikit-learn"))
    parser.add_argument("--cpp", help="path of the C++ HPDBSCAN")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/clustering.csv")
    options = parser.parse_args()
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"unknown set {sorted(unknown)}, known are {list(SETS)}")
    rows = []
    if options.out.exists():
        with options.out.open() as file:
            rows = [row for row in csv.DictReader(file) if row["set"] not in options.sets]
    with tempfile.TemporaryDirectory() as folder:
        for name in options.sets:
            new = compare(name, options, Path(folder))
            for row in new:
                print(*row.values(), sep=" | ", flush=True)
            rows += new
    rows.sort(key=lambda row: list(SETS).index(row["set"]))
    options.out.parent.mkdir(exist_ok=True)
    with options.out.open("w", newline="") as file:
        writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
