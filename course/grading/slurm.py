"""A batch of gradings as Slurm array jobs: one task a submission.

All nodes must see the course root and the folder of the site's jobs (`course.cluster.site`).
Each task does what `course.grading.worker.run` does on one machine, and then leaves a small file
that says so.
"""

import json
import math
import queue
import shlex
import shutil
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from course.cluster import site as sites
from course.cluster import slurm
from course.grading import worker
from course.grading.results import Result
from course.grading.worker import Job

LARGEST = 500  # tasks of one array; a site allows 1,000 or so
LAG = 3  # questions to Slurm after which the file of a task that has ended must be seen


def run_array(
    todo: list[tuple[Job, str]],
    events: "queue.Queue[Any]",
    stop: threading.Event,
    jobs: int = 0,
) -> None:
    """Grade `todo` as array jobs; tell `events`, as `course.grading.batch` wants it.

    Args:
        todo: Submissions, with their keys.
        events: Gets what happens.
        stop: When set, the jobs are cancelled.
        jobs: How many tasks may run at once; 0 for as many as Slurm lets.

    Raises:
        SlurmError: Slurm is not there, or refuses.
        RuntimeError: The nodes have no sandbox.
    """
    site = sites.load()
    folder = Path(tempfile.mkdtemp(prefix="grade-", dir=site.jobs_folder()))
    arrays: dict[str, range] = {}
    try:
        listing = [{"job": asdict(job), "key": key} for job, key in todo]
        (folder / "todo.json").write_text(json.dumps(listing))
        for first in range(0, len(todo), LARGEST):
            places = range(first, min(first + LARGEST, len(todo)))
            script = folder / f"from-{first}.sh"
            script.write_text(_script(site, folder, todo[0][0].deadline, places, jobs))
            arrays[slurm.submit(script)] = places
        _follow(todo, arrays, folder, site.poll_seconds, events, stop)
    finally:
        try:
            slurm.cancel(*arrays)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _script(site: sites.Site, folder: Path, deadline: float, places: range, jobs: int) -> str:
    minutes = math.ceil((deadline + worker.MARGIN + 60) / 60)
    own = site.choose(nodes=1, ranks_per_node=1, time=minutes, gpus=0)
    at_once = f"%{jobs}" if jobs else ""
    command = [own.python or sys.executable, "-m", "course.grading.slurm", str(folder)]
    home = shlex.quote(str(Path(__file__).parents[2]))
    lines = [
        sites.SHEBANG,
        *own.directives("course-grade", folder / "task-%a.log"),
        f"#SBATCH --array=0-{len(places) - 1}{at_once}",
        *own.prologue(),
        f"export PYTHONPATH={home}${{PYTHONPATH:+:$PYTHONPATH}}",
        f"exec {shlex.join(command)} $(({places.start} + SLURM_ARRAY_TASK_ID))",
    ]
    return "\n".join(lines) + "\n"


def _follow(
    todo: list[tuple[Job, str]],
    arrays: dict[str, range],
    folder: Path,
    poll: float,
    events: "queue.Queue[Any]",
    stop: threading.Event,
) -> None:
    left = dict(enumerate(todo))
    started: set[int] = set()
    unseen = dict.fromkeys(left, 0)
    while left and not stop.is_set():
        try:
            states = _states(arrays)
        except slurm.Unreachable:
            stop.wait(poll)
            continue
        for place, (job, key) in list(left.items()):
            state = states.get(place, slurm.Job("", "UNKNOWN"))
            if state.running and place not in started:
                started.add(place)
                events.put(("started", job.student, None))
            done = folder / f"{place}.done"
            if done.exists():
                problem = json.loads(done.read_text())["problem"]
                if problem:
                    raise RuntimeError(problem)
                events.put(("graded", job.student, Result.load(job.path)))
                del left[place]
            elif state.ended:
                unseen[place] += 1
                if unseen[place] > LAG:
                    events.put(("graded", job.student, _lost(job, key, state.state, folder, place)))
                    del left[place]
            else:
                doing = folder / f"{place}.doing"
                text = doing.read_text() if doing.exists() else "waits in the queue"
                events.put(("doing", job.student, text))
        if left:
            stop.wait(poll)


def _states(arrays: dict[str, range]) -> dict[int, slurm.Job]:
    """Return how the tasks stand, by their place in the list."""
    found = {}
    for number, places in arrays.items():
        try:
            answer = slurm.call(
                *("squeue", "--noheader", "--array", "--states=all", f"--jobs={number}"),
                "--format=%K|%T",
            )
        except slurm.Unreachable:
            raise
        except slurm.SlurmError:  # all over, and forgotten
            continue
        for line in answer.splitlines():
            index, _, state = line.strip().partition("|")
            if index.isdecimal():
                found[places.start + int(index)] = slurm.Job(number, state)
    return found


def _lost(job: Job, key: str, state: str, folder: Path, place: int) -> Result:
    try:
        said = (folder / f"task-{place % LARGEST}.log").read_text(errors="replace")[-2000:]
    except OSError:
        said = ""
    error = f"The Slurm task ended without a result ({state}).\n{said}".strip()
    result = Result(job.assignment, job.student, key, 0, error=error, finished=time.time())
    result.save(job.path)
    return result


def main(folder: Path, place: int) -> int:
    """Grade the submission at `place` of the list in `folder`; what a task runs."""
    entry = json.loads((folder / "todo.json").read_text())[place]
    doing = folder / f"{place}.doing"
    problem = ""
    try:
        worker.run(Job(**entry["job"]), entry["key"], lambda text: _put(doing, text))
    except RuntimeError as error:
        problem = str(error)
    _put(folder / f"{place}.done", json.dumps({"problem": problem}))
    return 0


def _put(path: Path, text: str) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(path)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
