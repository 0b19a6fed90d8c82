"""Who trains on which rows."""

import numpy as np
import pytest

from course.deep.sharding import scale_learning_rate, shard
from tests.ranks import RANKS


@pytest.mark.parametrize("size", RANKS)
@pytest.mark.parametrize("rows", [7, 20, 100])
def test_batches_of_all_ranks_are_a_batch_of_the_whole(rows, size):
    x, y = np.arange(rows) * 10, np.arange(rows)
    shards = [shard(x, y, rank=rank, size=size) for rank in range(size)]
    assert len({len(own_x) for own_x, _ in shards}) == 1
    whole = rows - rows % size
    assert sorted(np.concatenate([own_y for _, own_y in shards])) == list(range(whole))
    for start in range(0, whole // size, 3):
        batch = np.concatenate([own_y[start : start + 3] for _, own_y in shards])
        assert sorted(batch) == list(range(start * size, min((start + 3) * size, whole)))
    assert all((own_x == own_y * 10).all() for own_x, own_y in shards)


@pytest.mark.parametrize("size", RANKS)
def test_remainders(size):
    x = np.arange(20)
    kept = [shard(x, rank=rank, size=size, remainder="keep") for rank in range(size)]
    assert sorted(np.concatenate(kept)) == list(range(20))
    repeated = [shard(x, rank=rank, size=size, remainder="repeat") for rank in range(size)]
    assert len({len(own) for own in repeated}) == 1
    assert set(np.concatenate(repeated)) == set(range(20))
    assert sum(map(len, repeated)) < 20 + size


def test_wrong_input():
    x = np.arange(5)
    with pytest.raises(ValueError, match=r"rank in 0\.\.2, got rank=3, size=3"):
        shard(x, rank=3, size=3)
    with pytest.raises(ValueError, match="at least one row for each of 7 ranks, got 5"):
        shard(x, rank=0, size=7)
    with pytest.raises(ValueError, match=r"same number of rows, got \[5, 4\]"):
        shard(x, x[:4], rank=0, size=1)
    with pytest.raises(ValueError, match="remainder must be one of"):
        shard(x, rank=0, size=1, remainder="some")
    with pytest.raises(ValueError, match="positive learning rate"):
        scale_learning_rate(0.0, 2)
    assert scale_learning_rate(0.1, 8) == pytest.approx(0.8)
