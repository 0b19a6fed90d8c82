"""The ``course`` command: doctor, lab, run, job, data, dam and grade."""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from course.cluster.site import Site


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(
        prog="course", description="The lecture's laboratory: check it, open it, run it."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    doctor = commands.add_parser("doctor", help="say what works here and how to mend what does not")
    doctor.add_argument("--ranks", type=int, default=2, help="ranks to try (default 2)")

    lab = commands.add_parser("lab", help="open JupyterLab on the lecture's first notebook")
    lab.add_argument("notebook", nargs="?", help="another notebook to open")
    lab.add_argument("--port", type=int, default=8888, help="first port to try (default 8888)")
    lab.add_argument("--no-browser", action="store_true", help="only print the address")

    run = commands.add_parser("run", help="execute a notebook from top to bottom")
    run.add_argument("notebook")
    run.add_argument("--output", help="executed notebook (default: build/NAME.ipynb)")
    run.add_argument("--full", action="store_true", help="the lecture's full setting")
    run.add_argument("--ranks", type=int, help="MPI ranks, where the notebook starts engines")
    run.add_argument("--timeout", type=float, default=3600, help="seconds for one cell")
    run.add_argument("--slurm", action="store_true", help="as a Slurm job, brought back at its end")
    _add_site(run)

    job = commands.add_parser("job", help="print a job script of the lecture for this site")
    job.add_argument("name", help="which; `course job list` names them")
    job.add_argument("data", nargs="?", help="file to work on")
    job.add_argument("--model", help="model file, for pisvm-predict")
    _add_site(job)

    commands.add_parser("data", help="check that the shipped data sets are intact")

    dam = commands.add_parser("dam", help="a Slurm of four emulated nodes on this machine")
    dam.add_argument("action", choices=("up", "status", "down", "env"))

    grade = commands.add_parser("grade", help="grade what students handed in for an assignment")
    grade.add_argument("assignment")
    grade.add_argument("--student", nargs="+", default=[], help="grade only these (default: all)")
    grade.add_argument("--jobs", type=int, default=0, help="side by side (default: half the cores)")
    grade.add_argument("--slurm", action="store_true", help="grade as Slurm jobs")
    grade.add_argument("--again", action="store_true", help="grade also what is graded already")
    grade.add_argument("--deadline", type=float, default=600, help="seconds each (default 600)")
    grade.add_argument("--csv", help="another file for the table of grades")
    grade.add_argument("--root", help="nbgrader's course root (default: assignments)")
    grade.add_argument("--no-gradebook", action="store_true", help="leave nbgrader's alone")
    grade.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="let students' code do whatever you can do, where there is no sandbox",
    )

    options = parser.parse_args(arguments)
    try:
        return _dispatch(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"course {options.command}: {error}", file=sys.stderr)
        return 1


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "doctor":
        from course import doctor

        return doctor.main(options.ranks)
    if options.command == "lab":
        from course import lab

        return lab.main(options.notebook, options.port, not options.no_browser)
    if options.command == "run" and options.slurm:
        from course.cluster import batch

        return batch.run_notebook(
            options.notebook,
            _site(options),
            options.output,
            options.full,
            options.ranks,
            options.timeout,
        )
    if options.command == "run":
        from course import lab

        return lab.run(
            options.notebook, options.output, options.full, options.ranks, options.timeout
        )
    if options.command == "dam":
        from course.cluster import dam

        return dam.main(options.action)
    if options.command == "job":
        return _job(options)
    if options.command == "grade":
        from course.grading.batch import main as grade_main

        return grade_main(options)
    return _data()


SITE = ("nodes", "ranks_per_node", "partition", "time", "account", "gpus")


def _add_site(parser: argparse.ArgumentParser) -> None:
    """Add the options of a job; what is not given is the site's."""
    group = parser.add_argument_group("Slurm", "what is not given is taken from site.toml")
    for name in SITE:
        whole = name in ("nodes", "ranks_per_node", "gpus")
        group.add_argument(f"--{name.replace('_', '-')}", type=int if whole else str)


def _site(options: argparse.Namespace) -> "Site":
    from course.cluster import site

    return site.load().choose(**{name: getattr(options, name) for name in SITE})


def _job(options: argparse.Namespace) -> int:
    from course.cluster import batch

    if options.name == "list":
        print("\n".join(batch.names()))
        return 0
    given = {"data": options.data, "model": options.model}
    values = {name: value for name, value in given.items() if value is not None}
    print(batch.render(options.name, _site(options), **values), end="")
    return 0


def _data() -> int:
    from course import data

    for name, load in (("mnist", data.mnist), ("satimage", data.satimage)):
        (x_train, _), (x_test, _) = load()
        print(f"{name}: {len(x_train):,} training and {len(x_test):,} test samples, intact")
    return 0


if __name__ == "__main__":
    sys.exit(main())
