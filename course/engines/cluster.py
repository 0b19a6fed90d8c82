"""The life of a set of MPI engines, from start to stop."""

import atexit
import errno
import json
import logging
import re
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipyparallel as ipp
import psutil

from course import settings
from course.engines import magics, remote, stacks, waiting
from course.engines.deadlock import LiveDetector
from course.engines.errors import EnginesDied, EnginesError, ranks_text
from course.engines.local import Local, running
from course.processes import end, family

if TYPE_CHECKING:
    from course.mpi.explain import Explanation
    from course.mpi.records import Trace

HEARTBEAT_MISSES = 300
# What engines and controller log while all is well, and when their peers are gone.
_CHATTER = re.compile(r"\d{4}-\d\d-\d\d .*\[(IP|task|broadcast)[^\]]*\] (?!ERROR|CRITICAL)")

_current: "Engines | None" = None


class Engines:
    """`n` ipyparallel engines that are the ranks 0..n-1 of one MPI world.

    Use `course.engines.start` to make one. Engine ids are ranks.

    Attributes:
        n: number of ranks.
        timeout: seconds that `run`, `execute` and ``%%px`` wait unless told otherwise.
        client: the `ipyparallel.Client`.
        view: its `ipyparallel.DirectView` on all ranks, in rank order.
        pids: process id of each rank, by rank.
        nodes: name of the node of each rank, by rank.
        library: the MPI library, as it names itself.
    """

    def __init__(
        self,
        n: int,
        timeout: float | None = None,
        start_timeout: float | None = None,
        trace: bool = True,
        place: Local | None = None,
    ) -> None:
        """Start the engines; see `course.engines.start`."""
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(f"n must be a positive whole number of ranks, got {n!r}")
        self.n = n
        self.timeout = timeout or settings.choose(small=600.0, full=86400.0)
        self.traced = trace
        self.cells: dict[str, str] = {}
        self.pending: ipp.AsyncResult | None = None
        self.detector: LiveDetector | None = None
        self._cluster: ipp.Cluster | None = None
        self._family: list[psutil.Process] = []
        self._place = place or Local(n)
        self._launch(start_timeout or self._place.start_seconds)

    def __repr__(self) -> str:
        state = "running" if self.alive() else "stopped"
        return f"<{self.n} MPI engines, {state}>"

    def __enter__(self) -> "Engines":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # -- life ---------------------------------------------------------------------------

    def _launch(self, timeout: float) -> None:
        started = time.monotonic()
        progress = waiting.Progress(f"Starting {self.n} MPI engines")
        place = self._place
        self._directory = place.open()
        chosen = place.cluster()
        self._cluster = cluster = ipp.Cluster(
            engines=place.launcher,
            n=self.n,
            log_level=logging.CRITICAL,
            shutdown_atexit=False,
            # Engines wait for the connection file themselves, so that they and the
            # controller import at the same time.
            send_engines_connection_env=False,
            **{
                **chosen,
                "controller_args": [
                    f"--HeartMonitor.period={place.heartbeat}",
                    f"--HeartMonitor.max_heartmonitor_misses={HEARTBEAT_MISSES}",
                    *chosen["controller_args"],
                ],
            },
        )
        try:
            cluster.start_controller_sync()
            place.start(cluster, progress)
            deadline = time.monotonic() + timeout  # a queue's time does not count
            progress("controller and engines started")
            self._connect(deadline, progress)
            self._verify(deadline)
        except BaseException as error:
            output = self._output()
            self.stop()
            if isinstance(error, TimeoutError):
                raise EnginesError(
                    f"expected {self.n} engines within {timeout:.0f} s, "
                    f"got {progress.steps[-1] if progress.steps else 'none'}\n{output}"
                ) from None
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise EnginesError(
                    f"the disk of {place.folder.parent} is full, or your quota there is used up: "
                    "remove what you do not need"
                ) from None
            raise
        seconds = time.monotonic() - started
        progress.done(
            f"{self.n} MPI engines ready in {seconds:.1f} s{place.where} ({self.library})"
        )

    def _connect(self, deadline: float, progress: "waiting.Progress") -> None:
        assert self._cluster is not None
        files = [Path(file) for file in self._cluster.controller.connection_files.values()]
        while not all(map(_written, files)):
            self._check_start(deadline)
            time.sleep(0.05)
        self._place.connected(json.loads(files[0].read_text())["registration"])
        self.client = self._cluster.connect_client_sync(timeout=_left(deadline))
        while len(self.client.ids) < self.n:
            self._check_start(deadline)
            progress(f"{len(self.client.ids)} of {self.n} engines")
            time.sleep(0.05)

    def _check_start(self, deadline: float) -> None:
        if not self.alive():
            raise EnginesDied(f"the MPI job ended while it started\n{self.crash_report()}")
        if time.monotonic() > deadline:
            raise TimeoutError

    def _verify(self, deadline: float) -> None:
        everyone = self.client[:]
        everyone.block = False
        result = everyone.apply(remote.prepare, str(self._directory), self.traced)
        ranks = result.get(timeout=_left(deadline))
        sizes = {info["size"] for info in ranks}
        if sizes != {self.n} or {info["rank"] for info in ranks} != set(range(self.n)):
            found = ", ".join(f"rank {i['rank']} of {i['size']}" for i in ranks)
            raise EnginesError(
                f"expected one world of {self.n} ranks, got {found}: mpiexec and mpi4py "
                "belong to different MPI libraries (see `course doctor`)"
            )
        by_rank = sorted(zip(ranks, everyone.targets, strict=True), key=lambda p: p[0]["rank"])
        self.pids = {info["rank"]: info["pid"] for info, _ in by_rank}
        self.nodes = {info["rank"]: info["node"] for info, _ in by_rank}
        self.library = ranks[0]["library"].splitlines()[0].strip(" \0").replace(":      ", " ")
        self.view = self.client[[target for _, target in by_rank]]
        self.view.block = True
        self.detector = self._place.detector(self) if self.traced else None
        self._family = [p for launcher in self._launchers() for p in self._processes(launcher)]
        magics.activate(self)

    def _launchers(self) -> list[Any]:
        cluster = self._cluster
        if cluster is None:
            return []
        return [*cluster.engines.values(), *([cluster.controller] if cluster.controller else [])]

    @staticmethod
    def _processes(launcher: Any) -> list[psutil.Process]:
        return family(launcher.pid) if launcher.pid > 0 else []

    def alive(self) -> bool:
        """Return whether the controller and the MPI job still run."""
        launchers = self._launchers()
        return len(launchers) >= 2 and all(map(self._place.alive, launchers))

    def _output(self) -> str:
        """What the MPI job and the controller printed, the last lines."""
        lines = []
        for launcher in self._launchers():
            text = launcher.get_output() if launcher.output_file else ""
            lines += [line for line in text.splitlines() if _telling(line)][-15:]
        return "\n".join(lines)

    def stop(self) -> None:
        """End the engines and the controller, and everything that they started."""
        global _current
        self._end(keep=False)
        if _current is self:
            _current = None

    def _end(self, keep: bool) -> None:
        launchers = self._launchers()
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            client = getattr(self, "client", None)
            if client is not None:
                client.close(linger=0)
            started = [launcher for launcher in launchers if launcher.pid > 0]
            # The guards end their families; what is left is that of a guard that was killed.
            end([psutil.Process(item.pid) for item in started if running(item.pid)], grace=12)
            end(process for process in self._family if process.is_running())
            for launcher in started:
                launcher._popen_process.poll()
                Path(launcher.output_file).unlink(missing_ok=True)
            if cluster.controller is not None:
                for file in cluster.controller.connection_files.values():
                    Path(file).unlink(missing_ok=True)
            cluster.remove_cluster_file()
        self._place.close(self._directory, keep)

    def recover(self, timeout: float | None = None) -> "Engines":
        """Say where each rank hangs, then give fresh engines, whatever state these were in.

        Variables on the engines are lost; `view` and `client` are new objects.

        Args:
            timeout: seconds that the fresh engines may take; if None, 15 here, and 180 under
                Slurm, where the job keeps its nodes if they are well, and a new one is
                submitted if not.

        Raises:
            EnginesError: no fresh engines came up in time.
        """
        global _current
        busy = self.busy() if self.alive() else []
        if busy:
            print(f"{ranks_text(busy).capitalize()} did not finish:\n{self.where(busy)}")
        self._end(keep=True)
        self.pending = None
        self._launch(timeout or self._place.recover_seconds)
        _current = self
        return self

    # -- state --------------------------------------------------------------------------

    def busy(self) -> list[int]:
        """Return the ranks that still work on what was sent last."""
        if self.pending is None:
            return []
        return waiting.unfinished(self.pending)

    def where(self, ranks: list[int] | None = None) -> str:
        """Return, for each rank, the line that it is at, and why it hangs if that is known."""
        asked = range(self.n) if ranks is None else ranks
        explanation = self.explain()
        explained = set() if explanation is None else set(explanation.waits)
        left = self._at([rank for rank in asked if rank not in explained])
        place = self._place
        parts = []
        if left:
            found = stacks.read(self._directory, left, place.signal, place.stack_seconds)
            parts.append(stacks.report(found, self.cells))
        if explained:
            parts.append(str(explanation))
        return "\n".join(parts)

    def _at(self, ranks: Iterable[int]) -> dict[int, tuple[str, int]]:
        """Return node and process id of each of `ranks`."""
        return {rank: (self.nodes[rank], self.pids[rank]) for rank in ranks}

    def statuses(self) -> list[str]:
        """Return of each rank whether it is "running", "raised" or "finished"."""
        if self.pending is None:
            return ["finished"] * self.n
        raised, busy = waiting.errors(self.pending), set(self.busy())
        return [
            "running" if rank in busy else "raised" if rank in raised else "finished"
            for rank in range(self.n)
        ]

    def explain(self) -> "Explanation | None":
        """Return what the trace says of the ranks that are still busy; None without a trace."""
        if not self.traced or self.pending is None:
            return None
        from course.mpi.explain import explain

        raised = waiting.errors(self.pending)
        texts = [
            f"{raised[rank].ename}: {raised[rank].evalue}" if rank in raised else ""
            for rank in range(self.n)
        ]
        return explain(self.trace(), self.statuses(), texts)

    def deadlocked(self) -> bool:
        """Return whether some busy ranks are certain to wait for ever."""
        return self.detector is not None and self.detector.certain()

    def trace(self) -> "Trace":
        """Return the MPI calls of all ranks since these engines started.

        Raises:
            EnginesError: these engines were started with ``trace=False``.
        """
        if not self.traced:
            raise EnginesError(
                "expected engines with a trace, got engines started with trace=False"
            )
        from course.mpi import trace

        return trace.load(self._directory, self.n)

    def interrupt(self) -> None:
        """Send SIGINT to every rank: ends Python code, but not a blocked MPI call."""
        self._place.signal(self._at(self.pids), signal.SIGINT)

    def crash_report(self) -> str:
        """Say what is known of ranks that crashed."""
        why = self._place.why()
        parts = [why] if why else []
        for rank, text in stacks.crashes(self._directory, range(self.n)).items():
            frames = stacks.places(text, self.cells)
            parts.append(
                f"rank {rank}: {text.splitlines()[0]}" + (f", at {frames[0]}" * bool(frames))
            )
        if len(parts) == bool(why):
            parts.append(self._output())
        return "\n".join(parts)

    # -- work ---------------------------------------------------------------------------

    def submit(self, send: Callable[[], ipp.AsyncResult]) -> ipp.AsyncResult:
        """Call `send`, which submits work to `view`, if the engines are free to take it.

        Raises:
            EnginesDied: the MPI job is gone.
            EnginesError: ranks are still busy with what was sent before.
        """
        if self._cluster is None:
            raise EnginesError("these engines were stopped; `engines.start(n)` starts new ones")
        if not self.alive():
            raise EnginesDied(
                f"the MPI job has ended; `recover()` gives fresh engines\n{self.crash_report()}"
            )
        busy = self.busy()
        if busy:
            raise EnginesError(
                f"{ranks_text(busy)} still work on what was sent before:\n{self.where(busy)}\n"
                "Wait, or call `recover()` for fresh engines."
            )
        self.pending = send()
        if self.detector is not None:
            self.detector.restart()
        return self.pending

    def run(
        self, function: Callable[..., Any], *args: Any, timeout: float | None = None, **kwargs: Any
    ) -> list[Any]:
        """Call ``function(*args, **kwargs)`` on every rank and return the results by rank.

        The function may be written in a notebook cell; it is sent by value (cloudpickle),
        with what it refers to. What it prints is shown in rank order.

        Args:
            function: called on every rank.
            *args: its arguments, the same on every rank.
            timeout: seconds to wait; `self.timeout` if None.
            **kwargs: its keyword arguments.

        Raises:
            RankError: a rank raised; raised at once, also while others still wait for it.
            Hang: not all ranks finished in time; Deadlock, at once, where they never can.
            EnginesDied: the MPI job ended.
        """
        import cloudpickle

        payload = cloudpickle.dumps((function, args, kwargs))
        result = self.submit(lambda: self.view.apply_async(remote.call, payload))
        waiting.wait(self, result, timeout)
        return [cloudpickle.loads(answer) for answer in result.get()]

    def execute(self, code: str, timeout: float | None = None) -> None:
        """Run `code` in every rank's namespace, as ``%%px`` does; errors as for `run`."""
        name = stacks.cell_name(code)
        if name is not None:
            self.cells[name] = code
        result = self.submit(lambda: self.view.execute(code, silent=False, block=False))
        waiting.wait(self, result, timeout)


def start(
    n: int | None,
    timeout: float | None,
    start_timeout: float | None,
    trace: bool,
    place: Local | None = None,
) -> Engines:
    """See `course.engines.start`."""
    global _current
    if _current is not None:
        _current.stop()
    n = settings.ranks(4) if n is None else n
    _current = Engines(n, timeout, start_timeout, trace, place)
    return _current


def current() -> Engines | None:
    """See `course.engines.current`."""
    return _current


@atexit.register
def _stop_at_exit() -> None:
    if _current is not None:
        _current.stop()


def _written(file: Path) -> bool:
    try:
        return bool(json.loads(file.read_text()))
    except (OSError, ValueError):
        return False


def _telling(line: str) -> bool:
    return bool(line.strip()) and not _CHATTER.match(line)


def _left(deadline: float) -> float:
    return max(0.1, deadline - time.monotonic())
