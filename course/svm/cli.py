"""`pisvm-train` and `pisvm-predict`: piSVM's commands with piSVM's flags, under mpiexec.

    mpiexec -n 4 pisvm-train -D -o 1024 -q 512 -c 100 -g 8 -t 2 -m 1024 -s 0 DATA [MODEL]
    mpiexec -n 4 pisvm-predict TEST MODEL results.txt

Rank 0 reads and writes, all ranks compute. A failure anywhere ends every rank with status 1
and one line on standard error; output files appear only when they are complete.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from course.svm import data_files, model_files
from course.svm.kernels import NAMES
from course.svm.model import decide_on_ranks, vote

if TYPE_CHECKING:
    from mpi4py.MPI import Comm

T = TypeVar("T")


class UsageError(ValueError):
    """The command line asks for something that these commands do not do."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise UsageError(f"{message}\n{self.format_usage().strip()}")


def train_parser() -> argparse.ArgumentParser:
    """Return the parser of `pisvm-train`, without the weights ``-wi``."""
    parser = _Parser(
        prog="pisvm-train", allow_abbrev=False, add_help=False,
        description="Train a C-SVM on MPI ranks; -wLABEL WEIGHT multiplies C for one class.",
    )  # fmt: skip
    parser.add_argument("--help", action="help", help="show this and end")
    parser.add_argument("-s", type=int, default=0, metavar="TYPE", help="SVM type: 0, C-SVC")
    parser.add_argument(
        "-t", type=int, default=2, choices=range(4), help="0 linear, 1 poly, 2 rbf, 3 sigmoid"
    )
    parser.add_argument("-d", type=int, default=3, metavar="DEGREE", help="of the polynomial")
    parser.add_argument("-g", type=float, metavar="GAMMA", help="default 1/features")
    parser.add_argument("-r", type=float, default=0.0, metavar="COEF0", help="kernel's constant")
    parser.add_argument("-c", type=float, default=1.0, metavar="COST", help="C, default 1")
    parser.add_argument("-m", type=float, default=40.0, metavar="MB", help="row cache per rank")
    parser.add_argument("-e", type=float, default=1e-3, metavar="EPSILON", help="tolerance")
    parser.add_argument("-h", type=int, default=1, choices=(0, 1), help="shrinking")
    parser.add_argument("-b", type=int, default=0, choices=(0, 1), help="probabilities: only 0")
    parser.add_argument("-v", type=int, metavar="FOLDS", help="cross-validation, writes no model")
    parser.add_argument("-o", type=int, default=1024, metavar="SIZE", help="working set")
    parser.add_argument("-q", type=int, default=512, metavar="NEW", help="new variables per step")
    parser.add_argument("-D", action="store_true", help="dense: all lines name all features")
    parser.add_argument("--zero-based", action="store_true", help="features count from 0")
    parser.add_argument("data", help="training data in libsvm's format")
    parser.add_argument("model", nargs="?", help="model file; default: name of the data + .model")
    return parser


def split_weights(arguments: Sequence[str]) -> tuple[list[str], dict[int, float]]:
    """Take ``-wLABEL WEIGHT`` out of `arguments`; return the rest and the weights."""
    rest, weights, words = [], {}, iter(arguments)
    for word in words:
        if not word.startswith("-w"):
            rest.append(word)
            continue
        value = next(words, None)
        try:
            weights[int(word[2:])] = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise UsageError(f"expected -wLABEL WEIGHT with numbers, got {word} {value}") from None
    return rest, weights


def on_root(comm: "Comm", work: Callable[[], T]) -> T:
    """Return what `work` returns on rank 0; where it fails there, raise on every rank."""
    result, error = None, None
    if comm.rank == 0:
        try:
            result = work()
        except (OSError, ValueError) as problem:
            error = problem
    error = comm.bcast(error)
    if error is not None:
        raise error
    return result  # type: ignore[return-value]


def broadcast(comm: "Comm", array: np.ndarray | None) -> np.ndarray:
    """Send rank 0's float64 `array` to all ranks."""
    shape = comm.bcast(None if array is None else array.shape)
    if comm.rank:
        array = np.empty(shape)
    assert array is not None
    flat = array.reshape(-1)
    step = 2**27  # elements; MPI counts are 32 bits wide
    for start in range(0, flat.size, step):
        comm.Bcast(flat[start : start + step])
    return array


def train(arguments: Sequence[str], comm: "Comm") -> None:
    """Do what `pisvm-train` does, on all ranks of `comm`.

    Raises:
        UsageError: the arguments make no sense.
        course.svm.data_files.FormatError: the data file is faulty.
        ValueError: the data hold one class only.
    """
    from course.svm.estimator import ParallelSVC

    rest, weights = split_weights(arguments)
    options = train_parser().parse_args(rest)
    if options.s != 0:
        raise UsageError(f"-s {options.s}: only C-SVC, -s 0, is here")
    if options.b != 0:
        raise UsageError("-b 1: probability estimates are not here")
    model_path = Path(options.model or Path(options.data).name + ".model")

    def load() -> tuple[np.ndarray, np.ndarray]:
        if options.v is None:
            _writable(model_path)
        return data_files.read(options.data, options.zero_based, options.D)

    start = time.perf_counter()
    loaded = on_root(comm, load)
    X = broadcast(comm, loaded[0] if comm.rank == 0 else None)
    y = broadcast(comm, loaded[1] if comm.rank == 0 else None)
    reading = time.perf_counter() - start
    if (y == np.round(y)).all():
        y = y.astype(np.int64)
    unknown = set(weights) - set(np.unique(y).tolist())
    if unknown:
        raise UsageError(f"-w: no such label in the data: {sorted(unknown)}")
    estimator = ParallelSVC(
        C=options.c, kernel=NAMES[options.t], degree=options.d, coef0=options.r,
        gamma="auto" if options.g in (None, 0) else options.g, tol=options.e,
        class_weight=weights or None, shrinking=bool(options.h), cache_size=options.m,
        working_set=options.o, new_per_step=options.q, comm=comm,
    )  # fmt: skip
    if options.v is not None:
        accuracy = _cross_validate(estimator, X, y, options.v)
        if comm.rank == 0:
            print(f"Cross Validation Accuracy = {100 * accuracy:g}%", flush=True)
        return
    start = time.perf_counter()
    estimator.fit(X, y)
    training = time.perf_counter() - start
    on_root(comm, lambda: model_files.save(estimator.model_, model_path))
    if comm.rank == 0:
        print(
            f"{len(X)} points, {X.shape[1]} features, {len(estimator.classes_)} classes, "
            f"{comm.size} ranks\n"
            f"nSV = {len(estimator.support_)}, steps = {estimator.n_iter_.sum()}, "
            f"obj = {estimator.objective_.sum():.6g}\n"
            f"I/O time = {reading:.2f}\nTraining time = {training:.2f}\nModel: {model_path}",
            flush=True,
        )


def _writable(path: Path) -> None:
    """Raise before the work, not after it, if `path` cannot be written."""
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: {path.parent} is no folder that can be written")


def _cross_validate(estimator: Any, X: np.ndarray, y: np.ndarray, folds: int) -> float:
    """Return the share of points that are predicted right while their fold is left out."""
    from sklearn.model_selection import StratifiedKFold

    if folds < 2:
        raise UsageError(f"-v {folds}: expected at least 2 folds")
    right = 0
    for fit, test in StratifiedKFold(folds, shuffle=True, random_state=0).split(X, y):
        right += int((estimator.fit(X[fit], y[fit]).predict(X[test]) == y[test]).sum())
    return right / len(y)


def predict(arguments: Sequence[str], comm: "Comm") -> None:
    """Do what `pisvm-predict` does, on all ranks of `comm`; the test file is streamed.

    Raises:
        UsageError: the arguments make no sense.
        course.svm.data_files.FormatError: the model or the data file is faulty.
    """
    from course.svm.estimator import precision_for

    parser = _Parser(prog="pisvm-predict", allow_abbrev=False)
    parser.add_argument("-b", type=int, default=0, choices=(0, 1), help="probabilities: only 0")
    parser.add_argument("--zero-based", action="store_true", help="features count from 0")
    parser.add_argument("test", help="data in libsvm's format")
    parser.add_argument("model", help="model file of pisvm-train or libsvm")
    parser.add_argument("output", help="predicted labels, one a line")
    options = parser.parse_args(list(arguments))
    if options.b != 0:
        raise UsageError("-b 1: probability estimates are not here")
    output = Path(options.output)

    def load() -> Any:
        _writable(output)
        return model_files.load(options.model)

    model = comm.bcast(on_root(comm, load))
    d = model.support_vectors.shape[1]
    largest = float(np.abs(model.coef).max(initial=1.0))  # C is not in the file
    right = total = 0
    # The context of the output file lives on rank 0; an error anywhere discards the file.
    with data_files.atomic(output) if comm.rank == 0 else _nothing() as file:
        stream: Iterator[data_files.Rows] = iter(())
        if comm.rank == 0:
            stream = data_files.pieces(options.test, options.zero_based)
        while True:
            rows = on_root(comm, lambda: next(stream, None))
            if not comm.bcast(rows is not None):
                break
            X = broadcast(comm, _fit_width(rows, d) if rows is not None else None)
            model = model.widened(X.shape[1])
            precision = precision_for(model.kernel, model.support_vectors, largest, 1e-3)
            decision = decide_on_ranks(model, X, precision, 1, comm)
            predicted = model.labels[vote(decision, len(model.labels))]
            if rows is not None:
                file.writelines(f"{label:g}\n" for label in predicted.tolist())
                right += int((predicted == rows.labels).sum())
            total += len(X)
    if comm.rank == 0:
        share = 100 * right / total
        print(f"Accuracy = {share:g}% ({right}/{total}) (classification)", flush=True)


def _fit_width(rows: data_files.Rows, d: int) -> np.ndarray:
    """Return dense rows of at least the model's `d` features, more if the file names more."""
    width = max(d, int(rows.columns.max()) + 1 if rows.columns.size else 0)
    return rows.dense(width)


class _nothing:
    def __enter__(self) -> Any:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _main(work: Callable[[Sequence[str], "Comm"], None]) -> None:
    from mpi4py import MPI
    from threadpoolctl import threadpool_limits

    comm = MPI.COMM_WORLD
    try:
        with threadpool_limits(1, user_api="blas"):
            work(sys.argv[1:], comm)
    except (UsageError, OSError, ValueError) as problem:
        # Raised on every rank alike, so each can leave without an Abort.
        if comm.rank == 0:
            print(f"error: {problem}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except Exception as problem:
        print(f"rank {comm.rank}: {problem!r}", file=sys.stderr, flush=True)
        comm.Abort(1)


def train_main() -> None:
    """Entry point of `pisvm-train`."""
    _main(train)


def predict_main() -> None:
    """Entry point of `pisvm-predict`."""
    _main(predict)


def main() -> None:
    """Run ``python -m course.svm.cli pisvm-train ...`` or ``... pisvm-predict ...``."""
    commands = {"pisvm-train": train_main, "pisvm-predict": predict_main}
    if len(sys.argv) < 2 or sys.argv[1] not in commands:
        raise SystemExit(f"expected one of {list(commands)} as the first argument")
    commands[sys.argv.pop(1)]()


if __name__ == "__main__":
    main()
