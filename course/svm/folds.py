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

UNSURE = 2
"""A decision nearer to 0 than this many tolerances may have the wrong sign."""

FINER = 100
"""By how much the tolerance is then divided."""


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


@dataclass
class _State:
    """A solution and its gradient, from which the next one starts."""

    beta: np.ndarray
    """Signed dual coefficients of the pair's points, shape (m,), float64."""
    F: np.ndarray
    """Gradient ``K beta - y``, shape (m,), float64."""

    def enlarged(self, y: np.ndarray, most: float) -> "_State":
        """Return the solution times the factor in [1, `most`] that lowers the objective most.

        With ``a = beta' K beta`` and ``b = y' beta`` the objective of ``s * beta`` is
        ``s**2 a / 2 - s b``, least at ``s = b / a``.
        """
        quadratic, linear = float(self.beta @ (self.F + y)), float(y @ self.beta)
        s = np.clip(linear / quadratic, 1.0, most) if quadratic > 0 else 1.0
        return _State(s * self.beta, s * (self.F + y) - y)


@dataclass(frozen=True)
class _Trained:
    """What one fold and one C gave."""

    c: int
    fold: int
    beta: np.ndarray
    """In the precision of the Gram matrix, shape (m,)."""
    rho: float
    own: np.ndarray
    """``K beta`` at the left-out points of the pair."""


class _Pair:
    """One pair of classes and its Gram matrix, on which all folds and Cs are trained."""

    def __init__(
        self, task: UnitTask, gamma: float, pair: int, gram: np.ndarray | None, scratch: Scratch
    ) -> None:
        """Prepare; the arguments are those of `solve_unit`."""
        i, j = task.pairs[pair]
        self.first, self.second = slice(*task.starts[i : i + 2]), slice(*task.starts[j : j + 2])
        self.index = np.r_[self.first, self.second].astype(np.int64)
        m = len(self.index)
        self.sizes = int(task.sizes[i]), int(task.sizes[j])
        self.y, _, _ = box(*self.sizes, (1.0, 1.0))
        self.tol, self.gram = task.tol, gram
        self.columns = np.empty((0, 0))  # of the Gram matrix, where there is no whole one
        if gram is None:
            self.columns = Kernel("rbf", gamma)(task.points, task.points[self.index])
            square, where = np.ascontiguousarray(self.columns[self.index]), np.arange(m)
        else:
            square, where = gram, self.index
        self.dtype = square.dtype
        nothing = np.empty((0, 0, 4, LANES), square.dtype), np.empty((0, LANES), square.dtype)
        source = Source(*nothing, square, where, PRECOMPUTED, 0.0, 0.0, 0)
        rows, have, self._spare = scratch.take(m)
        self._rows = source, rows, have

    def bounds(self, C: float, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return lower and upper bounds, all 0 for the left-out positions `out`."""
        _, lower, upper = box(*self.sizes, (C, C))
        lower[out] = upper[out] = 0.0
        return lower, upper

    def train(self, state: _State, lower: np.ndarray, upper: np.ndarray, tol: float) -> None:
        """Bring `state` to the solution, in place."""
        arguments = self.y, lower, upper, state.beta, state.F
        smo.solve(*self._rows, self._spare, *arguments, tol, 2**62, True)

    def feasible(self, state: _State, lower: np.ndarray, upper: np.ndarray) -> _State:
        """Return `state` moved into the box and to sum 0.

        What does not fit, all that left-out points carry in any case, goes to those that can
        take it at the least cost: the ones with the least gradient (or largest, to fall).
        """
        beta, F = np.clip(state.beta, lower, upper), state.F.copy()
        moved = np.flatnonzero(beta != state.beta)
        smo.shift(*self._rows, F, moved, beta[moved] - state.beta[moved])
        smo.spread(*self._rows, beta, F, lower, upper, float(beta.sum()))
        return _State(beta, F)

    def train_fold(
        self, state: _State, lower: np.ndarray, upper: np.ndarray, out: np.ndarray
    ) -> float:
        """Train without the points `out`, in place; return the offset of the decision.

        Where the tolerance leaves open on which side of the boundary a left-out point lies,
        the training goes on: the vote is then that of the exact solution.
        """
        self.train(state, lower, upper, self.tol)
        rho = smo.offset(state.beta, state.F, lower, upper)
        distance = np.abs((state.F + self.y)[out] - rho)
        if distance.min(initial=np.inf) < UNSURE * self.tol:
            self.train(state, lower, upper, self.tol / FINER)
            rho = smo.offset(state.beta, state.F, lower, upper)
        return rho

    def decisions(self, test: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """Return ``K beta`` at any points `test`, shape (t,), for `betas` (k, m): (k, t)."""
        if self.gram is None:
            return betas @ self.columns[test].T
        cut = self.sizes[0]
        return (
            betas[:, :cut] @ self.gram[test, self.first].T
            + betas[:, cut:] @ self.gram[test, self.second].T
        )


def _train_all(
    pair: _Pair, Cs: np.ndarray, tests: list[np.ndarray]
) -> tuple[list[_Trained], np.ndarray]:
    """Train each fold for each C, in the order of C, as long as C changes the solution.

    Returns:
        The trainings, and the computing time for each C.
    """
    whole = _State(np.zeros(len(pair.y)), -pair.y)
    folds = [whole] * len(tests)
    # A solution with no variable at C is the solution for every larger C as well.
    settled, whole_settled = np.zeros(len(tests), bool), False
    found, seconds, nobody = [], np.zeros(len(Cs)), np.empty(0, np.int64)
    last = None
    for c in np.argsort(Cs, kind="stable"):
        begin, C = time.perf_counter(), float(Cs[c])
        before = whole
        if not whole_settled and not settled.all():
            lower, upper = pair.bounds(C, nobody)
            if last is not None:
                whole = whole.enlarged(pair.y, C / last)
            whole = pair.feasible(whole, lower, upper)
            pair.train(whole, lower, upper, pair.tol)
            whole_settled = bool((np.abs(whole.beta) < C).all())
        for f in np.flatnonzero(~settled):
            lower, upper = pair.bounds(C, tests[f])
            rho = 0.0
            if (upper > 0).any() and (lower < 0).any():
                # What leaving the fold out changed for the last C, it will about change again.
                change = folds[f].beta - before.beta, folds[f].F - before.F
                start = _State(whole.beta + change[0], whole.F + change[1])
                folds[f] = pair.feasible(start, lower, upper)
                rho = pair.train_fold(folds[f], lower, upper, tests[f])
            beta, own = folds[f].beta, (folds[f].F + pair.y)[tests[f]]
            found.append(_Trained(int(c), int(f), beta.astype(pair.dtype), rho, own))
            settled[f] = bool((np.abs(beta) < C).all())
        seconds[c], last = time.perf_counter() - begin, C
    return found, seconds


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
    begin = time.perf_counter()
    problem = _Pair(task, gamma, pair, gram, scratch)
    tests = [np.flatnonzero(np.isin(problem.index, fold.test)) for fold in task.folds]
    trained, seconds = _train_all(problem, task.Cs, tests)

    wins = np.empty((len(task.Cs), len(task.points)), bool)
    order = np.argsort(task.Cs, kind="stable").tolist()
    for f, fold in enumerate(task.folds):
        mine = [one for one in trained if one.fold == f]
        decisions = problem.decisions(fold.test, np.array([one.beta for one in mine]))
        for one, values in zip(mine, decisions, strict=True):
            for c in order[order.index(one.c) :]:  # it counts until a larger C was trained
                wins[c, fold.test] = values > one.rho
                wins[c, problem.index[tests[f]]] = one.own > one.rho  # summed in float64
    shared = time.perf_counter() - begin - seconds.sum()
    return wins, seconds + shared / len(seconds)
