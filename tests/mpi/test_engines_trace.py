"""Tracing on live engines: what hangs there is explained from outside."""

import pytest

from course import engines
from course.mpi import trace
from course.mpi.explain import explain_directory


def begin(folder):
    from course.mpi import trace

    trace.start(folder)


def fine():
    from mpi4py import MPI

    return MPI.COMM_WORLD.allreduce(1)


def swap():
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    theirs = comm.recv(source=1 - comm.rank)
    comm.send("mine", dest=1 - comm.rank)
    return theirs


@pytest.mark.timeout(120)
def test_a_hang_on_engines_is_explained(tmp_path):
    with engines.start(n=2) as cluster:
        cluster.run(begin, str(tmp_path))
        assert cluster.run(fine) == [2, 2]
        assert [call.name for call in trace.load(tmp_path).calls[1]] == ["allreduce"]
        with pytest.raises(Exception, match="(?s)did not|not finish|time"):
            cluster.run(swap, timeout=2)
        explanation = explain_directory(tmp_path, ["running", "running"])
        assert explanation.kind == "receive-cycle" and explanation.deadlock
        assert "theirs = comm.recv(source=1 - comm.rank)" in str(explanation)
