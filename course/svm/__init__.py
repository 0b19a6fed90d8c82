"""Parallel support vector machines: `ParallelSVC`, its model files and its grid search.

Read in this order: `rows` and `smo` (one small problem), `pairs` (many of them, on threads
and ranks), `decomposition` (one large problem on all ranks), `model` (prediction),
`estimator`, then `data_files`, `model_files` and `cli` (libsvm's formats, piSVM's commands)
and `grid` (model selection).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from course.svm.estimator import ParallelSVC

__all__ = ["ParallelSVC"]


def __getattr__(name: str) -> Any:
    # scikit-learn and numba take a second to load: only who needs them waits for them.
    if name == "ParallelSVC":
        from course.svm.estimator import ParallelSVC

        return ParallelSVC
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
