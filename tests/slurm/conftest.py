import os
import tempfile

import pytest

from course.cluster import dam


@pytest.fixture(scope="session")
def state():
    """A folder for an emulated DAM; pytest's own are too deep for a socket."""
    lacking = dam.missing()
    if lacking:
        pytest.skip(dam.INSTALL.format(missing=", ".join(lacking)))
    with tempfile.TemporaryDirectory(prefix="dam-") as folder:
        yield f"{folder}/state"


@pytest.fixture(scope="module")
def cluster(state):
    """The emulated DAM, up and in the environment. It starts in a second: once per file is fine."""
    with dam.up(state, tied=True) as started, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            patch.delenv(name)
        for name, value in started.environment().items():
            patch.setenv(name, value)
        yield started
