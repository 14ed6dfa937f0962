"""Programs that are ended when the test is, however it ends."""

import pytest

from tests.experiments import program


@pytest.fixture
def start(tmp_path_factory):
    """Return a function that starts a program and comes back at once."""
    started = []

    def begin(*args, **options):
        started.append(program.Program(tmp_path_factory.mktemp("start"), *args, **options))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Return a function that runs a program to its end."""

    def to_end(*args, **options):
        return program.run(tmp_path_factory.mktemp("run"), *args, **options)

    return to_end
