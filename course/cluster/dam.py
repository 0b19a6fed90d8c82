"""A real Slurm of four emulated DAM nodes on this machine: rehearse here, run there.

>>> from course.cluster import dam
>>> with dam.up() as cluster:
...     os.environ.update(cluster.environment())
...     subprocess.run(["sbatch", "job.sh"])

or in a shell::

    course dam up
    eval "$(course dam env)"
    sbatch job.sh; squeue
    course dam down

slurmctld, four slurmd and munge run from one private folder, on free ports of 127.0.0.1, with a
key of their own: a Slurm that is on this machine already is neither used nor touched. The
partitions `cluster`, `booster` and `dam` all contain all four nodes, and the nodes share this
machine's cores: what one learns here is how jobs are run, not how fast they are.
"""

import contextlib
import fcntl
import getpass
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from course.cluster import dam_files, slurm
from course.cluster.dam_files import NODES
from course.cluster.slurm import SlurmError

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "sinfo", "squeue", "scontrol")
START_SECONDS = 30.0
LONGEST = 80  # characters of the folder's path; that of a socket may have 107
NOT_READY = ("down", "unknown", "inval", "fail", "error")  # or with a star: it does not answer

INSTALL = (
    "the emulated DAM needs Slurm and munge, which are not installed here "
    "(missing: {missing}). On Debian or Ubuntu:\n\n"
    "    sudo apt-get install --no-install-recommends slurm-wlm munge\n\n"
    "Their system services are not needed, and may be off."
)


class DamError(SlurmError):
    """The emulated DAM could not be started, or does not run."""


def default_folder() -> Path:
    """Return the state folder: ``COURSE_DAM``, or one of the user's own below /tmp."""
    chosen = os.environ.get("COURSE_DAM", "").strip()
    return Path(chosen or Path(tempfile.gettempdir()) / f"course-dam-{os.getuid()}")


def missing() -> list[str]:
    """Return the programs that the emulated DAM needs and that are not installed."""
    return [name for name in PROGRAMS if _find(name) is None]


def _find(name: str) -> str | None:
    # Daemons are in sbin, which is not on everybody's PATH.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"])
    return shutil.which(name, path=path)


class Dam:
    """The emulated DAM that lives in one folder; `up` makes one.

    Attributes:
        folder: configuration, state and logs.
        nodes: names of the nodes.
        started: whether the call that returned this object started it.
        keeper: the process that keeps the daemons, where it was started here.
    """

    nodes = NODES

    def __init__(self, folder: Path) -> None:
        """Speak of the emulated DAM in `folder`, whether it runs or not."""
        self.folder = folder
        self.started = False
        self.keeper: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<emulated DAM in {self.folder}, {'up' if self.running() else 'down'}>"

    def __enter__(self) -> "Dam":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.started:
            self.down()

    # -- state --------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        """Return the variables by which Slurm's commands, and `course`, find this cluster."""
        return {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "COURSE_SITE": str(self.folder / "site.toml"),
            "COURSE_DAM": str(self.folder),
        }

    def running(self) -> bool:
        """Return whether its daemons are kept running."""
        try:
            with open(self.folder / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def node_states(self) -> dict[str, str]:
        """Return the state of each node as Slurm names it: ``idle``, ``allocated``, ``down`` ...

        A star at the end marks a node that does not answer.

        Raises:
            Unreachable: (`course.cluster.slurm`) slurmctld does not answer.
        """
        lines = self._slurm("sinfo", "--Node", "--noheader", "--format=%N %T").splitlines()
        pairs = [line.split() for line in lines]
        return {name: state for name, state in sorted(pairs)}

    def queue(self) -> str:
        """Return what ``squeue`` prints.

        Raises:
            Unreachable: (`course.cluster.slurm`) slurmctld does not answer.
        """
        return self._slurm("squeue").rstrip()

    def status(self) -> str:
        """Return one line per node, then the queue."""
        if not self.running():
            return f"no emulated DAM runs in {self.folder}; `course dam up` starts one"
        states = self.node_states()
        lines = [f"emulated DAM in {self.folder}", ""]
        lines += [f"  {name}  {state}" for name, state in states.items()]
        queue = self.queue().splitlines()
        lines += [""] + (queue if len(queue) > 1 else ["no jobs"])
        return "\n".join(lines)

    def _slurm(self, *command: str) -> str:
        return slurm.call(*command, timeout=20, environment=self.environment())

    # -- life ---------------------------------------------------------------------------

    def start(self, tied: bool = False, timeout: float = START_SECONDS) -> "Dam":
        """Start what does not run, and return when every node is ready; see `up`."""
        lacking = missing()
        if lacking:
            raise DamError(INSTALL.format(missing=", ".join(lacking)))
        deadline = time.monotonic() + timeout
        if self.running():
            os.kill(self._keeper_pid(), signal.SIGHUP)
        else:
            self._write()
            self._start_keeper(tied)
            self.started = True
        try:
            self._wait(deadline, timeout)
        except BaseException:
            if self.started:
                self.down(keep_logs=True)
            raise
        return self

    def _write(self) -> None:
        if len(str(self.folder)) > LONGEST:
            raise DamError(
                f"expected a folder of at most {LONGEST} characters, because of the socket in "
                f"it, got {self.folder}; set COURSE_DAM to a shorter one"
            )
        own = self.folder / "daemons.json"
        if self.folder.exists() and any(self.folder.iterdir()) and not own.exists():
            raise DamError(f"expected an empty or a new folder, got {self.folder}")
        if self.folder.exists() and self.folder.stat().st_uid != os.getuid():
            raise DamError(f"{self.folder} belongs to another user; set COURSE_DAM")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, mode=0o700)
        for name in ("run", "log", "slurmctld", *NODES):
            (self.folder / name).mkdir(mode=0o700)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))
        files = {
            "slurm.conf": dam_files.slurm_conf(
                self.folder, getpass.getuser(), free_ports(1 + len(NODES))
            ),
            "gres.conf": dam_files.gres_conf(),
            "job_submit.lua": dam_files.job_submit_lua(),
            "site.toml": dam_files.site_toml(self.folder),
            "daemons.json": dam_files.daemons(
                self.folder, {name: _find(name) or name for name in PROGRAMS}
            ),
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def _start_keeper(self, tied: bool) -> None:
        keeper = Path(__file__).with_name("keeper.py")
        command = [sys.executable, "-I", "-S", str(keeper), str(self.folder)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SLURM_")}
        with open(self.folder / "log" / "keeper.out", "ab") as log:
            self.keeper = subprocess.Popen(
                command + ["tied"] * tied,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**environment, **self.environment()},
                start_new_session=True,
            )

    def _wait(self, deadline: float, timeout: float) -> None:
        said = "slurmctld did not answer"
        while True:
            with contextlib.suppress(SlurmError):
                states = self.node_states()
                if len(states) == len(NODES) and all(map(_ready, states.values())):
                    return
                said = ", ".join(f"{name} is {state}" for name, state in states.items())
            if self.keeper is not None and self.keeper.poll() is not None:
                raise DamError(f"the keeper of the daemons ended\n{self._logs()}")
            if time.monotonic() > deadline:
                raise DamError(
                    f"expected four nodes to be ready within {timeout:.0f} s, but "
                    f"{said}\n{self._logs()}"
                )
            time.sleep(0.1)

    def _logs(self) -> str:
        lines = []
        for file in sorted((self.folder / "log").glob("*")):
            with contextlib.suppress(OSError):
                text = file.read_text(errors="replace").splitlines()
                lines += [f"{file.name}: {line}" for line in text if _telling(line)][-3:]
        return "\n".join(lines)

    def _keeper_pid(self) -> int:
        return int((self.folder / "lock").read_text())

    def down(self, timeout: float = 30, keep_logs: bool = False) -> None:
        """End all jobs and daemons, and remove the folder.

        Args:
            timeout: seconds that this may take.
            keep_logs: leave the folder, to see what went wrong.

        Raises:
            DamError: something still runs after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        if self.running():
            os.kill(self._keeper_pid(), signal.SIGTERM)
        while self.running():
            if self.keeper is not None:
                self.keeper.poll()
            if time.monotonic() > deadline:
                raise DamError(f"daemons still run {timeout:.0f} s after they were told to end")
            time.sleep(0.05)
        if self.keeper is not None:
            self.keeper.wait(10)
            self.keeper = None
        self.started = False
        if not keep_logs and (self.folder / "daemons.json").exists():
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self, name: str, timeout: float = 15) -> None:
        """Let a node, or ``slurmctld``, fail: its daemon and all that runs below it are killed.

        Slurm notices a node that is gone after some ten seconds. `start` brings it back.

        Args:
            name: ``dam1`` ... ``dam4`` or ``slurmctld``.
            timeout: seconds that its processes may take to end.

        Raises:
            ValueError: there is no such daemon.
            DamError: it does not run, or does not end.
        """
        if name not in (*NODES, "slurmctld"):
            raise ValueError(f"expected one of {', '.join((*NODES, 'slurmctld'))}, got {name!r}")
        file = self.folder / "run" / f"{name}.guard"
        try:
            os.kill(int(file.read_text()), signal.SIGTERM)
        except (OSError, ValueError):
            raise DamError(f"{name} does not run") from None
        deadline = time.monotonic() + timeout
        while file.exists():
            if time.monotonic() > deadline:
                raise DamError(f"{name} still runs after {timeout:.0f} s")
            time.sleep(0.05)


def _ready(state: str) -> bool:
    return not state.startswith(NOT_READY) and not state.endswith("*")


def _telling(line: str) -> bool:
    return "error" in line and "mpi" not in line.lower()  # PMIx is not needed


def up(folder: Path | str | None = None, tied: bool = False) -> Dam:
    """Start the emulated DAM, or what has ended of it, and return it when all nodes are ready.

    As a context manager the result ends what this call started; what ran before is left.

    Args:
        folder: private state folder; `default_folder` if None.
        tied: end with this process, however it ends.

    Raises:
        DamError: Slurm or munge are not installed, or the nodes did not come up.
    """
    return Dam(Path(folder).resolve() if folder else default_folder()).start(tied)


def down(folder: Path | str | None = None) -> None:
    """End the emulated DAM in `folder`; see `Dam.down`. Nothing happens where none runs."""
    Dam(Path(folder).resolve() if folder else default_folder()).down()


def environment() -> dict[str, str]:
    """Return the variables for the emulated DAM that runs.

    Raises:
        DamError: none runs.
    """
    found = Dam(default_folder())
    if not found.running():
        raise DamError(found.status())
    return found.environment()


def main(action: str) -> int:
    """Do `action` (up, status, down or env) and return an exit status."""
    if action == "up":
        print(up().status())
        print('\nIn each shell that shall use it:\n\n    eval "$(course dam env)"')
    elif action == "env":
        for name, value in environment().items():
            print(f"export {name}={shlex.quote(value)}")
    elif action == "down":
        cluster = Dam(default_folder())
        print(f"{cluster.folder}: " + ("ended" if cluster.running() else "nothing ran"))
        cluster.down()
    else:
        cluster = Dam(default_folder())
        print(cluster.status())
        return int(not cluster.running())
    return 0


def free_ports(count: int) -> list[int]:
    """Return `count` TCP ports that are free here, outside the range of outgoing connections."""
    found: list[int] = []
    for port in random.SystemRandom().sample(range(20000, 32000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise DamError(f"expected {count} free ports among 20000..31999, found {len(found)}")
