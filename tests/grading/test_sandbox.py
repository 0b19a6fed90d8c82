"""How the sandbox is put together; what it keeps in is tried in test_hostile.py."""

import os
import shutil
import sys
import time

import psutil
import pytest

from course.grading import seccomp
from course.grading.sandbox import Limits, NoSandboxError, Sandbox, _bubblewrap, available


def test_python_is_found_also_where_it_lies_below_tmp(sandboxed, tmp_path):
    """The new /tmp would cover a checkout below /tmp if it were mounted later."""
    command, _ = _bubblewrap(shutil.which("bwrap"), Limits(), str(tmp_path))
    assert command.index("/tmp") < command.index(sys.prefix)


def test_hidden_modules_are_covered_after_course_is_there(sandboxed, tmp_path):
    limits = Limits(hidden=("course.svm", "course.mpi.cost"))
    command, _ = _bubblewrap(shutil.which("bwrap"), limits, str(tmp_path))
    places = [k for k, word in enumerate(command) if word.endswith("/course")]
    covered = [k for k, word in enumerate(command) if word.endswith(("course/svm", "mpi/cost.py"))]
    assert len(covered) == 2 and min(covered) > max(places)


@pytest.mark.parametrize("pause", [0, 0.002, 0.01, 0.03, 0.3])
def test_a_sandbox_ends_with_all_that_it_started(sandboxed, pause):
    mark = (64 << 20) + os.getpid() + int(1000 * pause)  # a size by which its processes are known
    with Sandbox(Limits(disk=mark)) as one:
        assert one.alive
        time.sleep(pause)
    assert not one.alive and not one.folder.exists()
    time.sleep(0.1)
    lines = [" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if str(mark) in line]


def test_no_bubblewrap_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install bubblewrap" in available()
    with pytest.raises(NoSandboxError, match="bwrap"):
        Sandbox(Limits())


def test_the_filter_has_whole_instructions_and_ends_in_allow():
    rules = seccomp.program()
    assert len(rules) % 8 == 0
    assert not rules or rules[-8:] == bytes.fromhex("060000000000ff7f")
