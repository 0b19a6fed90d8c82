"""MPI engines for notebooks: start, verify, run on, explain, recover and stop.

>>> from course import engines
>>> cluster = engines.start(n=4)
>>> cluster.run(lambda: __import__("mpi4py.MPI").MPI.COMM_WORLD.rank)
[0, 1, 2, 3]
>>> cluster.stop()

On the nodes of a cluster, with the same cells (docs/slurm.md):

>>> cluster = engines.start(profile="slurm", nodes=2, ranks_per_node=4, partition="dam")

In a notebook, ``start`` also registers ``%%px`` with deadlines: an exception on one rank
is shown at once with its rank, and a cell that hangs ends with a report of where.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from course.cluster.site import Site
    from course.engines.cluster import Engines

__all__ = ["current", "start"]


def start(
    n: int | None = None,
    timeout: float | None = None,
    start_timeout: float | None = None,
    trace: bool = True,
    profile: str | None = None,
    *,
    nodes: int | None = None,
    ranks_per_node: int | None = None,
    partition: str | None = None,
    time: int | str | None = None,
    account: str | None = None,
    gpus: int | None = None,
    modules: "Sequence[str] | None" = None,
    site: "str | Path | Site | None" = None,
) -> "Engines":
    """Start engines as the ranks of one MPI world and return them.

    Engines that an earlier call in this process started are stopped first, so that a cell
    can be run twice.

    With ``profile="slurm"`` they run on the nodes of a Slurm job; the controller stays here.
    What is not given is taken from the site's settings (`course.cluster.site`). The line that
    shows the start says how the job stands in the queue. The job is cancelled by `Engines.stop`,
    and ends by itself when this process is gone.

    Args:
        n: number of ranks; more than cores is fine. `settings.ranks(4)` if None: 4, or fewer
            on a small machine. Under Slurm ``nodes * ranks_per_node`` if None, and where `n` is
            given as many nodes as that needs.
        timeout: seconds that ``%%px`` and `Engines.run` wait unless told otherwise;
            600 in the small setting, 24 hours in the full one.
        start_timeout: seconds that the engines may take to come up, without the time in the
            queue; 60 if None, and 180 under Slurm.
        trace: record the ranks' MPI calls (`course.mpi.trace`), so that a hang can be
            explained; `Engines.trace` reads the record. It costs a few microseconds a call.
        profile: ``"local"`` or ``"slurm"``; ``COURSE_PROFILE`` if None, or else local. With
            ``profile="local"``, for rehearsal, this machine plays all nodes.
        nodes: number of nodes.
        ranks_per_node: ranks on each node.
        partition: Slurm partition.
        time: time limit in minutes, or as Slurm writes it (``"01:30:00"``).
        account: project that pays.
        gpus: GPUs on each node.
        modules: environment modules that the job loads.
        site: the site's settings, or the file that has them.

    Raises:
        ValueError: an argument is out of range, or is only for Slurm; the site's settings are
            wrong (`course.cluster.site.SiteError`).
        FileNotFoundError: no ``mpiexec``.
        EnginesError: they did not come up in time, or are not one world of n ranks.
        SlurmError: (`course.cluster.slurm`) there is no Slurm, or the job was refused.
    """
    from course.engines import cluster

    chosen = profile or os.environ.get("COURSE_PROFILE", "").strip() or "local"
    wanted = {
        "nodes": nodes,
        "ranks_per_node": ranks_per_node,
        "partition": partition,
        "time": time,
        "account": account,
        "gpus": gpus,
        "modules": modules,
    }
    if chosen == "slurm":
        from course.engines.slurm import place

        found = place(site, n, wanted)
        return cluster.start(found.n, timeout, start_timeout, trace, found)
    if chosen != "local":
        raise ValueError(f"profile must be 'local' or 'slurm', got {chosen!r}")
    given = [name for name, value in {**wanted, "site": site}.items() if value is not None]
    if given and profile is None:
        raise ValueError(f"{', '.join(given)}: only with profile='slurm'")
    if n is None and (nodes or ranks_per_node):
        n = (nodes or 1) * (ranks_per_node or 1)
    return cluster.start(n, timeout, start_timeout, trace)


def current() -> "Engines | None":
    """Return the engines that run for this process, or None."""
    from course.engines import cluster

    return cluster.current()
