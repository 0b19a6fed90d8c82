"""Plain data: all of it comes back, nothing else goes, and nothing runs on the way."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course.mpi import RankError, plain, run

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.complex_numbers(allow_nan=False)
    | st.text()
    | st.binary()
)
keys = st.recursive(
    st.text() | st.integers() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
trees = st.recursive(
    leaves | st.sets(keys) | st.frozensets(keys),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(keys, inner),
    max_leaves=20,
)


@given(trees)
def test_what_goes_comes_back(value):
    back = plain.loads(plain.dumps(value))
    assert normal(back) == normal(value)


def normal(value):
    """A text that tells types apart, and knows no order in sets."""
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(normal, value))})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(map(normal, value)))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{normal(k)}: {normal(v)}' for k, v in value.items())})"
    return repr(value)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3).T,
        np.zeros((0, 3), dtype=np.int8),
        np.array(["a", "bcd"]),
        np.array(3 + 1j),
        np.float32(0.1),
        np.bool_(True),
    ],
)
def test_arrays(array):
    back = plain.loads(plain.dumps({"x": [array]}))["x"][0]
    assert type(back) is type(array) and back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


class EqualToAll:
    def __eq__(self, other):
        return True


class LyingList(list):
    def __eq__(self, other):
        return True


@pytest.mark.parametrize(
    "value",
    [EqualToAll(), [LyingList()], {b"": 2}, np.array([None]), len, range(2), np.array([], "M8[s]")],
)
def test_nothing_else_goes(value):
    with pytest.raises(TypeError, match="expected"):
        plain.dumps(value)


def test_a_list_that_contains_itself():
    value: list = []
    value.append(value)
    with pytest.raises(ValueError, match="deep"):
        plain.dumps(value)


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4 no zip", pickle.dumps([1]), plain.dumps(1)[:-5], plain.dumps(1)[5:]]
)
def test_bad_bytes(data):
    with pytest.raises(ValueError, match="expected plain data"):
        plain.loads(data)


def test_a_bomb_is_not_unpacked():
    data = plain.dumps(np.zeros(1_000_000))
    with pytest.raises(ValueError, match="at most 1000 bytes were allowed"):
        plain.loads(data, largest=1000)


def test_run_returns_plain_data():
    def work(comm):
        return {"rank": comm.rank, "array": np.arange(3)}

    results = run(work, 2, timeout=60, plain=True).results
    assert [result["rank"] for result in results] == [0, 1]
    np.testing.assert_array_equal(results[1]["array"], [0, 1, 2])


def test_run_refuses_what_is_not_plain():
    with pytest.raises(RankError, match="rank 0 returned a EqualToAll"):
        run(lambda comm: EqualToAll(), 1, timeout=60, plain=True)
