import subprocess
import sys

import pytest

from course import settings


def test_small_is_the_default(monkeypatch):
    monkeypatch.delenv("COURSE_SETTING", raising=False)
    assert settings.name() == "small"
    assert settings.choose(small=1, full=20) == 1


def test_full_by_one_switch(monkeypatch):
    monkeypatch.setenv("COURSE_SETTING", " Full ")
    assert settings.choose(small=1, full=20) == 20


def test_another_setting_is_refused(monkeypatch):
    monkeypatch.setenv("COURSE_SETTING", "huge")
    with pytest.raises(ValueError, match="one of .*small.*full.*got 'huge'"):
        settings.name()


@pytest.fixture
def machine(monkeypatch):
    def be(cores, gigabytes):
        monkeypatch.setattr(settings, "cores", lambda: cores)
        monkeypatch.setattr(settings, "memory", lambda: int(gigabytes * 2**30))

    monkeypatch.delenv("COURSE_RANKS", raising=False)
    return be


@pytest.mark.parametrize(
    ("cores", "gigabytes", "wanted", "each", "got"),
    [
        (2, 8, 2, 0.15, 2),
        (2, 8, 4, 0.15, 4),
        (1, 2, 4, 0.15, 2),  # Binder
        (1, 2, 2, 0.6, 2),
        (1, 2, 4, 0.6, 2),
        (8, 2, 4, 0.6, 2),
        (1, 1.4, 2, 0.6, 1),
        (1, 0.5, 2, 0.6, 1),
        (1, 2, 1, 0.15, 1),
        (64, 256, 96, 0.15, 96),
    ],
)
def test_a_small_machine_gets_fewer_ranks(machine, cores, gigabytes, wanted, each, got):
    machine(cores, gigabytes)
    assert settings.ranks(wanted, each) == got


def test_ranks(monkeypatch, machine):
    machine(4, 16)
    assert settings.ranks(3) == 3
    monkeypatch.setenv("COURSE_RANKS", "7")
    assert settings.ranks(3) == 7
    for wrong in ("0", "-1", "two", "1.5"):
        monkeypatch.setenv("COURSE_RANKS", wrong)
        with pytest.raises(ValueError, match="positive whole number"):
            settings.ranks()


def test_import_course_is_cheap():
    heavy = {"tensorflow", "keras", "mpi4py", "matplotlib", "numba", "sklearn", "ipyparallel"}
    code = (
        "import sys, course, course.settings, course.engines, course.cli, course.data\n"
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
