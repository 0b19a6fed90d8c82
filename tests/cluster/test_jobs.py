import subprocess
import sys

import numpy as np
import pytest

from course import cli
from course.cluster import batch, pipeline, site, steps
from course.svm import data_files

DEEP = site.Site(
    name="like DEEP",
    partition="dp-dam",
    account="joaiml",
    time="04:00:00",
    nodes=4,
    ranks_per_node=24,
    modules=("GCC", "ParaStationMPI"),
    launcher="srun",
)
VALUES = {"data": "/p/data/my set.el", "model": "/p/data/a.model"}


def values(name):
    text = (batch.JOBS / f"{name}.sh").read_text()
    return {key: value for key, value in VALUES.items() if f"@{key.upper()}@" in text}


def test_every_main_program_has_a_script():
    assert batch.names() == ["hpdbscan", "keras-train", "pisvm-predict", "pisvm-train"]


@pytest.mark.parametrize("name", batch.names())
@pytest.mark.parametrize("where", [site.Site(), DEEP], ids=["laptop", "deep"])
def test_scripts_are_shell_and_complete(name, where, tmp_path):
    text = batch.render(name, where, **values(name))
    assert "@" not in text
    path = tmp_path / "job.sh"
    path.write_text(text)
    subprocess.run(["bash", "-n", path], check=True)


def test_the_slides_job_in_todays_form():
    lines = batch.render("pisvm-train", DEEP, data="indian_raw_training.el").splitlines()
    assert lines[0] == "#!/bin/bash -l"
    options = {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}
    # The slide's own 96 tasks: 4 nodes x 24.
    assert {"--nodes=4", "--ntasks-per-node=24", "--time=04:00:00"} <= options
    assert {"--partition=dp-dam", "--account=joaiml"} <= options
    assert lines.index("module load GCC || exit 3") < lines.index(
        "module load ParaStationMPI || exit 3"
    )
    slide = "pisvm-train -D -o 1024 -q 512 -c 100 -g 8 -t 2 -m 1024 -s 0"
    assert lines[-1] == f'srun {slide} "$TRAINDATA" "$TRAINDATA.model"'


def test_mpiexec_of_the_modules_or_of_the_environment(monkeypatch):
    monkeypatch.delenv("COURSE_MPIEXEC", raising=False)
    own = batch.launch(site.Site())
    assert own.endswith('/mpiexec -n "$SLURM_NTASKS"') and own.startswith("/")
    assert batch.launch(site.Site(modules=("OpenMPI",))) == 'mpiexec -n "$SLURM_NTASKS"'
    assert batch.launch(site.Site(mpiexec="/opt/mpi/bin/mpiexec -l")).startswith("/opt/mpi")


def test_names_with_blanks_stay_one_word():
    assert "TESTDATA='/p/data/my set.el'" in batch.render("pisvm-predict", site.Site(), **VALUES)


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match="one of hpdbscan, keras-train.*got 'nothing'"):
        batch.render("nothing", site.Site())
    with pytest.raises(ValueError, match="pisvm-predict asks for data, model; got data"):
        batch.render("pisvm-predict", site.Site(), data="a")
    with pytest.raises(ValueError, match="hpdbscan asks for data; got data, model"):
        batch.render("hpdbscan", site.Site(), data="a", model="b")


def test_course_job_prints_a_script(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site.toml").write_text('partition = "batch"\nnodes = 4\n')
    monkeypatch.setenv("COURSE_SITE", str(tmp_path / "site.toml"))
    assert cli.main(["job", "hpdbscan", "points.h5", "--ranks-per-node", "24"]) == 0
    printed = capsys.readouterr().out
    for line in ("--partition=batch", "--nodes=4", "--ntasks-per-node=24", "POINTS=points.h5"):
        assert line in printed
    assert cli.main(["job", "hpdbscan"]) == 1
    assert "hpdbscan asks for data" in capsys.readouterr().err
    assert cli.main(["job", "list"]) == 0
    assert "keras-train" in capsys.readouterr().out


def test_pipeline_steps_agree_with_each_other(tmp_path):
    steps.prepare(50, tmp_path)
    x, y = data_files.read(tmp_path / "train.el")
    assert x.shape == (50, 36) and 0 <= x.min() and x.max() <= 1
    _, truth = data_files.read(tmp_path / "test.el")
    said = truth.copy()
    said[truth == 1] = 2
    np.savetxt(tmp_path / "results.txt", said)
    report = steps.analyse(tmp_path)
    assert report["accuracy"] == pytest.approx(1 - (truth == 1).mean())
    assert report["found"]["1"] == 0 and report["found"]["2"] == 1
    with pytest.raises(ValueError, match="between 1 and 4435 rows, got 5000"):
        steps.prepare(5000, tmp_path)


def test_each_step_goes_to_its_module(tmp_path):
    found = {step.name: pipeline.script(step, site.Site(), tmp_path) for step in pipeline.lecture()}
    for name, module in {"prepare": "cluster", "train": "booster", "test": "dam"}.items():
        assert f"#SBATCH --partition={module}" in found[name]
    assert "pisvm-train" in found["train"] and "#SBATCH --nodes=2" in found["train"]
    assert f"{sys.executable} -m course.cluster.steps prepare" in found["prepare"]


def test_the_recorded_pipeline_can_be_drawn():
    from course.figures import base, cluster

    jobs, where = pipeline.recorded()
    assert "emulated" in where
    ax = cluster.pipeline(
        [job.name for job in jobs],
        [job.partition for job in jobs],
        [job.submitted for job in jobs],
        [job.started for job in jobs],
        [job.ended for job in jobs],
        [job.state for job in jobs],
    )
    assert "train on booster waited" in base.alternative(ax.figure)
    for before, after in zip(jobs, jobs[1:], strict=False):
        assert before.ended <= after.started, "a job ran before the one that it depends on ended"
