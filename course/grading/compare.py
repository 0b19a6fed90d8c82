"""Compare a student's plain data with what is right; say in words what differs."""

from collections.abc import Callable
from typing import Any

import numpy as np

Compare = Callable[[Any, Any], str | None]


def shown(value: Any, most: int = 120) -> str:
    """Return a short text of a value."""
    value = value.item() if isinstance(value, np.generic) else value
    text = np.array2string(value, threshold=8) if isinstance(value, np.ndarray) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= most else text[: most - 3] + "..."


def equal(got: Any, right: Any) -> str | None:
    """Say how `got` differs from `right`; None where it does not.

    Types count as Python compares them: 1 is 1.0, but no array; a list is no tuple.
    """
    if isinstance(right, np.ndarray):
        return _array(got, right, lambda a, b: np.array_equal(a, b))
    if isinstance(right, list | tuple):
        return _sequence(got, right, equal)
    if isinstance(right, dict):
        return _mapping(got, right, equal)
    if type(got) is not type(right) and not (_number(got) and _number(right)):
        return _not(got, right)
    same = bool(got == right) and isinstance(got, bool | np.bool_) == isinstance(right, bool)
    return None if same else _not(got, right)


def close(rtol: float = 1e-7, atol: float = 1e-9) -> Compare:
    """Return a comparison that lets numbers differ by ``atol + rtol * abs(right)``."""

    def compare(got: Any, right: Any) -> str | None:
        if isinstance(right, np.ndarray):
            return _array(got, right, lambda a, b: np.allclose(a, b, rtol=rtol, atol=atol))
        if isinstance(right, list | tuple):
            return _sequence(got, right, compare, loose=True)
        if isinstance(right, dict):
            return _mapping(got, right, compare)
        if _number(right):
            if not _number(got):
                return _not(got, right)
            return None if np.isclose(got, right, rtol=rtol, atol=atol) else _not(got, right)
        return equal(got, right)

    return compare


def _number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.shape == () and value.dtype.kind in "biufc"
    return isinstance(value, int | float | complex | np.number | np.bool_)


def _not(got: Any, right: Any) -> str:
    return f"expected {shown(right)}, got {shown(got)}"


def _array(got: Any, right: np.ndarray, same: Callable[[Any, Any], bool]) -> str | None:
    if got is None:
        return "nothing was returned (None)"
    if isinstance(got, list | tuple) or _number(got):
        try:
            got = np.asarray(got, dtype=right.dtype)
        except (ValueError, TypeError, OverflowError):
            return f"expected an array of shape {right.shape}, got {shown(got)}"
    if not isinstance(got, np.ndarray):
        return f"expected an array of shape {right.shape}, got {type(got).__name__}"
    if got.shape != right.shape:
        return f"expected shape {right.shape}, got {got.shape}"
    if got.dtype.kind in "SU":
        return f"expected numbers, got text of dtype {got.dtype}"
    if same(got, right):
        return None
    wrong = ~np.isclose(got, right)
    if not wrong.any():
        return f"expected exactly {shown(right)}, got {shown(got)}"
    at = tuple(int(k) for k in np.argwhere(wrong)[0]) if right.shape else ()
    place = f" at {at[0] if len(at) == 1 else at}" if at else ""
    return f"{int(wrong.sum())} of {right.size} numbers are wrong; first{place}: " + _not(
        got[at], right[at]
    )


def _sequence(got: Any, right: Any, inner: Compare, loose: bool = False) -> str | None:
    if got is None:
        return "nothing was returned (None)"
    kinds = (list, tuple) if loose else type(right)
    if loose and isinstance(got, np.ndarray) and got.ndim == 1:
        got = list(got)
    if not isinstance(got, kinds):
        return f"expected a {type(right).__name__}, got {shown(got)}"
    if len(got) != len(right):
        return f"expected {len(right)} items, got {len(got)}: {shown(got)}"
    for place, (one, other) in enumerate(zip(got, right, strict=True)):
        said = inner(one, other)
        if said:
            return f"item {place}: {said}"
    return None


def _mapping(got: Any, right: dict[Any, Any], inner: Compare) -> str | None:
    if not isinstance(got, dict):
        return f"expected a dict, got {shown(got)}"
    for key in right:
        if key not in got:
            return f"the key {key!r} is missing"
        said = inner(got[key], right[key])
        if said:
            return f"at {key!r}: {said}"
    extra = [key for key in got if key not in right]
    return f"unexpected key {extra[0]!r}" if extra else None
