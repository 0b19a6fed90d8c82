"""Plain data without pickle: what may come back from code that nobody trusts.

Unpickling runs whatever the sender chose, so a grader must not do it. Here numbers, text,
None, lists, tuples, sets, dicts and NumPy arrays travel as JSON and the npy format, and
reading them back cannot run anything.
"""

import io
import json
import math
import zipfile
from typing import Any

import numpy as np

_DEEPEST = 100


def dumps(value: Any) -> bytes:
    """Return `value` as bytes.

    Raises:
        TypeError: Something in it is neither a number, text, bytes, None, a list, a tuple, a
            set, a dict with text, numbers or tuples of them as keys, nor an array of numbers
            or text.
        ValueError: It is nested too deeply, as a list that contains itself is.
    """
    arrays: list[np.ndarray] = []
    tree = _encode(value, arrays, 0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("tree.json"), json.dumps(tree))  # with no clock's time
        for place, array in enumerate(arrays):
            with archive.open(zipfile.ZipInfo(f"{place}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()


def loads(data: bytes, largest: int = 1 << 30) -> Any:
    """Return the value that `dumps` made `data` of.

    Args:
        data: Bytes, from anywhere.
        largest: Bytes that the value may have unpacked.

    Raises:
        ValueError: `data` is not what `dumps` makes, or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > largest:
                raise ValueError(f"at most {largest} bytes were allowed, these are {size}")
            tree = json.loads(archive.read("tree.json"))
            return _decode(tree, archive, 0)
    except Exception as error:  # whatever bad bytes make of zipfile and numpy
        raise ValueError(f"expected plain data, got something else: {error}") from None


def _encode(value: Any, arrays: list[np.ndarray], depth: int) -> Any:
    """Return JSON: bare for text, None and truth values, a pair of type and content otherwise."""
    if depth > _DEEPEST:
        raise ValueError(f"expected plain data nested {_DEEPEST} deep at most, got more")
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return ["int", str(value)]
    if kind is float:
        return ["float", value.hex() if math.isfinite(value) else repr(value)]
    if kind is complex:
        return ["complex", _encode(value.real, arrays, depth), _encode(value.imag, arrays, depth)]
    if kind is bytes:
        return ["bytes", value.hex()]
    if kind in (list, tuple, set, frozenset):
        return [kind.__name__, [_encode(item, arrays, depth + 1) for item in value]]
    if kind is dict:
        if not all(_is_key(key) for key in value):
            raise TypeError("expected a dict with text, numbers or tuples of them as keys")
        pairs = [[_encode(k, arrays, depth + 1), _encode(v, arrays, depth + 1)]
                 for k, v in value.items()]  # fmt: skip
        return ["dict", pairs]
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biufcSU":
        arrays.append(np.asarray(value))
        return ["array" if isinstance(value, np.ndarray) else "scalar", len(arrays) - 1]
    raise TypeError(
        f"expected plain data (numbers, text, lists, dicts, arrays), got {kind.__name__}"
    )


def _is_key(key: Any, depth: int = 0) -> bool:
    if type(key) is tuple and depth < _DEEPEST:
        return all(_is_key(part, depth + 1) for part in key)
    return key is None or type(key) in (str, int, float, bool) or isinstance(key, np.generic)


def _decode(tree: Any, archive: zipfile.ZipFile, depth: int) -> Any:
    if depth > 3 * _DEEPEST:
        raise ValueError("expected plain data, got something nested too deeply")
    if tree is None or isinstance(tree, bool | str):
        return tree
    match tree:
        case ["int", str(text)]:
            return int(text)
        case ["float", str(text)]:
            return float.fromhex(text)
        case ["complex", real, imaginary]:
            return complex(_decode(real, archive, depth), _decode(imaginary, archive, depth))
        case ["bytes", str(text)]:
            return bytes.fromhex(text)
        case ["list", list(items)]:
            return [_decode(item, archive, depth + 1) for item in items]
        case ["tuple", list(items)]:
            return tuple(_decode(item, archive, depth + 1) for item in items)
        case ["set" | "frozenset" as kind, list(items)]:
            found = [_decode(item, archive, depth + 1) for item in items]
            return set(found) if kind == "set" else frozenset(found)
        case ["dict", list(pairs)]:
            return {
                _decode(key, archive, depth + 1): _decode(item, archive, depth + 1)
                for key, item in pairs
            }
        case ["array" | "scalar" as kind, int(place)]:
            with archive.open(f"{place}.npy") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            return array if kind == "array" else array[()]
    raise ValueError(f"expected plain data, got {str(tree)[:100]!r}")
