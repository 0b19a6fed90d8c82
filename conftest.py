"""Settings for tests and for the notebooks that nbval runs."""

import os
import tempfile

# Own folders, so that two runs side by side, or a person's own profile, cannot disturb.
os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="course-ipython-")
os.environ["IPP_NONINTERACTIVE"] = "1"  # output of ranks in rank order, no progress bars
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("PYDEVD_DISABLE_FILE_VALIDATION", "1")
