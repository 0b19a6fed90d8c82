"""Settings for tests and for the notebooks that nbval runs."""

import atexit
import os
import shutil
import tempfile

from course.processes import cores

# Own folders, so that two runs side by side, or a person's own profile, cannot disturb.
os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="course-ipython-")
atexit.register(shutil.rmtree, os.environ["IPYTHONDIR"], ignore_errors=True)
os.environ["IPP_NONINTERACTIVE"] = "1"  # output of ranks in rank order, no progress bars
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")

# What takes longest, longest first: what starts late should be short. The rest follows.
LONGEST = (
    "tests/deep/test_distributed.py",
    "notebooks/08_horovod.ipynb",
    "tests/assignments/",
    "tests/clustering/test_ranks.py",
    "tests/grading/test_hostile.py",
    "notebooks/07_cnn.ipynb",
    "tests/mpi/test_explain.py",
    "tests/svm/test_ranks.py",
    "tests/engines/test_engines.py",
    "notebooks/",
    "tests/svm/",
    "tests/clustering/",
    "tests/mpi/test_launch.py",
)


def pytest_xdist_auto_num_workers(config):
    """Return one worker per core that this process may use (xdist alone counts all cores)."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return min(cores(), 8)  # more than eight would only wait for the longest file


def pytest_collection_modifyitems(items):
    """Start the longest files first, in the same order every time."""

    def place(item):
        return next((n for n, p in enumerate(LONGEST) if item.nodeid.startswith(p)), len(LONGEST))

    items.sort(key=place)
