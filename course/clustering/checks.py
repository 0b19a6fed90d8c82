"""Checks of what a clustering is asked to do: every rank raises, or none does."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from mpi4py import MPI

T = TypeVar("T")
MOST = 2**31 - 2  # points a rank can number


def agree(comm: "MPI.Intracomm | None", attempt: Callable[[], T]) -> T:
    """Return what `attempt` returns, unless it fails on a rank: then raise on all of them.

    Without this, one rank would raise, and the others would wait for it in their next
    collective call for ever.

    Raises:
        Exception: what `attempt` raised here; elsewhere a `ValueError` that names the
            lowest rank that failed, and says why.
    """
    if comm is None or comm.size == 1:
        return attempt()
    value, error = None, None
    try:
        value = attempt()
    except Exception as raised:  # whatever it is, the others must hear of it
        error = raised
    said = None if error is None else f"{type(error).__name__}: {error}".splitlines()[0]
    verdicts = comm.allgather(said)
    if error is not None:
        raise error
    for rank, verdict in enumerate(verdicts):
        if verdict is not None:
            raise ValueError(f"rank {rank} cannot take part: {verdict}")
    return value  # type: ignore[return-value]


def check_parameters(eps: Any, min_samples: Any, threads: Any) -> None:
    """Check an estimator's parameters.

    Raises:
        ValueError: one of them is out of range.
        TypeError: one of them is not a number.
    """
    if isinstance(eps, bool) or not isinstance(eps, int | float | np.integer | np.floating):
        raise TypeError(f"eps must be a number, got {eps!r}")
    if not (np.isfinite(eps) and eps > 0):
        raise ValueError(f"eps must be a finite number above 0, got {eps!r}")
    squared = float(eps) * float(eps)
    if not 0 < squared < np.inf:
        raise ValueError(f"eps must have a square that float64 can hold, got {eps!r}")
    for name, value in (("min_samples", min_samples), ("threads", threads)):
        if name == "threads" and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be a whole number, got {value!r}")
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value!r}")


def same_everywhere(comm: "MPI.Intracomm | None", **values: Any) -> None:
    """Check that all ranks gave the same values.

    Raises:
        ValueError: they did not, on every rank.
    """
    if comm is None or comm.size == 1:
        return
    everyone = comm.allgather(values)
    for name in values:
        given = [each[name] for each in everyone]
        if any(value != given[0] for value in given):
            raise ValueError(
                f"every rank must give the same {name}, got {given} on ranks 0, 1, ..."
            )


def check_sizes(comm: "MPI.Intracomm | None", points: int) -> None:
    """Check that no rank sees more points than 32-bit numbers can count.

    Raises:
        ValueError: one does, on every rank.
    """
    most = points if comm is None else max(comm.allgather(points))
    if most > MOST:
        raise ValueError(
            f"a rank can hold at most {MOST} points with its halo, one would have {most}: "
            "use more ranks"
        )
