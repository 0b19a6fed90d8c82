import csv
import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from course.grading import batch, worker
from course.grading.progress import Progress
from course.grading.results import Mark, Result
from tests.grading import fake

PROJECT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)


def grade(root, **more):
    out = io.StringIO()
    status = batch.grade_all(root, fake.NAME, fake.settings(**more), out)
    return status, out.getvalue()


def result(root, student):
    return Result.load(worker.result_path(root, fake.NAME, student))


def wait_for(condition, seconds=200):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "did not happen in time"
        time.sleep(0.02)


def test_one_bad_submission_never_stops_the_others(tmp_path):
    root = fake.course(
        tmp_path, a="points 5", b="kill", c="crash", d="exit", e="points 1.5", f="points 0"
    )
    (root / "submitted" / "empty" / fake.NAME).mkdir(parents=True)
    status, log = grade(root)
    assert status == 1
    assert [result(root, s).points for s in "aef"] == [5, 1.5, 0]
    assert "signal 9" in result(root, "b").error
    assert "exit status 1" in result(root, "c").error
    assert "ZeroDivisionError" in result(root, "c").error
    assert "exit status 7" in result(root, "d").error
    assert "expected a0.ipynb in the submission, found no notebook" in result(root, "empty").error
    for line in ("7 submissions, 7 to grade", "[7 of 7]", "a: 5 of 5 (", "e: 1.5 of 5 ("):
        assert line in log
    assert "not a progress line" not in log
    table = list(csv.reader(open(root / "graded" / fake.NAME / "grades.csv")))
    rows = {row[0]: row for row in table[1:]}
    assert rows["e"][1:4] == ["1.5", "0", "1.5"] and rows["e"][-1] == ""
    assert rows["b"][1:4] == ["", "", ""] and "signal 9" in rows["b"][-1]


def test_a_submission_that_hangs_is_ended_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "MARGIN", 2.0)
    root = fake.course(tmp_path, slow="hang", fine="points 4")
    grade(root, students=["fine"])
    status, _ = grade(root, deadline=4.0)
    assert status == 1 and result(root, "fine").points == 4
    assert result(root, "slow").error.startswith("Grading did not end within 4 s")
    wait_for(lambda: not members(root))


def test_what_is_graded_is_not_graded_again(tmp_path):
    root = fake.course(tmp_path, a="points 5", b="points 3", c="crash")
    assert grade(root)[0] == 1
    fake.submit(root, "b", "points 2")  # handed in anew
    fake.submit(root, "c", "points 1")
    (root / "calls").unlink()
    status, log = grade(root)
    assert status == 0 and sorted(fake.calls(root)) == ["b", "c"]
    assert "1 graded before, 2 to grade" in log
    assert [result(root, s).points for s in "abc"] == [5, 2, 1]
    assert grade(root)[0] == 0 and len(fake.calls(root)) == 2
    assert grade(root, again=True)[0] == 0 and len(fake.calls(root)) == 5
    fake.submit(root, "b", "points 4")
    assert grade(root, again=True, students=["a"])[0] == 0 and fake.calls(root)[-1] == "a"
    rows = {r[0]: r for r in csv.reader(open(root / "graded" / fake.NAME / "grades.csv"))}
    assert rows["a"][-1] == "" and rows["b"][-1] == "not graded yet"  # its mark is of the past


def test_a_damaged_result_is_made_again(tmp_path):
    root = fake.course(tmp_path, a="points 5")
    grade(root)
    worker.result_path(root, fake.NAME, "a").write_text("{")
    assert grade(root)[0] == 0 and fake.calls(root) == ["a", "a"]


BATCH = """
import sys
from pathlib import Path
from course.grading import batch
from tests.grading import fake
sys.exit(batch.grade_all(Path(sys.argv[1]), fake.NAME, fake.settings(jobs=2)))
"""


def start(root):
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(
        [sys.executable, "-c", BATCH, str(root)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def members(root):
    """Return the processes that grade in `root`; a zombie has no command line."""
    found = psutil.process_iter(["cmdline"])
    return [p for p in found if str(root) in " ".join(p.info["cmdline"] or [])]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_halfway_and_resumed(tmp_path, number):
    root = fake.course(tmp_path, a="points 5", b="wait", c="points 3", d="wait", e="points 1")
    process = start(root)
    wait_for(lambda: len(fake.calls(root)) >= 4)
    wait_for(lambda: worker.result_path(root, fake.NAME, "c").exists())
    process.send_signal(number)
    log, _ = process.communicate(timeout=200)
    wait_for(lambda: not members(root))
    assert [result(root, s).points for s in "ac"] == [5, 3]
    assert not worker.result_path(root, fake.NAME, "b").exists()
    if number != signal.SIGKILL:
        assert process.returncode == 130 and "goes on with the 3 that are left" in log
        assert "not graded yet" in log
    before = len(fake.calls(root))
    (root / "go").touch()
    status, log = grade(root)
    assert status == 0 and "2 graded before" in log
    assert sorted(fake.calls(root)[before:]) == ["b", "d", "e"]


def test_two_at_once(tmp_path):
    root = fake.course(tmp_path, a="wait", b="wait", c="points 5")
    process = start(root)
    try:
        wait_for(lambda: sorted(fake.calls(root)) == ["a", "b"])  # side by side
        with pytest.raises(RuntimeError, match=f"being graded by process {process.pid} on"):
            grade(root)
    finally:
        (root / "go").touch()
        log, _ = process.communicate(timeout=200)
    assert process.returncode == 0, log
    assert grade(root)[0] == 0 and len(fake.calls(root)) == 3


ODD = [
    "Zoë Müller",
    "o'neil",
    "<script>alert(1)",
    "=1+1",
    "a,b",
    "-rf",
    "x;y $(id)",
    "[ab]",
]


def test_students_with_odd_names(tmp_path):
    names = dict.fromkeys(ODD, "points 1")
    root = fake.course(tmp_path, **names)
    status, _ = grade(root)
    assert status == 0 and sorted(fake.calls(root)) == sorted(names)
    page = (root / "graded" / f"{fake.NAME}.html").read_text()
    assert "<script" not in page and "Zoë Müller" in page
    rows = list(csv.reader(open(root / "graded" / fake.NAME / "grades.csv")))
    assert {"'=1+1", "a,b", "'-rf"} <= {row[0] for row in rows}


def test_links_and_pipes_are_no_submissions(tmp_path):
    root = fake.course(tmp_path, a="points 5")
    for student, make in (("link", os.symlink), ("pipe", lambda source, path: os.mkfifo(path))):
        folder = root / "submitted" / student / fake.NAME
        folder.mkdir(parents=True)
        make(root / "source" / fake.NAME / f"{fake.NAME}.ipynb", folder / f"{fake.NAME}.ipynb")
    assert grade(root)[0] == 1 and fake.calls(root) == ["a"]
    for student in ("link", "pipe"):
        assert "found a link or the like" in result(root, student).error


def test_without_a_sandbox_nothing_is_graded_unless_told(tmp_path):
    root = fake.course(tmp_path, a="nosandbox")
    with pytest.raises(RuntimeError, match="no bubblewrap here"):
        grade(root)
    assert not worker.result_path(root, fake.NAME, "a").exists()
    assert grade(root, sandboxed=False)[0] == 0
    assert result(root, "a").sandbox == "none"
    assert "graded without a sandbox" in (root / "graded" / f"{fake.NAME}.html").read_text()


def test_bad_requests(tmp_path):
    root = fake.course(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected submissions in"):
        grade(root)
    fake.submit(root, "a", "points 5")
    with pytest.raises(ValueError, match=r"expected a folder .* for each of \['nobody'\]"):
        grade(root, students=["nobody", "a"])
    with pytest.raises(ValueError, match="positive"):
        grade(root, deadline=0)
    with pytest.raises(FileNotFoundError, match="expected the source notebook"):
        (root / "submitted" / "a" / "a9").mkdir()
        batch.grade_all(root, "a9", fake.settings())


def test_an_error_that_nobody_expected_ends_the_batch(tmp_path):
    root = fake.course(tmp_path, a="points 5")

    def broken(todo, events, stop):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        grade(root, runner=broken)
    assert grade(root)[0] == 0


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_a_terminal_and_in_a_log(monkeypatch):
    done = Result("a0", "eve\x1b[2J", "k", 0, [Mark("x", 1.25, 2)])
    for out in (Terminal(), io.StringIO()):
        show = Progress(out, 12, 3)
        show.event("started", "eve\x1b[2J", None)
        show.event("doing", "eve\x1b[2J", "halo on 4 ranks")
        show.said -= 100
        show.tick()
        show.event("graded", "eve\x1b[2J", done)
        show.close()
        text = out.getvalue()
        assert "halo on 4 ranks" in text and "[ 4 of 12] eve?[2J: 1.25 of 2 (0 s)\n" in text
        assert ("\r" in text) == out.isatty()
        assert "eve\x1b" not in text


def test_a_long_queue_is_told_in_short():
    out = io.StringIO()
    show = Progress(out, 40, 0)
    for number in range(40):
        show.event("doing", f"s{number}", "waits in the queue")  # before it is started
    show.said -= 100
    show.tick()
    lines = out.getvalue().splitlines()
    assert len(lines) == 12 and lines[-1].strip() == "and 30 more"


def test_slurm_tasks_are_followed(tmp_path, monkeypatch):
    """With a Slurm that runs each task at once, in this process's own machine."""
    from course.grading import slurm

    root = fake.course(tmp_path, a="points 5", b="crash", c="points 1", d="points 2")
    site = slurm.sites.DEFAULTS.choose(folder=str(tmp_path / "jobs"), poll_seconds=0.05)
    monkeypatch.setattr(slurm.sites, "load", lambda: site)
    monkeypatch.setattr(slurm, "LARGEST", 3)
    states, cancelled, scripts = {}, [], []

    def submit(script):
        number = str(100 + len(scripts))
        scripts.append(script.read_text())
        first = int(script.stem.partition("-")[2])
        folder = script.parent
        for place in range(first, min(first + 3, 4)):
            if place != 2:  # the node of that one is lost
                slurm.main(folder, place)
            states.setdefault(number, []).append((place - first, place))
        return number

    def call(*command):
        number = next(part for part in command if part.startswith("--jobs=")).partition("=")[2]
        words = {2: "NODE_FAIL"}
        return "".join(f"{i}|{words.get(p, 'COMPLETED')}\n" for i, p in states[number])

    monkeypatch.setattr(slurm.slurm, "submit", submit)
    monkeypatch.setattr(slurm.slurm, "call", call)
    monkeypatch.setattr(slurm.slurm, "cancel", lambda *numbers: cancelled.extend(numbers))
    status, log = grade(root, slurm=True, jobs=5, deadline=100)
    assert status == 1 and cancelled == ["100", "101"]
    assert [result(root, s).points for s in "ad"] == [5, 2]
    assert "ZeroDivisionError" in result(root, "b").error
    assert "NODE_FAIL" in result(root, "c").error
    assert "#SBATCH --array=0-2%5" in scripts[0] and "#SBATCH --array=0-0%5" in scripts[1]
    assert "#SBATCH --time=4" in scripts[0] and "$((3 + SLURM_ARRAY_TASK_ID))" in scripts[1]
    assert not list((tmp_path / "jobs").iterdir())


def test_stopping_cancels_the_slurm_jobs(tmp_path, monkeypatch):
    import queue

    from course.grading import slurm

    root = fake.course(tmp_path, a="points 5")
    site = slurm.sites.DEFAULTS.choose(folder=str(tmp_path / "jobs"), poll_seconds=0.05)
    monkeypatch.setattr(slurm.sites, "load", lambda: site)
    monkeypatch.setattr(slurm.slurm, "submit", lambda script: "7")
    monkeypatch.setattr(slurm.slurm, "call", lambda *command: "0|PENDING\n")
    cancelled = []
    monkeypatch.setattr(slurm.slurm, "cancel", lambda *numbers: cancelled.extend(numbers))
    job = worker.Job(str(root), fake.NAME, "a", opener=fake.OPEN, grader=fake.GRADE)
    stop, events = threading.Event(), queue.Queue()
    thread = threading.Thread(target=slurm.run_array, args=([(job, "key")], events, stop))
    thread.start()
    assert events.get(timeout=100) == ("doing", "a", "waits in the queue")
    stop.set()
    thread.join(100)
    assert cancelled == ["7"] and not thread.is_alive()
