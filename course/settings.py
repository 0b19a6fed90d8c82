"""One switch between the small setting, which runs in minutes, and the lecture's full one.

The environment variable ``COURSE_SETTING`` is ``small`` (the default) or ``full``.
``COURSE_RANKS`` overrides the number of MPI ranks that notebooks start.
"""

import os
from typing import TypeVar

T = TypeVar("T")

NAMES = ("small", "full")


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


def ranks(default: int = 2) -> int:
    """Return how many MPI ranks a notebook should start: ``COURSE_RANKS`` or `default`.

    Raises:
        ValueError: ``COURSE_RANKS`` is not a positive whole number.
    """
    value = os.environ.get("COURSE_RANKS", "").strip() or str(default)
    if not value.isdecimal() or int(value) < 1:
        raise ValueError(f"COURSE_RANKS must be a positive whole number, got {value!r}")
    return int(value)
