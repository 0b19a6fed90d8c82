"""Record every MPI call of this process: who, what, with whom, how much, when, on which line.

On a rank of `course.mpi.run` this is done by ``trace=True``. Elsewhere, for instance on an
engine::

    comm = trace.start(directory)   # from now on MPI.COMM_WORLD records, too
    ...
    trace.stop()

and in any other process, at any time, even after the ranks were killed::

    calls = trace.load(directory)

Nothing is imported or wrapped before `start`, so an untraced program runs as it would
without this module.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course.mpi import calls
from course.mpi.records import Call, Comm, Reader, Trace

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["Call", "Comm", "Trace", "finish", "load", "start", "stop"]

_saved: dict[str, Any] = {}
_directory: Path | None = None


def start(directory: str | Path) -> "MPI.Intracomm":
    """Record this process's MPI calls in `directory` and return the traced world.

    ``MPI.COMM_WORLD``, ``MPI.Request`` and ``MPI.Win`` are replaced by recording versions,
    which are subclasses of the originals, until `stop`. A world that was fetched before
    stays untraced. Starting again in the same directory changes nothing.

    Args:
        directory: An existing folder that all ranks can reach.
    """
    global _directory
    from mpi4py import MPI

    directory = Path(directory)
    if _directory == directory:
        return MPI.COMM_WORLD
    stop()
    from course.mpi import recorder, traced, traced_requests, traced_windows

    world = MPI.COMM_WORLD
    recorder.use(recorder.Recorder(directory, world.rank, world.size))
    _saved.update(COMM_WORLD=world, Request=MPI.Request, Prequest=MPI.Prequest, Win=MPI.Win)
    comm = traced.world(world)
    MPI.pickle.__init__(traced.dumps)  # type: ignore[misc]
    MPI.COMM_WORLD = comm  # type: ignore[misc]
    MPI.Request = traced_requests.TracedRequest  # type: ignore[misc]
    MPI.Prequest = traced_requests.TracedPrequest  # type: ignore[misc]
    MPI.Win = traced_windows.TracedWin  # type: ignore[misc]
    _directory = directory
    return comm


def finish(ok: bool) -> None:
    """Record that the traced function returned (`ok`) or raised; without a trace, nothing."""
    module = sys.modules.get("course.mpi.recorder")
    if _directory is not None and module is not None:
        rec = module.recorder()
        slot = rec.enter("(end)")
        (rec.leave if ok else rec.fail)(slot)


def stop() -> None:
    """Stop recording: mpi4py is as it was. The files stay."""
    global _directory
    if _directory is None:
        return
    from mpi4py import MPI

    from course.mpi import recorder

    for name, original in _saved.items():
        setattr(MPI, name, original)
    _saved.clear()
    MPI.pickle.__init__()  # type: ignore[misc]
    recorder.use(None)
    _directory = None


def load(directory: str | Path, ranks: int | None = None) -> Trace:
    """Read what was recorded in `directory`, also while it is being recorded.

    Args:
        directory: Where the ranks record.
        ranks: Size of the world; when None, as many as there are files.

    Raises:
        FileNotFoundError: Nothing was recorded there.
    """
    directory = Path(directory)
    if ranks is None:
        ranks = len(list(directory.glob("trace-*.calls")))
        if ranks == 0:
            raise FileNotFoundError(f"expected trace-*.calls in {directory}, found none")
    everything: list[list[Call]] = []
    comms: dict[str, Comm] = {"world": Comm("world", list(range(ranks)))}
    ended: list[str | None] = []
    complete = True
    for rank in range(ranks):
        found, own, end, whole = Reader(directory, rank).load(calls.NAMES)
        everything.append(found)
        comms.update((comm.key, comm) for comm in own.values())
        ended.append(end)
        complete = complete and whole
    return Trace(everything, comms, ended, complete)
