"""A union-find forest that several threads may change at once.

The root of a tree is always its smallest member, so the outcome does not depend on the
order in which threads link: parents only ever become smaller.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def _compare_and_swap(
    context: Any, array: Any, index: Any, expected: Any, desired: Any
) -> tuple[Any, Any]:
    """Write `desired` to ``array[index]`` if that still holds `expected`; say whether it did."""
    signature = types.boolean(array, types.intp, types.int32, types.int32)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        values = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = cgutils.get_item_pointer(
            context, builder, signature.args[0], values, [args[1]], wraparound=False
        )
        outcome = builder.cmpxchg(pointer, args[2], args[3], "acq_rel", "monotonic")
        return builder.extract_value(outcome, 1)

    return signature, generate


@njit(nogil=True, cache=True)
def find(parent: np.ndarray, i: int) -> int:
    """Return the root of `i` in `parent` (int32), halving the path on the way."""
    up = parent[i]
    while up != i:
        above = parent[up]
        if above != up:
            # Racing writes are harmless: whatever is stored is an ancestor of i.
            parent[i] = above
        i = up
        up = above
    return i


@njit(nogil=True, cache=True)
def link(parent: np.ndarray, i: int, j: int) -> None:
    """Join the trees of `i` and `j` under the smaller of their roots."""
    while True:
        a = find(parent, i)
        b = find(parent, j)
        if a == b:
            return
        if a < b:
            a, b = b, a
        if _compare_and_swap(parent, a, np.int32(a), np.int32(b)):  # type: ignore[call-arg]
            return


@njit(nogil=True, cache=True)
def flatten(parent: np.ndarray, keep: np.ndarray, start: int, stop: int) -> None:
    """Point ``start <= i < stop`` at its root, or at -1 where `keep` is 0.

    Only for a forest that no other thread links any more; the members of `keep` must be
    a union of whole trees.
    """
    for i in range(start, stop):
        if keep[i]:
            root = parent[i]
            while parent[root] != root:
                root = parent[root]
            parent[i] = root
        else:
            parent[i] = -1
