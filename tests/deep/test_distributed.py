"""Horovod training on Keras 3: equal to plain Keras on the joined batch, on any number of ranks."""

import math
from pathlib import Path

import pytest

from tests.ranks import RANKS, mpiexec_json

pytestmark = pytest.mark.timeout(1000)  # seven TensorFlows on two busy cores
SCRIPT = Path(__file__).with_name("ranks_training.py")


@pytest.fixture(scope="module", params=RANKS)
def ranks(request):
    return request.param


def few(facts, case):
    """The facts of a case that is run on few ranks only: see FEW in the script."""
    if case not in facts:
        pytest.skip("run on fewer ranks")
    return facts[case]


@pytest.fixture(scope="module")
def facts(ranks):
    """What the cases of the script found, all in one launch per number of ranks."""
    return mpiexec_json(SCRIPT, ranks, timeout=900)


@pytest.fixture(autouse=True)
def _no_case_raised(request):
    if "facts" in request.fixturenames:
        facts = request.getfixturevalue("facts")
        raised = {name: fact["raised"] for name, fact in facts.items() if "raised" in fact}
        assert not raised, "\n".join(f"{name}\n{text}" for name, text in raised.items())


def test_every_optimizer_takes_the_step_of_the_mean_gradient(facts):
    assert len(facts["every_optimizer"]) >= 25
    for name, fact in facts["every_optimizer"].items():
        assert fact["apart"] == 0, name
        assert fact["error"] < 1e-12, (name, fact)
        assert fact["moved"] > 1e-4, (name, fact)


def test_compiled_training_equals_one_process(facts):
    for name, fact in facts["in_graphs"].items():
        assert fact["apart"] == 0, name
        assert fact["error"] < 1e-6, (name, fact)
        assert fact["moved"] > 0.01, (name, fact)


def test_embedding(facts):
    for name, fact in few(facts, "embedding").items():
        assert fact["apart"] == 0, name
        # Adam divides by the root of the mean square, which magnifies rounding where it is small.
        assert fact["error"] < (1e-4 if name == "Adam" else 1e-6), (name, fact)
        assert fact["moved"] > 0.01, (name, fact)


def test_mixed_precision(facts, ranks):
    fact = few(facts, "mixed_precision")
    assert fact["apart"] == 0
    assert fact["error"] < 2e-3 < fact["moved"]
    assert fact["kept wrapper"]
    assert fact["wrapped by itself"]
    assert fact["same everywhere"]
    assert fact["finite"]
    # One of three steps met the infinity, which sits on one rank.
    assert fact["steps taken"] == [2, 2]
    assert fact["scale"] == [32, 32]


def test_a_distributed_optimizer_is_the_outermost(facts):
    assert few(facts, "wrapped_in_another") == {
        "loss scale": True,
        "several": True,
        "unknown": True,
        "twice": True,
    }


def test_saving_and_loading(facts):
    fact = few(facts, "saving")
    assert fact["steps"] == 8
    assert fact["apart"] == 0
    assert fact["error"] < 1e-5
    assert fact["plain file"]
    assert fact["plain class"] == "Adam"
    assert fact["averages again"] == "DistributedAdam"
    assert fact["state kept"]


def test_metrics_are_those_of_all_data(facts):
    fact = facts["metrics"]
    assert fact["same everywhere"]
    assert fact["names"]
    assert fact["epochs"][0] == fact["epochs"][1]
    assert fact["rates"] > 1, "ReduceLROnPlateau did nothing, so that the case shows nothing"
    assert fact["error"] < 1e-5
    assert fact["evaluated"] < 1e-6


def test_dropout_and_batch_normalisation(facts, ranks):
    fact = few(facts, "states")
    assert fact["apart"] == 0
    assert fact["again"] == 0
    assert fact["seeds"] == fact["masks"] == ranks
    assert fact["masks again"]


def test_averaged_gradients(facts, ranks):
    fact = facts["averaged_gradients"]
    assert fact["none"]
    assert fact["error"] < 1e-6
    assert fact["types"] == pytest.approx([(ranks - 1) / 2] * 2, rel=1e-3)


def test_warm_up(facts, ranks):
    fact = few(facts, "warm_up")
    steps = [min(1.0, step / 4 / 1.5) for step in range(16)]
    expected = [0.01 * (1 + 3 * progress) for progress in steps]
    expected[12:] = [0.02] * 4  # halved by another callback after the third epoch
    assert fact["rates"] == pytest.approx(expected, rel=1e-6)
    assert "two schedules cannot set one rate" in fact["schedule"]
    assert math.isclose(fact["start"], 0.1)


def test_ranks_that_disagree_are_told(facts, ranks):
    if ranks == 1:
        pytest.skip("one rank agrees with itself")
    fact = facts["disagreement"]
    messages = fact["messages"]
    last = ranks - 1
    assert f"steps per epoch is 4 on rank 0 and 1 on rank {last}" in messages["steps"]
    assert f"epochs is 1 on rank 0 and 2 on rank {last}" in messages["epochs"]
    assert "DistributedSGD on rank 0 and DistributedAdam" in messages["optimizer"]
    assert "variable 2, is kernel float32 (8, 3) on rank 0 and kernel" in messages["model"]
    assert messages["none"] == ""
    assert fact["same everywhere"]


def test_a_missing_rank_ends_in_an_error(facts, ranks):
    if ranks == 1:
        pytest.skip("one rank misses nobody")
    assert few(facts, "a_rank_is_missing") == {"recovered": True, "errors": ranks - 1}


def test_a_part_of_the_world(facts, ranks):
    fact = facts["half_of_the_world"]
    even = (ranks + 1) // 2
    assert fact["sizes"] == [ranks - even if rank % 2 else even for rank in range(ranks)]
    assert fact["ranks"] == [rank // 2 for rank in range(ranks)]
    assert not any(fact["apart"])
    assert fact["halves differ"] == (ranks > 1)
