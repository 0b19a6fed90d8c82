"""Who trains on which rows, and with which learning rate."""

from typing import Any

import numpy as np

REMAINDERS = ("drop", "repeat", "keep")


def shard(*arrays: np.ndarray, rank: int, size: int, remainder: str = "drop") -> Any:
    """Return the rows of `arrays` that `rank` of `size` trains on: rank, rank + size, ...

    Dealt like cards, so that the k-th batches of b rows on all ranks are together the k-th
    batch of ``b * size`` rows of the whole. Ranks that average gradients must all run the
    same number of steps, or the ones with more wait for ever; so by default every rank gets
    equally many rows.

    Args:
        arrays: one or more arrays with the same number of rows.
        rank: number of this process, from 0.
        size: number of processes.
        remainder: what to do with the ``rows % size`` last rows: ``"drop"`` them,
            ``"repeat"`` rows from the start until all have equally many, or ``"keep"``
            them, with one row more on some ranks: for evaluation only.

    Returns:
        The shard of the array, or a tuple of shards where several were given.

    Raises:
        ValueError: no array, arrays of different length, fewer rows than ranks, a rank that
            is not in 0..size-1, or an unknown `remainder`.
    """
    if size < 1 or not 0 <= rank < size:
        raise ValueError(f"expected a rank in 0..{size - 1}, got rank={rank}, size={size}")
    if remainder not in REMAINDERS:
        raise ValueError(f"remainder must be one of {REMAINDERS}, got {remainder!r}")
    lengths = [len(array) for array in arrays]
    if not lengths or len(set(lengths)) != 1:
        raise ValueError(f"expected arrays with the same number of rows, got {lengths}")
    rows = lengths[0]
    if rows < size:
        raise ValueError(f"expected at least one row for each of {size} ranks, got {rows} rows")
    if remainder == "drop":
        shards = tuple(array[rank : rows - rows % size : size] for array in arrays)
    elif remainder == "repeat":
        index = np.arange(rank, -(-rows // size) * size, size) % rows
        shards = tuple(array[index] for array in arrays)
    else:
        shards = tuple(array[rank::size] for array in arrays)
    return shards if len(shards) > 1 else shards[0]


def scale_learning_rate(learning_rate: float, size: int) -> float:
    """Return the learning rate for a batch that is `size` times as large: `size` times it.

    The linear scaling rule of Goyal et al., "Accurate, Large Minibatch SGD: Training ImageNet
    in 1 Hour" (2017): one step on k averaged batches should go as far as k steps on one. It
    holds for SGD, and only once the weights change slowly: see `LearningRateWarmupCallback`.

    Raises:
        ValueError: `learning_rate` is not positive, or `size` is below 1.
    """
    if learning_rate <= 0 or size < 1:
        raise ValueError(
            f"expected a positive learning rate and size, got {learning_rate!r} and {size!r}"
        )
    return learning_rate * size
