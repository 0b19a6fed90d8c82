"""Submissions that try to get marks otherwise than by solving the task, or to do harm.

Each gets what it earned and no more, the grader stays whole, and an honest submission that is
graded after it gets all its marks.
"""

import os
import re
import socket
import threading
from pathlib import Path

import psutil
import pytest

from course.grading import submission
from tests.grading import toy

pytestmark = pytest.mark.timeout(240)

TOTAL, DOUBLE = {"total-results", "total-contract"}, {"double-results"}
SECRET = "the grader's own secret"

# name: (cell, its code, points earned, what the reasons say)
HOSTILE = {
    "deadlock": (
        "total",
        """
def total(comm, mine):
    return comm.recv(source=(comm.rank + 1) % comm.size)
""",
        0,
        r"rank 0 waits in recv .* line 3 of total.*The ring",
    ),
    "deadlock of one rank": (
        "total",
        """
def total(comm, mine):
    if len(mine) == 0:
        return 0.0
    return comm.allreduce(float(np.sum(mine)))
""",
        None,  # right where no rank is empty: on one rank, which alone earns nothing
        r"rank \d+ .*(returned|finished|ended)",
    ),
    "endless loop": (
        "double",
        "def double(x):\n    while True:\n        pass\n",
        0,
        "took more than 3 s",
    ),
    "endless loop while loading": ("double", "while True:\n    pass\n", 0, "loading"),
    "sleeps for ever": (
        "double",
        "import time\ndef double(x):\n    time.sleep(1e6)\n",
        0,
        "took more than 3 s",
    ),
    "ignores signals": (
        "double",
        """
import signal
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
def double(x):
    while True:
        pass
""",
        0,
        "took more than 3 s|used up its time|SIGKILL",
    ),
    "fork bomb": (
        "double",
        """
import os
def double(x):
    while True:
        os.fork()
""",
        0,
        "BlockingIOError|took more than|ended|Resource",
    ),
    "thread bomb": (
        "double",
        """
import threading, time
def double(x):
    while True:
        threading.Thread(target=time.sleep, args=(1e6,)).start()
""",
        0,
        "can't start new thread|MemoryError|took more than",
    ),
    "memory hog": (
        "double",
        """
def double(x):
    hoard = []
    while True:
        hoard.append(bytearray(50_000_000))
""",
        0,
        "MemoryError|killed|took more than",
    ),
    "fills the disk": (
        "double",
        """
def double(x):
    for k in range(100_000):
        with open(f"/tmp/{k}", "wb") as file:
            file.write(bytes(10_000_000))
""",
        0,
        "No space left|File too large|took more than",
    ),
    "os._exit": ("double", "import os\ndef double(x):\n    os._exit(0)\n", 0, "exit status 0"),
    "sys.exit": ("double", "import sys\ndef double(x):\n    sys.exit(0)\n", 0, "SystemExit"),
    "crash": (
        "double",
        "import ctypes\ndef double(x):\n    ctypes.string_at(0)\n",
        0,
        "SIGSEGV",
    ),
    "kills its parent": (
        "double",
        """
import os, signal
def double(x):
    os.kill(os.getppid(), signal.SIGKILL)
    os.kill(-1, signal.SIGKILL)
    os.kill(1, signal.SIGKILL)
    return [2 * value for value in x]
""",
        None,  # it may answer before it is gone itself, but not every time
        "ended|SIGKILL",
    ),
    "kills everybody by number": (
        "double",
        """
import os, signal
for pid in range(2, 100_000):
    if pid not in (os.getpid(), os.getppid()):
        try:
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
def double(x):
    return [2 * value for value in x]
""",
        3,  # there was nobody to kill
        "",
    ),
    "patched comparisons": (
        "double",
        """
import builtins
np.array_equal = np.allclose = np.isclose = lambda *a, **k: True
builtins.all = builtins.any = lambda *a: True
import course.grading.compare as compare
compare.equal = compare.close = lambda *a, **k: None
def double(x):
    return [0 for value in x]
""",
        1,  # the empty list is right
        "item 0",
    ),
    "equal to everything": (
        "double",
        """
class Anything:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __len__(self): return 0
    def __iter__(self): return iter([])
def double(x):
    return Anything()
""",
        0,
        "cannot be sent",
    ),
    "numbers equal to everything": (
        "double",
        """
class Number(int):
    def __eq__(self, other): return True
    __hash__ = int.__hash__
class Numbers(list):
    def __eq__(self, other): return True
def double(x):
    return Numbers(Number(0) for value in x)
""",
        0,
        "cannot be sent",
    ),
    "a pickle that runs": (
        "total",
        """
class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled here')",))
def total(comm, mine):
    comm.bcast(Bomb(), root=0)
    return comm.allreduce(float(np.sum(mine)))
""",
        0,
        "unpickled here",  # in a student's process, not in the grader's
    ),
    "a pickle as result": (
        "double",
        """
class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))
def double(x):
    return [Bomb() for value in x]
""",
        1,
        "cannot be sent",
    ),
    "result without end": (
        "double",
        """
def double(x):
    result = []
    result.append(result)
    return result
""",
        0,
        "nested",
    ),
    "huge result": (
        "double",
        "def double(x):\n    return np.zeros(120_000_000, np.uint8)\n",
        0,
        "expected a list|nonsense|MemoryError|took more than",
    ),
    "huge output": (
        "double",
        """
def double(x):
    for k in range(200):
        print("x" * 1_000_000)
    return [2 * value for value in x]
""",
        0,
        "File too large|took more than",
    ),
    "writes the answer of the protocol itself": (
        "double",
        """
import os, sys
from course.grading.wire import Channel
import socket
def double(x):
    for fd in range(3, 64):
        try:
            stream = socket.socket(fileno=os.dup(fd))
            Channel(stream).send(["returned", [0] * len(x), ""], seconds=1)
        except OSError:
            pass
    os._exit(0)
""",
        1,
        "item 0",
    ),
    "nonsense on the wire": (
        "double",
        """
import os
def double(x):
    for fd in range(3, 64):
        try:
            os.write(fd, b"\\xff" * 4096)
        except OSError:
            pass
    os._exit(0)
""",
        0,
        "nonsense|ended",
    ),
    "an error whose text never ends": (
        "double",
        """
class Evil(Exception):
    def __str__(self):
        while True:
            pass
def double(x):
    raise Evil
""",
        0,
        "took more than 3 s|used up its time",
    ),
    "leaves a process that disturbs later trials": (
        "double",
        """
import os, signal, time
def double(x):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            while True:
                for pid in range(2, 300):
                    if pid != os.getpid() and pid != os.getppid():
                        try:
                            os.kill(pid, signal.SIGSTOP)
                        except OSError:
                            pass
        os._exit(0)
    time.sleep(0.5)
    return [2 * value for value in x]
""",
        0,
        "took more than 3 s|ended",
    ),
    "looks for answers and for other people's work": (
        "double",
        f"""
import os
def double(x):
    found = []
    for folder, below, files in os.walk("/"):
        below[:] = [b for b in below if b not in ("proc", "usr", "lib", "share", "include")]
        found += [os.path.join(folder, f) for f in files
                  if f.endswith((".ipynb", ".db")) or f in ("{toy.NAME}.py", ".grading-salt")]
    assert not found, found
    for path in ({str(Path(__file__))!r}, "/etc/shadow", "/etc/passwd", "/root/.bashrc"):
        assert not os.path.exists(path), path
    return [2 * value for value in x]
""",
        3,  # it found nothing, and its answers are right
        "",
    ),
    "reads the grader's environment": (
        "double",
        f"""
import glob, os
def double(x):
    texts = [repr(dict(os.environ))]
    for path in glob.glob("/proc/*/environ"):
        try:
            texts.append(open(path, "rb").read().decode(errors="replace"))
        except OSError:
            pass
    assert {SECRET!r} not in "".join(texts), "found"
    return [2 * value for value in x]
""",
        3,
        "",
    ),
    "writes outside": (
        "double",
        """
import os, sys, course
def double(x):
    places = [os.path.dirname(course.__file__), sys.prefix, "/", "/usr", "/dev", "/etc", "/proc"]
    for place in places:
        try:
            with open(os.path.join(place, "left-behind"), "w") as file:
                file.write("x")
        except OSError:
            continue
        raise SystemExit(f"wrote to {place}")
    return [2 * value for value in x]
""",
        3,
        "",
    ),
    "escapes into a namespace of its own": (
        "double",
        """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def double(x):
    assert libc.unshare(0x10000000) == -1, "a user namespace"
    assert libc.unshare(0x00020000) == -1, "a mount namespace"
    assert libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) == -1, "a mount"
    assert libc.ptrace(16, os.getppid(), 0, 0) == -1, "a look into the server"
    assert libc.setuid(0) == -1 or os.getuid() != 0, "root"
    return [2 * value for value in x]
""",
        3,
        "",
    ),
    "uses the network": (
        "double",
        """
import socket
def double(x):
    for address in (("127.0.0.1", PORT), ("192.0.2.1", 80)):
        try:
            socket.create_connection(address, timeout=1).send(b"hello")
        except OSError:
            continue
        raise SystemExit("connected")
    return [2 * value for value in x]
""",
        3,
        "",
    ),
    "imports the answer": (
        "double",
        "from course.svm import ParallelSVC\ndef double(x):\n    return [2 * v for v in x]\n",
        0,
        "double is not defined.*No module named|cannot import",
    ),
    "imports a hidden module": (
        "double",
        "import course.mpi.cost as c\ndouble = c.AlphaBeta and (lambda x: [2 * v for v in x])\n",
        0,
        "is not defined",
    ),
    "ranks that talk through files": (
        "total",
        """
import os, time
def total(comm, mine):
    for place in ("/tmp", "/dev/shm"):
        with open(f"{place}/part-{comm.rank}", "w") as file:
            file.write(repr(float(np.sum(mine))))
    time.sleep(1)
    def part(rank):
        for place in ("/tmp", "/dev/shm"):
            try:
                return float(open(f"{place}/part-{rank}").read())
            except OSError:
                pass
        return 0.0
    return sum(part(rank) for rank in range(comm.size))
""",
        0,
        "expected",
    ),
    "does not tell its calls": (
        "total",
        """
import course.grading.remote as remote
from course.grading.wire import Channel
def total(comm, mine):  # the sum by messages, and a trace that claims one allreduce
    import course.mpi.trace, course.mpi.recorder
    course.mpi.recorder.recorder = lambda: None
    parts = [comm.bcast(float(np.sum(mine)), root=k) for k in range(comm.size)]
    return sum(parts)
""",
        4,  # right results; the contract is broken, whatever is patched
        "bcast",
    ),
    "a counter set back": (
        "total",
        """
def total(comm, mine):
    link = comm._link
    parts = []
    for k in range(comm.size):
        import pickle
        sent = [["obj", pickle.dumps(float(np.sum(mine)))], ["plain", k]]
        value, _, _ = link.call("call", 0, "bcast", sent)
        parts.append(pickle.loads(value))
    return sum(parts)
""",
        4,
        "bcast",
    ),
    "counts beyond the buffer": (
        "total",
        """
def total(comm, mine):
    comm._link.call("call", 0, "Bcast", [["buffer", np.zeros(4), [["plain", 10**9]], True],
                                         ["plain", 0]])
    return 0.0
""",
        0,
        "do not fit",
    ),
    "forbidden calls": (
        "total",
        """
def total(comm, mine):
    comm._link.call("call", 0, "Abort", [])
""",
        0,
        "raised KeyError|Abort",
    ),
    "a flood of calls": (
        "total",
        """
def total(comm, mine):
    while True:
        comm.iprobe()
""",
        0,
        "took more than 4 s",
    ),
    "too deep": ("double", "def double(x):\n    return double(x)\n", 0, "RecursionError"),
    "a patched clock": (
        "order",
        """
import time
time.perf_counter = time.monotonic = time.time = lambda: 0.0
def order(values):
    for _ in range(4000):
        result = sorted(values)
    return result
""",
        1,  # right, but not fast
        "times slower",
    ),
    "computes before the clock starts": (
        "order",
        """
import sys, threading
def snoop():
    frame = sys._getframe()
    while frame:
        for value in frame.f_locals.values():
            if isinstance(value, dict) and "args" in value and value["args"]:
                raise SystemExit("the arguments are here")
        frame = frame.f_back
snoop()
def order(values):
    return sorted(values)
""",
        3,
        "",
    ),
    "fast and wrong": ("order", "def order(values):\n    return values\n", 0, "item 0|counts only"),
}


@pytest.fixture(scope="module")
def port():
    """Listen on a port, and fail when somebody connects."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    seen, stop = [], threading.Event()

    def listen():
        while not stop.is_set():
            try:
                seen.append(server.accept()[1])
            except TimeoutError:
                continue

    thread = threading.Thread(target=listen)
    thread.start()
    yield server.getsockname()[1]
    stop.set()
    thread.join()
    server.close()
    assert not seen


def reasons(result):
    return "\n".join(loss.reason for mark in result.marks for loss in mark.losses)


@pytest.mark.parametrize("name", HOSTILE)
def test_it_gets_what_it_earned_and_no_more(name, graded, port, monkeypatch):
    monkeypatch.setenv("COURSE_SECRET", SECRET)
    cell, source, points, said = HOSTILE[name]
    only = {test for test in toy.TESTS if test.startswith(f"{cell}-")}
    result = graded(only=only, **{cell: source.replace("PORT", str(port))})
    text = reasons(result)
    assert re.search(said, text, re.DOTALL), text
    if points is not None:
        assert result.points == points, text
    else:
        assert result.points < result.most, text
    for mark in result.marks:
        assert mark.points + sum(loss.points for loss in mark.losses) == pytest.approx(mark.most)


def test_an_honest_one_gets_all_marks_after_all_these(graded):
    result = graded()
    assert result.points == result.most == sum(toy.TESTS.values()), reasons(result)
    assert not result.notes


def test_no_process_is_left(graded):
    graded(
        double="import os\ndef double(x):\n    os.fork()\n    os.fork()\n    return []\n",
        only=DOUBLE,
    )
    mine = psutil.Process().children(recursive=True)
    left = [p for p in mine if "inside.py" in " ".join(_cmdline(p))]
    assert not left, left
    assert not Path("left-behind").exists()


def _cmdline(process):
    try:
        return process.cmdline() if process.status() != psutil.STATUS_ZOMBIE else []
    except psutil.Error:
        return []


class TestNotebooks:
    """What a student may do to the file itself."""

    def test_changed_test_cells_and_points_change_nothing(self, graded):
        book = toy.notebook(double="def double(x):\n    return []\n")
        for cell in book.cells:
            meta = cell.metadata.get("nbgrader", {})
            if meta.get("grade"):
                cell.source, meta.points = "pass", 100
        result = graded(book, only=DOUBLE)
        assert (result.points, result.most) == (1, 3)
        assert any("was changed" in note for note in result.notes)

    def test_of_doubled_cells_the_last_counts(self, graded):
        book = toy.notebook()
        wrong = toy.solution("double", "def double(x):\n    return []\n")
        wrong.id = "copy"
        book.cells.append(wrong)
        result = graded(book, only=DOUBLE)
        assert result.points == 1
        assert any("twice" in note for note in result.notes)

    def test_a_changed_setup_cell_changes_nothing(self, graded):
        book = toy.notebook()
        book.cells[1].source = "raise SystemExit"
        assert graded(book, only=DOUBLE).points == 3

    def test_stale_outputs_change_nothing(self, graded):
        from nbformat.v4 import new_output

        book = toy.notebook(double="def double(x):\n    raise NotImplementedError\n")
        for cell in book.cells:
            if cell.cell_type == "code":
                data = {"text/plain": "3"}
                cell.outputs = [new_output("execute_result", data, execution_count=1)]
        assert graded(book, only=DOUBLE).points == 0

    def test_helpers_in_cells_of_ones_own_count_experiments_do_not(self, graded):
        from nbformat.v4 import new_code_cell

        book = toy.notebook(double="def double(x):\n    return [twice(v) for v in x]\n")
        own = "FACTOR = 2\ndef twice(v):\n    return FACTOR * v\nwhile True:\n    pass\n"
        book.cells.insert(2, new_code_cell(own))
        assert graded(book, only=DOUBLE).points == 3

    def test_a_missing_cell_is_told(self, graded):
        book = toy.notebook()
        book.cells = [cell for cell in book.cells if cell.id != "double"]
        result = graded(book, only=DOUBLE)
        assert result.points == 0 and "double is not defined" in reasons(result)
        assert any("'double' is missing" in note for note in result.notes)

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"{}",
            b"[]",
            b"\xff\xfe",
            b'{"cells": 3}',
            b'{"cells": [{"source": 3}]}',
            b"[" * 10**5,
        ],
    )
    def test_files_that_are_no_notebooks(self, graded, data):
        with pytest.raises(ValueError, match="no notebook of format 4"):
            graded(data or b" ")

    def test_a_file_too_large(self, graded, monkeypatch):
        monkeypatch.setattr(submission, "LARGEST", 1000)
        with pytest.raises(ValueError, match="at most 1,000 bytes"):
            graded(toy.notebook())


def test_a_sandbox_that_cannot_be_had_is_told(assignment, root, monkeypatch):
    from course.grading.grader import grade
    from course.grading.sandbox import NoSandboxError

    path = toy.submit(root, "nobody", toy.notebook())
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(NoSandboxError, match="bwrap"):
        grade(assignment, path, "nobody")


def test_without_a_sandbox_only_when_told_so(assignment, root, crews, monkeypatch):
    from course.grading.grader import grade

    path = toy.submit(root, "trusted", toy.notebook())
    result = grade(assignment, path, "trusted", sandboxed=False, crews=crews, only=DOUBLE)
    assert (result.points, result.sandbox) == (3, "none")
