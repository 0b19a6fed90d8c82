"""`ParallelSVC`: a scikit-learn classifier that trains and predicts on threads and MPI ranks."""

import warnings
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)
from threadpoolctl import threadpool_limits

from course.processes import cores
from course.svm.kernels import NAMES, Kernel
from course.svm.model import DTYPES, decide_on_ranks, from_solutions, one_vs_rest, vote
from course.svm.pairs import Settings, train_pairs

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


def precision_for(kernel: Kernel, X: np.ndarray, C: float, tol: float) -> str:
    """Return ``"single"`` where float32 resolves ``C * k(x, x)`` to about `tol`."""
    norms = np.einsum("ij,ij->i", X, X)
    largest = 1.0
    if kernel.name in ("linear", "poly"):
        largest = float(norms.max())
    if kernel.name == "poly":
        largest = (kernel.gamma * largest + abs(kernel.coef0)) ** kernel.degree
    return "single" if np.finfo(np.float32).eps * C * largest <= 2 * tol else "double"


class ParallelSVC(ClassifierMixin, BaseEstimator):
    """C-support vector classification, one class against one other, in parallel.

    Objective and predictions are those of libsvm, hence of `sklearn.svm.SVC`, within `tol`,
    on every number of ranks. There is no `predict_proba`: wrap the estimator in
    `sklearn.calibration.CalibratedClassifierCV` for probabilities, which scikit-learn
    recommends for its own SVC too.

    Args:
        C: penalty of a point on the wrong side of the margin, > 0.
        kernel: ``"linear"``, ``"poly"``, ``"rbf"`` or ``"sigmoid"``.
        gamma: width of the kernel, or ``"scale"``, 1 / (features * variance of X), or
            ``"auto"``, 1 / features.
        degree: of the polynomial.
        coef0: constant of polynomial and sigmoid.
        tol: largest violation of optimality that training leaves.
        class_weight: factors of `C` per class: a dict, ``"balanced"`` or None.
        max_iter: steps per pair of classes, -1 for no limit.
        shrinking: leave points out that seem settled.
        decision_function_shape: ``"ovr"`` or ``"ovo"``, as scikit-learn.
        precision: ``"single"`` computes the kernel in float32 and sums in float64;
            ``"double"`` computes all in float64, at half the speed; ``"auto"`` takes single
            where its rounding, times the largest ``C * k(x, x)``, stays near `tol`.
        cache_size: megabytes that each rank may spend on kept rows of Gram matrices.
        n_jobs: threads per rank; None: all cores without `comm`, one with it; -1: all cores.
        working_set: variables of a subproblem where ranks share one pair (piSVM's ``-o``).
        new_per_step: of which at most so many are new (piSVM's ``-q``).
        decompose_from: ranks share a pair of so many points; smaller pairs go to one rank.
            A pair whose rows do not fit into `cache_size` is decomposed in any case.
        comm: an MPI communicator. All its ranks call `fit`, `predict` and
            `decision_function` with the same data, and all get the same result.

    Attributes:
        classes_: labels, shape (k,).
        support_: positions of the support vectors in the training set, grouped by class.
        support_vectors_: shape (s, d), float64.
        n_support_: support vectors of each class, shape (k,).
        dual_coef_: shape (k - 1, s); for two classes positive means the second, as in SVC.
        intercept_: shape (k (k - 1) / 2,).
        n_iter_: steps of each pair.
        objective_: dual objective of each pair.
        precision_: ``"single"`` or ``"double"``, as used.
        model_: the `course.svm.model.SVMModel`, in libsvm's convention of signs.

    References:
        Cortes and Vapnik, "Support-vector networks", Machine Learning 20, 1995.
        Fan, Chen and Lin, "Working set selection using second order information for training
        support vector machines", JMLR 6, 2005.
    """

    def __init__(
        self,
        C: float = 1.0,
        kernel: str = "rbf",
        gamma: float | str = "scale",
        degree: int = 3,
        coef0: float = 0.0,
        tol: float = 1e-3,
        class_weight: dict | str | None = None,
        max_iter: int = -1,
        shrinking: bool = True,
        decision_function_shape: str = "ovr",
        precision: str = "auto",
        cache_size: float = 1000,
        n_jobs: int | None = None,
        working_set: int = 1024,
        new_per_step: int = 512,
        decompose_from: int = 20_000,
        comm: "Comm | None" = None,
    ) -> None:
        """Keep the parameters; `fit` checks them."""
        self.C = C
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.tol = tol
        self.class_weight = class_weight
        self.max_iter = max_iter
        self.shrinking = shrinking
        self.decision_function_shape = decision_function_shape
        self.precision = precision
        self.cache_size = cache_size
        self.n_jobs = n_jobs
        self.working_set = working_set
        self.new_per_step = new_per_step
        self.decompose_from = decompose_from
        self.comm = comm

    def _threads(self) -> int:
        if self.n_jobs is None:
            return cores() if self.comm is None or self.comm.size == 1 else 1
        if self.n_jobs == -1:
            return cores()
        if self.n_jobs < 1:
            raise ValueError(f"n_jobs must be None, -1 or at least 1, got {self.n_jobs}")
        return int(self.n_jobs)

    def _check(self) -> None:
        for name in ("C", "tol", "cache_size"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name, known in (
            ("kernel", NAMES),
            ("precision", ("auto", *DTYPES)),
            ("decision_function_shape", ("ovr", "ovo")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {known}, got {getattr(self, name)!r}")
        if isinstance(self.gamma, str) and self.gamma not in ("scale", "auto"):
            raise ValueError(f"gamma must be a number, 'scale' or 'auto', got {self.gamma!r}")
        if self.max_iter < -1 or self.max_iter == 0:
            raise ValueError(f"max_iter must be -1 or positive, got {self.max_iter}")
        for name in ("working_set", "new_per_step"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")

    def _gamma(self, X: np.ndarray) -> float:
        if self.gamma == "scale":
            variance = float(X.var())
            return 1.0 / (X.shape[1] * variance) if variance > 0 else 1.0
        return 1.0 / X.shape[1] if self.gamma == "auto" else float(self.gamma)

    def _settings(self, kernel: Kernel) -> Settings:
        return Settings(
            kernel=kernel,
            tol=self.tol,
            max_steps=2**62 if self.max_iter == -1 else self.max_iter,
            shrinking=bool(self.shrinking),
            cache_bytes=int(self.cache_size * 2**20),
            threads=self._threads(),
            working_set=self.working_set,
            new_per_step=self.new_per_step,
            decompose_from=self.decompose_from,
        )

    def _same_everywhere(self, *arrays: np.ndarray) -> None:
        """Raise on every rank if ranks were called with different data or parameters."""
        if self.comm is None or self.comm.size == 1:
            return
        parameters = {k: v for k, v in self.get_params().items() if k != "comm"}
        mark = zlib.crc32(repr(sorted(parameters.items())).encode())
        for array in arrays:
            data = array if array.dtype != object else np.array([repr(v) for v in array])
            mark = zlib.crc32(np.ascontiguousarray(data).tobytes(), mark)
        marks = self.comm.allgather((mark, [array.shape for array in arrays]))
        odd = [rank for rank, found in enumerate(marks) if found != marks[0]]
        if odd:
            raise ValueError(
                "all ranks must call with the same data and parameters; "
                f"ranks {odd} differ from rank 0 (shapes {marks[odd[0]][1]} and {marks[0][1]})"
            )

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "ParallelSVC":
        """Train on `X`, shape (n, d), with labels `y`, shape (n,).

        Args:
            X: points.
            y: labels.
            sample_weight: factors of `C` per point, shape (n,), not negative, or None. As in
                `sklearn.svm.SVC`, a point with weight 0 is left out of training, but counts
                for ``gamma="scale"`` and ``class_weight="balanced"``.

        Raises:
            ValueError: a parameter is out of range, `X`, `y` or `sample_weight` is not numeric
                data of matching shape, there is one class only, a class has no point of
                positive weight, or ranks got different data.
        """
        self._check()
        X, y = validate_data(self, X, y, dtype=np.float64, accept_sparse=False, order="C")
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"expected at least two classes in y, got 1 class: {self.classes_[0]!r}"
            )
        importance = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
        self._same_everywhere(X, y, importance)
        weights = compute_class_weight(self.class_weight, classes=self.classes_, y=y)
        kernel = Kernel(self.kernel, self._gamma(X), self.degree, self.coef0)
        settings = self._settings(kernel)

        members = [
            np.flatnonzero((codes == c) & (importance > 0)) for c in range(len(self.classes_))
        ]
        for label, where in zip(self.classes_, members, strict=True):
            if not len(where):
                raise ValueError(
                    f"expected a point of positive sample_weight in every class, got none of "
                    f"class {label!r}"
                )
        penalties = [
            self.C * weight * importance[where]
            for weight, where in zip(weights, members, strict=True)
        ]
        shift = X.mean(axis=0) if self.kernel == "rbf" else 0.0
        self.precision_ = self.precision
        if self.precision == "auto":
            largest = max(float(penalty.max()) for penalty in penalties)
            self.precision_ = precision_for(kernel, X, largest, self.tol)
        points = (X - shift).astype(DTYPES[self.precision_])
        classes = [points[where] for where in members]
        with threadpool_limits(1, user_api="blas"):
            solutions = train_pairs(classes, penalties, settings, self.comm)
        originals = [X[where] for where in members]
        self.model_, support = from_solutions(kernel, self.classes_, originals, solutions)

        self.class_weight_ = weights
        self.support_ = np.concatenate(
            [where[chosen] for where, chosen in zip(members, support, strict=True)]
        )
        self.n_iter_ = np.array([solution.steps for solution in solutions])
        self.objective_ = np.array([solution.objective for solution in solutions])
        self._gamma_ = kernel.gamma
        late = sum(s.steps >= settings.max_steps and s.violation >= self.tol for s in solutions)
        self.fit_status_ = int(late > 0)
        if late:
            warnings.warn(
                f"{late} of {len(solutions)} pairs stopped at max_iter={self.max_iter} before "
                "they converged; scale the data or raise max_iter",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @property
    def support_vectors_(self) -> np.ndarray:
        """Support vectors, shape (s, d), grouped by class."""
        return self.model_.support_vectors

    @property
    def n_support_(self) -> np.ndarray:
        """Number of support vectors of each class, shape (k,)."""
        return self.model_.n_support

    @property
    def dual_coef_(self) -> np.ndarray:
        """Coefficients of the support vectors, shape (k - 1, s)."""
        return self.model_.coef * self._sign

    @property
    def intercept_(self) -> np.ndarray:
        """Constants of the decision functions, shape (k (k - 1) / 2,)."""
        return -self.model_.rho * self._sign

    @property
    def _sign(self) -> int:
        return -1 if len(self.classes_) == 2 else 1

    def _pairwise(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, accept_sparse=False, reset=False)
        self._same_everywhere(X)
        with threadpool_limits(1, user_api="blas"):
            return decide_on_ranks(self.model_, X, self.precision_, self._threads(), self.comm)

    def decision_function(self, X: Any) -> np.ndarray:
        """Return decision values of the rows of `X`, shape (n, d).

        Returns:
            Shape (n,) for two classes, where positive means ``classes_[1]``; else (n, k) for
            ``"ovr"`` or (n, k (k - 1) / 2) for ``"ovo"``.
        """
        pairwise = self._pairwise(X)
        if len(self.classes_) == 2:
            return -pairwise[:, 0]
        if self.decision_function_shape == "ovo":
            return pairwise
        return one_vs_rest(pairwise, len(self.classes_))

    def predict(self, X: Any) -> np.ndarray:
        """Return the label with most votes among pairs, for each row of `X`, shape (n, d)."""
        pairwise = self._pairwise(X)
        return self.classes_[vote(pairwise, len(self.classes_))]
