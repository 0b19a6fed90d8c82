"""Batch jobs: the lecture's job scripts for today's Slurm, and notebooks as jobs.

The templates in ``course/cluster/jobs`` are meant to be read. `render` fills in what differs from
site to site (`course.cluster.site`); words between two @ are replaced.
"""

import os
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from course.cluster import slurm
from course.cluster.site import SHEBANG, Site

JOBS = Path(__file__).parent / "jobs"
INTERRUPTED = 130  # exit status of a command that Ctrl-C has ended
SETTLE = 30.0  # seconds that a file may take to be seen on this side of a shared file system
SHELL = ("command", "options")  # values that are words of shell, not one word
# Steps of one job may overlap, so that one need not wait for another that is still ending.
OVERLAP = "export SLURM_OVERLAP=1"


def names() -> list[str]:
    """Return the names of the job scripts of the lecture's programs."""
    return sorted(path.stem for path in JOBS.glob("[a-z]*.sh"))


def python(site: Site) -> str:
    """Return the words of shell that are the interpreter on the nodes."""
    return shlex.join(shlex.split(site.python) or [sys.executable])


def launch(site: Site) -> str:
    """Return the words of shell that start a program on all ranks of a job."""
    words = shlex.join(site.launch())
    return words if site.launcher == "srun" else f'{words} -n "$SLURM_NTASKS"'


def render(
    name: str, site: Site, folder: Path | None = None, job: str = "", **values: str | Path
) -> str:
    """Return the job script `name` for `site`.

    Args:
        name: one of `names`, or ``_notebook`` or ``_step``.
        site: nodes, ranks per node, partition, modules ... of this job.
        folder: where Slurm puts what the job prints; the folder it is submitted in if None.
        job: name of the job; `name` if empty.
        **values: what else the template asks for, by its word in small letters.

    Raises:
        ValueError: there is no such script, or a value is missing or not asked for.
    """
    if not (JOBS / f"{name}.sh").is_file():
        raise ValueError(f"expected a job script, one of {', '.join(names())}, got {name!r}")
    output = (folder or Path()) / f"{job or name}-%j.out"
    setup = [*site.prologue(), OVERLAP]
    if not site.python:
        setup.append(f'export PATH={shlex.quote(os.path.dirname(sys.executable))}:"$PATH"')
    if site.threads:
        setup.append(f"export OMP_NUM_THREADS={site.threads} NUMBA_NUM_THREADS={site.threads}")
    words = {
        "SBATCH": "\n".join([SHEBANG, *site.directives(job or name, output)]),
        "SETUP": "\n".join(setup),
        "LAUNCH": launch(site),
        "PYTHON": python(site),
    }
    text = (JOBS / f"{name}.sh").read_text()
    asked = set(re.findall(r"@([A-Z]+)@", text))
    given = {
        key.upper(): str(value) if key in SHELL else shlex.quote(str(value))
        for key, value in values.items()
    }
    missing = asked - set(words) - set(given)
    if missing or set(given) - asked:
        wanted = ", ".join(sorted(asked - set(words))).lower()
        raise ValueError(f"{name} asks for {wanted}; got {', '.join(sorted(values)) or 'nothing'}")
    return re.sub(r"@([A-Z]+)@", lambda match: {**words, **given}[match[1]], text)


def follow(job: str, site: Site, seconds: float) -> Iterator[slurm.Job]:
    """Yield how job `job` stands, each time that this changes, until it has ended.

    Asks Slurm every ``site.poll_seconds``; while slurmctld does not answer, nothing is yielded.

    Raises:
        SlurmError: it can never start, or has not ended after `seconds`.
    """
    deadline = time.monotonic() + seconds
    last: tuple[str, str] | None = None
    while True:
        try:
            now = slurm.state(job)
        except slurm.Unreachable:
            now = None
        if now is not None:
            if (now.state, now.reason) != last:
                last = (now.state, now.reason)
                yield now
            if now.ended:
                return
            if now.waiting and now.reason.strip("()") in slurm.NEVER:
                raise slurm.SlurmError(now.explain())
        if time.monotonic() > deadline:
            said = now.explain() if now else "slurmctld does not answer"
            raise slurm.SlurmError(f"job {job} has not ended after {seconds:.0f} s: {said}")
        time.sleep(site.poll_seconds)


def wait(job: str, site: Site, seconds: float, show: Callable[[str], None] = print) -> slurm.Job:
    """Follow `job` to its end, say each change, and cancel it when this is interrupted.

    Returns:
        How it ended.

    Raises:
        SlurmError: it can never start, or has not ended after `seconds`; it is cancelled.
        KeyboardInterrupt: after the job was cancelled.
    """
    try:
        for now in follow(job, site, seconds):
            show(now.explain())
        return now
    except BaseException as error:
        try:
            slurm.cancel(job)
        except slurm.SlurmError as problem:
            show(f"job {job} could not be cancelled, try `scancel {job}`: {problem}")
        else:
            if isinstance(error, KeyboardInterrupt):
                show(f"job {job} was cancelled, because you asked to stop")
        raise


def run_notebook(
    notebook: str | Path,
    site: Site,
    output: str | Path | None = None,
    full: bool = False,
    ranks: int | None = None,
    cell_timeout: float = 3600,
    seconds: float = 86400,
) -> int:
    """Execute `notebook` as a job, follow it, and bring the executed notebook back.

    The notebook is copied into a folder below the site's jobs folder. Engines that it starts
    run on the nodes of the job.

    Args:
        notebook: file to execute; it may use files beside it.
        site: settings of the job.
        output: where to put the executed notebook; ``build/NAME.ipynb`` if None.
        full: the lecture's full setting.
        ranks: MPI ranks, where the notebook starts engines; those of the job if None.
        cell_timeout: seconds for one cell.
        seconds: how long to wait for the end of the job.

    Returns:
        0; 1 if a cell raised or the job ended badly; `INTERRUPTED` after Ctrl-C, which cancels
        the job. In each case the notebook is brought back as far as it came.

    Raises:
        FileNotFoundError: there is no such notebook.
        SlurmError: the job was refused, or did not end in time.
    """
    source = Path(notebook).resolve()
    if not source.is_file():
        raise FileNotFoundError(f"expected a notebook, found none at {notebook}")
    target = Path(output) if output else Path("build") / source.name
    folder = (
        site.jobs_folder()
        / f"{source.stem}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    )
    folder.mkdir(mode=0o700)
    result = folder / "executed.ipynb"
    options = [f"--timeout={cell_timeout:g}", f"--ranks={ranks or site.ranks}"]
    script = folder / "job.sh"
    script.write_text(
        render(
            "_notebook",
            site,
            folder,
            job=source.stem,
            data=source,
            output=result,
            options=shlex.join([*options, *(["--full"] if full else [])]),
        )
    )
    job = slurm.submit(script, f"--chdir={source.parent}")
    print(f"job {job}: {source.name} on {site.nodes} nodes, files in {folder}", flush=True)
    try:
        end = wait(job, site, seconds, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        _copy(result, target)
        return INTERRUPTED
    return _bring_back(end, folder, result, target)


def _copy(result: Path, target: Path) -> bool:
    """Bring the executed notebook back, as far as it came; return whether there is one."""
    if not result.exists():
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result, target)
    print(f"written: {target}", flush=True)
    return True


def _bring_back(end: slurm.Job, folder: Path, result: Path, target: Path) -> int:
    deadline = time.monotonic() + (SETTLE if end.state == "COMPLETED" else 2.0)
    while not result.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    printed = "".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.out")))
    if not _copy(result, target):
        print(f"{end.explain()}; it left no executed notebook\n{printed}", file=sys.stderr)
        return 1
    if end.state != "COMPLETED":
        print(f"{end.explain()}; files in {folder}\n{printed[-2000:]}", file=sys.stderr)
        return 1
    shutil.rmtree(folder, ignore_errors=True)
    return 0
