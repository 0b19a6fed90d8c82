"""Sequential minimal optimisation (SMO) of one two-class SVM, compiled by numba.

The dual problem is written in signed variables ``beta = y * alpha``, which are the
coefficients of the decision function::

    minimise   1/2 beta' K beta - y' beta
    subject to sum(beta) = 0  and  lower <= beta <= upper

with the box ``[0, C]`` for the positive class and ``[-C, 0]`` for the negative one. The
gradient is ``F = K beta - y``. Two variables violate optimality when ``beta[i]`` can grow,
``beta[j]`` can fall and ``F[i] < F[j]``; a step moves both by the same amount.

The pair is chosen by second-order information, WSS 2 of Fan, Chen and Lin, "Working set
selection using second order information for training SVM", JMLR 6, 2005. Shrinking follows
Joachims (1999) in the form of libsvm, but packs what stays active into a smaller matrix, so
that the inner loops always run over contiguous memory.
"""

import numpy as np
from numba import njit

from course.svm.rows import LANES, Source, diagonal, fetch, padded

TAU = 1e-12
"""Least curvature along a step, for kernels that are not positive definite (libsvm's)."""

WORTH_SHRINKING = 512
"""Smaller problems are solved before shrinking pays."""

# NaN never occurs here. Infinities do: they mark variables that cannot move.
_FLAGS = {"reassoc", "nnan", "nsz", "contract", "arcp"}


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _advance(
    F: np.ndarray,
    step: float,
    row_i: np.ndarray,
    row_j: np.ndarray,
    grow: np.ndarray,
    fall: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
) -> tuple[int, float, float]:
    """Add ``step * (row_i - row_j)`` to `F`; return the next ``i``, min and max of the gap.

    `grow` is 0 where a variable can grow and +inf elsewhere; `fall` is 0 where it can fall
    and -inf elsewhere. One pass over memory: each lane keeps its own minimum and maximum.
    """
    for k in range(LANES):
        least[k] = np.inf
        most[k] = -np.inf
    for c in range(F.shape[0]):
        f, ri, rj, up, down = F[c], row_i[c], row_j[c], grow[c], fall[c]
        for k in range(LANES):
            value = f[k] + step * (ri[k] - rj[k])
            f[k] = value
            # min and max, not if: only they become vector instructions.
            least[k] = min(least[k], value + up[k])
            most[k] = max(most[k], value + down[k])
    smallest, largest = np.inf, -np.inf
    for k in range(LANES):
        smallest = min(smallest, least[k])
        largest = max(largest, most[k])
    lane = 0
    while lane < LANES - 1 and least[lane] != smallest:
        lane += 1
    for c in range(F.shape[0]):
        if F[c, lane] + grow[c, lane] == smallest:
            return c * LANES + lane, smallest, largest
    return lane, smallest, largest


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _partner(
    F: np.ndarray,
    fall: np.ndarray,
    row_i: np.ndarray,
    diagonal: np.ndarray,
    d_i: float,
    f_i: float,
    gains: np.ndarray,
) -> int:
    """Return the ``j`` whose step together with ``i`` lowers the objective most, or -1."""
    zero, tau, own = gains.dtype.type(0), gains.dtype.type(TAU), gains.dtype.type(d_i)
    for k in range(LANES):
        gains[k] = zero
    for c in range(F.shape[0]):
        f, down, row, d = F[c], fall[c], row_i[c], diagonal[c]
        for k in range(LANES):
            gap = max(gains.dtype.type(f[k] - f_i + down[k]), zero)
            curve = max(own + d[k] - row[k] - row[k], tau)
            gains[k] = max(gains[k], gap * gap / curve)
    best = zero
    for k in range(LANES):
        best = max(best, gains[k])
    lane = 0
    while lane < LANES - 1 and gains[lane] != best:
        lane += 1
    best, j = zero, -1
    for c in range(F.shape[0]):  # anew: rounding may differ from that of vectors
        gap = gains.dtype.type(F[c, lane] - f_i + fall[c, lane])
        if gap > zero:
            curve = max(own + diagonal[c, lane] - row_i[c, lane] - row_i[c, lane], tau)
            gain = gap * gap / curve
            if gain > best:
                best, j = gain, c * LANES + lane
    return j


@njit(nogil=True, cache=True)
def _whole_row(source: Source, rows: np.ndarray, have: np.ndarray, i: int) -> np.ndarray:
    """Return row `i` of the Gram matrix, computed into `rows` on first use."""
    row = rows[i].reshape(-1, LANES)
    if not have[i]:
        fetch(source, i, row)
        have[i] = True
    return row


@njit(nogil=True, cache=True)
def _row(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    active: np.ndarray,
    small: np.ndarray,
    have_small: np.ndarray,
    i: int,
) -> np.ndarray:
    """Return the row of the `i`-th active variable, with the columns of the active ones."""
    if small.shape[0] == 0:  # nothing is shrunk
        return _whole_row(source, rows, have, i)
    target = small[i]
    if not have_small[i]:
        whole = _whole_row(source, rows, have, active[i]).reshape(-1)
        for k in range(active.size):
            target[k] = whole[active[k]]
        target[active.size :] = 0
        have_small[i] = True
    return target.reshape(-1, LANES)


@njit(nogil=True, cache=True)
def _iterate(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    active: np.ndarray,
    small: np.ndarray,
    diagonal: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    beta: np.ndarray,
    F: np.ndarray,
    tol: float,
    max_steps: int,
) -> tuple[int, float, float, bool]:
    """Run up to `max_steps` SMO steps on the active variables, in place.

    Returns the number of steps, the two ends of the gap and whether it is closed.
    """
    n, width = active.size, F.size
    have_small = np.zeros(small.shape[0], np.bool_)
    F = F.reshape(-1, LANES)
    grow = np.full(width, np.inf)
    fall = np.full(width, -np.inf)
    for i in range(n):
        if beta[i] < upper[i]:
            grow[i] = 0.0
        if beta[i] > lower[i]:
            fall[i] = 0.0
    grow_lanes, fall_lanes = grow.reshape(-1, LANES), fall.reshape(-1, LANES)
    diagonal_lanes = diagonal.astype(rows.dtype).reshape(-1, LANES)
    least, most = np.empty(LANES), np.empty(LANES)
    gains = np.empty(LANES, rows.dtype)

    row_i = np.zeros(F.shape, rows.dtype)  # the first step has length 0
    i, smallest, largest = _advance(F, 0.0, row_i, row_i, grow_lanes, fall_lanes, least, most)
    for step in range(max_steps):
        if largest - smallest < tol:
            return step, smallest, largest, True
        row_i = _row(source, rows, have, active, small, have_small, i)
        j = _partner(F, fall_lanes, row_i, diagonal_lanes, diagonal[i], smallest, gains)
        if j < 0:  # what gap there is lies below the resolution of float32
            return step, smallest, largest, True
        row_j = _row(source, rows, have, active, small, have_small, j)
        curve = diagonal[i] + diagonal[j] - 2.0 * float(row_i[j // LANES, j % LANES])
        move = (F[j // LANES, j % LANES] - smallest) / max(curve, TAU)
        room_i, room_j = upper[i] - beta[i], beta[j] - lower[j]
        move = min(move, room_i, room_j)
        beta[i] = upper[i] if move == room_i else beta[i] + move
        beta[j] = lower[j] if move == room_j else beta[j] - move
        grow[i] = np.inf if beta[i] >= upper[i] else 0.0
        fall[i] = 0.0
        grow[j] = 0.0
        fall[j] = -np.inf if beta[j] <= lower[j] else 0.0
        i, smallest, largest = _advance(F, move, row_i, row_j, grow_lanes, fall_lanes, least, most)
    return max_steps, smallest, largest, largest - smallest < tol


@njit(nogil=True, cache=True, fastmath=_FLAGS)
def _add_row(total: np.ndarray, amount: float, row: np.ndarray) -> None:
    """Add ``amount * row`` to `total`, both of shape (pieces, LANES)."""
    for c in range(total.shape[0]):
        out, piece = total[c], row[c]
        for k in range(LANES):
            out[k] += amount * piece[k]


@njit(nogil=True, cache=True)
def _refresh(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    y: np.ndarray,
    beta: np.ndarray,
    F: np.ndarray,
    stale: np.ndarray,
) -> None:
    """Set ``F = K beta - y`` where `stale` is true."""
    total = np.zeros((rows.shape[1] // LANES, LANES))
    for j in range(beta.size):
        if beta[j] != 0.0:
            _add_row(total, beta[j], _whole_row(source, rows, have, j))
    product = total.reshape(-1)
    for k in range(beta.size):
        if stale[k]:
            F[k] = product[k] - y[k]


@njit(nogil=True, cache=True)
def _violation(lower: np.ndarray, upper: np.ndarray, beta: np.ndarray, F: np.ndarray) -> float:
    """Return the largest gradient that can fall minus the least that can grow."""
    smallest, largest = np.inf, -np.inf
    for k in range(beta.size):
        if beta[k] < upper[k]:
            smallest = min(smallest, F[k])
        if beta[k] > lower[k]:
            largest = max(largest, F[k])
    return largest - smallest


@njit(nogil=True, cache=True)
def solve(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    spare: np.ndarray,
    y: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    beta: np.ndarray,
    F: np.ndarray,
    tol: float,
    max_steps: int,
    shrinking: bool,
) -> tuple[int, float]:
    """Solve one two-class problem in place, from any feasible start.

    Args:
        source: a `course.svm.rows.Source` of n points.
        rows: the Gram matrix as far as it is known, shape (n, padded(n)), float32 or float64.
            Problems that differ only in `y` and the bounds may share it.
        have: which rows are known, shape (n,), bool.
        spare: scratch of the same dtype for shrunk problems, at least `spare_size` of n long.
        y: +1.0 or -1.0, shape (n,).
        lower: lower bounds, shape (n,), float64.
        upper: upper bounds, shape (n,), float64.
        beta: start, feasible; holds the solution afterwards, shape (n,), float64.
        F: gradient ``K beta - y`` at the start; at the solution afterwards, float64.
        tol: stop when the largest violation of optimality is below this.
        max_steps: stop after this many steps in any case.
        shrinking: leave variables out that seem to stay at their bounds.

    Returns:
        ``(steps, violation)``: steps taken, and how far the largest gradient of a variable
        that can fall lies above the least of one that can grow. It converged if
        ``violation < tol``.
    """
    n = beta.size
    own = diagonal(source, n)
    active = np.arange(n)
    steps = 0
    interval = max(n, 1000)
    while True:
        m = active.size
        f = np.zeros((m + LANES - 1) // LANES * LANES)
        d = np.ones(f.size)
        f[:m] = F[active]
        d[:m] = own[active]
        few = m if m < n else 0
        small = spare[: few * f.size].reshape(few, f.size)
        b, low, up = beta[active], lower[active], upper[active]
        idle = np.zeros(m, np.bool_)
        while True:
            budget = max_steps - steps
            if shrinking and n >= WORTH_SHRINKING:
                budget = min(budget, interval)
            done, smallest, largest, closed = _iterate(
                source, rows, have, active, small, d, low, up, b, f, tol, budget
            )
            steps += done
            if closed or steps >= max_steps:
                break
            # A variable at a bound is idle when not even the far end of the gap can move it.
            for k in range(m):
                at_upper, at_lower = b[k] >= up[k], b[k] <= low[k]
                idle[k] = (
                    (at_upper and at_lower)
                    or (at_upper and f[k] < smallest)
                    or (at_lower and f[k] > largest)
                )
            if 4 * idle.sum() > m:
                break
        beta[active] = b
        F[active] = f[:m]
        if not closed and steps < max_steps:
            active = active[~idle]
            continue
        if m < n:
            stale = np.ones(n, np.bool_)
            stale[active] = False
            _refresh(source, rows, have, y, beta, F, stale)
            active = np.arange(n)
            interval = min(10 * interval, 2**40)  # too many were left out: be slower to do so again
        if m == n or steps >= max_steps:
            return steps, _violation(lower, upper, beta, F)


def spare_size(n: int) -> int:
    """Return how many numbers of scratch `solve` needs for shrunk problems of `n` points."""
    small = 3 * n // 4 + 1
    return small * padded(small)


@njit(nogil=True, cache=True)
def shift(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    F: np.ndarray,
    which: np.ndarray,
    amounts: np.ndarray,
) -> None:
    """Bring `F` up to date after ``beta[which]`` grew by `amounts`."""
    for a in range(which.size):
        row = _whole_row(source, rows, have, which[a]).reshape(-1)
        amount = amounts[a]
        for k in range(F.size):
            F[k] += amount * row[k]


@njit(nogil=True, cache=True)
def spread(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    beta: np.ndarray,
    F: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    amount: float,
) -> None:
    """Change the sum of `beta` by `-amount`, in place, by steps that cost little.

    Each step moves one variable, the one with the most favourable gradient, as far as its box
    allows, but at most by an eighth of what there is to move or by 0.5.
    """
    sign = -1.0 if amount > 0 else 1.0
    rest = abs(amount)
    portion = max(rest / 8, 0.5)
    while rest > 0.0:
        best, value = -1, np.inf
        for k in range(beta.size):
            room = upper[k] - beta[k] if sign > 0 else beta[k] - lower[k]
            if room > 0.0 and sign * F[k] < value:
                best, value = k, sign * F[k]
        if best < 0:
            return
        room = upper[best] - beta[best] if sign > 0 else beta[best] - lower[best]
        move = min(room, rest, portion)
        beta[best] += sign * move
        if move == room:
            beta[best] = upper[best] if sign > 0 else lower[best]
        rest = rest - move if move < rest else 0.0
        row = _whole_row(source, rows, have, best).reshape(-1)
        for k in range(F.size):
            F[k] += sign * move * row[k]


def offset(beta: np.ndarray, F: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> float:
    """Return ``rho`` of the decision function ``K beta - rho``, as libsvm chooses it.

    The mean of `F` over the free variables; where all are at a bound, the middle of the
    interval that the bounds leave.
    """
    free = (beta > lower) & (beta < upper)
    if free.any():
        return float(F[free].mean())
    grow = F[(beta < upper)]
    fall = F[(beta > lower)]
    ends = [float(grow.min())] * bool(grow.size) + [float(fall.max())] * bool(fall.size)
    return sum(ends) / len(ends)
