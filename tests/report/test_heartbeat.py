"""Lines on what a program does while nothing else is shown."""

import io
import re
import time

import pytest

from gan_jax.report import heartbeat
from gan_jax.report.progress import Progress


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Let a tenth of a second be a long time."""
    for name, seconds in (("SILENCE", 0.1), ("_CHECK", 0.01), ("_FIRST", 0.05)):
        monkeypatch.setattr(heartbeat, name, seconds)


def test_long_work_is_announced_with_its_counts(capsys):
    with heartbeat.working("reading the data set") as count:
        time.sleep(0.08)
        count(1200, 60000)
        time.sleep(0.15)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "reading the data set ..., 0 s",
        "reading the data set ... 1,200 of 60,000, 0 s",
    ]
    with heartbeat.working("short"):
        pass
    with heartbeat.working("elsewhere", enabled=False):
        time.sleep(0.1)
    assert capsys.readouterr().out == ""


def test_a_failure_of_the_output_does_not_end_the_work():
    def fail():
        raise BrokenPipeError

    with heartbeat.Heartbeat(fail, 0.0) as beat:
        beat._thread.join(1)
        assert not beat._thread.is_alive()


def test_progress_shows_the_first_step_and_then_is_never_silent_for_long(monkeypatch):
    monkeypatch.setattr(heartbeat.Heartbeat.__init__, "__defaults__", (0.1,))
    stream = io.StringIO()
    with Progress(40, 100, stream=stream) as progress:
        progress.reach(1)
        progress.reach(2)  # soon after a line
        assert len(stream.getvalue().splitlines()) == 1
        with progress.doing("evaluating"):
            time.sleep(0.2)
        progress.update(3, {"loss": 0.5})
        time.sleep(0.2)
    lines = stream.getvalue().splitlines()
    assert re.match(r"step  1/40  kimg 0.1 .* img/s", lines[0])
    assert re.match(r"step  2/40 .*  evaluating, 0 s$", lines[1])
    assert re.match(r"step  3/40 .*  loss 0.5$", lines[-2])
    assert lines[-1].endswith("loss 0.5")
    # The speed is that of the steps reached, not of the first alone.
    assert [step for step, _ in progress._marks] == [0, 1, 2, 3]
    ended = stream.getvalue()
    time.sleep(0.2)
    assert stream.getvalue() == ended
