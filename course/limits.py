"""What a control group grants: a container or batch job may own less than its machine has.

Docker, Kubernetes (Binder, JupyterHub) and Slurm limit processes by Linux control groups; both
versions of them are read here. The man page cgroups(7) describes the files.
"""

from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")
# Version 1 writes "no limit" as a huge number of bytes.
UNLIMITED_BYTES = 2**60


def cpus() -> float | None:
    """Return how many cores' worth of time the control groups grant, None without a limit."""
    shares = []
    for folder in _folders("cpu"):
        words = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal():
            shares.append(int(words[0]) / int(words[1]))
    return min(shares, default=None)


def memory() -> int | None:
    """Return how many bytes of memory the control groups grant, None without a limit."""
    sizes = []
    for folder in _folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            words = _words(folder / name)
            if words and words[0].isdecimal() and int(words[0]) < UNLIMITED_BYTES:
                sizes.append(int(words[0]))
    return min(sizes, default=None)


def _folders(controller: str) -> Iterator[Path]:
    """Yield this process's group of `controller` and those above it, up to the root.

    Each may have a limit, and the tightest holds. A container sees its own group as the root,
    while its membership may name a path of the host, which is not there.
    """
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = ROOT / controller if controllers else ROOT
        folder = root / path.lstrip("/")
        while folder != root and root in folder.parents:
            yield folder
            folder = folder.parent
        yield root


def _words(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except OSError:
        return []
