import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from course import engines


@pytest.fixture(scope="module")
def shell():
    shell = InteractiveShell.instance()
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture(scope="module")
def cluster(shell):
    with engines.start(n=2, timeout=60) as started:
        yield started


def px(shell, cell, line=""):
    with capture_output() as captured:
        result = shell.run_cell(f"%%px {line}\n{cell}")
    return result.error_in_exec, captured


def test_px_runs_on_all_ranks_in_rank_order(shell, cluster):
    error, captured = px(shell, "from mpi4py import MPI\nprint(MPI.COMM_WORLD.rank)")
    assert error is None
    assert captured.stdout == "[stdout:0] 0\n[stdout:1] 1\n"


def test_px_shows_the_last_expression_of_each_rank(shell, cluster):
    error, captured = px(shell, "MPI.COMM_WORLD.rank + 10")
    assert error is None
    shown = captured.stdout + "".join(o.data["text/plain"] for o in captured.outputs)
    assert "10" in shown and "11" in shown


def test_px_on_one_target(shell, cluster):
    error, captured = px(shell, "print('only me')", "--targets 1")
    assert error is None
    assert "only me" in captured.stdout


def test_px_keeps_the_result_under_a_name(shell, cluster):
    px(shell, "x = 3\nx", "--out answer")
    assert shell.user_ns["answer"].successful()


def test_px_timeout_and_recovery(shell, cluster):
    error, _ = px(shell, "import time\nMPI.COMM_WORLD.recv(source=0)", "--timeout 1")
    assert "did not finish within 1 s" in str(error)
    assert "rank 0 waits in recv from rank 0" in str(error)
    with capture_output() as captured:
        cluster.recover(timeout=60)
    assert "Ranks 0 and 1 did not finish" in captured.stdout
    error, captured = px(shell, "print('back')")
    assert error is None and captured.stdout.count("back") == 2


def test_px_with_a_wrong_timeout_says_what_was_expected(shell, cluster):
    error, _ = px(shell, "1", "--timeout soon")
    assert "expected --timeout SECONDS" in str(error)
