"""One switch between the small setting, which runs in minutes, and the lecture's full one.

The environment variable ``COURSE_SETTING`` is ``small`` (the default) or ``full``.
``COURSE_RANKS`` overrides the number of MPI ranks that notebooks start; without it, a machine
with little memory or one core gets fewer.
"""

import os
from typing import TypeVar

from course.processes import cores, memory

T = TypeVar("T")

NAMES = ("small", "full")
GIB = 2**30
NOTEBOOK_GIB = 0.6  # JupyterLab, a kernel with NumPy and matplotlib, the controller


def name() -> str:
    """Return the setting in force, ``"small"`` or ``"full"``.

    Raises:
        ValueError: ``COURSE_SETTING`` holds something else.
    """
    value = os.environ.get("COURSE_SETTING", "small").strip().lower()
    if value not in NAMES:
        raise ValueError(f"COURSE_SETTING must be one of {NAMES}, got {value!r}")
    return value


def choose(small: T, full: T) -> T:
    """Return `small` or `full`, as the setting in force says."""
    return full if name() == "full" else small


def ranks(default: int = 2, gigabytes: float = 0.15) -> int:
    """Return how many MPI ranks a notebook should start: ``COURSE_RANKS`` or `default`.

    Fewer than `default`, where they would stand in each other's way: at most two for each
    core, but two on any machine, because one rank has nobody to talk to; and not more than
    fit into the memory beside JupyterLab and the notebook itself, but at least one.

    Args:
        default: ranks where there is room.
        gigabytes: memory of one rank, in units of 2**30 bytes; about 0.15 for NumPy, 0.6
            once TensorFlow trains.

    Raises:
        ValueError: ``COURSE_RANKS`` is not a positive whole number.
    """
    value = os.environ.get("COURSE_RANKS", "").strip()
    if value:
        if not value.isdecimal() or int(value) < 1:
            raise ValueError(f"COURSE_RANKS must be a positive whole number, got {value!r}")
        return int(value)
    fitting = int((memory() / GIB - NOTEBOOK_GIB) / gigabytes)
    return max(1, min(default, max(2, 2 * cores()), fitting))
