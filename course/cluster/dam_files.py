"""The configuration of the emulated DAM, as text."""

import json
import socket
from pathlib import Path

NODES = ("dam1", "dam2", "dam3", "dam4")
PARTITIONS = ("cluster", "booster", "dam")
CPUS = 4  # per node; jobs may ask for so many ranks on each
ACCOUNT = "training"
USED_UP = "used-up"


def slurm_conf(folder: Path, user: str, ports: list[int]) -> str:
    """Return ``slurm.conf``: four nodes that are all this machine, in three partitions.

    Args:
        folder: the state folder.
        user: who runs the daemons, and the only one whose jobs they can run.
        ports: of slurmctld and of each node's slurmd, free on this machine.
    """
    controller, *nodes = ports
    host = socket.gethostname().partition(".")[0]
    lines = [
        "ClusterName=dam",
        f"SlurmctldHost={host}(127.0.0.1)",
        f"SlurmctldPort={controller}",
        f"SlurmUser={user}",
        f"SlurmdUser={user}",
        # Nothing of it is reached from other machines.
        "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
        "AuthType=auth/munge",
        f"AuthInfo=socket={folder}/run/munge.socket",
        "CredType=cred/munge",
        f"StateSaveLocation={folder}/slurmctld",
        f"SlurmdSpoolDir={folder}/%n",
        f"SlurmctldPidFile={folder}/run/slurmctld.pid",
        f"SlurmdPidFile={folder}/run/%n.pid",
        f"SlurmctldLogFile={folder}/log/slurmctld.log",
        f"SlurmdLogFile={folder}/log/%n.log",
        # Without control groups, accounting and mail: this is one machine, and one person.
        "ProctrackType=proctrack/linuxproc",
        "TaskPlugin=task/none",
        "SelectType=select/cons_tres",
        "SelectTypeParameters=CR_Core",
        "AccountingStorageType=accounting_storage/none",
        "JobAcctGatherType=jobacct_gather/none",
        "JobSubmitPlugins=lua",
        "MailProg=/bin/true",
        "MpiDefault=none",
        "SlurmdParameters=config_overrides",
        "ReturnToService=2",
        "JobRequeue=0",
        "EnforcePartLimits=ALL",  # refuse at once what could never start
        # A student watches: schedule at once, and notice a lost node in seconds.
        "SchedulerParameters=batch_sched_delay=0,sched_interval=5,bf_interval=5",
        "SlurmctldTimeout=10",
        "SlurmdTimeout=10",
        "KillWait=5",
        "MinJobAge=3600",
        "GresTypes=gpu",
    ]
    for name, port in zip(NODES, nodes, strict=True):
        lines.append(
            f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={CPUS} RealMemory=1024 Gres=gpu:v100:1"
        )
    for name in PARTITIONS:
        default = " Default=YES" if name == "dam" else ""
        lines.append(
            f"PartitionName={name} Nodes=dam[1-4]{default} DefaultTime=10 MaxTime=120 State=UP"
        )
    return "\n".join(lines) + "\n"


def gres_conf() -> str:
    """Return ``gres.conf``: one GPU a node, in name only; slurmd wants some device file."""
    return "".join(f"NodeName={name} Name=gpu Type=v100 File=/dev/zero\n" for name in NODES)


def job_submit_lua() -> str:
    """Return ``job_submit.lua``: the answers of an accounting database that is not there.

    No account and the account `ACCOUNT` are served. `USED_UP` is a project that has spent its
    computing time; any other is unknown.
    """
    return f"""\
-- What a site's accounting database would answer.
function slurm_job_submit(job, partitions, uid)
  if job.account == nil or job.account == "{ACCOUNT}" then
    return slurm.SUCCESS
  end
  if job.account == "{USED_UP}" then
    return slurm.ESLURM_ACCOUNTING_POLICY
  end
  return slurm.ESLURM_INVALID_ACCOUNT
end

function slurm_job_modify(job, record, partitions, uid)
  return slurm.SUCCESS
end
"""


def daemons(folder: Path, programs: dict[str, str]) -> str:
    """Return ``daemons.json``: name, command, and a file that shows that it is up."""
    run, log = folder / "run", folder / "log"
    munge = [
        programs["munged"],
        "--foreground",
        "--force",  # the folder is private, where munged expects one that all may enter
        "--num-threads=2",
        f"--key-file={folder}/munge.key",
        f"--socket={run}/munge.socket",
        f"--pid-file={run}/munged.pid",
        f"--log-file={log}/munged.log",
        f"--seed-file={run}/munge.seed",
    ]
    conf = str(folder / "slurm.conf")
    found: list[dict[str, object]] = [
        {"name": "munged", "command": munge, "creates": f"{run}/munge.socket"},
        {"name": "slurmctld", "command": [programs["slurmctld"], "-D", "-f", conf]},
    ]
    for node in NODES:
        command = [programs["slurmd"], "-D", "-f", conf, "-N", node]
        found.append({"name": node, "command": command})
    return json.dumps(found, indent=1)


def site_toml(folder: Path) -> str:
    """Return the site settings of the emulated DAM (`course.cluster.site`)."""
    return f"""\
name = "emulated DAM"
partition = "dam"
time = 10
account = "{ACCOUNT}"
threads = 1
controller_host = "127.0.0.1"
poll_seconds = 1
folder = {json.dumps(str(folder / "jobs"))}
"""
