"""Seconds that each phase takes, and what a clustering found."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np


class Phases:
    """A stopwatch: ``with phases("halo exchange"): ...`` adds to the seconds of that phase."""

    def __init__(self) -> None:
        """Start with no phase."""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time one part of a phase; it may have several."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin


class Found(NamedTuple):
    """What a rank knows in the end.

    Attributes:
        labels: cluster of each of its rows, int64 (n,); -1 for noise.
        core: which of them are core points, ascending, int64.
        clusters: how many there are on all ranks together.
        points: rows this rank clustered itself, and rows in its halo.
    """

    labels: np.ndarray
    core: np.ndarray
    clusters: int
    points: tuple[int, int]
