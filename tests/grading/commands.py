"""nbgrader's commands, each in a process of its own that has nbgrader loaded already."""

import multiprocessing
import os
import sys
import sysconfig
import tempfile
from pathlib import Path

from nbgrader.apps import NbGraderApp

PROJECT = Path(__file__).parents[2]
FOLDERS = "JUPYTER_DATA_DIR JUPYTER_CONFIG_DIR JUPYTER_RUNTIME_DIR IPYTHONDIR".split()


def nbgrader(root, *command, user="lecturer", cwd=None, seconds=400):
    """Run one command in the course `root`; return its exit status and its log."""
    with tempfile.TemporaryFile("w+") as log:
        process = multiprocessing.get_context("fork").Process(
            target=_run, args=(root, command, user, cwd or root, log.fileno()), daemon=True
        )
        process.start()
        process.join(seconds)
        if process.is_alive():
            process.kill()
            raise AssertionError(f"nbgrader {command}: not done after {seconds} s")
        log.seek(0)
        return process.exitcode, log.read()


def _run(root, command, user, cwd, fd):
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    private = root.parent / "jupyter" / user
    for name in FOLDERS:
        os.environ[name] = str(private / name.lower())
    os.environ["PATH"] = sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"]
    os.environ["PYTHONPATH"] = str(PROJECT)
    os.environ["COURSE_EXCHANGE"] = str(root / "exchange")
    os.environ["USER"] = os.environ["JUPYTERHUB_USER"] = user
    os.chdir(cwd)
    NbGraderApp.launch_instance([*command])
