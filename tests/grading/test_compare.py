"""What counts as the same, and what is said where it is not."""

import numpy as np
import pytest

from course.grading.compare import close, equal

ARRAY = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("got", "right"),
    [
        (3, 3),
        (np.int64(3), 3),
        (np.array(3), 3),
        (True, True),
        (None, None),
        ([1, [2]], [1, [2]]),
        ({1: (2,)}, {1: (2,)}),
        ({(1, 2)}, {(1, 2)}),
        (ARRAY.copy(), ARRAY),
        ([1, 2, 3], ARRAY),
        ("a", "a"),
    ],
)
def test_the_same(got, right):
    assert equal(got, right) is None
    assert close()(got, right) is None


@pytest.mark.parametrize(
    ("got", "right", "said"),
    [
        (4, 3, "expected 3, got 4"),
        (1, True, "expected True, got 1"),
        (None, 3, "got None"),
        ("3", 3, "got '3'"),
        ([1], [1, 2], "expected 2 items, got 1"),
        ((1, 2), [1, 2], "expected a list"),
        ([1, 3], [1, 2], "item 1"),
        ({1: 2}, {1: 3}, "at 1"),
        ({}, {1: 3}, "key 1 is missing"),
        ({1: 3, 2: 4}, {1: 3}, "unexpected key 2"),
        ({1}, {2}, "expected {2}"),
        (None, ARRAY, "nothing was returned"),
        (np.zeros(2), ARRAY, "expected shape (3,), got (2,)"),
        (np.array([1.0, 2.0, 4.0]), ARRAY, "1 of 3 numbers are wrong; first at 2"),
        (np.array([np.nan] * 3), ARRAY, "3 of 3"),
        (np.array(["a", "b", "c"]), ARRAY, "text"),
        ([1, [2], 3], ARRAY, "shape (3,)"),
        (np.zeros((2, 2)), np.eye(2), "first at (0, 0)"),
    ],
)
def test_not_the_same(got, right, said):
    assert said in equal(got, right)


def test_close_lets_numbers_differ_a_little_and_no_more():
    near, far = ARRAY * (1 + 1e-9), ARRAY * 1.001
    assert equal(near, ARRAY) is not None
    assert close()(near, ARRAY) is None
    assert close()(far, ARRAY) is not None
    assert close(rtol=0.01)({"x": [far, 1.001]}, {"x": [ARRAY, 1.0]}) is None
    assert close()((1.0, 2), [1.0, 2]) is None  # a pair is a pair
    assert "got nan" in close()(float("nan"), 1.0)
