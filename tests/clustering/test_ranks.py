"""HPDBSCAN on several ranks: the labels of one, for chunks of every kind."""

from pathlib import Path

import pytest

from tests.clustering import cases
from tests.ranks import RANKS, mpiexec_json

SCRIPT = Path(__file__).with_name("on_ranks.py")
PROBLEMS = 120


@pytest.mark.parametrize("ranks", RANKS)
def test_equals_scikit_learn_and_refuses_together(ranks):
    outcome = mpiexec_json(SCRIPT, ranks, str(PROBLEMS))
    for number, found in enumerate(outcome["found"]):
        case, labels, core = cases.solved(number)
        assert found["labels"] == labels.tolist(), case.name
        assert found["core"] == core.tolist(), case.name
        assert found["clusters"] == [labels.max() + 1] * ranks, case.name
    assert number == PROBLEMS - 1
    said = outcome["refusals"]
    for name, text in (
        ("nan", "contains NaN"),
        ("infinite", "contains infinity"),
        ("flat", "Expected 2D array"),
        ("eps", "eps must be a finite number above 0, got -1.0"),
        ("nothing", "Found array with 0 sample"),
    ):
        assert len(said[name]) == ranks
        assert all(text in line for line in said[name]), said[name]
    if ranks > 1:
        assert all(f"rank {ranks - 1} cannot take part" in line for line in said["nan"][:-1])
        assert all("rows of the same width" in line for line in said["widths"])
        assert all("same eps" in line for line in said["different eps"])
