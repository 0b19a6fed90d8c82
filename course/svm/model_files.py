"""Models in libsvm's text format: libsvm reads what we write, and we read what it writes.

Only C-SVC models, ``svm_type c_svc``, with numeric labels; libsvm stores no others of ours.
"""

import os
from pathlib import Path

import numpy as np

from course.svm.data_files import FormatError, atomic
from course.svm.kernels import Kernel
from course.svm.model import SVMModel

_KERNELS = {"linear": "linear", "polynomial": "poly", "rbf": "rbf", "sigmoid": "sigmoid"}


def _numbers(values: np.ndarray) -> str:
    return " ".join(f"{value:.17g}" for value in values)


def save(model: SVMModel, path: str | os.PathLike) -> None:
    """Write `model` to a file that libsvm's ``svm-predict`` reads.

    Raises:
        ValueError: a label is not a whole number, which libsvm's models require.
    """
    labels = np.asarray(model.labels)
    if labels.dtype.kind not in "iuf" or (labels != np.round(labels)).any():
        raise ValueError(f"libsvm's model files need whole numbers as labels, got {labels}")
    k, kernel = len(labels), model.kernel
    with atomic(path) as file:
        name = "polynomial" if kernel.name == "poly" else kernel.name
        file.write(f"svm_type c_svc\nkernel_type {name}\n")
        if kernel.name == "poly":
            file.write(f"degree {kernel.degree:d}\n")
        if kernel.name != "linear":
            file.write(f"gamma {kernel.gamma:.17g}\n")
        if kernel.name in ("poly", "sigmoid"):
            file.write(f"coef0 {kernel.coef0:.17g}\n")
        file.write(f"nr_class {k}\ntotal_sv {len(model.support_vectors)}\n")
        file.write(f"rho {_numbers(model.rho)}\n")
        file.write("label " + " ".join(f"{label:d}" for label in labels.astype(int)) + "\n")
        file.write("nr_sv " + " ".join(str(n) for n in model.n_support) + "\nSV\n")
        for coef, vector in zip(model.coef.T, model.support_vectors, strict=True):
            used = np.flatnonzero(vector)
            words = [f"{c:.17g}" for c in coef]
            words += [f"{f + 1}:{vector[f]:.17g}" for f in used]
            file.write(" ".join(words) + " \n")


def _header(path: Path, lines: list[str]) -> tuple[dict[str, list[str]], int]:
    """Return the header's fields and the number of the first line after it."""
    fields: dict[str, list[str]] = {}
    for number, line in enumerate(lines):
        words = line.split()
        if words == ["SV"]:
            return fields, number + 1
        if not words:
            break
        if len(words) < 2:
            raise FormatError(f"{path}, line {number + 1}: expected 'name value', got {line!r}")
        fields[words[0]] = words[1:]
    raise FormatError(f"{path}: expected a line 'SV' after the header, got none. Is it cut off?")


def load(path: str | os.PathLike) -> SVMModel:
    """Read a model that `save`, libsvm or piSVM wrote.

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: the file is no C-SVC model, is cut off, or a field is missing or wrong.
    """
    path = Path(path)
    text = path.read_text(encoding="ascii", errors="replace")
    lines = text.split("\n")
    fields, start = _header(path, lines)

    def numbers(name: str, kind: type, count: int | None = None) -> list:
        if name not in fields:
            raise FormatError(f"{path}: expected a field {name!r} in the header, got none")
        try:
            values = [kind(word) for word in fields[name]]
        except ValueError:
            raise FormatError(
                f"{path}: expected numbers after {name!r}, got {' '.join(fields[name])!r}"
            ) from None
        if count is not None and len(values) != count:
            raise FormatError(f"{path}: expected {count} values of {name!r}, got {len(values)}")
        return values

    if fields.get("svm_type") != ["c_svc"]:
        raise FormatError(f"{path}: expected svm_type c_svc, got {fields.get('svm_type')}")
    name = " ".join(fields.get("kernel_type", []))
    if name not in _KERNELS:
        raise FormatError(f"{path}: expected kernel_type of {list(_KERNELS)}, got {name!r}")
    kernel = Kernel(
        _KERNELS[name],
        numbers("gamma", float, 1)[0] if name != "linear" else 1.0,
        numbers("degree", int, 1)[0] if name == "polynomial" else 3,
        numbers("coef0", float, 1)[0] if name in ("polynomial", "sigmoid") else 0.0,
    )
    k, total = numbers("nr_class", int, 1)[0], numbers("total_sv", int, 1)[0]
    rho = np.array(numbers("rho", float, k * (k - 1) // 2))
    labels = np.array(numbers("label", int, k))
    n_support = np.array(numbers("nr_sv", int, k), np.int32)
    if n_support.sum() != total:
        raise FormatError(f"{path}: nr_sv adds up to {n_support.sum()}, total_sv is {total}")
    body = lines[start:]
    if body[-1] != "":
        raise FormatError(f"{path}: the file ends in the middle of a line. Is it cut off?")
    body = [line for line in body if line.strip()]
    if len(body) != total:
        raise FormatError(
            f"{path}: expected {total} support vectors, got {len(body)}. Is it cut off?"
        )
    coef, entries = np.empty((k - 1, total)), []
    for s, line in enumerate(body):
        words = line.split()
        try:
            coef[:, s] = [float(word) for word in words[: k - 1]]
            pairs = [word.split(":") for word in words[k - 1 :]]
            entries.append([(int(index) - 1, float(value)) for index, value in pairs])
            if any(index < 0 for index, _ in entries[-1]):
                raise ValueError("index")
        except ValueError:
            raise FormatError(
                f"{path}, line {start + s + 1}: expected {k - 1} coefficients and index:value "
                f"pairs that count from 1, got {line[:60]!r}"
            ) from None
    d = max((index + 1 for row in entries for index, _ in row), default=1)
    vectors = np.zeros((total, d))
    for s, row in enumerate(entries):
        for index, value in row:
            vectors[s, index] = value
    if not (np.isfinite(vectors).all() and np.isfinite(coef).all() and np.isfinite(rho).all()):
        raise FormatError(f"{path}: expected finite numbers, got NaN or infinity")
    return SVMModel(kernel, labels, vectors, n_support, coef, rho)
