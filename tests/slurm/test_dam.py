import re
import subprocess
import sys
import time

import psutil
import pytest

from course import cli
from course.cluster import dam

NODES = ["dam1", "dam2", "dam3", "dam4"]


def slurm(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_commands_are_the_real_ones(cluster, tmp_path):
    assert list(cluster.node_states()) == NODES
    done = slurm("srun", "--nodes=2", "--ntasks=4", "printenv", "SLURMD_NODENAME")
    assert sorted(set(done.stdout.split())) == ["dam1", "dam2"] and len(done.stdout.split()) == 4
    sent = slurm("sbatch", "--parsable", f"--chdir={tmp_path}", "--wrap", "sleep 600")
    job = sent.stdout.strip()
    until(lambda: slurm("squeue", "-h", "-j", job, "-o", "%T").stdout.strip() == "RUNNING")
    assert job in cluster.queue() and job in cluster.status()
    slurm("scancel", job)
    until(lambda: job not in cluster.queue())


@pytest.mark.parametrize("partition", ["cluster", "booster", "dam"])
def test_every_module_is_a_partition(cluster, partition):
    done = slurm("srun", "-N1", f"--partition={partition}", "printenv", "SLURM_JOB_PARTITION")
    assert done.stdout.strip() == partition


@pytest.mark.parametrize(
    "options, says",
    [
        (["--partition=gpus"], "Invalid partition"),
        (["--account=unknown"], "Invalid account"),
        (["--account=used-up"], "accounting/QOS policy"),
        (["--nodes=5"], "Node count specification invalid|node configuration"),
        (["--time=600"], "time limit is invalid"),
        (["--gpus-per-node=2"], "node configuration is not available"),
    ],
)
def test_what_could_never_run_is_refused(cluster, options, says):
    done = slurm("sbatch", *options, "--wrap", "true")
    assert done.returncode
    assert re.search(says, done.stderr), done.stderr


def test_starting_again_changes_nothing(cluster):
    before = (cluster.folder / "lock").read_text()
    with dam.up(cluster.folder) as again:
        assert not again.started
    assert cluster.running() and (cluster.folder / "lock").read_text() == before


def family(pid=None):
    return psutil.Process(pid).children(recursive=True)


def gone(processes):
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_down_leaves_no_process_and_no_file(state, tmp_path):
    with dam.up(f"{state}-2", tied=True) as cluster:
        environment = {**cluster.environment(), "PATH": "/usr/bin:/bin"}
        job = ["sbatch", f"--chdir={tmp_path}", "--wrap", "setsid sleep 599 & sleep 599"]
        subprocess.run(job, env=environment, check=True)

        def sleepers():
            return [p for p in family(cluster.keeper.pid) if p.name() == "sleep"]

        until(lambda: len(sleepers()) == 2)
        everything = family(cluster.keeper.pid)
        assert len(everything) > 12
    assert gone(everything) and not cluster.folder.exists()
    cluster.down()


def test_a_tied_one_ends_with_the_process_that_started_it(state):
    code = (
        "import sys, time; from course.cluster import dam\n"
        "dam.up(sys.argv[1], tied=True); print('up', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, f"{state}-3"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "up\n"
    everything = family(process.pid)
    assert len(everything) > 12
    process.kill()
    process.wait()
    until(lambda: gone(everything))


def test_the_command(state, monkeypatch, capsys):
    monkeypatch.setenv("COURSE_DAM", f"{state}-4")
    assert cli.main(["dam", "env"]) == 1
    assert "course dam up" in capsys.readouterr().err
    try:
        assert cli.main(["dam", "up"]) == 0
        assert "dam4  idle" in capsys.readouterr().out
        assert cli.main(["dam", "env"]) == 0
        line = f"export SLURM_CONF={state}-4/slurm.conf"
        assert line in capsys.readouterr().out.splitlines()
        assert cli.main(["dam", "status"]) == 0
    finally:
        assert cli.main(["dam", "down"]) == 0
    assert cli.main(["dam", "status"]) == 1


def test_without_slurm_one_is_told_what_to_install(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("COURSE_DAM", str(tmp_path / "state"))
    monkeypatch.setattr(dam, "_find", lambda name: None)
    assert cli.main(["dam", "up"]) == 1
    assert "apt-get install --no-install-recommends slurm-wlm munge" in capsys.readouterr().err


def test_a_folder_with_other_things_in_it_is_left_alone(state, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not lose me")
    with pytest.raises(dam.DamError, match="expected an empty or a new folder|at most"):
        dam.up(tmp_path)
    assert (tmp_path / "thesis.txt").exists()
