"""Submit, watch and cancel Slurm jobs, with errors that say what to do about them."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from course.mpi.launch import FOREIGN

TIMEOUT = 60.0  # seconds that a command may take; a busy slurmctld needs some
WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "SUSPENDED", "RESV_DEL_HOLD", "SPECIAL_EXIT")
ACTIVE = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING")

_SILENT = (
    "slurmctld does not answer; jobs that run go on. Try again, or `course dam up` where it is "
    "the emulated DAM"
)

# What sbatch says, and what to do about it.
_REFUSALS = {
    r"[Ii]nvalid partition": "there is no such partition",
    r"Invalid account": "the account is not known, or may not use this partition",
    r"Invalid qos": "there is no such QOS, or the account may not use it",
    r"accounting/QOS policy|QOSMax|AssocGrp|AssocMax": (
        "the account's computing time is used up, or the job is above a limit of the QOS"
    ),
    r"time limit is invalid": "the time limit is above that of the partition",
    r"[Nn]ode count|node configuration|Requested partition configuration|More processors": (
        "the partition has no such nodes: ask for fewer nodes, ranks or GPUs"
    ),
    r"Unable to contact|Connection refused|Zero Bytes|slurm_load|Socket timed out": _SILENT,
}

# Why a job waits (Slurm's job reason codes), in words.
_REASONS = {
    "None": "it is about to start",
    "Priority": "jobs before it have priority",
    "Resources": "the nodes are in use",
    "AssocGrpCPUMinutesLimit": "the account's computing time is used up",
    "AssocGrpGRESMinutes": "the account's GPU time is used up",
    "AssocMaxJobsLimit": "the account runs as many jobs as it may",
    "QOSMaxJobsPerUserLimit": "you run as many jobs as the QOS allows",
    "QOSMaxCpuPerUserLimit": "you use as many cores as the QOS allows",
    "PartitionTimeLimit": "its time limit is above that of the partition: it never starts",
    "PartitionNodeLimit": "it wants more nodes than the partition has: it never starts",
    "PartitionDown": "the partition is closed",
    "ReqNodeNotAvail": "nodes are down or reserved",
    "BeginTime": "its begin time is not reached",
    "Dependency": "it waits for another job",
    "DependencyNeverSatisfied": "the job it depends on failed: it never starts",
    "InvalidAccount": "the account is not known",
    "InvalidQOS": "the QOS is not known",
    "JobHeldUser": "you held it",
    "JobHeldAdmin": "an administrator held it",
    "NodeDown": "a node that it wants is down",
    "Reservation": "the reservation has not begun",
}
NEVER = ("PartitionTimeLimit", "PartitionNodeLimit", "DependencyNeverSatisfied", "InvalidAccount")


# An outer job's marks: they would become the defaults of a job submitted from inside it.
_OF_A_JOB = (
    *("SLURM_JOB", "SLURM_STEP", "SLURM_NODE", "SLURM_NNODES", "SLURM_NTASKS", "SLURM_NPROCS"),
    *("SLURM_TASK", "SLURM_CPU", "SLURM_MEM", "SLURM_TRES", "SLURM_GPU", "SLURM_GTIDS"),
    *("SLURM_PROCID", "SLURM_LOCALID", "SLURM_SUBMIT", "SLURM_LAUNCH", "SLURM_SRUN"),
    *("SLURM_DISTRIBUTION", "SLURM_EXPORT", "SLURM_PRIO", "SLURM_TOPOLOGY", "SLURM_HINT"),
    *FOREIGN,
)


class SlurmError(RuntimeError):
    """Slurm is not there, does not answer, or refused; the message says what to do."""

    def _render_traceback_(self) -> list[str]:
        """Show the message alone in a notebook."""
        return [f"{type(self).__name__}: {self}"]


class Unreachable(SlurmError):
    """slurmctld does not answer; nothing is known of the jobs now."""


@dataclass(frozen=True)
class Job:
    """How a job stands.

    Attributes:
        number: its id.
        state: as Slurm names it (``PENDING``, ``RUNNING``, ``TIMEOUT`` ...), or ``UNKNOWN``
            where Slurm has forgotten it.
        reason: why it waits, or why it ended, as Slurm names it.
        nodes: Slurm's list of its nodes, such as ``dam[1-2]``.
        used: time it has run, as Slurm writes it.
        limit: its time limit, as Slurm writes it.
        start: when it starts, or is expected to; ``N/A`` where nobody knows.
    """

    number: str
    state: str
    reason: str = ""
    nodes: str = ""
    used: str = ""
    limit: str = ""
    start: str = "N/A"

    @property
    def waiting(self) -> bool:
        """Whether it has not started yet."""
        return self.state in WAITING

    @property
    def running(self) -> bool:
        """Whether it has nodes."""
        return self.state in ACTIVE

    @property
    def ended(self) -> bool:
        """Whether it is over, well or not."""
        return not self.waiting and not self.running

    def explain(self) -> str:
        """Return one sentence: how it stands, and why."""
        name = f"job {self.number}"
        if self.waiting:
            reason = self.reason.strip("()").partition(",")[0]
            start = f"; expected start {self.start}" if self.start not in ("", "N/A") else ""
            return f"{name} waits: {_REASONS.get(reason, reason)}{start}"
        if self.running:
            return f"{name} runs on {self.nodes}, {self.used} of {self.limit}"
        said = {
            "COMPLETED": "ended well",
            "CANCELLED": "was cancelled",
            "TIMEOUT": f"reached its time limit of {self.limit}",
            "DEADLINE": "reached its deadline",
            "NODE_FAIL": "lost a node: it failed, or does not answer any more",
            "BOOT_FAIL": "got a node that did not boot",
            "OUT_OF_MEMORY": "used more memory than it had asked for",
            "PREEMPTED": "had to make room for another job",
            "FAILED": "failed" + (f" ({self.reason})" if self.reason != "None" else ""),
            "UNKNOWN": "is not known to Slurm any more: it ended a while ago",
        }
        return f"{name} {said.get(self.state, 'is ' + self.state)}"


def submit(script: Path, *options: str) -> str:
    """Submit the job script `script` and return the job's id.

    Args:
        script: what ``sbatch`` is given.
        *options: of ``sbatch``, such as ``--dependency=afterok:17``.

    Raises:
        SlurmError: it was refused: no such partition, account or QOS, too long, too large.
    """
    answer = call("sbatch", "--parsable", *options, str(script))
    return answer.strip().splitlines()[-1].partition(";")[0]


def state(job: str) -> Job:
    """Return how the job with id `job` stands.

    Raises:
        Unreachable: slurmctld does not answer.
    """
    form = "--format=%T|%r|%N|%M|%l|%S"
    try:
        lines = call("squeue", "--noheader", "--states=all", f"--jobs={job}", form).splitlines()
    except Unreachable:
        raise
    except SlurmError:  # "Invalid job id specified": it ended, and slurmctld has dropped it
        lines = []
    if lines:
        return Job(job, *(part.strip() for part in lines[0].split("|")))
    return _from_accounting(job)


def _from_accounting(job: str) -> Job:
    try:
        form = "--format=State,Reason,NodeList,Elapsed,Timelimit,Start"
        lines = call("sacct", "-X", "--noheader", "--parsable2", f"--jobs={job}", form).splitlines()
    except SlurmError:
        lines = []
    if not lines:
        return Job(job, "UNKNOWN")
    parts = lines[0].split("|")
    return Job(job, parts[0].split()[0], *parts[1:])


def cancel(*jobs: str) -> None:
    """Cancel `jobs`; those that are over already are left alone.

    Raises:
        Unreachable: slurmctld does not answer.
    """
    if jobs:
        try:
            call("scancel", "--quiet", *jobs)
        except Unreachable:
            raise
        except SlurmError:
            pass


def partitions() -> list[str]:
    """Return the names of the partitions."""
    names = call("sinfo", "--noheader", "--format=%R").split()
    return list(dict.fromkeys(names))


def call(
    *command: str, timeout: float = TIMEOUT, environment: Mapping[str, str] | None = None
) -> str:
    """Run a Slurm command and return what it printed.

    Args:
        *command: its words.
        timeout: seconds that it may take.
        environment: variables, beside `outside`; by ``SLURM_CONF`` it finds its cluster.

    Raises:
        Unreachable: slurmctld did not answer.
        SlurmError: it failed; the message has what it said, and what to do.
    """
    program = shutil.which(command[0])
    if program is None:
        raise SlurmError(
            f"expected {command[0]}, a command of Slurm, on the PATH, found none. On a cluster, "
            "load its module; on your own machine `course dam up` starts a Slurm for rehearsal"
        )
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**outside(), **(environment or {})},
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(
            f"{_SILENT}\n{command[0]} did not answer within {timeout:.0f} s"
        ) from None
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr or done.stdout).strip()
    raise _refusal(command, said)


def outside() -> dict[str, str]:
    """Return this process's environment without what the job it runs in, if any, has set."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(_OF_A_JOB)}
    return {**environment, "SLURM_TIME_FORMAT": "%Y-%m-%d %H:%M"}


def _refusal(command: tuple[str, ...], said: str) -> SlurmError:
    for pattern, advice in _REFUSALS.items():
        if re.search(pattern, said):
            if advice is _SILENT:
                return Unreachable(f"{advice}\n{said}")
            if advice.endswith("such partition"):
                try:
                    advice += "; there are " + ", ".join(partitions())
                except SlurmError:
                    pass
            return SlurmError(f"{advice}\n{said}")
    return SlurmError(f"{command[0]} failed: {said or 'it said nothing'}")
