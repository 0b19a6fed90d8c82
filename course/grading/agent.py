"""The grader's side of a trial: a rank of its own that makes the calls a student asks for.

`serve` runs on every rank of `course.mpi.run`, traced. It hands the trial to the sandbox of its
rank and then does what that asks for, one call at a time, until the function has returned.
What comes from the sandbox is plain data and is checked against `course.grading.table`.
"""

import linecache
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from course.grading import table
from course.grading.wire import Channel

TEXT = 8000  # characters kept of any text from a sandbox
READY = 60.0  # seconds for loading a submission


class TrialFailed(Exception):
    """A student's function did not return.

    Attributes:
        kind: ``raised``, ``lost`` (its process ended, or sent nonsense), ``deadline``, or
            ``stuck``: already its cells did not come to an end.
    """

    def __init__(self, kind: str, text: str) -> None:
        """Say how and why."""
        super().__init__(text)
        self.kind = kind


def serve(
    comm: Any, path: str, job: dict[str, Any], asked: Mapping[str, Callable[..., Any]]
) -> dict[str, Any]:
    """Have one trial done in the sandbox of this rank, and make its MPI calls.

    Args:
        comm: The traced world; None for a trial without ranks.
        path: Socket of this rank's sandbox.
        job: What the sandbox gets, see `course.grading.inside.trial`.
        asked: Functions that the student's function may ask for.

    Returns:
        ``value`` as plain data, ``seconds`` from the call to its result, ``printed``, and
        ``asked``, the arguments of each question.

    Raises:
        TrialFailed: The function did not return.
    """
    for name, source in job["cells"]:
        file = "cell " + name
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    try:
        channel = Channel.connect(path)
    except OSError as error:
        raise TrialFailed("lost", f"could not be started: its sandbox ended ({error})") from None
    try:
        channel.send({name: value for name, value in job.items() if name != "args"})
        return _Desk(comm, channel, asked).until_done(job["seconds"], job["args"])
    except TimeoutError:
        what = f"took more than {job['seconds']:g} s and was ended"
        raise TrialFailed("deadline", what) from None
    except (EOFError, OSError, ValueError, TypeError, KeyError) as error:
        what = f"ended its process, or sent nonsense: {error}"
        raise TrialFailed("lost", what) from None
    finally:
        channel.close()


class _Desk:
    """Makes the calls that one student's rank asks for."""

    def __init__(self, comm: Any, channel: Channel, asked: Mapping[str, Callable[..., Any]]):
        self.comm = comm
        self.channel = channel
        self.answers = asked
        self.questions: list[list[Any]] = []
        self.comms: dict[int, Any] = {}
        self.requests: dict[int, tuple[Any, list[Any]]] = {}
        self.numbers = 0
        if comm is not None:
            from mpi4py import MPI

            self.mpi = MPI
            self.comms = {0: comm, -1: MPI.COMM_SELF}

    def until_done(self, seconds: float, args: list[Any]) -> dict[str, Any]:
        """Serve until the function has returned."""
        try:
            message = self.channel.receive(READY)
        except TimeoutError:
            raise TrialFailed("stuck", f"did not come to its end in {READY:g} s") from None
        if message[0] == "raised":
            raise self._raised(message)
        if message[0] == "ended":
            kind, text = _ending(message[1])
            raise TrialFailed("stuck" if kind == "deadline" else kind, f"while loading, {text}")
        if message[0] != "ready":
            raise ValueError(f"expected that it is ready, got {_short(message[0])}")
        if self.comm is not None:
            self.mpi.Comm.Barrier(self.comm)  # mpi4py's own: not a call of the student's
        until = time.monotonic() + seconds
        began = time.perf_counter()
        self.channel.send(["go", args])  # only now: nothing could be computed before
        while True:
            message = self.channel.receive(max(0.01, until - time.monotonic()))
            took = time.perf_counter() - began
            match message:
                case ["call", int(), str(), list(), list()]:
                    self._reply(self._call, message[1:])
                case ["request", list(), str(), list(), list()]:
                    self._reply(self._wait, message[1:])
                case ["ask", str(name), list(args)]:
                    self._answer(name, args)
                case ["returned", value, str(printed)]:
                    return {
                        "value": value,
                        "seconds": took,
                        "printed": printed[-TEXT:],
                        "asked": self.questions,
                    }
                case ["raised", *_]:
                    raise self._raised(message)
                case ["ended", int(code)]:
                    raise TrialFailed(*_ending(code))
                case _:
                    raise ValueError(f"expected a call or a result, got {_short(message)}")

    @staticmethod
    def _raised(message: list[Any]) -> TrialFailed:
        _, kind, text, story, *printed = (str(part)[-TEXT:] for part in message)
        lines = [f"raised {kind}: {text}".rstrip(": ")]
        if story:
            lines.append(story.rstrip())
        if printed and printed[0]:
            lines.append(f"It had printed:\n{printed[0].rstrip()}")
        return TrialFailed("raised", "\n".join(lines))

    def _reply(self, act: Callable[..., list[Any]], details: list[Any]) -> None:
        try:
            answer = ["ok", *act(*details)]
        except Exception as error:  # whatever a wrong call makes MPI or mpi4py say
            kind = type(error).__name__
            answer = ["error", kind, f"{'' if kind != 'Exception' else 'MPI: '}{error}"[:TEXT]]
        self.channel.send(answer)

    def _answer(self, name: str, args: list[Any]) -> None:
        self.questions.append([name, args])
        if len(self.questions) > 10_000:
            raise TrialFailed("raised", f"called {name} more than 10,000 times")
        try:
            answer = ["answer", self.answers[name](*args)]
        except Exception as error:
            answer = ["error", f"{name}: {error}"]
        self.channel.send(answer)

    def _call(self, number: int, name: str, sent: list[Any], site: list[Any]) -> list[Any]:
        """Make one call of a communicator; return value, received buffers and status."""
        if self.comm is None:
            raise RuntimeError(f"this function is called without ranks: {name} cannot be used")
        rows, back = table.CALLS[name]
        comm = self.comms[number]
        status = None
        args: list[Any] = []
        received: list[Any] = []
        for place, (row, one) in enumerate(zip(rows, sent, strict=True)):
            kind = row.partition(":")[2].partition("=")[0]
            if one[0] == "status":
                status = self.mpi.Status()
                args.append(status)
                continue
            value = self._argument(one)
            args.append(value)
            if kind == "out" and one[0] == "buffer" and one[3]:
                received.append([place, value[0] if isinstance(value, list) else value])
        result = _at(site, getattr(comm, name), args)
        if back == "request":
            self.numbers += 1
            self.requests[self.numbers] = (result, received)
            return [self.numbers, [], None]
        if back == "comm":
            result = self._adopt(result)
        elif back == "none":
            result = None
        elif back == "plain":
            result = _plain(result)
        found = None
        if status is not None:
            found = [status.Get_source(), status.Get_tag(), status.Get_count(self.mpi.BYTE)]
        return [result, received, found]

    def _adopt(self, comm: Any) -> list[int] | None:
        if comm == self.mpi.COMM_NULL:
            return None
        number = len(self.comms)
        self.comms[number] = comm
        return [number, comm.rank, comm.size]

    def _argument(self, sent: list[Any]) -> Any:
        match sent:
            case ["none"]:
                return None
            case ["in place"]:
                return self.mpi.IN_PLACE
            case ["obj", bytes(data)]:
                return data
            case ["objs", list(items)] if all(type(item) is bytes for item in items):
                return items
            case ["op", str(name)] if name in table.OPERATIONS:
                return getattr(self.mpi, name)
            case ["plain", value]:
                return value
            case ["buffer", np.ndarray() as array, list(rest), bool()]:
                spec = [array, *map(self._part, rest)]
                self._fits(spec)
                return spec if rest else array
        raise ValueError(f"expected an argument, got {_short(sent)}")

    def _fits(self, spec: list[Any]) -> None:
        """Refuse counts and displacements beyond the array: this process would crash."""
        width = spec[0].itemsize
        counts: list[Any] = []
        for part in spec[1:]:
            if isinstance(part, self.mpi.Datatype):
                width = part.Get_size()
            elif part is not None:
                counts.append(part)
        if len(counts) == 1 and isinstance(counts[0], tuple):  # (counts, displacements)
            counts = list(counts[0])
        numbers = np.atleast_1d(np.asarray(counts[0] if counts else 0, dtype=np.int64))
        starts = np.asarray(counts[1] if len(counts) > 1 else 0, dtype=np.int64)
        if len(counts) < 2 and numbers.size > 1:
            starts = np.cumsum(numbers) - numbers
        ends = (starts + numbers) * width
        if (numbers < 0).any() or (starts < 0).any() or (ends > spec[0].nbytes).any():
            raise ValueError(
                f"message: counts {numbers.tolist()} at {starts.tolist()} do not fit into "
                f"{spec[0].nbytes // width} elements"
            )

    def _part(self, sent: list[Any]) -> Any:
        match sent:
            case ["type", str(name)] if name in table.DATATYPES:
                return getattr(self.mpi, name)
            case ["list", list(items)]:
                return list(map(self._part, items))
            case ["tuple", list(items)]:
                return tuple(map(self._part, items))
            case ["plain", value]:
                return value
        raise ValueError(f"expected counts, displacements or a type, got {_short(sent)}")

    def _wait(self, numbers: list[int], name: str, _: list[Any], site: list[Any]) -> list[Any]:
        """Wait for requests, or test them; return the value and the buffers that are full."""
        requests = [self.requests[number][0] for number in numbers]
        status = None
        if name in table.WAITS:
            if name in ("Cancel", "cancel", "Free"):
                return [_at(site, getattr(requests[0], name), []), [], None]
            status = self.mpi.Status()
            result = _at(site, getattr(requests[0], name), [status])
        elif name in table.WAITS_ON_MANY:
            result = _at(site, getattr(self.mpi.Request, name), [requests])
        else:
            raise ValueError(f"requests have no {name}")
        found = None
        if status is not None and name in ("wait", "Wait"):
            found = [status.Get_source(), status.Get_tag(), status.Get_count(self.mpi.BYTE)]
        full = [[n, place, array] for n in numbers for place, array in self.requests[n][1]]
        return [_plain(result), full, found]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _at(site: list[Any], method: Callable[..., Any], args: list[Any]) -> Any:
    """Call `method` as if from the student's line, so that the trace names that line."""
    file, line, function = site
    key = (str(file)[:200], int(line), str(function)[:100])
    code = _SITES.get(key)
    if code is None:
        blank = "\n" * max(0, min(key[1], 100_000) - 1)
        code = compile(f"{blank}result = method(*args)", key[0], "exec")
        code = _SITES[key] = code.replace(co_name=key[2])
        if len(_SITES) > 10_000:
            _SITES.clear()
    names = {"method": method, "args": args}
    exec(code, names)
    return names["result"]


_SITES: dict[tuple[str, int, str], Any] = {}


def _ending(code: int) -> tuple[str, str]:
    """Say how a process ended that did not return a result: kind and text."""
    if code >= 0:
        return "lost", f"ended its process with exit status {code} before the function returned"
    if -code == signal.SIGXCPU:
        return "deadline", "used up its time and was ended"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    hints = {
        "SIGKILL": ": it was killed, or used too much memory",
        "SIGSEGV": ": a crash; out of memory?",
    }
    return "lost", f"was ended by {name}{hints.get(name, '')}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:200] + "..."
