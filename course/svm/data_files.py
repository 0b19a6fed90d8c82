"""Data in libsvm's text format, read piece by piece, with errors that name file and line.

A line is ``label index:value index:value ...`` with ascending indices that count from 1;
what is not named is 0. Some tools count from 0: such a file must be announced.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np

PIECE = 16 * 2**20
"""Bytes that are read at a time."""


class FormatError(ValueError):
    """A data or model file is not what it should be; the message names file and line."""


@dataclass(frozen=True)
class Rows:
    """Consecutive lines of a data file, as sparse rows."""

    labels: np.ndarray
    """Shape (m,), float64."""
    counts: np.ndarray
    """Features named in each line, shape (m,), int64."""
    columns: np.ndarray
    """Their positions counted from 0, line after line, int64."""
    values: np.ndarray
    """Their values, float64."""

    def dense(self, n_features: int) -> np.ndarray:
        """Return the rows as an array of shape (m, n_features); what was not named is 0."""
        X = np.zeros((len(self.labels), n_features))
        X[np.repeat(np.arange(len(self.labels)), self.counts), self.columns] = self.values
        return X


def _explain(path: Path, number: int, line: bytes, zero_based: bool) -> FormatError:
    """Return the error that names what is wrong with one line."""
    where = f"{path}, line {number}"
    parts = line.split()
    if not parts:
        return FormatError(f"{where}: expected 'label index:value ...', got an empty line")

    def number_or_none(text: bytes) -> float | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return value if np.isfinite(value) else None

    if number_or_none(parts[0]) is None:
        return FormatError(f"{where}: expected a number as label, got {parts[0].decode()!r}")
    last = -1 if zero_based else 0
    for part in parts[1:]:
        index, colon, value = part.partition(b":")
        shown = part.decode(errors="replace")
        if not colon or not index.lstrip(b"-").isdigit():
            return FormatError(f"{where}: expected index:value, got {shown!r}")
        if number_or_none(value) is None:
            return FormatError(f"{where}: expected a finite number after ':', got {shown!r}")
        if int(index) == 0 and not zero_based:
            return FormatError(
                f"{where}: feature index 0. libsvm counts features from 1, this file counts "
                "from 0; say so with zero_based=True (--zero-based)"
            )
        if int(index) <= last:
            return FormatError(f"{where}: expected indices in ascending order, got {shown!r}")
        last = int(index)
    return FormatError(f"{where}: expected 'label index:value ...', got {line.decode()!r}")


def _parse(path: Path, first: int, lines: list[bytes], zero_based: bool) -> Rows:
    """Parse `lines`, of which the first has number `first`, all at once; explain failures."""
    counts = np.array([line.count(b":") for line in lines], np.int64)
    numbers = b" ".join(lines).replace(b":", b" ").split()
    try:
        flat = np.array(numbers, dtype=np.float64)
        ends = np.cumsum(2 * counts + 1)
        if len(flat) != (ends[-1] if len(ends) else 0):
            raise ValueError("ragged")
        starts = ends - (2 * counts + 1)
        rest = np.ones(len(flat), bool)
        rest[starts] = False
        pairs = flat[rest].reshape(-1, 2)
        columns = pairs[:, 0].astype(np.int64) - (not zero_based)
        new_row = np.zeros(len(columns), bool)
        new_row[np.cumsum(counts)[:-1][np.cumsum(counts)[:-1] < len(columns)]] = True
        rising = np.diff(columns, prepend=-1) > 0
        ok = (
            np.isfinite(flat).all()
            and (columns >= 0).all()
            and (pairs[:, 0] == np.floor(pairs[:, 0])).all()
            and (rising | new_row)[1:].all()
            and all(map(_well_formed, lines))
        )
        if not ok:
            raise ValueError("contents")
    except ValueError:
        for k, line in enumerate(lines):
            if not _line_ok(line, zero_based):
                raise _explain(path, first + k, line, zero_based) from None
        raise FormatError(f"{path}: lines {first} to {first + len(lines) - 1}") from None
    return Rows(flat[starts], counts, columns, pairs[:, 1])


def _well_formed(line: bytes) -> bool:
    """Tell whether as many words as colons follow the label."""
    return len(line.split()) == line.count(b":") + 1


def _line_ok(line: bytes, zero_based: bool) -> bool:
    words = line.split()
    try:
        values = [float(words[0])]
        last = -1 if zero_based else 0
        for word in words[1:]:
            index, _, value = word.partition(b":")
            values.append(float(value))
            if not index.isdigit() or int(index) <= last:
                return False
            last = int(index)
    except (ValueError, IndexError):
        return False
    return bool(np.isfinite(values).all())


def pieces(
    path: str | os.PathLike, zero_based: bool = False, n_features: int | None = None
) -> Iterator[Rows]:
    """Yield the file's rows, some megabytes at a time.

    Args:
        path: a file in libsvm's format.
        zero_based: its features count from 0.
        n_features: if given, each line must name this many features (dense data, ``-D``).

    Raises:
        FileNotFoundError: there is no such file.
        FormatError: the file is empty, or a line is cut off, ragged or not numeric; or
            indices count from 0 without `zero_based`.
    """
    path, number, rest = Path(path), 1, b""
    with open(path, "rb") as file:
        while True:
            data = file.read(PIECE)
            if not data:
                break
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if lines:
                rows = _parse(path, number, lines, zero_based)
                _check_dense(path, number, rows, n_features)
                yield rows
                number += len(lines)
    if rest:
        raise FormatError(
            f"{path}, line {number}: the file ends in the middle of a line (no newline at its "
            f"end): {rest[-40:].decode(errors='replace')!r}. Is it cut off?"
        )
    if number == 1:
        raise FormatError(f"{path}: expected lines 'label index:value ...', got an empty file")


def _check_dense(path: Path, number: int, rows: Rows, n_features: int | None) -> None:
    if n_features is None:
        return
    odd = np.flatnonzero(rows.counts != n_features)
    if odd.size:
        raise FormatError(
            f"{path}, line {number + odd[0]}: expected {n_features} features as in the first "
            f"line (dense data), got {rows.counts[odd[0]]}"
        )


def read(
    path: str | os.PathLike, zero_based: bool = False, dense: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``(X, y)`` of a data file: float64 arrays of shape (n, d) and (n,).

    Args:
        path: a file in libsvm's format.
        zero_based: its features count from 0.
        dense: every line must name all features.

    Raises:
        FormatError: see `pieces`.
    """
    width = None
    if dense:
        with open(path, "rb") as file:
            width = file.readline().count(b":")
    parts = list(pieces(path, zero_based, width))
    d = max((int(rows.columns.max()) + 1 for rows in parts if rows.columns.size), default=0)
    if d == 0:
        raise FormatError(f"{path}: no line names a feature")
    X = np.concatenate([rows.dense(d) for rows in parts])
    return X, np.concatenate([rows.labels for rows in parts])


@contextmanager
def atomic(path: str | os.PathLike) -> Iterator[TextIO]:
    """Open a text file that appears under its name only when it is complete."""
    path = Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name + ".", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def write(path: str | os.PathLike, X: np.ndarray, y: np.ndarray, dense: bool = True) -> None:
    """Write `X`, shape (n, d), and labels `y` to a data file, features counted from 1.

    Args:
        path: the file; it appears when it is complete.
        X: points.
        y: numeric labels.
        dense: name zeros as well.
    """
    with atomic(path) as file:
        for row, label in zip(np.asarray(X, float), y, strict=True):
            words = [f"{k}:{v:.9g}" for k, v in enumerate(row, 1) if dense or v != 0]
            file.write(" ".join([f"{label:g}", *words]) + "\n")
