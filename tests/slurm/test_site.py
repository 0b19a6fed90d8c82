import re
from pathlib import Path

import pytest

from course.cluster import site
from course.cluster.site import Site, SiteError

EXAMPLES = sorted((Path(__file__).parents[2] / "docs" / "sites").glob("*.toml"))


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_SITE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    return tmp_path


def test_files_are_looked_up_in_the_documented_order(nowhere, monkeypatch):
    assert site.load() == site.DEFAULTS
    places = [
        nowhere / "home" / ".config" / "course" / "site.toml",
        nowhere / "work" / "site.toml",
        nowhere / "work" / "deep" / "site.toml",
        nowhere / "mine.toml",
    ]
    for number, place in enumerate(places):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'name = "site {number}"')
        if number == 3:
            monkeypatch.setenv("COURSE_SITE", str(place))
        assert site.load().name == f"site {number}"
    monkeypatch.setenv("COURSE_SITE", str(nowhere / "missing.toml"))
    with pytest.raises(SiteError, match="missing.toml', which is not a file"):
        site.load()


@pytest.mark.parametrize(
    "text, says",
    [
        ('partitoin = "dam"', "unknown setting 'partitoin'; did you mean 'partition'"),
        ("nodes = 0", "nodes must be a whole number of at least 1, got 0"),
        ("nodes = true", "nodes must be a whole number"),
        ('modules = "GCC"', "modules must be a list of texts, got 'GCC'"),
        ("time = 0", "time must be minutes, or Slurm's HH:MM:SS"),
        ('launcher = "aprun"', "launcher must be 'mpiexec' or 'srun', got 'aprun'"),
        ("poll_seconds = -1", "poll_seconds must be a positive number of seconds"),
        ("nodes = ", "is not valid TOML"),
        ("partitions = 3", r"expected tables \[partitions.NAME\]"),
        ("[partitions.dam]\ngpu = 1", r"\[partitions.dam\]: unknown setting 'gpu'.*'gpus'"),
        ('account = "a\\nb"', "account must be one line of text"),
    ],
)
def test_wrong_files_are_explained(tmp_path, text, says):
    path = tmp_path / "site.toml"
    path.write_text(text)
    with pytest.raises(SiteError, match=says) as caught:
        site.load(path)
    assert str(path) in str(caught.value)


def test_a_partition_changes_settings_and_arguments_win(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('partition = "cluster"\nnodes = 2\n[partitions.dam]\ngpus = 1\nnodes = 3\n')
    settings = site.load(path)
    assert (settings.choose().nodes, settings.choose().gpus) == (2, 0)
    job = settings.choose("dam", nodes=4, account=None, modules=["GCC"])
    assert (job.partition, job.nodes, job.gpus, job.modules) == ("dam", 4, 1, ("GCC",))
    assert job.ranks == 8


def test_job_scripts_say_what_was_asked_for():
    job = Site(account="a1", gpus=2, gpu_option="--gres=gpu:{gpus}", time="01:00:00", qos="q")
    lines = job.choose("dam", cpus_per_rank=3).directives("train", "out.txt")
    for option in ("account=a1", "gres=gpu:2", "time=01:00:00", "qos=q", "partition=dam"):
        assert f"#SBATCH --{option}" in lines
    assert "#SBATCH --cpus-per-task=3" in lines and "#SBATCH --output=out.txt" in lines
    lines = Site(modules=("Stages/2024", "a b")).prologue()
    assert "module load 'a b' || exit 3" in lines


def test_a_folder_with_a_variable_that_is_not_set_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCH_HERE", str(tmp_path))
    assert Site(folder="$SCRATCH_HERE/jobs").jobs_folder() == tmp_path / "jobs"
    with pytest.raises(SiteError, match="variable that is not set"):
        Site(folder="$NOT_SET_AT_ALL/jobs").jobs_folder()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path):
    settings = site.load(path)
    for name in ("", *settings.partitions):
        assert settings.choose(name or None).directives("job", "out")


def test_there_are_examples_for_two_kinds_of_systems():
    assert {"deep", "juwels"} <= {path.stem for path in EXAMPLES}
    documented = set(re.findall(r"^        (\w+): ", Site.__doc__ or "", re.M))
    assert documented == {name for name in site._FIELDS if name != "partitions"}
