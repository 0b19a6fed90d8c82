"""``course grade --slurm`` on the emulated DAM."""

import io
import queue
import threading

import pytest

from course.cluster import site as sites
from course.cluster import slurm
from course.grading import batch, worker
from course.grading.results import Result
from course.grading.slurm import run_array
from tests.grading import fake
from tests.grading.test_batch import members, wait_for

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def site(cluster, tmp_path, monkeypatch):
    found = sites.load().choose(folder=str(tmp_path / "jobs"), poll_seconds=0.5)
    monkeypatch.setattr(sites, "load", lambda: found)
    return found


def result(root, student):
    return Result.load(worker.result_path(root, fake.NAME, student))


def test_an_array_of_submissions(site, tmp_path):
    root = fake.course(tmp_path, a="points 5", b="kill", c="points 1.5", d="crash")
    out = io.StringIO()
    status = batch.grade_all(root, fake.NAME, fake.settings(slurm=True), out)
    assert status == 1 and "[4 of 4]" in out.getvalue()
    assert [result(root, student).points for student in "ac"] == [5, 1.5]
    assert "signal 9" in result(root, "b").error
    assert "ZeroDivisionError" in result(root, "d").error
    assert not list((tmp_path / "jobs").iterdir())


def next_graded(events):
    while True:
        kind, student, what = events.get(timeout=200)
        if kind == "graded":
            return student, what


def test_a_cancelled_task_did_not_run_and_stopping_cancels_the_rest(site, tmp_path):
    root = fake.course(tmp_path, a="points 5", b="wait", c="wait")
    jobs = [worker.Job(str(root), fake.NAME, s, opener=fake.OPEN, grader=fake.GRADE) for s in "abc"]
    events: queue.Queue = queue.Queue()
    stop = threading.Event()
    thread = threading.Thread(target=run_array, args=([(j, "key") for j in jobs], events, stop))
    thread.start()
    try:
        assert next_graded(events)[0] == "a"
        wait_for(lambda: {"b", "c"} <= set(fake.calls(root)))
        number = slurm.call("squeue", "--noheader", "--name=course-grade", "--format=%F").split()[0]
        slurm.cancel(f"{number}_1")
        student, lost = next_graded(events)
        assert student == "b" and "ended without a result (CANCELLED)" in lost.error
    finally:
        stop.set()
        thread.join(100)
    wait_for(lambda: not slurm.call("squeue", "--noheader", "--name=course-grade").strip())
    wait_for(lambda: not members(root))
    assert not worker.result_path(root, fake.NAME, "c").exists()
