"""Where ranks run: on the nodes of a Slurm job. The controller stays beside the notebook.

The batch script runs `course.cluster.lifeline`, which runs ``mpiexec`` or ``srun`` inside the
allocation. Both sides meet in a private folder that all nodes see.
"""

import json
import math
import secrets
import shlex
import shutil
import socket
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ipyparallel as ipp
import traitlets
from ipyparallel.cluster.launcher import SlurmEngineSetLauncher, ipcontroller_cmd_argv
from traitlets.config import Config

from course.cluster import lifeline, slurm
from course.cluster.site import SHEBANG, Site, SiteError, load
from course.engines.deadlock import LiveDetector
from course.engines.errors import EnginesError
from course.engines.local import Local
from course.processes import guarded

if TYPE_CHECKING:
    from course.engines.cluster import Engines
    from course.engines.waiting import Progress

PATIENCE = 30.0  # seconds without the controller after which the job ends by itself
LOOK = 0.2  # seconds between two looks at what the job's side wrote
SETTLE = 12.0  # seconds that Slurm may take to say why a job was ended
# File systems that show what another node wrote late, so that "no such message" is not certain.
LATE = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "beegfs")


class JobLauncher(SlurmEngineSetLauncher):
    """ipyparallel's launcher, with the job in the hands of a `Slurm` place."""

    pid = -1  # no process of this machine
    place = traitlets.Any()

    def start(self, n: int = 1) -> str:
        """Have `n` engines started; return the job's id."""
        self.n = n
        arguments = [
            f"--profile-dir={self.profile_dir}",
            f"--file={self.connection_files['engine']}",
            f"--IPEngine.wait_for_url_file={PATIENCE}",
        ]
        self.job_id = self.place.order([*self.program, *self.program_args, *arguments])
        self.notify_start(self.job_id)
        return self.job_id

    def stop(self) -> None:
        """Cancel the job."""
        self.place.cancel()

    def get_output(self, remove: bool = True) -> str:
        """Return what the job printed so far."""
        return self.place.output()


class Slurm(Local):
    """Ranks on the nodes of a Slurm job, which is submitted when they start.

    Attributes:
        site: settings of this job.
        job: id of the job; None before it is submitted and after it is cancelled.
    """

    launcher = JobLauncher
    start_seconds = 180.0
    recover_seconds = 180.0
    stack_seconds = 15.0
    heartbeat = 500

    def __init__(self, site: Site, n: int) -> None:
        """Prepare for `n` ranks as `site` says."""
        super().__init__(n)
        self.site = site
        self.job: str | None = None
        self.number = 0
        self._checked = self._looked = 0.0
        self._state: slurm.Job | None = None
        self._asking = threading.Thread()
        self._gone = self._spoiled = False
        self.address = controller_address(site)

    # -- the job ------------------------------------------------------------------------

    def open(self) -> Path:
        """Return a new folder for the next ranks, below the job's own."""
        if self.job is None:
            name = f"engines-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
            self.folder = self.site.jobs_folder() / name
            self.number = 0
            self._spoiled = False
            self.folder.mkdir(mode=0o700)
        self.number += 1
        self._gone = False
        directory = self.folder / str(self.number)
        directory.mkdir(mode=0o700)
        return directory

    def cluster(self) -> dict[str, Any]:
        """Return arguments for `ipyparallel.Cluster`."""
        config = Config()
        python = self.site.python or sys.executable
        config.JobLauncher.engine_cmd = [*shlex.split(python), "-m", "ipyparallel.engine"]
        config.JobLauncher.engine_args = ["--IPEngine.enable_nanny=False"]
        # When this process is gone, the guard removes the folder, and the job ends itself.
        config.LocalControllerLauncher.controller_cmd = guarded(ipcontroller_cmd_argv, self.folder)
        return {
            "config": config,
            "profile_dir": str(self.folder / str(self.number) / "profile"),
            "controller_args": [
                f"--ip={self.address}",
                f"--location={socket.gethostname()}",
                # Only who holds the key in the connection file can connect, and all is encrypted.
                "--IPController.enable_curve=True",
            ],
        }

    def start(self, cluster: ipp.Cluster, progress: "Progress") -> None:
        """Submit the job, or give the one that runs a new order, and wait until it runs."""
        self._cluster = cluster
        cluster.start_engines_sync(self.n, place=self)
        self._wait(progress)

    def order(self, command: list[str]) -> str:
        """Write the order for the job's side; submit the job where there is none yet."""
        number = [f"--ntasks={self.n}"] if self.site.launcher == "srun" else ["-n", str(self.n)]
        order = {
            "number": self.number,
            "launcher": [*self.site.launch(), *number],
            "command": command,
            "controller": None,
            "ranks_per_node": self.site.ranks_per_node,
            "threads": self.site.threads,
        }
        self._order = order
        script = self.folder / "job.sh"
        self._write(order)
        if self.job is None:
            script.write_text(self._script())
            self._state, self._checked = None, 0.0
            self.job = slurm.submit(script)
        return self.job

    def _write(self, order: dict[str, Any]) -> None:
        new = self.folder / "order.new"
        new.write_text(json.dumps(order))
        new.replace(self.folder / "order.json")

    def _script(self) -> str:
        command = [sys.executable if not self.site.python else self.site.python]
        arguments = [lifeline.__file__, str(self.folder), str(self.site.hold_seconds)]
        return "\n".join(
            [
                SHEBANG,
                *self.site.directives("course-engines", self.folder / "job.out"),
                "#SBATCH --export=ALL",
                *self.site.prologue(),
                f"exec {command[0]} {shlex.join(arguments)} {PATIENCE}",
                "",
            ]
        )

    def _wait(self, progress: "Progress") -> None:
        started = time.monotonic()
        while True:
            state = self._ask()
            waited = time.monotonic() - started
            if state is not None and state.ended:
                raise EnginesError(f"{state.explain()}\n{self.output()}")
            if state is not None and not state.waiting:
                break
            if state is not None:
                progress(f"{waited:.0f} s in the queue, {state.explain()}")
                reason = state.reason.strip("()")
                if reason in slurm.NEVER:
                    raise EnginesError(state.explain())
            if waited > self.site.queue_seconds:
                said = state.explain() if state else "slurmctld does not answer"
                raise EnginesError(
                    f"expected the job to start within {self.site.queue_seconds:.0f} s "
                    f"(queue_seconds of the site's settings), but {said}. It was cancelled."
                )
            time.sleep(LOOK)
        assert state is not None
        self.where = f" on {state.nodes}, job {self.job}, time limit {state.limit}"
        progress(f"{state.explain()}; engines start")

    def connected(self, port: int) -> None:
        """Tell the job's side where the controller listens, which it then watches."""
        self._write({**self._order, "controller": [self.address, port]})

    def _ask(self) -> slurm.Job | None:
        """Return how the job stood last, and ask again where the site allows it by now.

        The answer comes from a thread: a slurmctld that is down lets one wait for seconds.
        """
        due = time.monotonic() - self._checked > self.site.poll_seconds
        if self.job is not None and due and not self._asking.is_alive():
            self._checked = time.monotonic()
            self._asking = threading.Thread(target=self._learn, args=[self.job], daemon=True)
            self._asking.start()
        return self._state

    def _learn(self, job: str) -> None:
        try:
            state = slurm.state(job)
        except slurm.SlurmError:
            return  # running jobs go on without slurmctld
        if job == self.job:
            self._state = state

    # -- the ranks ----------------------------------------------------------------------

    def alive(self, launcher: Any) -> bool:
        """Return whether the controller, or the ranks in the job, still run."""
        if not isinstance(launcher, JobLauncher):
            return super().alive(launcher)
        if self._gone or self.job is None:
            return False
        now = time.monotonic()
        if now - self._looked > LOOK:
            self._looked = now
            state = self._ask()
            ended = (self.folder / f"ended-{self.number}.json").exists()
            self._gone = ended or (state is not None and state.ended)
        return not self._gone

    def signal(self, ranks: Mapping[int, tuple[str, int]], number: int) -> None:
        """Send signal `number` to `ranks`: a short step of the job on each of their nodes."""
        by_node: dict[str, list[str]] = {}
        for node, pid in ranks.values():
            by_node.setdefault(node, []).append(str(pid))

        def send(node: str) -> None:
            kill = f"kill -{int(number)} {' '.join(by_node[node])} || true"
            try:
                self._step(["--nodes=1", "--ntasks=1", f"--nodelist={node}"], kill)
            except slurm.SlurmError:
                pass  # its ranks are said not to answer

        with ThreadPoolExecutor(max_workers=16) as pool:
            list(pool.map(send, by_node))

    def _step(self, options: list[str], command: str, timeout: float = 20) -> None:
        words = ["srun", f"--jobid={self.job}", "--overlap", "--quiet", *options]
        slurm.call(*words, "sh", "-c", command, timeout=timeout)

    def detector(self, engines: "Engines") -> LiveDetector | None:
        """Return what knows of deadlocks; None where files of other nodes are seen late."""
        if file_system(self.folder).startswith(LATE):
            return None
        return LiveDetector(engines._directory, self.n, engines.statuses, local=False)

    def why(self) -> str:
        """Return how the job stands, in one sentence or two."""
        if self.job is None:
            return ""
        deadline = time.monotonic() + SETTLE
        ended_by_slurm = "lifeline: ended by Slurm" in self.output()
        while True:
            try:
                self._state = state = slurm.state(self.job)
            except slurm.Unreachable:
                return "slurmctld does not answer, so nothing is known of the job"
            if not ended_by_slurm or state.ended or time.monotonic() > deadline:
                break
            time.sleep(min(1.0, self.site.poll_seconds))
        if not state.running:
            return state.explain()
        lost = self._lost()
        return lost or (
            f"{state.explain()}; its nodes are kept for {self.site.hold_seconds:.0f} s for "
            "`recover()`"
        )

    def _lost(self) -> str:
        """Return which node of the running job does not answer, or nothing."""
        nodes = self.site.nodes
        try:
            self._step([f"--nodes={nodes}", f"--ntasks={nodes}"], "true")
        except slurm.SlurmError as error:
            self._spoiled = True
            return f"job {self.job} lost a node:\n{error}"
        return ""

    def close(self, directory: Path, keep: bool) -> None:
        """End the ranks; cancel the job, too, unless fresh ranks follow and its nodes are well."""
        if keep and self.job is not None and self._usable():
            shutil.rmtree(directory, ignore_errors=True)
            return
        self.cancel()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _usable(self) -> bool:
        try:
            running = slurm.state(self.job or "").running
            return running and not self._spoiled and not self._lost()
        except slurm.Unreachable:
            return False

    def cancel(self) -> None:
        """Cancel the job. Where slurmctld does not answer, the job's side ends it by itself."""
        job, self.job = self.job, None
        if job is not None:
            try:
                slurm.cancel(job)
            except slurm.SlurmError as error:
                print(
                    f"job {job} could not be cancelled ({error}); it ends by itself when it "
                    "finds its folder gone",
                    file=sys.stderr,
                )

    def output(self) -> str:
        """Return what the job printed so far, on all nodes."""
        try:
            return (self.folder / "job.out").read_text(errors="replace")
        except OSError:
            return ""


def place(site: str | Path | Site | None, n: int | None, wanted: dict[str, Any]) -> Slurm:
    """Return where to start engines, from what `course.engines.start` is given.

    Raises:
        SiteError: a setting is unknown or out of range.
        ValueError: `n` is not a positive whole number, or does not fit nodes and ranks per node.
    """
    settings = site if isinstance(site, Site) else load(site)
    job = settings.choose(**wanted)
    if n is None:
        return Slurm(job, job.ranks)
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"n must be a positive whole number of ranks, got {n!r}")
    nodes, each = wanted["nodes"], wanted["ranks_per_node"]
    if nodes is None:
        nodes = math.ceil(n / job.ranks_per_node)
    if each is None:
        each = math.ceil(n / nodes)
    if not nodes * each - each < n <= nodes * each:
        raise ValueError(
            f"expected n to fill {nodes} nodes of {each} ranks, all but the last of them, got {n}"
        )
    return Slurm(job.choose(job.partition, nodes=nodes, ranks_per_node=each), n)


def controller_address(site: Site) -> str:
    """Return the address of this machine at which the nodes reach the controller.

    Raises:
        SiteError: the site's ``controller_host`` is not known here, or there is no address
            but that of the machine itself.
    """
    host = site.controller_host.replace("{host}", socket.gethostname())
    try:
        address = socket.gethostbyname(host or socket.gethostname())
    except OSError as error:
        if host:
            raise SiteError(f"controller_host {host!r} is not known here: {error}") from None
        address = "127.0.0.1"
    if host or not address.startswith("127."):
        return address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; chooses the way out
            return str(probe.getsockname()[0])
        except OSError:
            raise SiteError(
                f"{socket.gethostname()} has no address that other nodes could reach; set "
                "controller_host in site.toml"
            ) from None


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds `folder`; empty where nobody says."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return ""
    mounts = [line.split()[1:3] for line in lines]
    above = {str(folder), *map(str, folder.parents)}
    fitting = [(len(place), kind) for place, kind in mounts if place in above]
    return max(fitting, default=(0, ""))[1]
