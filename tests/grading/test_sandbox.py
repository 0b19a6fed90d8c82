"""How the sandbox is put together; what it keeps in is tried in test_hostile.py."""

import shutil
import sys

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


def test_a_sandbox_ends_with_all_that_it_started(sandboxed):
    with Sandbox(Limits()) as one:
        assert one.alive
    assert not one.alive and not one.folder.exists()


def test_no_bubblewrap_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "apt install bubblewrap" in available()
    with pytest.raises(NoSandboxError, match="bwrap"):
        Sandbox(Limits())


def test_the_filter_has_whole_instructions_and_ends_in_allow():
    rules = seccomp.program()
    assert len(rules) % 8 == 0
    assert not rules or rules[-8:] == bytes.fromhex("060000000000ff7f")
