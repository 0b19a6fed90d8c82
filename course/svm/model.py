"""A trained one-against-one SVM: support vectors, coefficients, and prediction with them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from course.svm.kernels import TILE, Kernel
from course.svm.pairs import Solution, agree, class_pairs, in_threads

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

DTYPES: dict[str, np.dtype] = {"single": np.dtype(np.float32), "double": np.dtype(np.float64)}


@dataclass(frozen=True)
class SVMModel:
    """Support vectors of k classes and the k (k - 1) / 2 decision functions on them.

    The layout is libsvm's: support vectors are grouped by class, and a support vector of
    class i has its coefficient against class j in row ``j - 1`` if ``j > i``, else in row
    ``j``.
    """

    kernel: Kernel
    labels: np.ndarray
    """Class labels, shape (k,)."""
    support_vectors: np.ndarray
    """Shape (s, d), float64."""
    n_support: np.ndarray
    """Support vectors of each class, shape (k,), int."""
    coef: np.ndarray
    """``y * alpha``, shape (k - 1, s), float64."""
    rho: np.ndarray
    """Offsets of the pairs, shape (k (k - 1) / 2,), float64."""

    def decision(self, X: np.ndarray, precision: str = "single", threads: int = 1) -> np.ndarray:
        """Return the decision values of all pairs; positive means the first class of the pair.

        Args:
            X: points, shape (n, d).
            precision: ``"single"`` or ``"double"``: dtype of the kernel's matrix products.
            threads: how many threads share the rows of `X`.

        Returns:
            Array of shape (n, k (k - 1) / 2), float64, in the order of libsvm.
        """
        dtype = DTYPES[precision]
        # Moving all points alike does not change rbf, and small numbers lose less to rounding.
        shift = self.shift()
        vectors = (self.support_vectors - shift).astype(dtype)
        coef = self.coef.astype(dtype)
        ends = np.concatenate([[0], np.cumsum(self.n_support)])
        pairs = class_pairs(len(self.labels))
        out = np.empty((len(X), len(pairs)))

        def work(part: slice) -> None:
            points = (X[part] - shift).astype(dtype)
            for start, block in self.kernel.blocks(points, vectors):
                sums = [
                    block[:, low:high] @ coef[:, low:high].T
                    for low, high in zip(ends[:-1], ends[1:], strict=True)
                ]
                rows = out[part][start : start + len(block)]
                for p, (i, j) in enumerate(pairs):
                    rows[:, p] = sums[i][:, j - 1] + sums[j][:, i]
                    rows[:, p] -= self.rho[p]

        in_threads(work, parts(len(X), threads), threads)
        return out

    def shift(self) -> np.ndarray | float:
        """Return a point that may be subtracted from all others without changing the kernel."""
        if self.kernel.name == "rbf" and len(self.support_vectors):
            return self.support_vectors.mean(axis=0)
        return 0.0

    def widened(self, n_features: int) -> "SVMModel":
        """Return the model with zeros for features that no support vector names."""
        missing = n_features - self.support_vectors.shape[1]
        if missing <= 0:
            return self
        return replace(self, support_vectors=np.pad(self.support_vectors, ((0, 0), (0, missing))))

    def predict(self, X: np.ndarray, precision: str = "single", threads: int = 1) -> np.ndarray:
        """Return the label with most votes for each row of `X`; the first of equals wins."""
        return self.labels[vote(self.decision(X, precision, threads), len(self.labels))]


def parts(n: int, threads: int) -> list[slice]:
    """Cut `n` rows into pieces of whole tiles, some for each thread."""
    pieces = max(1, min(4 * threads if threads > 1 else 1, -(-n // TILE)))
    step = -(-n // pieces)
    return [slice(start, min(start + step, n)) for start in range(0, n, max(step, 1))]


def vote(decision: np.ndarray, n_classes: int) -> np.ndarray:
    """Return, for each row of pairwise decision values, the class that wins most pairs."""
    votes = np.zeros((len(decision), n_classes), np.int32)
    for p, (i, j) in enumerate(class_pairs(n_classes)):
        first = decision[:, p] > 0
        votes[:, i] += first
        votes[:, j] += ~first
    return votes.argmax(axis=1)


def one_vs_rest(decision: np.ndarray, n_classes: int) -> np.ndarray:
    """Return one score per class: its votes, with confidences to break ties, as scikit-learn.

    Args:
        decision: pairwise decision values, shape (n, k (k - 1) / 2).
        n_classes: k.
    """
    votes = np.zeros((len(decision), n_classes))
    sums = np.zeros((len(decision), n_classes))
    for p, (i, j) in enumerate(class_pairs(n_classes)):
        sums[:, i] += decision[:, p]
        sums[:, j] -= decision[:, p]
        first = decision[:, p] >= 0
        votes[:, i] += first
        votes[:, j] += ~first
    return votes + sums / (3 * (np.abs(sums) + 1))


def from_solutions(
    kernel: Kernel,
    labels: np.ndarray,
    classes: Sequence[np.ndarray],
    solutions: Sequence[Solution],
) -> tuple[SVMModel, list[np.ndarray]]:
    """Put a model together from the solutions of all pairs.

    Args:
        kernel: of the training.
        labels: class labels, shape (k,).
        classes: points of each class, shape (n_c, d).
        solutions: in the order of `class_pairs`.

    Returns:
        The model, and for each class which of its points are support vectors.
    """
    sizes = [len(points) for points in classes]
    full = [np.zeros((len(classes) - 1, n)) for n in sizes]
    for (i, j), solution in zip(class_pairs(len(classes)), solutions, strict=True):
        full[i][j - 1] = solution.beta[: sizes[i]]
        full[j][i] = solution.beta[sizes[i] :]
    support = [np.flatnonzero((coef != 0).any(axis=0)) for coef in full]
    model = SVMModel(
        kernel=kernel,
        labels=labels,
        support_vectors=np.concatenate(
            [points[where] for points, where in zip(classes, support, strict=True)]
        ).astype(np.float64),
        n_support=np.array([len(where) for where in support], np.int32),
        coef=np.hstack([coef[:, where] for coef, where in zip(full, support, strict=True)]),
        rho=np.array([solution.rho for solution in solutions]),
    )
    return model, support


def decide_on_ranks(
    model: SVMModel, X: np.ndarray, precision: str, threads: int, comm: "Comm | None"
) -> np.ndarray:
    """Return `SVMModel.decision` of `X`, each rank computing a slice of its rows."""
    if comm is None or comm.size == 1:
        return model.decision(X, precision, threads)
    cuts = [len(X) * r // comm.size for r in range(comm.size + 1)]
    mine = X[cuts[comm.rank] : cuts[comm.rank + 1]]
    return np.concatenate(agree(comm, lambda: model.decision(mine, precision, threads)))
