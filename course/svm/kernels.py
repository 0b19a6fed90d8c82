"""Kernels of the SVM, evaluated block by block with matrix products.

`Kernel` computes whole blocks for prediction, the decomposition and the grid search;
`course.svm.rows` computes single rows for the solver. Both know libsvm's four kernels::

    linear   u'v                       poly     (gamma u'v + coef0) ** degree
    rbf      exp(-gamma |u - v|**2)    sigmoid  tanh(gamma u'v + coef0)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

NAMES = ("linear", "poly", "rbf", "sigmoid")
"""Kernels by libsvm's number, ``-t``; model files call ``poly`` ``polynomial``."""

TILE = 256
"""Rows per block: a block of some thousand columns then stays in a core's cache."""

LEAST = -60.0
"""Exponents stop here: exp(-60) counts for nothing, and denormal numbers would be slow."""


@dataclass(frozen=True)
class Kernel:
    """A kernel function and its parameters, with libsvm's names."""

    name: str = "rbf"
    gamma: float = 1.0
    degree: int = 3
    coef0: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what is no kernel."""
        if self.name not in NAMES:
            raise ValueError(f"kernel must be one of {NAMES}, got {self.name!r}")
        if self.gamma < 0:
            raise ValueError(f"gamma must not be negative, got {self.gamma}")
        if self.degree < 0 or self.degree != int(self.degree):
            raise ValueError(f"degree must be a whole number >= 0, got {self.degree}")

    @property
    def code(self) -> int:
        """Libsvm's number of the kernel."""
        return NAMES.index(self.name)

    def of_products(self, products: np.ndarray) -> np.ndarray:
        """Turn, in place, dot products into the kernel; for ``rbf``, ``-|u - v|**2``."""
        out = products
        if self.name == "rbf":
            out *= self.gamma
            np.maximum(out, LEAST, out=out)
            np.exp(out, out=out)
        elif self.name == "poly":
            out *= self.gamma
            out += self.coef0
            np.power(out, self.degree, out=out)
        elif self.name == "sigmoid":
            out *= self.gamma
            out += self.coef0
            np.tanh(out, out=out)
        return out

    def __call__(self, A: np.ndarray, B: np.ndarray) -> np.ndarray:
        """Return the kernel of each row of `A`, shape (m, d), with each row of `B`, (n, d).

        Returns:
            Array of shape (m, n) and the dtype of `A`.
        """
        out = np.empty((len(A), len(B)), A.dtype)
        for start, block in self.blocks(A, B):
            out[start : start + len(block)] = block
        return out

    def blocks(self, A: np.ndarray, B: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """Yield ``(start, block)``: the rows of the kernel from `start` on, `TILE` at a time.

        The block is overwritten by the next one.
        """
        right = extended(B, self.name, False)
        buffer = np.empty((min(TILE, max(len(A), 1)), len(B)), A.dtype)
        for start in range(0, len(A), TILE):
            left = extended(A[start : start + TILE], self.name, True)
            block = buffer[: len(left)]
            np.matmul(left, right.T, out=block)
            if self.name == "rbf":
                np.minimum(block, 0, out=block)
            yield start, self.of_products(block)


def extended(X: np.ndarray, kernel: str, left: bool) -> np.ndarray:
    """Return `X`; for ``rbf`` with columns such that a product gives ``-|u - v|**2``.

    ``-|u - v|**2 = [sqrt2 u, -|u|**2, 1] . [sqrt2 v, 1, -|v|**2]``: one matrix product
    instead of three passes over its result.
    """
    if kernel != "rbf":
        return X
    norms = -np.einsum("ij,ij->i", X, X, dtype=np.float64).astype(X.dtype)[:, None]
    ones = np.ones_like(norms)
    pair = (norms, ones) if left else (ones, norms)
    return np.hstack([X * X.dtype.type(np.sqrt(2)), *pair])
