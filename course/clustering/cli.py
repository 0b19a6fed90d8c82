"""The command `hpdbscan`: cluster the points of an HDF5 file, alone or under ``mpiexec``.

Its options are those of the original: https://github.com/Markus-Goetz/hpdbscan
"""

import argparse
import contextlib
import os
import sys
import time
import traceback
from collections.abc import Sequence

from mpi4py import MPI


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hpdbscan",
        description="Highly parallel DBSCAN. Clusters the points of an HDF5 data set of shape "
        "(points, dimensions). Writes one number for each point: 0 for noise, else its cluster, "
        "negative for core points. Run it under mpiexec to use several processes.",
        epilog="Example: mpiexec -n 4 hpdbscan -m 40 -e 0.02 -i points.h5 -o clusters.h5",
    )
    add = parser.add_argument
    add("file", nargs="?", help="input file, as an alternative to -i")
    add("-m", "--minPoints", type=int, default=2, help="density threshold (default: 2)")
    add("-e", "--epsilon", type=float, default=0.1, help="search radius (default: 0.1)")
    add(
        "-t",
        "--threads",
        type=int,
        help="threads of each process (default: the machine's cores, shared by its processes)",
    )
    add("-i", "--input", help="input file (default: data.h5)")
    add("-o", "--output", help="output file (default: the input file)")
    add("--input-dataset", default="DATA", help="input data set (default: DATA)")
    add("--output-dataset", default="CLUSTERS", help="output data set (default: CLUSTERS)")
    return parser


def _parse(argv: Sequence[str] | None, comm: MPI.Intracomm) -> argparse.Namespace:
    """Parse on every rank, complain on the first."""
    with contextlib.ExitStack() as stack:
        if comm.rank:
            silence = stack.enter_context(open(os.devnull, "w"))
            stack.enter_context(contextlib.redirect_stdout(silence))
            stack.enter_context(contextlib.redirect_stderr(silence))
        parser = _parser()
        options = parser.parse_args(argv)
        if options.file and options.input:
            parser.error(f"two input files given: {options.file!r} and -i {options.input!r}")
        options.input = options.input or options.file or "data.h5"
        options.output = options.output or options.input
        same = os.path.realpath(options.input) == os.path.realpath(options.output)
        if same and options.input_dataset == options.output_dataset:
            parser.error(f"the clusters would replace the points: {options.input_dataset!r}")
    return options


def run(options: argparse.Namespace, comm: MPI.Intracomm) -> str:
    """Read, cluster and write; return a report.

    Raises:
        ValueError: an option or a file is not as it should be; on every rank.
        TypeError: likewise.
    """
    from course.clustering.estimator import HPDBSCAN
    from course.clustering.hdf5 import encode, read_points, write_clusters

    begin = time.perf_counter()
    points, n = read_points(options.input, options.input_dataset, comm)
    read = time.perf_counter()
    model = HPDBSCAN(options.epsilon, options.minPoints, comm=comm, threads=options.threads)
    model.fit(points)
    del points
    clustered = time.perf_counter()
    values = encode(model.labels_, model.core_sample_indices_)
    write_clusters(options.output, options.output_dataset, values, n, comm)
    end = time.perf_counter()
    noise = comm.allreduce(int((model.labels_ < 0).sum()))
    core = comm.allreduce(len(model.core_sample_indices_))
    lines = [
        f"{n} points: {model.n_clusters_} clusters, {core} core points, "
        f"{n - core - noise} border points, {noise} noise",
        f"{comm.size} process(es): read {read - begin:.2f} s, cluster {clustered - read:.2f} s, "
        f"write {end - clustered:.2f} s",
    ]
    for name, seconds in model.phases_.items():
        lines.append(f"  {name:<18} {comm.allreduce(seconds, MPI.MAX):8.3f} s")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    comm = MPI.COMM_WORLD
    options = _parse(argv, comm)
    try:
        report = run(options, comm)
    except (ValueError, TypeError) as error:  # raised on every rank
        if comm.rank == 0:
            print(f"hpdbscan: {error}", file=sys.stderr)
        return 1
    except BaseException:
        # Only this rank may have failed: the others must not wait for it.
        traceback.print_exc()
        sys.stderr.flush()
        if comm.size > 1:
            comm.Abort(1)
        raise
    if comm.rank == 0:
        print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
