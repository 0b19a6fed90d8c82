"""Model selection: cross-validated accuracy for every gamma and C, in parallel.

The slide's table has 5 gammas, 5 Cs and 10 folds: 250 trainings of all pairs of classes.
They share a lot, and this module computes what they share once:

- squared distances between points: for all gammas, pairs, folds and Cs;
- the Gram matrix of one gamma: for all pairs, folds and Cs;
- a solution: as the start for the next larger C, and for each fold, from which the points
  that are left out are taken away (alpha seeding: DeCoste and Wagstaff, KDD 2000).

A unit of work is one gamma and one pair of classes with all its folds and Cs. Units go to
whichever rank is free, through a counter that all ranks read and add to.
"""

import hashlib
import json
import os
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from course.processes import cores
from course.svm.folds import Fold, UnitTask, solve_unit, stratified
from course.svm.kernels import LEAST, TILE, extended
from course.svm.pairs import agree, class_pairs, in_threads, memory_size
from course.svm.queue import SharedCounter

if TYPE_CHECKING:
    from mpi4py.MPI import Comm


@dataclass(frozen=True)
class GridResult:
    """Accuracy and time of every cell of the grid."""

    gammas: np.ndarray
    """Rows of the table, shape (g,)."""
    Cs: np.ndarray
    """Columns of the table, shape (c,)."""
    accuracy: np.ndarray
    """Mean over folds of the share of points predicted right, shape (g, c)."""
    seconds: np.ndarray
    """Computing time of the cell, added up over threads and ranks, shape (g, c)."""
    wall_seconds: float
    """From start to end of this call; a resumed search counts its last call only."""

    @property
    def best(self) -> tuple[float, float]:
        """The ``(gamma, C)`` of the highest accuracy; the first of equals."""
        row, column = np.unravel_index(self.accuracy.argmax(), self.accuracy.shape)
        return float(self.gammas[row]), float(self.Cs[column])

    def table(self) -> str:
        """Return the table in the slide's form: accuracy in percent and (minutes)."""
        lines = ["gamma/C".rjust(8) + "".join(f"{C:>18g}" for C in self.Cs)]
        for gamma, row, times in zip(self.gammas, self.accuracy, self.seconds, strict=True):
            cells = "".join(
                f"{100 * a:11.2f} ({s / 60:.2f})".rjust(18) for a, s in zip(row, times, strict=True)
            )
            lines.append(f"{gamma:>8g}{cells}")
        return "\n".join(lines)


def grid_search(
    X: np.ndarray,
    y: np.ndarray,
    gammas: Sequence[float] = (2, 4, 8, 16, 32),
    Cs: Sequence[float] = (1, 10, 100, 1000, 10_000),
    folds: int = 10,
    tol: float = 1e-3,
    comm: "Comm | None" = None,
    threads: int | None = None,
    cache_size: float = 1000,
    journal: str | os.PathLike | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> GridResult:
    """Cross-validate an RBF SVM on every gamma and C.

    Folds are those of `sklearn.model_selection.StratifiedKFold`, so accuracies compare with
    `GridSearchCV(SVC(), ...)`.

    Args:
        X: points, shape (n, d).
        y: labels, shape (n,).
        gammas: widths of the kernel, shape (g,).
        Cs: penalties, shape (c,).
        folds: parts that the points are cut into.
        tol: tolerance of each training.
        comm: ranks that share the work; all of them call this, with the same data.
        threads: per rank; None: all cores without `comm`, one with it.
        cache_size: megabytes per rank for distances and Gram matrices. Where those of all
            points do not fit, each unit computes those of its own pair.
        journal: a file that finished units are added to; a later call with the same data and
            parameters takes them from there. Rank 0 writes it when the units are gathered at
            the end, and each rank keeps a part of its own until then.
        progress: called on each rank with the number of units that have been started on all
            ranks, and of all units.

    Returns:
        The same result on every rank.

    Raises:
        ValueError: a parameter is out of range, there are fewer than two classes or points
            than folds, or the journal belongs to another search.
    """
    begin = time.perf_counter()
    X = np.ascontiguousarray(X, np.float64)
    y = np.asarray(y)
    rows, columns = np.asarray(gammas, float), np.asarray(Cs, float)
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(
            f"expected X of shape (n, d) and y of shape (n,), got {X.shape}, {y.shape}"
        )
    if not (np.isfinite(X).all()):
        raise ValueError("X must be finite")
    for name, values in (("gammas", rows), ("Cs", columns)):
        if values.ndim != 1 or len(values) == 0 or not (values > 0).all():
            raise ValueError(f"{name} must be one or more positive numbers, got {values}")
    labels, codes = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise ValueError("expected at least two classes in y, got 1 class")
    alone = comm is None or comm.size == 1
    threads = threads or (cores() if alone else 1)

    order = np.argsort(codes, kind="stable")
    parts = [Fold(np.sort(np.argsort(order)[test])) for test in stratified(codes, folds)]
    task = UnitTask.build(X[order], codes[order], len(labels), parts, columns, tol)
    pairs = class_pairs(len(labels))
    units = [(g, p) for g in range(len(rows)) for p in range(len(pairs))]
    key = _fingerprint(X, codes, rows, columns, folds, tol)
    done = agree(comm, lambda: _load(journal, key, comm))[0]
    todo = [unit for unit in units if unit not in done]
    cost = {p: sum(task.sizes[c] for c in pairs[p]) for p in range(len(pairs))}
    todo.sort(key=lambda unit: (unit[0], -cost[unit[1]]))

    with threadpool_limits(1, user_api="blas"):
        mine = _work(task, rows, todo, comm, threads, cache_size, journal, key, progress)
    for part in agree(comm, lambda: mine):
        done.update(part)
    if journal is not None and (comm is None or comm.rank == 0):
        _store(Path(journal), key, done)
    if comm is not None:
        comm.barrier()
    if journal is not None:
        _part_file(Path(journal), comm).unlink(missing_ok=True)

    accuracy = np.empty((len(rows), len(columns)))
    seconds = np.zeros_like(accuracy)
    for g in range(len(rows)):
        wins = [done[g, p][0] for p in range(len(pairs))]
        accuracy[g] = task.accuracy(wins)
        for p in range(len(pairs)):
            seconds[g] += done[g, p][1]
    return GridResult(rows, columns, accuracy, seconds, time.perf_counter() - begin)


def distances(X: np.ndarray, threads: int) -> np.ndarray:
    """Return ``-|x_i - x_j|**2`` of all rows of `X`, shape (n, d), as (n, n) of its dtype."""
    out = np.empty((len(X), len(X)), X.dtype)
    left, right = extended(X, "rbf", True), extended(X, "rbf", False)

    def work(start: int) -> None:
        block = out[start : start + TILE]
        np.matmul(left[start : start + TILE], right.T, out=block)
        np.minimum(block, 0, out=block)

    in_threads(work, range(0, len(X), TILE), threads)
    return out


def gram_of(distance: np.ndarray, gamma: float, out: np.ndarray, threads: int) -> None:
    """Set `out` to ``exp(gamma * distance)``."""

    def work(start: int) -> None:
        block = out[start : start + TILE]
        np.multiply(distance[start : start + TILE], distance.dtype.type(gamma), out=block)
        np.maximum(block, LEAST, out=block)
        np.exp(block, out=block)

    in_threads(work, range(0, len(distance), TILE), threads)


Done = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
"""Finished units: which points the pair's first class won, bits (c, n); seconds, (c,)."""


def _work(
    task: UnitTask,
    gammas: np.ndarray,
    todo: list[tuple[int, int]],
    comm: "Comm | None",
    threads: int,
    cache_size: float,
    journal: str | os.PathLike | None,
    key: str,
    progress: Callable[[int, int], Any] | None,
) -> Done:
    """Take units from the shared counter until none is left; return those done here."""
    mine: Done = {}
    n, itemsize = len(task.points), task.points.itemsize
    budget = int(cache_size * 2**20)
    shared = 2 * n * n * itemsize
    largest = max(task.sizes[i] + task.sizes[j] for i, j in task.pairs)
    each = memory_size(largest) * itemsize
    whole = shared + each <= budget
    threads = max(1, min(threads, (budget - (shared if whole else 0)) // each))
    distance = distances(task.points, threads) if whole and todo else None
    gram = np.empty_like(distance) if distance is not None else None
    part = _part_file(Path(journal), comm) if journal is not None else None

    with SharedCounter(comm) as counter:
        following = counter.next()
        while following < len(todo):
            g = todo[following][0]
            if distance is not None and gram is not None:
                gram_of(distance, gammas[g], gram, threads)

            def worker(_: int, g: int = g) -> int:
                """Do units of this gamma; return the first that is not."""
                scratch = task.scratch()
                nonlocal following
                while True:
                    with counter.lock:
                        k = following
                        if k >= len(todo) or todo[k][0] != g:
                            return k
                        following = counter.next()
                    if progress is not None:
                        progress(k + 1, len(todo))
                    result = solve_unit(task, float(gammas[g]), todo[k][1], gram, scratch)
                    with counter.lock:
                        mine[todo[k]] = result
                        if part is not None:
                            _append(part, key, todo[k], result)

            in_threads(worker, range(threads), threads)
    return mine


def _fingerprint(X: np.ndarray, codes: np.ndarray, *parameters: Any) -> str:
    digest = hashlib.sha256(X.tobytes() + codes.tobytes())
    digest.update(repr([np.asarray(p).tolist() for p in parameters]).encode())
    return digest.hexdigest()


def _part_file(journal: Path, comm: "Comm | None") -> Path:
    return journal.with_name(f"{journal.name}.{comm.rank if comm is not None else 0}")


def _line(key: str, unit: tuple[int, int], result: tuple[np.ndarray, np.ndarray]) -> str:
    wins, seconds = result
    bits = b64encode(np.packbits(wins, axis=1).tobytes()).decode()
    entry = {"search": key, "unit": unit, "shape": wins.shape, "wins": bits}
    return json.dumps({**entry, "seconds": seconds.tolist()}) + "\n"


def _append(
    path: Path, key: str, unit: tuple[int, int], result: tuple[np.ndarray, np.ndarray]
) -> None:
    with open(path, "a", encoding="ascii") as file:
        file.write(_line(key, unit, result))


def _store(path: Path, key: str, done: Done) -> None:
    """Write all units into one file, which replaces the old one when it is complete."""
    part = path.with_name(path.name + ".new")
    part.write_text("".join(_line(key, *item) for item in sorted(done.items(), key=_unit)))
    os.replace(part, path)


def _unit(item: tuple) -> tuple[int, int]:
    return item[0]


def _load(journal: str | os.PathLike | None, key: str, comm: "Comm | None") -> Done:
    """Return the units that an earlier call finished; rank 0 reads for all."""
    done: Done = {}
    if journal is None or (comm is not None and comm.rank != 0):
        return done
    path = Path(journal)
    if not path.parent.is_dir():
        raise ValueError(f"journal: there is no folder {path.parent}")
    for source in [path, *sorted(path.parent.glob(f"{path.name}.[0-9]*"))]:
        if not source.exists():
            continue
        for line in source.read_text(encoding="ascii").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # the last line of a search that was killed
                continue
            if entry["search"] != key:
                raise ValueError(
                    f"{source} belongs to a search with other data or parameters: "
                    "name another journal or delete it"
                )
            shape = tuple(entry["shape"])
            packed = np.frombuffer(b64decode(entry["wins"]), np.uint8).reshape(shape[0], -1)
            wins = np.unpackbits(packed, axis=1, count=shape[1]).astype(bool)
            done[tuple(entry["unit"])] = (wins, np.array(entry["seconds"]))
    return done
