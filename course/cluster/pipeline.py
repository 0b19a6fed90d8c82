"""One machine-learning task as jobs on the modules of a modular supercomputer.

Slide "Modular Supercomputing - Mapping of Machine/Deep Learning Processes": each step goes to
the module that suits it. Here, with the lecture's own programs: the *cluster* prepares the data,
the *booster* trains, the *data analytics module* tests and analyses. Each job waits for the one
before by ``sbatch --dependency=afterok``.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from course.cluster import batch, slurm
from course.cluster.site import Site

RECORDED = Path(__file__).parent / "recorded" / "pipeline.json"


@dataclass(frozen=True)
class Step:
    """One job of a pipeline.

    Attributes:
        name: of the step, and of its job.
        partition: the module that it runs on.
        command: words of shell; ``{launch}`` starts a program on all ranks, ``{python}`` is the
            interpreter.
        nodes: number of nodes.
        ranks_per_node: ranks on each of them.
    """

    name: str
    partition: str
    command: str
    nodes: int = 1
    ranks_per_node: int = 1


@dataclass(frozen=True)
class Done:
    """How a step went: times in seconds since the first step was submitted.

    Attributes:
        name: of the step.
        partition: the module that it ran on.
        job: id of its job.
        state: how the job ended, as Slurm names it.
        submitted: when it was handed to Slurm.
        started: when it began to run; None if it never did.
        ended: when it ended; None if it never ran.
    """

    name: str
    partition: str
    job: str
    state: str
    submitted: float
    started: float | None
    ended: float | None


def lecture(rows: int = 600) -> list[Step]:
    """Return the pipeline of the lecture's land-cover example, with piSVM.

    Args:
        rows: training pixels to use, of the 4,435 of the satimage set.
    """
    here = "{python} -m course.cluster.steps"
    return [
        Step("prepare", "cluster", f"{here} prepare {rows}"),
        Step(
            "train",
            "booster",
            "{launch} pisvm-train -D -o 1024 -q 512 -c 10 -g 4 -t 2 -m 1024 -s 0 "
            "train.el train.el.model",
            nodes=2,
            ranks_per_node=1,
        ),
        Step("test", "dam", "{launch} pisvm-predict test.el train.el.model results.txt", 1, 2),
        Step("analyse", "dam", f"{here} analyse"),
    ]


def script(step: Step, site: Site, folder: Path) -> str:
    """Return the job script of `step`, which works in `folder` and notes when it ran."""
    job = site.choose(step.partition, nodes=step.nodes, ranks_per_node=step.ranks_per_node)
    command = step.command.format(launch=batch.launch(job), python=batch.python(job))
    return batch.render("_step", job, folder, step.name, step=step.name, command=command)


def submit(steps: Sequence[Step], site: Site, folder: Path) -> list[Done]:
    """Submit all `steps`, each waiting for the one before, and return at once.

    Args:
        steps: in order.
        site: settings; partition, nodes and ranks are those of the steps.
        folder: where they work; all nodes must see it.

    Raises:
        SlurmError: a step was refused; those before it are cancelled.
    """
    jobs: list[Done] = []
    began = time.time()
    (folder / "began").write_text(f"{began:.3f}")
    try:
        for step in steps:
            path = folder / f"{step.name}.sh"
            path.write_text(script(step, site, folder))
            options = [f"--chdir={folder}", "--kill-on-invalid-dep=yes"]
            if jobs:
                options.append(f"--dependency=afterok:{jobs[-1].job}")
            job = slurm.submit(path, *options)
            submitted = time.time() - began
            jobs.append(Done(step.name, step.partition, job, "PENDING", submitted, None, None))
    except BaseException:
        _cancel(jobs)
        raise
    return jobs


def look(jobs: Sequence[Done], folder: Path) -> list[Done]:
    """Return `jobs` as they stand now, with the times that they noted.

    Raises:
        Unreachable: slurmctld does not answer.
    """
    began = float((folder / "began").read_text())
    found = []
    for job in jobs:
        now = slurm.state(job.job)
        started = _noted(folder / f"{job.name}.started", began)
        ended = _noted(folder / f"{job.name}.ended", began)
        found.append(
            Done(job.name, job.partition, job.job, now.state, job.submitted, started, ended)
        )
    return found


def _noted(path: Path, began: float) -> float | None:
    try:
        return float(path.read_text()) - began
    except (OSError, ValueError):
        return None


def wait(
    jobs: Sequence[Done],
    site: Site,
    folder: Path,
    seconds: float = 600,
    show: Callable[[str], None] = print,
) -> list[Done]:
    """Wait until all `jobs` are over, and say whenever one changes its state.

    They are cancelled when this is interrupted, or when `seconds` are over.

    Raises:
        SlurmError: they are not over after `seconds`.
    """
    deadline = time.monotonic() + seconds
    said: dict[str, str] = {}
    try:
        while True:
            try:
                now = look(jobs, folder)
            except slurm.Unreachable:
                now = list(jobs)
            for done in now:
                if done.state != said.get(done.name):
                    said[done.name] = done.state
                    show(f"{done.name:8s} on {done.partition:8s} job {done.job} {done.state}")
            if all(slurm.Job(done.job, done.state).ended for done in now):
                return now
            if time.monotonic() > deadline:
                raise slurm.SlurmError(f"the pipeline is not over after {seconds:.0f} s")
            time.sleep(site.poll_seconds)
    except BaseException:
        _cancel(jobs)
        raise


def _cancel(jobs: Sequence[Done]) -> None:
    numbers = [done.job for done in jobs]
    try:
        slurm.cancel(*numbers)
    except slurm.SlurmError as problem:
        print(f"try `scancel {' '.join(numbers)}`: {problem}", file=sys.stderr)


def save(path: Path, jobs: Sequence[Done], where: str, date: str) -> None:
    """Write how `jobs` went, as JSON."""
    record = {"where": where, "date": date, "jobs": [asdict(done) for done in jobs]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")


def recorded(path: Path = RECORDED) -> tuple[list[Done], str]:
    """Return a pipeline that ran elsewhere, and where and when that was."""
    record = json.loads(path.read_text())
    return [Done(**job) for job in record["jobs"]], f"{record['where']}, {record['date']}"
