"""What scikit-learn asks of a clustering estimator, without importing scikit-learn.

Its developers' guide allows this ("duck typing"). Its base classes bring in most of SciPy: 70 MB
on every rank, and a second of start-up, for four short methods. Where a rank's rows are not a plain
array of floats, scikit-learn is imported after all: it knows best what to say to lists and frames.
"""

import inspect
from typing import Any

import numpy as np

PLAIN = (np.ndarray, np.memmap)
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class Clusterer:
    """Parameters as scikit-learn wants them: those of ``__init__``, stored under their names."""

    n_features_in_: int
    labels_: np.ndarray

    @classmethod
    def _names(cls) -> list[str]:
        return sorted(name for name in inspect.signature(cls.__init__).parameters if name != "self")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; `deep` changes nothing, for none is an estimator."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **parameters: Any) -> Any:
        """Change some parameters; return the estimator.

        Raises:
            ValueError: there is none of that name.
        """
        for name, value in parameters.items():
            if name not in self._names():
                raise ValueError(
                    f"Invalid parameter {name!r} for estimator {self}. "
                    f"Valid parameters are: {self._names()}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the call that makes such an estimator, without what is as by default."""
        usual = inspect.signature(type(self).__init__).parameters
        given = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if value is not usual[name].default and repr(value) != repr(usual[name].default)
        ]
        return f"{type(self).__name__}({', '.join(given)})"

    def __sklearn_tags__(self) -> Any:
        """Return what this estimator can take, for scikit-learn."""
        from sklearn.utils import InputTags, Tags, TargetTags

        return Tags(
            estimator_type="clusterer",
            target_tags=TargetTags(required=False),
            input_tags=InputTags(),
        )

    def fit_predict(self, X: Any, y: None = None) -> np.ndarray:
        """Do `fit`; return `labels_`."""
        return self.fit(X).labels_  # type: ignore[attr-defined]


def check_rows(estimator: Clusterer, X: Any) -> np.ndarray:
    """Return X in C order, as float32 if it has that type, else as float64.

    Raises:
        ValueError: X does not have two dimensions, rows and columns, or not all of it is finite.
        TypeError: X is not made of numbers.
    """
    if type(X) in PLAIN and X.dtype in FLOATS and X.ndim == 2 and X.size:
        # NaN is the least and the greatest of everything; and this needs no memory.
        if np.isfinite(X.min()) and np.isfinite(X.max()):
            estimator.n_features_in_ = X.shape[1]
            if hasattr(estimator, "feature_names_in_"):
                del estimator.feature_names_in_  # of an earlier fit
            return np.ascontiguousarray(X).view(np.ndarray)
    from sklearn.utils.validation import validate_data

    return validate_data(
        estimator, X, dtype=(np.float64, np.float32), order="C", ensure_min_samples=1
    )
