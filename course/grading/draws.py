"""Inputs that a grader draws: other ones for each student, with the hard cases among them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

RANKS = (1, 2, 3, 4, 7)


def parts(
    rng: np.random.Generator, values: np.ndarray, ranks: int, *, empty: bool = True
) -> list[np.ndarray]:
    """Cut `values` into one part per rank, of unequal lengths.

    Args:
        rng: Where chance comes from.
        values: Array of shape (n, ...).
        ranks: Number of parts.
        empty: Whether at least one of several parts is empty; else none is, and n must be
            at least `ranks`.

    Returns:
        Contiguous copies, whose concatenation is `values`.
    """
    n = len(values)
    if ranks == 1:
        return [values.copy()]
    if empty:
        cuts = np.sort(rng.integers(0, n + 1, ranks - 1))
        place = int(rng.integers(0, ranks))  # this rank gets nothing
        low = 0 if place == 0 else int(cuts[place - 1])
        if place < ranks - 1:
            cuts[place] = low
        else:
            cuts[-1] = n
        cuts = np.maximum.accumulate(cuts)
    else:
        if n < ranks:
            raise ValueError(f"expected at least {ranks} values for {ranks} ranks, got {n}")
        cuts = np.sort(rng.choice(np.arange(1, n), ranks - 1, replace=False))
    return [part.copy() for part in np.split(values, cuts)]


def permuted(rng: np.random.Generator, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return `arrays`, all of the same length, with their rows in one new order."""
    order = rng.permutation(len(arrays[0]))
    return [array[order] for array in arrays]


def lengths(pieces: Sequence[Any]) -> str:
    """Say how many rows each rank has, for a label."""
    return "rows per rank " + str([len(piece) for piece in pieces])
