"""What differs from one cluster to the next, in one file, ``site.toml``.

The file is looked up in this order; the first that exists is used, whole:

1. the one that ``COURSE_SITE`` names (the emulated DAM sets it: ``course dam env``),
2. ``site.toml`` in the working directory or a folder above it,
3. ``~/.config/course/site.toml``.

Without any, the defaults of `Site` hold. ``docs/sites/`` has examples for systems like DEEP and
JUWELS. A table ``[partitions.NAME]`` changes settings for one partition.
"""

import dataclasses
import difflib
import os
import shlex
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from course.processes import find_mpiexec

FILE = "site.toml"
SHEBANG = "#!/bin/bash -l"


class SiteError(ValueError):
    """The site's file says something that cannot be; the message names file and key."""


@dataclass(frozen=True)
class Site:
    """Settings of one cluster; every field is a key of ``site.toml``.

    Attributes:
        name: what the cluster is called.
        partition: Slurm partition; empty for the cluster's default.
        account: project that pays for the computing time; empty for none.
        qos: Slurm's quality of service; empty for none.
        time: time limit of a job in minutes, or as Slurm writes it (``"01:30:00"``).
        nodes: number of nodes.
        ranks_per_node: MPI ranks on each node.
        cpus_per_rank: cores for each rank; 0 leaves it to Slurm.
        threads: threads of each rank; 0 shares a node's cores among its ranks.
        gpus: GPUs on each node.
        gpu_option: how the cluster wants GPUs to be asked for; ``{gpus}`` is the number.
        modules: environment modules, loaded in the job in this order.
        setup: lines of shell that the job runs after the modules are loaded.
        options: further options of ``sbatch``.
        python: the interpreter on the nodes; empty for the one that runs now.
        launcher: ``mpiexec`` or ``srun``.
        launcher_options: further options for the launcher, such as ``--mpi=pmix``.
        mpiexec: which ``mpiexec``; empty for that of the modules, if there are any, or else of
            the Python environment. ``COURSE_MPIEXEC`` wins over both.
        folder: where jobs keep their files; all nodes must see it. ``~`` and ``$NAME`` are
            replaced.
        controller_host: name or address by which the nodes reach this machine; ``{host}`` is
            its host name. Empty: the host name.
        login_host: name of a login node, as it is reached from outside; empty for the host name
            of the one that a job was submitted on.
        poll_seconds: between two questions to Slurm; sites ask not to go below a few seconds.
        queue_seconds: how long to wait in the queue before giving up.
        hold_seconds: how long engines' nodes are kept for `recover` after the ranks died.
    """

    name: str = "this cluster"
    partition: str = ""
    account: str = ""
    qos: str = ""
    time: int | str = 30
    nodes: int = 1
    ranks_per_node: int = 2
    cpus_per_rank: int = 0
    threads: int = 0
    gpus: int = 0
    gpu_option: str = "--gpus-per-node={gpus}"
    modules: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    python: str = ""
    launcher: str = "mpiexec"
    launcher_options: tuple[str, ...] = ()
    mpiexec: str = ""
    folder: str = "~/.course-jobs"
    controller_host: str = ""
    login_host: str = ""
    poll_seconds: float = 5.0
    queue_seconds: float = 600.0
    hold_seconds: float = 120.0
    partitions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def choose(self, partition: str | None = None, **wanted: Any) -> "Site":
        """Return these settings for one job.

        The partition's own table is applied, then `wanted`; what is None there is not wanted.

        Raises:
            SiteError: a value is of the wrong kind, or out of range.
        """
        name = self.partition if partition is None else partition
        values = {key: value for key, value in wanted.items() if value is not None}
        for key in ("modules", "setup", "options", "launcher_options"):
            if isinstance(values.get(key), (list, tuple)):
                values[key] = tuple(values[key])
        changed = _checked({**self.partitions.get(name, {}), **values}, "engines.start or course")
        return dataclasses.replace(self, partition=name, **changed)

    @property
    def ranks(self) -> int:
        """Number of ranks on all nodes."""
        return self.nodes * self.ranks_per_node

    def directives(self, name: str, output: str | Path) -> list[str]:
        """Return the ``#SBATCH`` lines of a job script.

        Args:
            name: of the job.
            output: file for what the job prints.
        """
        options = [
            f"--job-name={name}",
            f"--output={output}",
            f"--nodes={self.nodes}",
            f"--ntasks-per-node={self.ranks_per_node}",
            f"--time={self.time}",
            "--no-requeue",
        ]
        if self.cpus_per_rank:
            options.append(f"--cpus-per-task={self.cpus_per_rank}")
        if self.gpus:
            options.append(self.gpu_option.replace("{gpus}", str(self.gpus)))
        for option in ("partition", "account", "qos"):
            if getattr(self, option):
                options.append(f"--{option}={getattr(self, option)}")
        return [f"#SBATCH {option}" for option in (*options, *self.options)]

    def launch(self) -> list[str]:
        """Return the words that start a program on ranks of a job, without their number.

        Raises:
            FileNotFoundError: no ``mpiexec`` (`course.processes.find_mpiexec`).
        """
        if self.launcher == "srun":
            words = ["srun"]
        elif os.environ.get("COURSE_MPIEXEC", "").strip():
            words = [find_mpiexec()]
        elif self.mpiexec or self.modules:
            words = shlex.split(self.mpiexec) or ["mpiexec"]
        else:
            words = [find_mpiexec()]
        return [*words, *self.launcher_options]

    def prologue(self) -> list[str]:
        """Return the lines of shell that load the modules and run the site's set-up.

        The ``module`` command is there in a login shell: begin the script with `SHEBANG`.
        """
        # Without it, MPICH's mpiexec waits for ever when a rank on another node has crashed.
        lines = ['export SLURM_WAIT="${SLURM_WAIT:-30}"']
        if self.modules:
            lines.append(
                'type module >/dev/null || { echo "this node has no modules" >&2; exit 3; }'
            )
        lines += [f"module load {shlex.quote(module)} || exit 3" for module in self.modules]
        return [*lines, *self.setup]

    def jobs_folder(self) -> Path:
        """Return the folder for jobs' files; it is made where it is not there."""
        path = Path(os.path.expandvars(os.path.expanduser(self.folder)))
        if "$" in str(path):
            raise SiteError(f"folder = {self.folder!r} names a variable that is not set")
        path.mkdir(parents=True, exist_ok=True)
        return path.resolve()


DEFAULTS = Site()
_FIELDS = {field.name: field for field in dataclasses.fields(Site)}
_LEAST = {"nodes": 1, "ranks_per_node": 1, "cpus_per_rank": 0, "threads": 0, "gpus": 0}


def find() -> Path | None:
    """Return the file that holds the settings, or None where there is none.

    Raises:
        SiteError: ``COURSE_SITE`` names no file.
    """
    chosen = os.environ.get("COURSE_SITE", "").strip()
    if chosen:
        path = Path(chosen).expanduser()
        if not path.is_file():
            raise SiteError(f"COURSE_SITE is {chosen!r}, which is not a file")
        return path
    places = [folder / FILE for folder in (Path.cwd(), *Path.cwd().parents)]
    places.append(Path.home() / ".config" / "course" / FILE)
    return next((place for place in places if place.is_file()), None)


def load(path: str | Path | None = None) -> Site:
    """Return the settings in `path`; in the file that `find` finds where it is None.

    Raises:
        SiteError: the file is not TOML, or has an unknown key or a wrong value.
        FileNotFoundError: there is no file `path`.
    """
    found = find() if path is None else Path(path)
    if found is None:
        return DEFAULTS
    try:
        with open(found, "rb") as file:
            table = tomllib.load(file)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(f"{found} is not valid TOML: {error}") from None
    partitions = table.pop("partitions", {})
    if not isinstance(partitions, dict) or not all(map(_is_table, partitions.values())):
        raise SiteError(f"{found}: expected tables [partitions.NAME], got {partitions!r}")
    values = _checked(table, str(found))
    for name, own in partitions.items():
        partitions[name] = _checked(own, f"{found}, [partitions.{name}]")
    return Site(**values, partitions=partitions)


def _is_table(value: object) -> bool:
    return isinstance(value, dict)


def _checked(table: dict[str, Any], where: str) -> dict[str, Any]:
    """Return `table` with values of the fields' types, or raise `SiteError`."""
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in _FIELDS or key == "partitions":
            close = difflib.get_close_matches(key, _FIELDS, 1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise SiteError(f"{where}: unknown setting {key!r}{hint}")
        values[key] = _value(key, value, where)
    if values.get("launcher", "mpiexec") not in ("mpiexec", "srun"):
        raise SiteError(
            f"{where}: launcher must be 'mpiexec' or 'srun', got {values['launcher']!r}"
        )
    return values


def _value(key: str, value: Any, where: str) -> Any:
    default = getattr(DEFAULTS, key)
    whole = isinstance(value, int) and not isinstance(value, bool)
    if key == "time":
        if (whole and value >= 1) or (isinstance(value, str) and value.strip()):
            return value
        expected = "minutes, or Slurm's HH:MM:SS"
    elif isinstance(default, tuple):
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
        expected = "a list of texts"
    elif isinstance(default, int):
        if whole and value >= _LEAST[key]:
            return value
        expected = f"a whole number of at least {_LEAST[key]}"
    elif isinstance(default, float):
        if (whole or isinstance(value, float)) and value > 0:
            return float(value)
        expected = "a positive number of seconds"
    else:
        if isinstance(value, str) and "\n" not in value:
            return value
        expected = "one line of text"
    raise SiteError(f"{where}: {key} must be {expected}, got {value!r}")
