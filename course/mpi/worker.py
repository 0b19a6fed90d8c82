"""One rank of `course.mpi.run`: a supervisor, and below it the process that runs the function.

Started as a script by the MPI launcher, once per rank. The supervisor forks before MPI is
loaded, so it sees how its rank ended even where the launcher kills all others a moment
later, and it keeps the rank's output below a limit. All reports are files in the run's
directory, renamed into place, so that whatever one rank does, the others' reports stay.
"""

import faulthandler
import json
import os
import pickle
import selectors
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
OUTPUT = ("out", "err")
RANK_VARIABLES = ("PMIX_RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_PROCID")


def write(path: Path, data: bytes) -> None:
    """Write a file that is either absent or complete."""
    draft = path.with_name(path.name + ".part")
    draft.write_bytes(data)
    draft.replace(path)


def rank_from_launcher() -> int:
    """Return this process's rank as the launcher's environment gives it."""
    for name in RANK_VARIABLES:
        if os.environ.get(name, "").isdecimal():
            return int(os.environ[name])
    raise SystemExit(f"the MPI launcher set none of {', '.join(RANK_VARIABLES)}")


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends (Linux only)."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def supervise(stem: Path, pid: int, pipes: dict[int, str], limit: int) -> int:
    """Copy the rank's output into files, wait for it, and write down how it ended.

    Args:
        stem: Path of the rank's files without their endings.
        pid: The process that runs the function.
        pipes: Read ends of its standard output and error, with the endings of their files.
        limit: Bytes to keep of each; the rest is counted.
    """
    selector = selectors.DefaultSelector()
    files, kept, lost = {}, dict.fromkeys(pipes, 0), dict.fromkeys(pipes, 0)
    for fd, ending in pipes.items():
        files[fd] = open(f"{stem}.{ending}", "wb", buffering=0)
        selector.register(fd, selectors.EVENT_READ)

    def drain(timeout: float) -> bool:
        ready = selector.select(timeout) if selector.get_map() else []
        for key, _ in ready:
            fd = key.fd
            data = os.read(fd, 65536)
            if not data:
                selector.unregister(fd)
                continue
            room = data[: max(0, limit - kept[fd])]
            files[fd].write(room)
            kept[fd] += len(room)
            lost[fd] += len(data) - len(room)
        return bool(ready)

    status = None
    while status is None:
        if not drain(0.02) and not selector.get_map():
            time.sleep(0.005)
        ended, value = os.waitpid(pid, os.WNOHANG)
        status = value if ended else None
    at = time.monotonic()
    until = at + 0.5  # a grandchild may hold the pipe open for ever
    while time.monotonic() < until and drain(0):
        pass
    for fd, number in lost.items():
        if number:
            files[fd].write(f"\n[{number} more bytes were not kept]\n".encode())
    code = os.waitstatus_to_exitcode(status)
    write(Path(f"{stem}.exit"), json.dumps({"code": code, "at": at}).encode())
    return code


def limit_memory(size: int | None) -> None:
    """Let this process have at most `size` bytes of address space."""
    if size:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size, size))


def user_traceback(error: BaseException) -> str:
    """Format `error` without the frames of this file and of tracing."""
    story = traceback.TracebackException.from_exception(error)
    folder = os.path.dirname(os.path.abspath(__file__))
    own = (__file__, os.path.join(folder, "worker.py"), os.path.join(folder, "traced"))
    frames = [frame for frame in story.stack if not frame.filename.startswith(own)]
    story.stack = traceback.StackSummary.from_list(frames)
    return "".join(story.format())


def work(stem: Path, rank: int, job: dict[str, Any]) -> int:
    """Run the function on this rank and report its result; return the exit status."""
    faulthandler.enable(open(f"{stem}.fault", "w"))
    faulthandler.register(signal.SIGUSR1, open(f"{stem}.stack", "w"), all_threads=True)
    write(Path(f"{stem}.pid"), str(os.getpid()).encode())
    report: dict[str, Any] = {"ok": False}
    value = b""
    began = time.monotonic()
    try:
        limit_memory(job["memory"])
        sys.path[:] = job["path"]
        os.chdir(job["directory"])
        import linecache

        linecache.cache.update(job["sources"])
        comm = connect(job)
        traced = start_trace(job, stem.parent, comm)
        function, args, kwargs = pickle.loads(job["call"])
        if rank == 0:
            note_segments(stem.parent)
        comm.Barrier()
        began = time.monotonic()
        result = function(traced, *args, **kwargs)
        report["seconds"] = time.monotonic() - began
        value = encode(result, rank, job["plain"])
        report["ok"] = True
    except BaseException as error:
        report["seconds"] = time.monotonic() - began
        report["error"] = type(error).__name__
        report["message"] = str(error)
        report["traceback"] = user_traceback(error)
        if isinstance(error, SystemExit):
            report["exit"] = error.code if isinstance(error.code, int | None) else str(error.code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass
    end_trace(report["ok"])
    report["at"] = time.monotonic()
    write(Path(f"{stem}.value"), value)
    write(Path(f"{stem}.report"), json.dumps(report).encode())
    if not report["ok"]:
        os._exit(1)  # no MPI_Finalize: it may wait for ranks that wait for this one
    return 0


def connect(job: dict[str, Any]) -> Any:
    """Initialise MPI, check the world's size and return the world."""
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    if world.size != job["ranks"]:
        raise RuntimeError(
            f"expected a world of {job['ranks']} ranks, got {world.size}: {job['launcher']} "
            f"does not belong to the MPI that mpi4py loaded ({MPI.get_vendor()[0]})"
        )
    return world


def note_segments(directory: Path) -> None:
    """Write down the shared memory files of MPI: if it is killed, the guard removes them."""
    from course.mpi import guard

    write(directory / "shared", "\n".join(guard.segments({os.getpid()})).encode())


def start_trace(job: dict[str, Any], directory: Path, world: Any) -> Any:
    """Return the world for the function, traced when the caller asked for it."""
    if not job["trace"]:
        return world
    from course.mpi.trace import start

    return start(directory)


def end_trace(ok: bool) -> None:
    """Mark the end of the function in the trace, when there is one."""
    module = sys.modules.get("course.mpi.trace")
    if module is not None:
        module.finish(ok)


def encode(result: Any, rank: int, as_plain: bool) -> bytes:
    """Turn what the function returned into bytes.

    Raises:
        TypeError: It cannot be sent back.
    """
    import cloudpickle

    from course.mpi import plain

    try:
        return plain.dumps(result) if as_plain else cloudpickle.dumps(result)
    except Exception as error:
        raise TypeError(
            f"rank {rank} returned a {type(result).__name__}, which cannot be sent back: {error}"
        ) from None


def main(directory: Path) -> int:
    """Fork the rank's own process and supervise it."""
    rank = rank_from_launcher()
    stem = directory / f"rank-{rank}"
    job = pickle.loads((directory / "job").read_bytes())
    # Whoever started the run holds these named pipes open, too: what is in them when the
    # launcher kills this process, as it does at MPI_Abort, is not lost.
    reading = {os.open(f"{stem}.{end}-pipe", os.O_RDONLY | os.O_NONBLOCK): end for end in OUTPUT}
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        for number, ending in enumerate(OUTPUT, start=1):
            writing = os.open(f"{stem}.{ending}-pipe", os.O_WRONLY)
            os.dup2(writing, number)
            os.close(writing)
        for fd in reading:
            os.close(fd)
        return work(stem, rank, job)
    code = supervise(stem, pid, reading, job["max_output"])
    if code:
        # Exiting now would make the launcher kill the others before they could report.
        time.sleep(10)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
