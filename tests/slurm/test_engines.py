import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from course import engines
from course.cluster import site, slurm
from course.cluster.site import SiteError
from course.engines.errors import Deadlock, EnginesDied, EnginesError, Hang, RankError
from course.processes import find_mpiexec


def until(true, seconds=60):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def world(cluster):
    with engines.start(profile="slurm", nodes=2, ranks_per_node=2, time=5) as started:
        yield started


@pytest.fixture
def healthy(world, cluster):
    if not cluster.running() or any(
        state.endswith("*") for state in cluster.node_states().values()
    ):
        cluster.start()
    if not world.alive() or world.busy():
        world.recover()
    return world


def total(value):
    from mpi4py import MPI

    return MPI.COMM_WORLD.allreduce(value)


def receive_first():
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    comm.recv(source=(comm.rank + 1) % comm.size)


def loop_for_ever():
    while True:
        pass


def leave(who):
    import os

    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == who:
        os._exit(3)
    MPI.COMM_WORLD.Barrier()


def jobs():
    return slurm.call("squeue", "--noheader", "--format=%i %T").splitlines()


def test_ranks_are_one_world_on_the_nodes_asked_for(healthy):
    assert healthy.run(total, 1) == [4, 4, 4, 4]
    assert healthy.nodes == {0: "dam1", 1: "dam1", 2: "dam2", 3: "dam2"}
    assert [line.split()[1] for line in jobs()] == ["RUNNING"]


def test_nobody_connects_to_the_controller_without_its_key(healthy):
    import zmq

    files = healthy._cluster.controller.connection_files
    info = json.loads(open(files["client"]).read())
    assert os.stat(files["client"]).st_mode & 0o77 == 0
    with zmq.Context() as context:
        for server_key in (None, zmq.curve_keypair()[0]):
            with context.socket(zmq.DEALER) as socket:
                socket.linger = 0
                if server_key:
                    socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
                    socket.curve_serverkey = server_key
                watch = socket.get_monitor_socket()
                socket.connect(f"{info['interface']}:{info['registration']}")
                refused = (
                    zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
                    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
                    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
                    | zmq.EVENT_DISCONNECTED
                )
                seen = 0
                while watch.poll(5000) and not seen & refused:
                    seen |= int.from_bytes(watch.recv_multipart()[0][:2], sys.byteorder)
                assert seen & refused and not seen & zmq.EVENT_HANDSHAKE_SUCCEEDED
                socket.disable_monitor()


def test_a_deadlock_across_nodes_is_explained_and_recovered_in_the_same_job(healthy, capsys):
    before = healthy._place.job
    with pytest.raises(Deadlock, match="can never finish") as caught:
        healthy.run(receive_first, timeout=60)
    assert "rank 0 → rank 1 → rank 2 → rank 3 → rank 0" in caught.value.report
    healthy.recover()
    assert healthy.run(total, 2) == [8] * 4
    assert healthy._place.job == before


def test_a_hang_says_where_on_every_node_and_can_be_interrupted(healthy):
    with pytest.raises(Hang) as caught:
        healthy.run(loop_for_ever, timeout=1)
    for rank in range(4):
        assert f"rank {rank} is at line" in caught.value.report
    assert "loop_for_ever" in caught.value.report
    healthy.interrupt()
    until(lambda: not healthy.busy(), 20)


def test_a_rank_that_crashes_on_another_node_ends_the_world_not_the_job(healthy):
    before = healthy._place.job
    with pytest.raises(EnginesDied, match="its nodes are kept for 120 s"):
        healthy.run(leave, 3, timeout=60)
    healthy.recover()
    assert healthy.run(total, 1) == [4] * 4
    assert healthy._place.job == before


def test_a_node_that_fails_is_named_and_recovery_takes_others(healthy, cluster):
    before = healthy._place.job
    cluster.kill("dam2")
    with pytest.raises(EnginesDied, match="lost a node") as caught:
        healthy.run(total, 1, timeout=120)
    assert "dam2" in str(caught.value) or "it failed" in str(caught.value)
    healthy.recover()
    assert healthy.run(total, 1) == [4] * 4
    assert healthy._place.job != before
    assert "dam2" not in healthy.nodes.values()
    cluster.start()


def test_running_ranks_do_not_need_slurmctld(healthy, cluster):
    # slurmctld writes down what it knows seconds later: a job that it forgot could not go on.
    saved, before = cluster.folder / "slurmctld" / "job_state", time.time()
    slurm.call("scontrol", "update", f"jobid={healthy._place.job}", "comment=runs")
    until(lambda: saved.stat().st_mtime > before)
    cluster.kill("slurmctld")
    try:
        assert healthy.run(total, 3) == [12] * 4
        assert healthy.alive()
        with pytest.raises(slurm.Unreachable, match="jobs that run go on"):
            slurm.call("squeue", timeout=2)
    finally:
        cluster.start()
    assert slurm.state(healthy._place.job).running
    assert healthy.run(total, 1) == [4] * 4


def test_the_time_limit_ends_the_ranks_and_says_so(healthy, cluster):
    job = healthy._place.job
    slurm.call("scontrol", "update", f"jobid={job}", "endtime=now+3")
    with pytest.raises(EnginesDied, match=f"job {job} reached its time limit"):
        healthy.run(loop_for_ever, timeout=120)


def test_stop_cancels_the_job_and_leaves_no_file(world):
    folder = world._place.folder
    world.stop()
    until(lambda: not jobs())
    assert not folder.exists()


@pytest.mark.parametrize(
    "wanted, says",
    [
        ({"partition": "gpus"}, "no such partition; there are cluster, booster, dam"),
        ({"account": "unknown"}, "the account is not known"),
        ({"account": "used-up"}, "computing time is used up"),
        ({"time": 600}, "above that of the partition"),
        ({"nodes": 5}, "ask for fewer nodes"),
    ],
)
def test_what_could_never_run_is_refused_at_once(cluster, wanted, says):
    with pytest.raises(slurm.SlurmError, match=says):
        engines.start(profile="slurm", **wanted)
    assert [child.pid for child in psutil.Process().children()] == [cluster.keeper.pid]
    assert not jobs()


def test_a_full_queue_is_waited_for_and_then_given_up(cluster, tmp_path):
    block = tmp_path / "block.sh"
    block.write_text("#!/bin/sh\n#SBATCH --nodes=4 --exclusive --output=/dev/null\nsleep 600\n")
    job = slurm.submit(block)
    until(lambda: slurm.state(job).running)
    try:
        impatient = site.load().choose(queue_seconds=3)
        with pytest.raises(EnginesError, match="within 3 s .* waits: .*It was cancelled"):
            engines.start(profile="slurm", nodes=2, site=impatient)
        until(lambda: len(jobs()) == 1)
        code = "from course import engines; engines.start(profile='slurm', nodes=2)"
        kernel = subprocess.Popen([sys.executable, "-c", code])
        until(lambda: len(jobs()) == 2)
        kernel.kill()  # its job still waits, and may not run for nobody
        kernel.wait()
    finally:
        slurm.cancel(job)
    until(lambda: not jobs(), 20)


def test_the_job_ends_when_the_kernel_is_killed(cluster):
    code = (
        "import time; from course import engines\n"
        "c = engines.start(profile='slurm', nodes=1, ranks_per_node=1)\n"
        "r = c.submit(lambda: c.view.apply_async(lambda: exec('while True: pass')))\n"
        "print('busy', flush=True); time.sleep(600)"
    )
    kernel = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while "busy" not in kernel.stdout.readline():
        pass
    assert [line.split()[1] for line in jobs()] == ["RUNNING"]
    kernel.kill()
    kernel.wait()
    until(lambda: not jobs(), 30)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 5 MB."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "course-test", str(tmp_path)],
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no small file system can be mounted here: {made.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def fill(folder):
    with pytest.raises(OSError), open(folder / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def write_results(path):
    import numpy as np

    np.save(path, np.zeros(1_000_000))


def test_a_full_disk_is_named_and_costs_no_rank(cluster, small_disk):
    # Started by srun, which Slurm's own PMI makes possible, not by mpiexec.
    chosen = site.load().choose(
        folder=str(small_disk),
        nodes=2,
        ranks_per_node=1,
        launcher="srun",
        launcher_options=["--mpi=pmi2"],
    )
    with engines.start(profile="slurm", site=chosen) as world:
        with pytest.raises(RankError, match="No space left on device|requested and"):
            world.run(write_results, str(small_disk / "results.npy"))
        os.unlink(small_disk / "results.npy")
        fill(small_disk)
        assert world.run(total, 1) == [2, 2]
    with pytest.raises(EnginesError, match=f"the disk of {small_disk} is full"):
        os.unlink(small_disk / "ballast")
        fill(small_disk)
        engines.start(profile="slurm", site=chosen)
    assert [path.name for path in small_disk.iterdir()] == ["ballast"]
    until(lambda: not jobs())


def environment(name):
    import os

    return os.environ.get(name)


def test_one_variable_is_enough_and_modules_bring_their_mpi(cluster, tmp_path):
    # A `module` command as a site has it: it puts the module's programs on the PATH.
    (tmp_path / "MPI" / "bin").mkdir(parents=True)
    mpiexec = tmp_path / "MPI" / "bin" / "mpiexec"
    mpiexec.write_text(f'#!/bin/sh\nexport FROM_MODULE=1\nexec {find_mpiexec()} "$@"\n')
    mpiexec.chmod(0o755)
    bash = (
        'module() { [ -d "$SITE_MODULES/$2" ] || return 1; '
        'export PATH="$SITE_MODULES/$2/bin:$PATH"; }; export -f module; env -0'
    )
    exported = subprocess.run(["bash", "-c", bash], capture_output=True, text=True, check=True)
    function = next(line for line in exported.stdout.split("\0") if "BASH_FUNC_module" in line)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SITE_MODULES", str(tmp_path))
        patch.setenv(*function.split("=", 1))
        patch.setenv("COURSE_PROFILE", "slurm")
        with engines.start(3, modules=["MPI"]) as world:
            assert world.nodes[0] == world.nodes[1] != world.nodes[2]
            assert world.run(environment, "FROM_MODULE") == ["1"] * 3
            psutil.Process(world._cluster.controller.pid).children()[0].kill()
            with pytest.raises(EnginesDied, match="recover"):
                world.run(loop_for_ever, timeout=60)
        until(lambda: not jobs())
        with pytest.raises(EnginesError, match="job .* failed"):
            engines.start(profile="slurm", nodes=1, modules=["Horovod"])


def test_arguments_are_checked(cluster):
    with pytest.raises(ValueError, match="nodes, account: only with profile='slurm'"):
        engines.start(2, nodes=2, account="training")
    with pytest.raises(ValueError, match="profile must be"):
        engines.start(2, profile="pbs")
    with pytest.raises(SiteError, match="gpus must be a whole number of at least 0, got -1"):
        engines.start(profile="slurm", gpus=-1)
    with pytest.raises(ValueError, match="expected n to fill 2 nodes of 2 ranks"):
        engines.start(9, profile="slurm", nodes=2, ranks_per_node=2)
