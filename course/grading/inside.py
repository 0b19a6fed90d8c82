"""What runs in a sandbox: a small server that forks a fresh process for every trial.

Started by `course.grading.sandbox` with a listening socket. Nothing here is trusted by the
grader: a student's code may change all of it, in its own processes. What it can bring about is
what its messages say, and those are plain data that the grader compares.
"""

import contextlib
import json
import linecache
import os
import resource
import select
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any

TOLD = 3000  # characters of printed text and of tracebacks that are passed on
IDLE = 1800.0  # seconds without a trial after which the server ends
CELL = "cell "  # file names of cells in tracebacks begin so


def main(listener: socket.socket, settings: dict[str, Any]) -> None:
    """Take one connection after the other; for each, fork a process and see it end."""
    import course.grading.remote  # what every trial needs is imported once

    course.grading.remote.prepare()
    for name in settings["preload"]:
        __import__(name)

    there = {*os.listdir("/tmp"), "numba", "keras"}  # Python itself may lie below it
    listener.settimeout(IDLE)
    while True:
        try:
            stream, _ = listener.accept()
        except TimeoutError:
            return
        stream.setblocking(True)
        child = os.fork()
        if child == 0:
            listener.close()
            code = 1
            try:
                trial(stream, settings)
                code = 0
            finally:
                os._exit(code)
        _see_to_its_end(child, stream)
        if settings["sandboxed"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)  # what the trial left running; not this process
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        if settings["sandboxed"]:
            _clean("/tmp", there)


def _see_to_its_end(child: int, stream: socket.socket) -> None:
    """Wait for the trial; kill it when the grader hangs up. Then tell how it ended."""
    from course.grading.wire import Channel

    poll = select.poll()
    poll.register(stream, select.POLLRDHUP | select.POLLHUP)
    status = None
    pause = 0.0005
    while status is None:
        ended, value = os.waitpid(child, os.WNOHANG)
        if ended:
            status = value
        elif poll.poll(pause * 1000):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
        pause = min(0.02, pause * 1.5)
    with contextlib.suppress(OSError):
        Channel(stream).send(["ended", os.waitstatus_to_exitcode(status)], seconds=5)
    stream.close()


def _clean(folder: str, kept: set[str]) -> None:
    """Remove what a trial left in `folder`."""
    for name in set(os.listdir(folder)) - kept:
        path = os.path.join(folder, name)
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.unlink(path)


def limit(settings: dict[str, Any], seconds: float) -> None:
    """Set the limits on resources for this process and all that it starts."""
    cpu = int(seconds) + 2
    wanted = [
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, settings["memory"]),
        (resource.RLIMIT_FSIZE, settings["file_size"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 256),
    ]
    if settings["sandboxed"]:  # elsewhere it would count all processes of this user
        wanted.append((resource.RLIMIT_NPROC, settings["processes"]))
    for which, size in wanted:
        _, hard = resource.getrlimit(which)
        if hard != resource.RLIM_INFINITY:
            size = min(size, hard)
        resource.setrlimit(which, (size, size))


def trial(stream: socket.socket, settings: dict[str, Any]) -> None:
    """Load the submission, call its function, and send what it returned."""
    from course.grading.remote import connect
    from course.grading.wire import Channel

    os.setpgid(0, 0)
    channel = Channel(stream)
    job = channel.receive(60)
    limit(settings, job["seconds"])
    printed = _redirect()
    message: list[Any]
    try:
        comm = connect(channel, job["rank"], job["size"] or 1)
        student = load(job["cells"])
        if job["driver"]:
            call = _driver(job["driver"], student)
        else:
            call = student.function(job["function"])
        channel.send(["ready"])
        _, spelt = channel.receive()
        ask = _asker(channel)
        args = [ask(value) if kind == "ask" else value for kind, value in spelt]
        value = call(comm, *args) if job["size"] else call(*args)
        message = ["returned", value]
        _flush()
        try:
            channel.send([*message, _tail(printed)])
        except (TypeError, ValueError) as error:
            message = ["raised", type(error).__name__, f"the result cannot be sent: {error}", ""]
            channel.send([*message, _tail(printed)])
    except BaseException as error:
        _flush()
        name, text = type(error).__name__, _short(str(error))
        channel.send(["raised", name, text, _traceback(error), _tail(printed)])


class Student:
    """The names that a submission defines; its functions are attributes."""

    def __init__(self) -> None:
        """Begin with an empty module."""
        self.names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        self.problems: dict[str, BaseException] = {}

    def function(self, name: str) -> Callable[..., Any]:
        """Return the function `name`.

        Raises:
            NameError: The submission does not define it.
        """
        if name in self.names:
            return self.names[name]
        for cell, error in self.problems.items():
            what = "".join(traceback.format_exception_only(error)).strip()
            raise NameError(
                f"{name} is not defined, because the cell {cell!r} failed: {_short(what)}"
            ) from error
        raise NameError(f"{name} is not defined in the submission")

    def __getattr__(self, name: str) -> Any:
        """Return what the submission calls `name`."""
        return self.function(name)


def load(cells: list[Any]) -> Student:
    """Run cells, given as pairs (name, source), in turn; one that fails is noted."""
    student = Student()
    for name, source in cells:
        file = CELL + name
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        try:
            exec(compile(source, file, "exec"), student.names)
        except Exception as error:
            student.problems[name] = error
    return student


def _driver(source: str, student: Student) -> Callable[..., Any]:
    """Return the grader's function that calls the student's ones."""
    names: dict[str, Any] = {"__name__": "driver"}
    exec(compile(source, "the check", "exec"), names)
    function = next(v for k, v in names.items() if callable(v) and not k.startswith("__"))

    def call(*args: Any) -> Any:
        return function(student, *args)

    return call


def _asker(channel: Any) -> Callable[[str], Callable[..., Any]]:
    """Return what makes a function that is computed by the grader."""

    def make(name: str) -> Callable[..., Any]:
        def ask(*args: Any) -> Any:
            channel.send(["ask", name, list(args)])
            kind, value = channel.receive()
            if kind != "answer":
                raise ValueError(value)
            return value

        ask.__name__ = name
        return ask

    return make


def _redirect() -> str:
    """Send what the trial prints to a file, whose size is limited."""
    name = f"/tmp/printed-{os.getpid()}"
    file = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # too much output is an error, not the end
    return name


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _tail(name: str) -> str:
    """Return the end of what was printed."""
    try:
        with open(name, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TOLD))
            text = file.read().decode(errors="replace")
        os.unlink(name)
    except OSError:
        return ""
    return text if size <= TOLD else f"[{size - TOLD} bytes left out]\n{text}"


def _traceback(error: BaseException) -> str:
    """Format the frames that lie in the student's cells, and the error."""
    story = traceback.TracebackException.from_exception(error)
    story.__cause__ = story.__context__ = None
    frames = [frame for frame in story.stack if frame.filename.startswith(CELL)]
    story.stack = traceback.StackSummary.from_list(frames)
    lines = list(story.format())
    return _short("".join(lines if frames else lines[-1:]))


def _short(text: str) -> str:
    return text if len(text) <= TOLD else text[: TOLD // 2] + "\n...\n" + text[-TOLD // 2 :]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), json.loads(sys.argv[2]))
