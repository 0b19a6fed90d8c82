"""Cross-validation of one pair of classes: all folds and Cs on one Gram matrix.

The points of a fold that is left out stay in the problem as variables that cannot move: all
folds then use the same rows of the Gram matrix, and the gradient at a left-out point gives
its decision value for nothing.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course.svm import smo
from course.svm.kernels import Kernel
from course.svm.pairs import Scratch, box, class_pairs
from course.svm.rows import LANES, PRECOMPUTED, Source


@dataclass(frozen=True)
class Fold:
    """The points that one fold leaves out, as ascending positions in the sorted set."""

    test: np.ndarray


def stratified(codes: np.ndarray, folds: int) -> list[np.ndarray]:
    """Return the test positions of scikit-learn's `StratifiedKFold`, unshuffled."""
    from sklearn.model_selection import StratifiedKFold

    if folds < 2 or folds > np.bincount(codes).max():
        raise ValueError(
            f"folds must be at least 2 and at most the size of the largest class, got {folds}"
        )
    return [test for _, test in StratifiedKFold(folds).split(codes[:, None], codes)]


@dataclass(frozen=True)
class UnitTask:
    """What all units of one search have in common; points are sorted by class."""

    points: np.ndarray
    """Centred, shape (n, d), float32 or float64."""
    codes: np.ndarray
    """Class of each point, ascending, shape (n,)."""
    starts: np.ndarray
    """Where each class starts; the last entry is n."""
    pairs: list[tuple[int, int]]
    folds: Sequence[Fold]
    Cs: np.ndarray
    """Ascending or not; solved in ascending order, shape (c,)."""
    tol: float

    @classmethod
    def build(
        cls,
        X: np.ndarray,
        codes: np.ndarray,
        n_classes: int,
        folds: Sequence[Fold],
        Cs: np.ndarray,
        tol: float,
    ) -> "UnitTask":
        """Return a task on points sorted by class; float32 where it resolves the largest C."""
        single = np.finfo(np.float32).eps * Cs.max() <= 2 * tol
        points = (X - X.mean(axis=0)).astype(np.float32 if single else np.float64)
        starts = np.searchsorted(codes, np.arange(n_classes + 1))
        return cls(points, codes, starts, class_pairs(n_classes), folds, Cs, tol)

    @property
    def sizes(self) -> np.ndarray:
        """Number of points of each class."""
        return np.diff(self.starts)

    def scratch(self) -> Scratch:
        """Return memory for one thread."""
        return Scratch(self.points.dtype)

    def present(self, fold: Fold) -> np.ndarray:
        """Return which classes have points outside the fold, shape (k,)."""
        left = self.sizes - np.bincount(self.codes[fold.test], minlength=len(self.sizes))
        return left > 0

    def accuracy(self, wins: Sequence[np.ndarray]) -> np.ndarray:
        """Return the mean accuracy over folds for each C.

        Args:
            wins: for each pair, where its first class won, bool of shape (c, n).
        """
        votes = np.zeros((len(self.Cs), len(self.codes), len(self.sizes)), np.int16)
        absent = np.zeros((len(self.codes), len(self.sizes)), bool)
        for fold in self.folds:
            absent[fold.test] = ~self.present(fold)
        for (i, j), won in zip(self.pairs, wins, strict=True):
            taken = ~(absent[:, i] | absent[:, j])
            votes[:, :, i] += won & taken
            votes[:, :, j] += ~won & taken
        votes[:, absent] = -1
        right = votes.argmax(axis=2) == self.codes
        return np.mean([right[:, fold.test].mean(axis=1) for fold in self.folds], axis=0)


def _enlarge(beta: np.ndarray, F: np.ndarray, y: np.ndarray, most: float) -> None:
    """Scale a solution by the factor in [1, `most`] that lowers the objective most, in place.

    With ``a = beta' K beta`` and ``b = y' beta`` the objective of ``s * beta`` is
    ``s**2 a / 2 - s b``, least at ``s = b / a``.
    """
    quadratic, linear = float(beta @ (F + y)), float(y @ beta)
    s = np.clip(linear / quadratic, 1.0, most) if quadratic > 0 else 1.0
    F += y
    F *= s
    F -= y
    beta *= s


def _start(
    source: Source,
    rows: np.ndarray,
    have: np.ndarray,
    beta: np.ndarray,
    F: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    out: np.ndarray,
) -> None:
    """Take the variables `out` away from a solution and make it feasible again, in place.

    What the left-out points carried goes to those that can take it at the least cost: one
    after the other, the one with the least gradient (or largest, to fall).
    """
    moved = out[beta[out] != 0]
    smo.shift(source, rows, have, F, moved, -beta[moved])
    beta[out] = 0.0
    smo.spread(source, rows, have, beta, F, lower, upper, float(beta.sum()))


def solve_unit(
    task: UnitTask, gamma: float, pair: int, gram: np.ndarray | None, scratch: Scratch
) -> tuple[np.ndarray, np.ndarray]:
    """Train one pair for all folds and Cs, and let it vote on every point of its test folds.

    Args:
        task: points, folds and Cs.
        gamma: of the RBF kernel.
        pair: position in ``task.pairs``.
        gram: Gram matrix of all points for this gamma; None to compute the pair's part here.
        scratch: memory of this thread.

    Returns:
        ``(wins, seconds)``: where the first class of the pair won, bool of shape (c, n), each
        point decided by the training that left it out; computing time for each C.
    """
    i, j = task.pairs[pair]
    a, b = slice(*task.starts[i : i + 2]), slice(*task.starts[j : j + 2])
    index = np.r_[a, b].astype(np.int64)
    m, n = len(index), len(task.points)
    tests = [np.flatnonzero(np.isin(index, fold.test)) for fold in task.folds]
    if gram is None:
        columns = Kernel("rbf", gamma)(task.points, task.points[index])
        square, where = np.ascontiguousarray(columns[index]), np.arange(m)
    else:
        columns, square, where = None, gram, index
    empty = np.empty((0, 0, 4, LANES), square.dtype), np.empty((0, LANES), square.dtype)
    source = Source(*empty, square, where, PRECOMPUTED, 0.0, 0.0, 0)
    rows, have, spare = scratch.take(m)

    wins = np.empty((len(task.Cs), n), bool)
    seconds = np.zeros(len(task.Cs))
    y, _, _ = box(a.stop - a.start, b.stop - b.start, (1.0, 1.0))
    whole_beta, whole_F = np.zeros(m), -y
    # A solution with no variable at C is the solution for every larger C as well.
    settled, whole_settled = np.zeros(len(tests), bool), False
    before = -1
    for c in np.argsort(task.Cs, kind="stable"):
        begin = time.perf_counter()
        C = float(task.Cs[c])
        _, lower, upper = box(a.stop - a.start, b.stop - b.start, (C, C))
        if before >= 0:
            wins[c] = wins[before]
            if not whole_settled:
                _enlarge(whole_beta, whole_F, y, C / float(task.Cs[before]))
                np.clip(whole_beta, lower, upper, out=whole_beta)
        before = c
        if not whole_settled and not settled.all():
            smo.solve(
                source, rows, have, spare, y, lower, upper, whole_beta, whole_F, task.tol,
                2**62, True,
            )  # fmt: skip
            whole_settled = bool((np.abs(whole_beta) < C).all())
        open_folds = np.flatnonzero(~settled)
        coef, rho = np.zeros((len(open_folds), m), square.dtype), np.zeros(len(open_folds))
        for k, f in enumerate(open_folds):
            beta, F = whole_beta.copy(), whole_F.copy()
            low, up = lower.copy(), upper.copy()
            low[tests[f]] = up[tests[f]] = 0.0
            if (up > 0).any() and (low < 0).any():
                _start(source, rows, have, beta, F, low, up, tests[f])
                smo.solve(source, rows, have, spare, y, low, up, beta, F, task.tol, 2**62, True)
                coef[k], rho[k] = beta, smo.offset(beta, F, low, up)
            settled[f] = bool((np.abs(beta) < C).all())
        if columns is None:  # whole rows of both classes: no copies
            first = a.stop - a.start
            decision = coef[:, :first] @ square[a] + coef[:, first:] @ square[b]
        else:
            decision = coef @ columns.T
        for k, f in enumerate(open_folds):
            test = task.folds[f].test
            wins[c, test] = decision[k, test] > rho[k]
        seconds[c] = time.perf_counter() - begin
    return wins, seconds
