"""Rows of a Gram matrix, computed one by one when the solver first asks for them.

An SVM needs only the rows of the points that it moves, often a fraction of all. The points
are packed so that one pass of vector instructions handles `LANES` of them.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

LANES = 64
"""Vectors are cut into pieces of this length; a constant inner loop compiles to SIMD code."""

FEATURES = 4
"""Features are handled by this many at a time, which saves loads and stores of the sums."""

LINEAR, POLY, RBF, SIGMOID, PRECOMPUTED = range(5)
"""Kernel codes: libsvm's ``-t``."""

_FLAGS = {"reassoc", "nnan", "nsz", "contract", "arcp"}
_LOG2E = np.float32(1.4426950408889634)
_LN2_HIGH = np.float32(0.693145751953125)
_LN2_LOW = np.float32(1.4286067653302e-06)
_LEAST = np.float32(-60.0)  # exp(-60) is 0 for float32 sums; denormal numbers are slow


def padded(n: int) -> int:
    """Return `n` rounded up to a multiple of `LANES`."""
    return -(-n // LANES) * LANES


class Source(NamedTuple):
    """Where the rows of one problem of n points come from.

    Either from packed points or, where `kernel` is `PRECOMPUTED`, from a Gram matrix that
    several problems share; the other part is then empty.
    """

    packed: np.ndarray
    """Points, shape (pieces, features / FEATURES, FEATURES, LANES), float32 or float64."""
    norms: np.ndarray
    """Squared norms of the points, shape (pieces, LANES)."""
    gram: np.ndarray
    """Symmetric Gram matrix, C-contiguous."""
    where: np.ndarray
    """Which rows and columns of `gram` make up the problem, shape (n,), int64."""
    kernel: int
    """`LINEAR`, `POLY`, `RBF`, `SIGMOID` or `PRECOMPUTED`."""
    gamma: float
    coef0: float
    degree: int


@njit(nogil=True, cache=True)
def pack(X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the points and squared norms of `X`, shape (n, d), packed as in `Source`."""
    n, d = X.shape
    pieces = (n + LANES - 1) // LANES
    packed = np.zeros((pieces, (d + FEATURES - 1) // FEATURES, FEATURES, LANES), X.dtype)
    norms = np.zeros((pieces, LANES), X.dtype)
    for i in range(n):
        c, lane = i // LANES, i % LANES
        total = 0.0
        for f in range(d):
            packed[c, f // FEATURES, f % FEATURES, lane] = X[i, f]
            total += float(X[i, f]) ** 2
        norms[c, lane] = total
    return packed, norms


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _dot_products(packed: np.ndarray, i: int, row: np.ndarray) -> None:
    """Set `row`, of shape (pieces, LANES), to the dot products of point `i` with all points."""
    mine, lane = packed[i // LANES], i % LANES
    for c in range(packed.shape[0]):
        piece, out = packed[c], row[c]
        for k in range(LANES):
            out[k] = 0
        for g in range(piece.shape[0]):
            block = piece[g]
            x0, x1, x2, x3 = mine[g, 0, lane], mine[g, 1, lane], mine[g, 2, lane], mine[g, 3, lane]
            for k in range(LANES):
                out[k] += (x0 * block[0, k] + x1 * block[1, k]) + (
                    x2 * block[2, k] + x3 * block[3, k]
                )


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _exponential(out: np.ndarray, bits: np.ndarray, scale: np.ndarray) -> None:
    """Replace each ``x <= 0`` of the float32 piece `out` by ``exp(x)``, error below 2e-7.

    ``exp(x) = 2**n * exp(r)`` with whole ``n``; the power of two is written into the
    exponent bits of `scale`, a float32 view of the int32 array `bits`.
    """
    for k in range(LANES):
        x = out[k] if out[k] > _LEAST else _LEAST
        n = np.int32(x * _LOG2E - np.float32(0.5))
        whole = np.float32(n)
        r = (x - whole * _LN2_HIGH) - whole * _LN2_LOW
        p = np.float32(1 / 720)
        p = p * r + np.float32(1 / 120)
        p = p * r + np.float32(1 / 24)
        p = p * r + np.float32(1 / 6)
        p = p * r + np.float32(1 / 2)
        p = p * r + np.float32(1)
        out[k] = p * r + np.float32(1)
        bits[k] = (n + np.int32(127)) << np.int32(23)
    for k in range(LANES):
        out[k] *= scale[k]


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _radial(norms: np.ndarray, gamma: float, i: int, row: np.ndarray) -> None:
    """Turn dot products into ``exp(-gamma * |x_i - x_k|**2)``."""
    two, g, own = row.dtype.type(2), row.dtype.type(gamma), norms[i // LANES, i % LANES]
    zero = row.dtype.type(0)
    bits = np.empty(LANES, np.int32)
    scale = bits.view(np.float32)
    for c in range(row.shape[0]):
        out, norm = row[c], norms[c]
        for k in range(LANES):
            x = g * (two * out[k] - (own + norm[k]))
            out[k] = x if x < zero else zero
        if row.itemsize == 4:
            _exponential(out, bits, scale)
        else:
            for k in range(LANES):
                out[k] = math.exp(out[k])


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _polynomial(gamma: float, coef0: float, degree: int, row: np.ndarray) -> None:
    """Turn dot products into ``(gamma * product + coef0) ** degree``."""
    g, r = row.dtype.type(gamma), row.dtype.type(coef0)
    base = np.empty(LANES, row.dtype)
    for c in range(row.shape[0]):
        out = row[c]
        for k in range(LANES):
            base[k] = g * out[k] + r
            out[k] = 1
        for _ in range(degree):
            for k in range(LANES):
                out[k] *= base[k]


@njit(nogil=True, cache=True)
def _sigmoid(gamma: float, coef0: float, row: np.ndarray) -> None:
    """Turn dot products into ``tanh(gamma * product + coef0)``."""
    for c in range(row.shape[0]):
        for k in range(LANES):
            row[c, k] = math.tanh(gamma * row[c, k] + coef0)


@njit(nogil=True, cache=True)
def fetch(source: Source, i: int, row: np.ndarray) -> None:
    """Set `row`, of shape (pieces, LANES), to the kernel of point `i` with all points.

    Lanes beyond the last point hold values that mean nothing.
    """
    if source.kernel == PRECOMPUTED:
        line, flat, where = source.gram[source.where[i]], row.reshape(-1), source.where
        for k in range(where.size):
            flat[k] = line[where[k]]
        flat[where.size :] = 0
        return
    _dot_products(source.packed, i, row)
    if source.kernel == RBF:
        _radial(source.norms, source.gamma, i, row)
    elif source.kernel == POLY:
        _polynomial(source.gamma, source.coef0, source.degree, row)
    elif source.kernel == SIGMOID:
        _sigmoid(source.gamma, source.coef0, row)


@njit(nogil=True, cache=True)
def diagonal(source: Source, n: int) -> np.ndarray:
    """Return the kernel of each of the `n` points with itself, float64, padded with ones."""
    out = np.ones((n + LANES - 1) // LANES * LANES)
    for i in range(n):
        norm = 1.0
        if source.kernel == PRECOMPUTED:
            norm = float(source.gram[source.where[i], source.where[i]])
        elif source.kernel != RBF:
            norm = float(source.norms[i // LANES, i % LANES])
        if source.kernel == POLY:
            norm = (source.gamma * norm + source.coef0) ** source.degree
        elif source.kernel == SIGMOID:
            norm = math.tanh(source.gamma * norm + source.coef0)
        out[i] = norm
    return out
