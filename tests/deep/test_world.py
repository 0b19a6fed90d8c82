"""What `init` makes of its arguments and of Horovod's environment variables."""

import pytest

from course.deep import world

NAME = "HOROVOD_CYCLE_TIME"


def test_an_argument_wins_over_the_environment_and_that_over_the_default(monkeypatch):
    monkeypatch.setattr(world, "_written", {})
    monkeypatch.delenv(NAME, raising=False)
    assert world._setting(NAME, None, 0.1) == 0.1
    assert world._setting(NAME, 5, 0.1) == 5
    # What was written above is no wish of the user's.
    assert world._setting(NAME, None, 0.2) == 0.2
    monkeypatch.setenv(NAME, "7")
    assert world._setting(NAME, None, 0.1) == 7
    assert world._setting(NAME, 3, 0.1) == 3


def test_wrong_numbers_are_refused():
    for name in ("threads", "cycle_time", "stall_timeout"):
        with pytest.raises(ValueError, match=f"{name} must be positive, got -1"):
            world.init(**{name: -1})
