"""The alpha-beta model: a message of m bytes takes alpha + beta m seconds.

alpha is the latency, 1/beta the bandwidth. From these two numbers follow the times of
whole algorithms (Thakur, Rabenseifner and Gropp, "Optimization of collective communication
operations in MPICH", 2005). Ranks that share cores or memory break its assumption that
transfers do not disturb each other, so hold it against measurements.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class AlphaBeta:
    """A fitted model.

    Attributes:
        alpha: Seconds per message.
        beta: Seconds per byte.
    """

    alpha: float
    beta: float

    def message(self, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds for one message of `size` bytes."""
        return self.alpha + self.beta * np.asarray(size, dtype=np.float64)

    def tree_broadcast(self, ranks: int, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of a broadcast of `size` bytes along a binomial tree."""
        return _rounds(ranks) * self.message(size)

    def broadcast_loop(self, ranks: int, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds when each rank in turn broadcasts `size` bytes."""
        return ranks * self.tree_broadcast(ranks, size)

    def ring_allgather(self, ranks: int, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of a ring Allgather to which each rank gives `size` bytes."""
        return (ranks - 1) * self.message(size)

    def ring_allreduce(self, ranks: int, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of a ring Allreduce of `size` bytes: 2 (p - 1) steps of size/p."""
        return 2 * (ranks - 1) * self.message(np.asarray(size, dtype=np.float64) / ranks)

    def doubling_allreduce(self, ranks: int, size: ArrayLike) -> NDArray[np.float64]:
        """Return the seconds of an Allreduce of `size` bytes by recursive doubling."""
        return _rounds(ranks) * self.message(size)


def _rounds(ranks: int) -> int:
    return math.ceil(math.log2(ranks)) if ranks > 1 else 0


def fit(sizes: ArrayLike, seconds: ArrayLike) -> AlphaBeta:
    """Fit alpha and beta to measured times, by least squares of the relative errors.

    Relative errors, because the times span several powers of ten. Neither number is
    allowed to become negative.

    Args:
        sizes: (k,) bytes.
        seconds: (k,) measured seconds, positive.

    Raises:
        ValueError: Shapes differ, fewer than two different sizes, or a time is not positive.
    """
    from scipy.optimize import nnls

    x, y = np.asarray(sizes, dtype=np.float64), np.asarray(seconds, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"sizes and seconds must have one shape (k,), got {x.shape}, {y.shape}")
    if np.unique(x).size < 2:
        raise ValueError(f"expected at least two different sizes, got {np.unique(x).size}")
    if not (y > 0).all():
        raise ValueError("seconds must be positive")
    scale = max(x.max(), 1.0)  # keeps the two columns within reach of each other
    (alpha, beta), _ = nnls(np.column_stack([1 / y, x / scale / y]), np.ones_like(y))
    return AlphaBeta(float(alpha), float(beta / scale))
