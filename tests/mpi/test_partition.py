"""Partitions against numpy and against trying every cut."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course.mpi import partition


@given(n=st.integers(0, 300), ranks=st.integers(1, 40))
def test_blocks_cut_where_numpy_does(n, ranks):
    bounds = partition.block_bounds(n, ranks)
    assert bounds.dtype == np.int64
    sizes = [len(part) for part in np.array_split(np.arange(n), ranks)]
    np.testing.assert_array_equal(partition.counts(bounds), sizes)
    np.testing.assert_array_equal(partition.displacements(bounds), np.cumsum([0, *sizes[:-1]]))
    blocks = [partition.block(n, ranks, rank) for rank in range(ranks)]
    assert [row for start, stop in blocks for row in range(start, stop)] == list(range(n))
    assert [stop - start for start, stop in blocks] == sizes


@given(n=st.integers(0, 100), ranks=st.integers(1, 20))
def test_owner_is_the_inverse(n, ranks):
    bounds = partition.block_bounds(n, ranks)
    expected = np.repeat(np.arange(ranks), partition.counts(bounds))
    np.testing.assert_array_equal(partition.owner(bounds, np.arange(n)), expected)


def cheapest(costs, ranks):
    """The smallest possible maximum, by trying every cut."""
    n, total = len(costs), np.concatenate([[0], np.cumsum(costs)])
    return min(
        max(np.diff(total[[0, *cuts, n]]))
        for cuts in combinations_with_replacement(range(n + 1), ranks - 1)
    )


@given(
    costs=st.lists(st.one_of(st.integers(0, 9), st.floats(0, 1e6)), max_size=9),
    ranks=st.integers(1, 4),
)
@settings(max_examples=200, deadline=None)
def test_weighted_is_the_best_there_is(costs, ranks):
    bounds = partition.weighted_bounds(costs, ranks)
    assert bounds[0] == 0 and bounds[-1] == len(costs) and (np.diff(bounds) >= 0).all()
    total = np.concatenate([[0], np.cumsum(costs)])
    assert np.diff(total[bounds]).max() == pytest.approx(cheapest(costs, ranks), rel=1e-12)


@pytest.mark.parametrize("ranks", [1, 2, 3, 4, 7])
def test_weighted_on_many_rows(ranks):
    costs = np.random.default_rng(0).pareto(1.5, 20_000)
    bounds = partition.weighted_bounds(costs, ranks)
    loads = np.add.reduceat(costs, bounds[:-1])
    assert loads.max() < costs.sum() / ranks + costs.max()


def test_more_ranks_than_rows():
    np.testing.assert_array_equal(partition.counts(partition.block_bounds(2, 4)), [1, 1, 0, 0])
    bounds = partition.weighted_bounds([5.0, 1.0], 4)
    assert partition.counts(bounds).sum() == 2 and len(bounds) == 5
    assert partition.owner(bounds, [0, 1]).tolist() == [0, 1]
    np.testing.assert_array_equal(partition.weighted_bounds([], 3), [0, 0, 0, 0])
    np.testing.assert_array_equal(partition.weighted_bounds([0, 0, 0], 3), [0, 1, 2, 3])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: partition.block_bounds(-1, 2), "n must be 0 or more rows, got -1"),
        (lambda: partition.block_bounds(3, 0), "ranks must be 1 or more, got 0"),
        (lambda: partition.block(3, 2, 2), "rank must be from 0 to 1, got 2"),
        (lambda: partition.weighted_bounds([1, -1], 2), "0 or more"),
        (lambda: partition.weighted_bounds([np.inf], 2), "finite"),
        (lambda: partition.weighted_bounds([[1]], 2), "one dimension"),
        (lambda: partition.owner([0, 3], [3]), "rows must be from 0 to 2, got 3 to 3"),
        (lambda: partition.counts([3, 2]), "ascending"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()
