"""Processes that run a student's code and can reach nothing but the grader's messages.

A `Sandbox` is one process below bubblewrap (``bwrap``): no network, a process table and shared
memory of its own, nothing to read but Python, the system's libraries and the package `course`
(without the modules that would give the answer away), nothing to write but small folders in
memory, no privileges, and limits on time, memory, processes, files and output. It cannot see
the other ranks' sandboxes either, so ranks can only talk through the grader's communicator.
"""

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from course.grading import seccomp
from course.mpi import guard

_COURSE = Path(__file__).parents[1]
_USERS = itertools.count()
_FIRST_USER, _NUMBER_OF_USERS = 210_000, 40_000  # nobody's: below no distribution's ranges
_HINT = "install bubblewrap (Debian and Ubuntu: apt install bubblewrap)"


class NoSandboxError(RuntimeError):
    """No sandbox can be had on this machine."""


@dataclass(frozen=True)
class Limits:
    """What a student's process may use.

    Attributes:
        memory: Bytes of address space of each process.
        processes: Processes and threads of one rank.
        file_size: Bytes of the largest file, what is printed included.
        disk: Bytes of the temporary folder.
        hidden: Modules of `course` that are not there, such as ``course.clustering``.
        preload: Modules that are imported before the student's code, once for all trials.
    """

    memory: int = 2 << 30
    processes: int = 64
    file_size: int = 16 << 20
    disk: int = 64 << 20
    hidden: tuple[str, ...] = ()
    preload: tuple[str, ...] = field(default=("numpy",))


def available() -> str:
    """Say why there is no sandbox here; an empty text if there is one."""
    program = shutil.which("bwrap")
    if program is None:
        return f"expected the program bwrap on the PATH, found none: {_HINT}"
    with tempfile.TemporaryDirectory(prefix="course-try-") as folder:
        command, keep = _bubblewrap(program, Limits(), folder)
        try:
            tried = subprocess.run(
                [*command, sys.executable, "-I", "-S", "-c", "print('in')"],
                capture_output=True,
                text=True,
                timeout=30,
                pass_fds=keep,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"bwrap does not start: {error}"
        finally:
            for fd in keep:
                os.close(fd)
    if tried.stdout.strip() != "in":
        return f"bwrap does not start a sandbox here: {tried.stderr.strip()[-500:]}"
    return ""


class Sandbox:
    """One process that runs a student's code, trial by trial, each in a fresh fork."""

    def __init__(self, limits: Limits, *, sandboxed: bool = True) -> None:
        """Start it; `path` is the socket on which it takes trials.

        Args:
            limits: What it may use.
            sandboxed: Whether it is kept in; if not, it is an ordinary process that can do
                whatever this user can, with the limits on its resources only.

        Raises:
            NoSandboxError: It cannot be kept in.
        """
        self.folder = Path(tempfile.mkdtemp(prefix="pen-"))
        self.path = str(self.folder / "s")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(self.path)
        listener.listen(1)
        keep: list[int] = []
        command: list[str] = []
        if sandboxed:
            program = shutil.which("bwrap")
            if program is None:
                self._forget()
                raise NoSandboxError(f"expected the program bwrap on the PATH, found none: {_HINT}")
            command, keep = _bubblewrap(program, limits, str(self.folder))
        inside = str(_COURSE / "grading" / "inside.py")
        settings = json.dumps({**asdict(limits), "sandboxed": sandboxed})
        command += [sys.executable, "-I", "-B", inside, str(listener.fileno()), settings]
        try:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=open(self.folder / "log", "wb"),
                env=_environment(),
                pass_fds=[*keep, listener.fileno()],
                start_new_session=True,
            )
        finally:
            listener.close()
            for fd in keep:
                os.close(fd)

    @property
    def alive(self) -> bool:
        """Whether it can take a trial."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """What the sandbox itself complained about."""
        try:
            return (self.folder / "log").read_text(errors="replace")[-2000:]
        except OSError:
            return ""

    def close(self) -> None:
        """End it and all that it started."""
        if self.process.poll() is None:
            # Stopped, it starts nothing more; bwrap's own --die-with-parent comes too late for
            # a sandbox that has only just begun.
            self.process.send_signal(signal.SIGSTOP)
            guard.send(guard.descendants(self.process.pid), signal.SIGKILL)
            self.process.kill()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            pass
        self._forget()

    def _forget(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Sandbox":
        """Use it in a ``with``."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it."""
        self.close()


def _environment() -> dict[str, str]:
    """The variables that a student's process gets: none of the grader's."""
    kept = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
    one = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
    )
    return {
        **kept,
        **one,
        "PATH": "/usr/bin:/bin",
        "HOME": "/tmp",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "NUMBA_CACHE_DIR": "/tmp/numba",
        "KERAS_HOME": "/tmp/keras",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _bubblewrap(program: str, limits: Limits, folder: str) -> tuple[list[str], list[int]]:
    """Return the command that keeps its last arguments in, and the files it reads.

    Args:
        program: Path of ``bwrap``.
        limits: What may be used.
        folder: Where scratch files of the command itself may lie.
    """
    command = [program, "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    command += ["--die-with-parent", "--new-session", "--hostname", "rank"]
    for name in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"):
        if os.path.islink(name):
            command += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            command += ["--ro-bind", name, name]
    for name in ("/etc/ld.so.cache", "/etc/alternatives", "/etc/localtime"):
        command += ["--ro-bind-try", name, name]
    command += _memory("/tmp", limits.disk)  # before Python, which may lie below it
    places = [place for place in _pythons() if not place.startswith("/usr/")]
    for place in (*places, str(_COURSE)):
        for above in reversed(Path(place).parents[:-1]):
            command += ["--perms", "0755", "--dir", str(above)]  # bwrap's own choice is 0700
        command += ["--ro-bind", place, place]
    for path in map(module_path, limits.hidden):
        if path.is_dir():
            command += ["--tmpfs", str(path)]
        else:
            command += ["--ro-bind", os.devnull, str(path)]
    command += ["--proc", "/proc", "--dev", "/dev"]
    command += _memory("/dev/shm", 1 << 20)
    command += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
    keep = []
    rules = seccomp.program()
    if rules:
        with open(Path(folder) / "rules", "wb") as file:
            file.write(rules)
        keep.append(os.open(Path(folder) / "rules", os.O_RDONLY))
        command += ["--seccomp", str(keep[0])]
    if os.geteuid() == 0:
        # Root's processes are not counted, so each sandbox gets a user of its own; the
        # mounts are made before, because that user could not read a home of mode 700.
        user = str(_FIRST_USER + (os.getpid() * 64 + next(_USERS)) % _NUMBER_OF_USERS)
        command += ["--cap-drop", "ALL"]
        for right in ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP"):
            command += ["--cap-add", right]
        command += ["--", "setpriv", "--reuid", user, "--regid", user, "--clear-groups"]
        command += ["--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
    else:
        command += ["--unshare-user", "--uid", "65534", "--gid", "65534", "--"]
    return command, keep


def _memory(name: str, size: int) -> list[str]:
    """A file system in memory; it belongs to root, and mode 1777 lets other users write."""
    return ["--perms", "1777", "--size", str(size), "--tmpfs", name]


def _pythons() -> Sequence[str]:
    """The folders that make up this Python: the environment and what it was made from."""
    found = [sys.prefix, sys.base_prefix, os.path.dirname(os.path.realpath(sys.executable))]
    kept: list[str] = []
    for place in found:
        place = os.path.abspath(place)
        if place != "/" and not any(place == k or place.startswith(k + "/") for k in kept):
            kept.append(place)
    return kept


def module_path(name: str) -> Path:
    """Return the folder or file of a module of `course`.

    Raises:
        ValueError: There is no such module.
    """
    parts = name.split(".")
    path = _COURSE.joinpath(*parts[1:])
    if parts[0] == "course" and len(parts) > 1:
        for candidate in (path, path.with_suffix(".py")):
            if candidate.exists():
                return candidate
    raise ValueError(f"expected a module of course to hide, such as course.svm, got {name!r}")
