"""Programs that are ended when the test is, and runs that several tests start from."""

import pytest

from tests.experiments.conftest import run, start
from tests.experiments.program import call, succeeded
from tests.faults import scenario

__all__ = ["run", "start"]


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """An uninterrupted run."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    succeeded(call(*scenario.WHOLE, f"--workdir={workdir}"))
    return workdir


@pytest.fixture(scope="session")
def half(tmp_path_factory):
    """The same run, with some steps still to come; to be copied, not changed."""
    workdir = tmp_path_factory.mktemp("half") / "run"
    succeeded(call(*scenario.HALF, f"--workdir={workdir}"))
    return workdir
