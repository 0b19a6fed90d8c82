import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import nbformat
import numpy as np
import pytest

from course.cluster import batch, pipeline, site, slurm

QUICK = {"time": 5}


def write(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def here(cluster, tmp_path):
    """Settings of the emulated DAM, with jobs' files below pytest's folder."""
    import dataclasses

    return dataclasses.replace(site.load(), folder=str(tmp_path / "jobs"), poll_seconds=0.3)


def test_a_notebook_runs_as_a_job_with_its_engines_on_the_nodes(here, tmp_path, capsys):
    book = write(
        tmp_path / "a.ipynb",
        "import os\nfrom course import engines, settings",
        "cluster = engines.start(settings.ranks())",
        "print(cluster.run(lambda: os.environ['SLURMD_NODENAME']))",
        "cluster.stop()",
    )
    job = here.choose(nodes=2, ranks_per_node=1, **QUICK)
    assert batch.run_notebook(book, job, tmp_path / "out" / "a.ipynb", seconds=200) == 0
    cells = nbformat.read(tmp_path / "out" / "a.ipynb", 4).cells
    assert cells[2].outputs[0].text == "['dam1', 'dam2']\n"
    assert "ended well" in capsys.readouterr().out
    assert not list((tmp_path / "jobs").iterdir()), "files of a job that ended well stay behind"


def test_a_failing_cell_is_brought_back_with_what_came_before(here, tmp_path, capsys):
    book = write(tmp_path / "b.ipynb", "print('before')", "1 / 0")
    job = here.choose(nodes=1, ranks_per_node=1, **QUICK)
    assert batch.run_notebook(book, job, tmp_path / "out.ipynb", seconds=120) == 1
    cells = nbformat.read(tmp_path / "out.ipynb", 4).cells
    assert cells[0].outputs[0].text == "before\n"
    assert cells[1].outputs[0].ename == "ZeroDivisionError"
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_ctrl_c_cancels_the_job_and_keeps_what_was_done(here, tmp_path):
    book = write(tmp_path / "c.ipynb", "print('done')", "import time; time.sleep(600)")
    command = [sys.executable, "-m", "course.cli", "run", str(book), "--slurm", "--nodes=1"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=tmp_path,
        # A shell makes what it starts in the background deaf to Ctrl-C, tests included.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        printed = process.stdout.readline()
        job = printed.split()[1].rstrip(":")
        folder = pathlib.Path(printed.rpartition(" in ")[2].strip())
        until(lambda: (folder / "executed.ipynb").exists())
        process.send_signal(signal.SIGINT)
        printed, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    until(lambda: slurm.state(job).ended)
    assert slurm.state(job).state == "CANCELLED"
    assert "was cancelled, because you asked to stop" in printed
    assert process.returncode == batch.INTERRUPTED
    kept = nbformat.read(tmp_path / "build" / "c.ipynb", 4)
    assert kept.cells[0].outputs[0].text == "done\n"


def until(true, seconds=90):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_refused_job_says_why(here, tmp_path):
    book = write(tmp_path / "d.ipynb", "1")
    with pytest.raises(slurm.SlurmError, match="no such partition; there are .*booster"):
        batch.run_notebook(book, here.choose("gpus"), tmp_path / "out.ipynb")
    with pytest.raises(FileNotFoundError, match="expected a notebook"):
        batch.run_notebook(tmp_path / "none.ipynb", here)


def test_the_pipeline_of_the_lecture(here, tmp_path):
    said = []
    jobs = pipeline.submit(pipeline.lecture(rows=150), here, tmp_path)
    done = pipeline.wait(jobs, here, tmp_path, 240, said.append)
    assert [step.state for step in done] == ["COMPLETED"] * 4, "\n".join(
        path.read_text() for path in tmp_path.glob("*.out")
    )
    for before, after in zip(done, done[1:], strict=False):
        assert before.started < before.ended <= after.started
    assert json.loads((tmp_path / "report.json").read_text())["accuracy"] > 0.6
    assert any("train" in line and "booster" in line for line in said)


def test_what_depends_on_a_failed_step_never_runs(here, tmp_path):
    steps = [
        pipeline.Step("one", "cluster", "false"),
        pipeline.Step("two", "booster", "touch ran"),
        pipeline.Step("three", "dam", "touch ran"),
    ]
    jobs = pipeline.submit(steps, here, tmp_path)
    done = pipeline.wait(jobs, here, tmp_path, 60, lambda text: None)
    assert [step.state for step in done] == ["FAILED", "CANCELLED", "CANCELLED"]
    assert done[0].ended is not None and done[1].started is None
    assert not (tmp_path / "ran").exists()


def test_the_clustering_job_writes_clusters_into_its_file(here, tmp_path):
    points = tmp_path / "my points.h5"
    with h5py.File(points, "w") as file:
        file["DATA"] = np.repeat([[0.0, 0.0], [1.0, 1.0]], 50, axis=0)
    job = here.choose(nodes=2, ranks_per_node=1, **QUICK)
    script = tmp_path / "job.sh"
    script.write_text(batch.render("hpdbscan", job, tmp_path, data=points))
    end = batch.wait(slurm.submit(script), job, 120, lambda text: None)
    assert end.state == "COMPLETED", next(tmp_path.glob("*.out")).read_text()
    with h5py.File(points) as file:
        assert len(set(np.abs(file["CLUSTERS"][:]))) == 2
