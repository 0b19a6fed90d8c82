import os

import pytest

from course import limits, processes


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Lay out a control group tree; return a function that writes into it."""
    membership = tmp_path / "cgroup"
    monkeypatch.setattr(limits, "ROOT", tmp_path / "sys")
    monkeypatch.setattr(limits, "MEMBERSHIP", membership)

    def lay(lines, files):
        membership.write_text(lines)
        for name, text in files.items():
            path = tmp_path / "sys" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return lay


def test_no_groups_no_limits(groups):
    assert (limits.cpus(), limits.memory()) == (None, None)


def test_version_2(groups):
    files = {"pod/cpu.max": "150000 100000\n", "pod/memory.max": "2147483648\n"}
    groups("0::/pod\n", files)
    assert (limits.cpus(), limits.memory()) == (1.5, 2**31)


def test_version_2_without_limits(groups):
    groups("0::/\n", {"cpu.max": "max 100000\n", "memory.max": "max\n"})
    assert (limits.cpus(), limits.memory()) == (None, None)


def test_version_1(groups):
    files = {
        "cpu/job/cpu.cfs_quota_us": "100000\n",
        "cpu/job/cpu.cfs_period_us": "100000\n",
        "memory/job/memory.limit_in_bytes": "1073741824\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    groups("5:cpu,cpuacct:/job\n4:memory:/job\n1:name=systemd:/job\n0::/\n", files)
    # Version 1 mounts the pair as one folder; "cpu" is a link to it.
    assert (limits.cpus(), limits.memory()) == (1.0, 2**30)


def test_version_1_without_limits(groups):
    files = {
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "9223372036854771712\n",
    }
    groups("5:cpu:/\n4:memory:/\n", files)
    assert (limits.cpus(), limits.memory()) == (None, None)


def test_the_tightest_of_a_line_of_groups_holds(groups):
    files = {"a/memory.max": "1000000\n", "a/b/memory.max": "5000000\n", "a/b/c/memory.max": "max"}
    groups("0::/a/b/c\n", files)
    assert limits.memory() == 1_000_000


def test_a_container_sees_its_own_group_as_the_root(groups):
    groups("0::/host/path/of/the/container\n", {"memory.max": "2147483648\n"})
    assert limits.memory() == 2**31


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
@pytest.mark.parametrize(("granted", "cores"), [(0.5, 1), (1.0, 1), (1.9, 1), (2.0, 2), (None, 3)])
def test_cores_are_whole_and_at_least_one(monkeypatch, granted, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2})
    monkeypatch.setattr(limits, "cpus", lambda: granted)
    assert processes.cores() == cores


def test_memory_is_the_machines_or_less(monkeypatch):
    monkeypatch.setattr(limits, "memory", lambda: None)
    whole = processes.memory()
    monkeypatch.setattr(limits, "memory", lambda: 2**28)
    assert processes.memory() == min(whole, 2**28)
