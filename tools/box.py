"""Run a command with less memory and processor time than the machine has.

    python tools/box.py --gigabytes 2 --cores 1 -- course run notebooks/00_start.ipynb

That is what Docker does on Binder: a control group of its own. It takes root on a Linux with
control groups that are not handed out by somebody else; `why_not` says what is missing.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


def version() -> int:
    """Return which version of control groups has the memory controller here, 0 for none."""
    with contextlib.suppress(OSError):
        if "memory" in (ROOT / "cgroup.controllers").read_text().split():
            return 2
    return 1 if (ROOT / "memory" / "memory.limit_in_bytes").exists() else 0


def why_not() -> str | None:
    """Return why no box can be made here, None if it can."""
    try:
        with Box(2**30, 1):
            return None
    except OSError as error:
        return f"no control group can be made here: {error}"


class Box:
    """A control group with `memory` bytes and `cores` cores' worth of time.

    Raises:
        OSError: control groups are not there, or not ours to make.
    """

    def __init__(self, memory: int, cores: float) -> None:
        self.memory, self.cores = memory, cores
        name = f"course-box-{os.getpid()}-{time.monotonic_ns()}"
        self.version = version()
        if not self.version:
            raise OSError(f"expected control groups with memory at {ROOT}, found none")
        parts = ("",) if self.version == 2 else ("memory", "cpu")
        self.folders = [ROOT / part / name for part in parts]

    def __enter__(self) -> "Box":
        quota = str(int(self.cores * 100_000))
        try:
            for folder in self.folders:
                folder.mkdir()
            if self.version == 2:
                self._write("memory.max", str(self.memory))
                self._write("cpu.max", f"{quota} 100000")
            else:
                self._write("memory.limit_in_bytes", str(self.memory))
                self._write("cpu.cfs_quota_us", quota)
        except OSError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for folder in self.folders:
            for _ in range(50):
                with contextlib.suppress(FileNotFoundError):
                    for pid in (folder / "cgroup.procs").read_text().split():
                        with contextlib.suppress(ProcessLookupError):
                            os.kill(int(pid), 9)
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    pass
                except OSError:  # somebody is still leaving
                    time.sleep(0.1)
                    continue
                break

    def _find(self, name: str) -> Path | None:
        return next((f / name for f in self.folders if (f / name).exists()), None)

    def _write(self, name: str, text: str) -> None:
        path = self._find(name)
        if path is None:
            raise OSError(f"expected {name} in {self.folders}, found none")
        path.write_text(text)

    def enter(self) -> None:
        """Put the calling process, and all that it will start, into the box."""
        for folder in self.folders:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def popen(self, command: list[str], **options: object) -> "subprocess.Popen[str]":
        """Start `command` in the box."""
        return subprocess.Popen(command, preexec_fn=self.enter, text=True, **options)  # type: ignore[call-overload,no-any-return]

    def stats(self) -> dict[str, int]:
        """Return the numbers of ``memory.stat``, bytes for most."""
        path = self._find("memory.stat")
        assert path is not None
        pairs = (line.split() for line in path.read_text().splitlines())
        return {name: int(value) for name, value in pairs}

    def used(self) -> int:
        """Return the bytes that cannot be given back: memory of processes, and shared memory."""
        stats = self.stats()
        if self.version == 2:
            return stats["anon"] + stats["shmem"]
        return stats["total_rss"] + stats.get("total_shmem", 0)

    def killed(self) -> int:
        """Return how many processes the kernel killed for want of memory."""
        name = "memory.events" if self.version == 2 else "memory.oom_control"
        path = self._find(name)
        assert path is not None
        pairs = dict(line.split() for line in path.read_text().splitlines())
        return int(pairs.get("oom_kill", 0))


def watch(box: Box, process: "subprocess.Popen[str]", timeout: float) -> Iterator[int]:
    """Yield what `box` uses, in bytes, five times a second until `process` ends.

    Raises:
        subprocess.TimeoutExpired: it did not end in time; it is killed.
    """
    deadline = time.monotonic() + timeout
    while process.poll() is None:
        yield box.used()
        if time.monotonic() > deadline:
            process.kill()
            raise subprocess.TimeoutExpired(process.args, timeout)
        time.sleep(0.2)


def main() -> None:
    """Run a command in a box and say what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--cores", type=float, default=1.0)
    parser.add_argument("--timeout", type=float, default=3600)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    started = time.monotonic()
    with Box(int(options.gigabytes * 2**30), options.cores) as box:
        process = box.popen(options.command)
        peak = max(watch(box, process, options.timeout), default=0)
        killed = box.killed()
    seconds = time.monotonic() - started
    print(f"peak {peak / 2**20:.0f} MiB, {killed} killed for want of memory, {seconds:.0f} s")
    sys.exit(process.returncode)


if __name__ == "__main__":
    main()
