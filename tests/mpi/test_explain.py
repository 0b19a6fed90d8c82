"""Every seeded fault is diagnosed, and no healthy program is accused."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from course.mpi import DeadlineError, DeadlockError, Run, RunError, run
from course.mpi.advice import MENDS, TITLES
from course.mpi.explain import Explanation, explain
from tests.mpi.faults import BIG, FAULTS, HEALTHY

Verdict = tuple[Explanation, Run | RunError]


def judge(program, ranks: int) -> Verdict:
    try:
        outcome = run(program, ranks, timeout=100, trace=True)
        return explain(outcome.trace), outcome
    except RunError as error:
        return error.explanation, error


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[dict[str, Future[Verdict]]]:
    """Start all programs that were selected, a few at a time: mostly they wait."""
    wanted = {item.callspec.params["name"] for item in request.session.items
              if item.fspath == request.fspath and hasattr(item, "callspec")}  # fmt: skip
    pool = ThreadPoolExecutor(3)
    programs = {name: (entry.program, entry.ranks) for name, entry in FAULTS.items()} | HEALTHY
    yield {name: pool.submit(judge, *programs[name]) for name in programs if name in wanted}
    pool.shutdown(cancel_futures=True)


def test_there_are_enough_of_both():
    assert len(FAULTS) >= 50
    assert len(HEALTHY) >= 20
    assert {kind for entry in FAULTS.values() for kind in entry.kinds} <= set(TITLES)
    assert set(TITLES) == set(MENDS)


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_named(name, verdicts):
    explanation, outcome = verdicts[name].result(timeout=290)
    assert explanation.kind in FAULTS[name].kinds, f"{outcome}\n{explanation}"
    assert type(outcome) is not DeadlineError, "ended by the clock, not by proof"
    text = str(explanation)
    assert TITLES[explanation.kind] in text
    if isinstance(outcome, DeadlockError):
        assert explanation.deadlock
        assert "line " in text and " waits in " in text
        assert str(explanation) in str(outcome)


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_program_is_not_accused(name, verdicts):
    explanation, outcome = verdicts[name].result(timeout=290)
    assert isinstance(outcome, Run), str(outcome)
    assert explanation.kind == "none", str(explanation)


def test_a_ring_is_told_in_full(verdicts):
    def exchange(comm):
        left, right = (comm.rank - 1) % comm.size, (comm.rank + 1) % comm.size
        got = comm.recv(source=left, tag=4)
        comm.send("x", dest=right, tag=4)
        return got

    with pytest.raises(DeadlockError) as caught:
        run(exchange, 3, timeout=100, trace=True)
    explanation = caught.value.explanation
    assert explanation.ranks == [0, 1, 2]
    assert explanation.waits == {0: [2], 1: [0], 2: [1]}
    assert sorted(explanation.cycle) == [0, 1, 2]
    text = str(explanation)
    assert "rank 1 waits in recv from rank 0 (tag 4), for rank 0" in text
    assert "got = comm.recv(source=left, tag=4)" in text
    assert "Sendrecv" in text


def test_a_slow_rank_at_the_deadline_is_no_deadlock():
    def busy(comm):
        import time

        if comm.rank == 1:
            time.sleep(60)
        comm.Barrier()

    with pytest.raises(DeadlineError) as caught:
        run(busy, 2, timeout=8, trace=True)
    assert type(caught.value) is DeadlineError
    assert caught.value.explanation.kind == "slow"
    assert caught.value.explanation.ranks == [1]
    assert "time.sleep(60)" in str(caught.value) or "in busy" in str(caught.value)


def test_endless_polling_names_what_is_missing():
    def poll(comm):
        if comm.rank == 0:
            request = comm.irecv(source=1, tag=1)
            while not request.test()[0]:
                pass
        else:
            comm.send("x", dest=0, tag=2)

    with pytest.raises(DeadlineError) as caught:
        run(poll, 2, timeout=8, trace=True)
    assert caught.value.explanation.kind == "wrong-tag"


def test_big_is_more_than_what_libraries_buffer():
    assert BIG * 8 > 4_000_000
